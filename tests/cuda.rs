//! Levels 2 and 3 on an NVIDIA GPU find the same faces as on the CPU, in pictures and videos, from several threads.
//! Without such a GPU these tests say that they are skipped, and another tests what the program does then.
//!
//! `cargo test --release --features cuda --test cuda -- --nocapture`

// Built without CUDA, too, where no device opens: so whatever builds the tests finds out that this file is out of date.
#![cfg(feature = "train")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::{Device as Candle, Tensor};
use common::{ffmpeg_is_here, ours, picture};
use facecascade::cascade::Work;
use facecascade::cascade::placement::{Placement, RefinersOn};
use facecascade::nets::candle::{Mode, Model, Ops};
use facecascade::nets::spec::Output;
use facecascade::nets::weights::Weights;
use facecascade::nets::windows::{Scratch, WindowNet};
use facecascade::nets::zoo;
use facecascade::pipeline::{self, FrameResult, PipelineOptions, Policy};
use facecascade::source::video::{Frames, probe};
use facecascade::{Cascade, Face, Options, Precision};
use image::RgbImage;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Largest difference of head outputs, as a share of the largest output or of 1, whichever is larger.
const OUTPUTS: f32 = 1e-3;
/// Largest difference of a face's scores.
const SCORE: f32 = 5e-3;
/// Smallest IoU of a face's boxes.
const OVERLAP: f32 = 0.98;

const PICTURES: [&str; 3] = ["assets/astronaut.jpg", "assets/grace_hopper.jpg", "assets/stages.jpg"];

/// Opens the GPU with two streams; `None`, and a line on stderr, without one.
fn gpu() -> Option<[Candle; 2]> {
    let open = || Candle::new_cuda_with_stream(0);
    match open().and_then(|first| Ok([first, open()?])) {
        Ok(streams) => Some(streams),
        Err(e) => {
            eprintln!("skipped: no CUDA device opens ({})", facecascade::Error::from(e));
            None
        }
    }
}

fn shipped(min_face: f32, refiners: RefinersOn) -> Cascade {
    let placement = Placement { refiners, ..Placement::default() };
    Cascade::shipped(Options { min_face, threshold: 0.1, precision: Precision::F32, ..Options::default() })
        .unwrap()
        .placed(placement)
        .unwrap()
}

/// Asserts that both lists hold the same faces, within the tolerances.
#[track_caller]
fn assert_same(expected: &[Face], got: &[Face], what: &str) {
    assert_eq!(expected.len(), got.len(), "{what}: {expected:?} and {got:?}");
    // Two faces of almost the same score may be in another order.
    for a in expected {
        let same = |b: &&Face| (a.score - b.score).abs() < SCORE && a.rect.iou(&b.rect) > OVERLAP;
        assert!(got.iter().any(|b| same(&b)), "{what}: {a:?} is not among {got:?}");
    }
}

/// A net of the zoo with random weights.
fn random(net: &str) -> (WindowNet, Weights) {
    let net = zoo::by_name(net).unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    let weights = Weights::initial(&net, || rng.random_range(-1.5..1.5));
    (WindowNet::new(&net, weights.clone(), None).unwrap(), weights)
}

/// Random numbers in −1..1.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Asserts that outputs agree within the tolerance.
#[track_caller]
fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = a.iter().fold(1f32, |m, v| m.max(v.abs()));
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= OUTPUTS * size, "{what}: {worst} of {size}");
}

#[cfg(feature = "cuda")]
#[test]
fn without_a_gpu_cuda_is_an_error_and_auto_goes_on_on_the_cpu_with_a_warning() {
    if gpu().is_some() {
        return;
    }
    let face = ours(PICTURES[0]);
    let detect = |device: &str| common::run(["detect", "--json", "--refiners", device, face.to_str().unwrap()]);
    let refused = detect("cuda").exits(1).complains("no CUDA device opens");
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    let (auto, cpu) = (detect("auto").exits(0).complains("run on the CPU"), detect("cpu").exits(0));
    assert!(cpu.err.is_empty(), "{}", cpu.err);
    assert_eq!(auto.lines()[0]["faces"], cpu.lines()[0]["faces"]);
    assert!(!cpu.lines()[0]["faces"].as_array().unwrap().is_empty());
}

#[test]
fn every_net_gives_the_same_outputs_for_batches_of_any_size() {
    let Some(streams) = gpu() else { return };
    for name in zoo::NAMES {
        let (cpu, mut moved) = (random(name).0, random(name).0);
        moved.put_on(&streams).unwrap();
        let heads: Vec<Output> = cpu.net().heads.iter().map(|h| h.output).collect();
        let sizes: &[usize] = if name.starts_with("refine") { &[500, 0, 1, 33] } else { &[3] };
        let (mut a, mut b) = (Scratch::default(), Scratch::default());
        for &n in sizes {
            let input = noise(n * cpu.net().window().len(), n as u64);
            cpu.run(&input, n, &mut a);
            moved.run(&input, n, &mut b);
            for head in &heads {
                assert_close(cpu.head(*head, None, &mut a), moved.head(*head, None, &mut b), name);
            }
        }
        assert!(moved.is_on_device(), "{name} came back to the CPU");
    }
}

#[test]
fn faces_in_pictures_are_those_of_the_cpu() {
    if gpu().is_none() {
        return;
    }
    for min_face in [12.0, 20.0, 60.0] {
        let (cpu, cuda) = (shipped(min_face, RefinersOn::Cpu), shipped(min_face, RefinersOn::Cuda));
        assert_eq!(shipped(min_face, RefinersOn::Auto).placement().refiners, RefinersOn::Cuda);
        for name in PICTURES {
            let picture = picture(name);
            assert_same(&cpu.detect(&picture).unwrap(), &cuda.detect(&picture).unwrap(), name);
        }
        assert_eq!(cuda.placement().refiners, RefinersOn::Cuda, "it came back to the CPU");
    }
}

#[test]
fn windows_of_many_pictures_go_through_in_common_batches() {
    if gpu().is_none() {
        return;
    }
    let (cpu, cuda) = (shipped(12.0, RefinersOn::Cpu), shipped(12.0, RefinersOn::Cuda));
    // There are more windows than fit a batch, and one picture has none.
    let mut pictures: Vec<RgbImage> = PICTURES.iter().cycle().take(12).map(|name| picture(name)).collect();
    pictures.push(RgbImage::new(0, 0));
    let mut started: Vec<_> = pictures.iter().map(|picture| cuda.start(picture, Work::default())).collect();
    for _ in 1..=cuda.levels() {
        cuda.next_level(&mut started.iter_mut().collect::<Vec<_>>());
    }
    for (picture, started) in pictures.iter().zip(&mut started) {
        assert_same(&cpu.detect(picture).unwrap(), &cuda.faces(started), "a picture of several");
    }
    assert_eq!(cuda.placement().refiners, RefinersOn::Cuda, "it came back to the CPU");
}

#[test]
fn a_cascade_on_a_gpu_is_shared_by_more_threads_than_it_has_streams() {
    if gpu().is_none() {
        return;
    }
    let cuda = shipped(20.0, RefinersOn::Cuda);
    let expected: Vec<_> = PICTURES.map(|name| shipped(20.0, RefinersOn::Cpu).detect(&picture(name)).unwrap()).into();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (cuda, name, expected) = (&cuda, PICTURES[thread % 3], &expected[thread % 3]);
            scope.spawn(move || {
                let picture = picture(name);
                for _ in 0..20 {
                    assert_same(expected, &cuda.detect(&picture).unwrap(), name);
                }
            });
        }
    });
    assert_eq!(cuda.placement().refiners, RefinersOn::Cuda, "it came back to the CPU");
}

#[test]
fn a_video_through_the_pipeline_has_the_faces_of_the_cpu_frame_by_frame() {
    if gpu().is_none() || !ffmpeg_is_here() {
        return;
    }
    for clip in ["assets/two-faces-tilting.mp4", "assets/classroom-four-faces.mp4"] {
        let path = ours(clip);
        let (cpu, cuda) = (shipped(30.0, RefinersOn::Cpu), shipped(30.0, RefinersOn::Cuda));
        let info = probe(&path).unwrap();
        let mut frames = Frames::open(&path, &info, 1).unwrap();
        let (mut frame, mut expected) = (RgbImage::new(0, 0), Vec::new());
        while frames.next_into(&mut frame).unwrap().is_some() {
            expected.push(cpu.detect(&frame).unwrap());
        }
        for threads in [1, 2, 4] {
            let options = PipelineOptions { policy: Policy::File { batch: 2 }, threads, ..PipelineOptions::default() };
            let source = Box::new(Frames::open(&path, &info, 1).unwrap());
            let begin = Instant::now();
            let mut seen = 0;
            pipeline::run(source, &cuda, &options, &mut |result: &mut FrameResult| {
                let frame = result.frame.number as usize;
                assert_same(&expected[frame], &result.faces, &format!("{clip}, frame {frame}"));
                seen += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            eprintln!("{clip}, {threads} threads: {seen} frames in {:.2} s", begin.elapsed().as_secs_f64());
            assert_eq!(seen, expected.len());
        }
        assert_eq!(cuda.placement().refiners, RefinersOn::Cuda, "it came back to the CPU");
    }
}

#[test]
fn gradients_in_training_are_those_of_the_cpu() {
    let Some([gpu, _]) = gpu() else { return };
    for name in ["octave", "refine24", "refine48"] {
        let (net, weights) = (zoo::by_name(name).unwrap(), random(name).1);
        let input = noise(8 * net.window().len(), 1);
        let gradients = |device: &Candle| {
            let model = Model::new(&net, &weights, Ops::Own, device).unwrap();
            let x = Tensor::from_slice(&input, (8, net.side, net.side, 3), device).unwrap();
            let mut rng = StdRng::seed_from_u64(2);
            let heads = model.forward(&x, &mut Mode::Training { rng: &mut rng, stats: Vec::new() }).unwrap();
            let loss = heads.iter().map(|(_, y)| y.sqr().unwrap().mean_all().unwrap());
            let store = loss.reduce(|a, b| (a + b).unwrap()).unwrap().backward().unwrap();
            let names: Vec<_> = model.trained_slots().map(|slot| slot.name.clone()).collect();
            let of = |name: &String| {
                let gradient = store.get(&model.var(name).unwrap()).unwrap();
                (name.clone(), gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            names.iter().map(of).collect::<Vec<_>>()
        };
        for ((slot, a), (_, b)) in gradients(&Candle::Cpu).iter().zip(&gradients(&gpu)) {
            let size = a.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
            let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 0.02 * size, "{name} {slot}: {worst} of {size}");
        }
    }
}
