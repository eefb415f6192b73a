//! The shaders against the CPU path, on whatever GPU there is: in CI lavapipe, which renders in software.

use image::RgbImage;
use proptest::prelude::*;

use super::*;
use crate::pyramid::Builder;

/// What ships, for faces from 20 pixels on.
pub(crate) const PLAN: Plan = Plan { shortest_half: 8, first_scale: 0.6, step: 2.0, shortest: 8 };

/// A GPU, or the word that there is none. One that is there but can't be used is a failure.
pub(crate) fn gpu() -> Option<Gpu> {
    match Gpu::open(Adapters::All) {
        Ok(gpu) => Some(gpu),
        Err(e) => {
            assert!(e.to_string().starts_with("no GPU was found"), "{e}");
            #[expect(clippy::print_stderr, reason = "tests say what they skip")]
            {
                eprintln!("skipped: {e}");
            }
            None
        }
    }
}

/// Any colours.
pub(crate) fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    RgbImage::from_fn(width, height, |_, _| image::Rgb([next(), next(), next()]))
}

/// From the GPU and from the CPU.
fn pyramids(gpu: &Gpu, picture: &RgbImage, plan: &Plan) -> Option<[(Pyramid, Pyramid); 2]> {
    let mut both = <[(Pyramid, Pyramid); 2]>::default();
    let [(halves, levels), on_cpu] = &mut both;
    plan.build(picture, &mut on_cpu.0, &mut on_cpu.1);
    let ticket = gpu.submit(picture, plan)?;
    assert!(gpu.take(ticket, picture, halves, levels, &mut Vec::new()), "{:?}", gpu.fault());
    Some(both)
}

#[test]
fn the_shaders_give_what_the_cpu_path_gives_to_the_last_bit() {
    let Some(gpu) = gpu() else { return };
    let sizes = (1_u32..150, 1_u32..150);
    let steps = prop_oneof![Just(2.0_f32), 1.1_f32..2.5];
    let strategy = (sizes, any::<u32>(), 0.1_f32..1.6, steps, 1_usize..10);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let same = |((width, height), seed, first_scale, step, shortest)| {
        let picture = noise(width, height, seed);
        let plan = Plan { shortest_half: shortest, first_scale, step, shortest };
        if let Some([on_gpu, on_cpu]) = pyramids(&gpu, &picture, &plan) {
            prop_assert_eq!(&on_gpu.0.levels, &on_cpu.0.levels);
            prop_assert_eq!(&on_gpu.1.levels, &on_cpu.1.levels);
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::new(config).run(&strategy, same).unwrap();
}

#[test]
fn pictures_of_one_pixel_of_odd_sides_and_of_many_pixels_are_right() {
    let Some(gpu) = gpu() else { return };
    for (width, height) in [(1, 1), (1, 7), (9, 1), (2, 2), (3, 3), (641, 481), (1280, 720), (3001, 1999)] {
        for (first_scale, step) in [(0.6, 2.0), (1.0, 1.26), (0.3, 2.0), (1.5, 1.5)] {
            let plan = Plan { shortest_half: 1, first_scale, step, shortest: 1 };
            let picture = noise(width, height, width * 31 + height);
            let Some([on_gpu, on_cpu]) = pyramids(&gpu, &picture, &plan) else {
                let (mut halves, mut levels) = <(Pyramid, Pyramid)>::default();
                plan.build(&picture, &mut halves, &mut levels);
                assert!(halves.levels.len() < 2 && levels.levels.is_empty(), "{width}×{height}: {:?}", gpu.fault());
                continue;
            };
            assert!(on_gpu.0.levels == on_cpu.0.levels, "halves of {width}×{height}");
            assert!(on_gpu.1.levels == on_cpu.1.levels, "levels of {width}×{height}, {first_scale}, {step}");
        }
    }
}

#[test]
fn several_pictures_on_their_way_at_once_do_not_disturb_each_other() {
    let Some(gpu) = gpu() else { return };
    let pictures: Vec<_> = (0..5).map(|i| noise(64 + 8 * (i % 2), 48, i + 1)).collect();
    for _ in 0..3 {
        let tickets: Vec<_> = pictures.iter().map(|p| gpu.submit(p, &PLAN).unwrap()).collect();
        for (ticket, picture) in tickets.into_iter().zip(&pictures).rev() {
            let (mut halves, mut levels) = Default::default();
            assert!(gpu.take(ticket, picture, &mut halves, &mut levels, &mut Vec::new()));
            let mut expected = <(Pyramid, Pyramid)>::default();
            PLAN.build(picture, &mut expected.0, &mut expected.1);
            assert_eq!((&halves.levels, &levels.levels), (&expected.0.levels, &expected.1.levels));
        }
    }
    assert!(gpu.slots().len() <= KEPT);
}

#[test]
fn a_gpu_that_is_lost_at_any_moment_costs_no_picture() {
    for moment in 0..4 {
        let Some(gpu) = gpu() else { return };
        let builder = Builder::on(gpu);
        let destroy = |now: usize| {
            if now == moment {
                builder.current_gpu().unwrap().device().destroy();
            }
        };
        for n in 0..4 {
            let picture = noise(90, 70, n as u32);
            let (mut halves, mut levels, mut behind) = Default::default();
            if n == 1 {
                destroy(0);
            }
            let pending = builder.submit(&picture, &PLAN);
            if n == 1 {
                destroy(1);
            }
            builder.take(pending, &picture, &PLAN, &mut halves, &mut levels, &mut behind);
            if n == 1 {
                destroy(2);
            }
            let mut expected = <(Pyramid, Pyramid)>::default();
            PLAN.build(&picture, &mut expected.0, &mut expected.1);
            assert_eq!((&halves.levels, &levels.levels), (&expected.0.levels, &expected.1.levels), "{moment}, {n}");
        }
        assert_eq!(builder.current_gpu().is_none(), moment < 3, "{}", builder.describe());
    }
}

#[test]
fn a_picture_too_large_for_the_gpu_is_the_cpus_and_the_gpu_stays_in_use() {
    let Some(gpu) = gpu() else { return };
    // More than offsets of 32 bits can tell; no such picture is made.
    assert!(Layout::new((60_000, 60_000), &PLAN).is_none());
    assert!(gpu.slot((60_000, 60_000), &PLAN).is_none());
    assert!(gpu.fault().is_none());
    assert!(pyramids(&gpu, &noise(40, 40, 1), &PLAN).is_some());
}

#[test]
fn what_is_measured_is_every_level_and_the_way_there_and_back() {
    let Some(gpu) = gpu() else { return };
    let times = measure::times(&gpu, (160, 120), &PLAN).unwrap();
    let sizes: Vec<_> = times.levels.iter().map(|l| (l.width, l.height)).collect();
    assert_eq!(sizes, [(80, 60), (40, 30), (20, 15), (96, 72), (48, 36), (24, 18), (12, 9)]);
    let table = times.to_string();
    assert!(table.contains("upload") && table.contains("read-back") && table.lines().count() == 2 + 7 + 5, "{table}");
}
