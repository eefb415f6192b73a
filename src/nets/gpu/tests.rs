//! The shaders of nets against the CPU engine, on whatever GPU there is: in CI lavapipe, which renders in software.

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::nets::cpu::{Engine, Scratch};
use crate::nets::spec::{Head, Layer, Output};
use crate::pyramid::gpu::tests::{PLAN, gpu, noise};
use crate::pyramid::{Plan, Pyramid};

/// Numbers differ by less than this times 1 + the greatest: sums are in another order.
const TOLERANCE: f32 = 1e-4;

/// The list of windows of both, each in the order of the cells.
fn both(
    net: &Net,
    weights: &Weights,
    picture: &image::RgbImage,
    plan: &Plan,
    threshold: f32,
    at_once: usize,
) -> Option<[Vec<Found>; 2]> {
    let gpu = gpu()?;
    let behind = OctaveNet::new(gpu.device(), net, weights, threshold, at_once).unwrap();
    let gpu = gpu.with_follow_up(Box::new(behind));
    let (mut halves, mut levels, mut words) = Default::default();
    let ticket = gpu.submit(picture, plan)?;
    assert!(gpu.take(ticket, picture, &mut halves, &mut levels, &mut words), "{:?}", gpu.fault());
    let mut on_gpu = Vec::new();
    read(&words, &mut on_gpu);

    let (mut halves, mut levels) = <(Pyramid, Pyramid)>::default();
    plan.build(picture, &mut halves, &mut levels);
    let engine = Engine::new(net, weights).unwrap();
    let mut scratch = Scratch::default();
    let mut on_cpu = Vec::new();
    for level in &levels.levels {
        if engine.trunk_rgb(&level.pixels, 1, level.height, level.width, &mut scratch).is_none() {
            continue;
        }
        let numbers = engine.head(Output::Octave, None, &mut scratch).chunks_exact(OCTAVE_NUMBERS);
        on_cpu
            .extend((on_cpu.len()..).zip(numbers).map(|(window, n)| Found { window, numbers: n.try_into().unwrap() }));
    }
    Some([on_gpu, on_cpu])
}

/// `on_gpu` are those of `all` whose logit is over the threshold, but for ties.
fn compare([on_gpu, all]: &[Vec<Found>; 2], threshold: f32) -> usize {
    let greatest = all.iter().flat_map(|f| f.numbers).map(f32::abs).fold(1.0, f32::max);
    let near = TOLERANCE * greatest;
    let mut found = on_gpu.iter().peekable();
    let mut over = 0;
    for window in all {
        let same = found.next_if(|f| f.window == window.window);
        if let Some(same) = same {
            assert!(
                same.numbers.iter().zip(&window.numbers).all(|(a, b)| (a - b).abs() <= near),
                "{same:?} {window:?}"
            );
            over += 1;
        }
        let tie = (window.numbers[0] - threshold).abs() <= near;
        assert!(tie || same.is_some() == (window.numbers[0] > threshold), "{window:?}");
    }
    assert_eq!(found.next(), None, "windows come once, in order");
    over
}

/// Weights with running means and variances that are not those of a fresh net.
fn random_weights(net: &Net, seed: u64) -> Weights {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut weights = Weights::initial(net, || rng.random_range(-1.7..1.7));
    let mut rng = StdRng::seed_from_u64(seed + 1);
    for (name, array) in &mut weights.arrays {
        let range = if name.ends_with("scale") || name.ends_with("variance") { 0.5..1.5 } else { -0.3..0.3 };
        if !name.ends_with("weight") {
            array.data.iter_mut().for_each(|v| *v = rng.random_range(range.clone()));
        }
    }
    weights
}

fn octave() -> (Net, Weights) {
    let net = crate::nets::zoo::octave();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/octave/octave.safetensors");
    (net, Weights::load(file.as_ref()).unwrap())
}

#[test]
fn the_octave_net_finds_the_windows_that_the_cpu_finds() {
    let (net, weights) = octave();
    for picture in ["astronaut.jpg", "grace_hopper.jpg"] {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(picture);
        let picture = image::open(file).unwrap().to_rgb8();
        let Some(lists) = both(&net, &weights, &picture, &PLAN, -1.75, OctaveNet::AT_ONCE) else { return };
        assert!(compare(&lists, -1.75) > 20);
    }
}

#[test]
fn pictures_of_any_size_give_the_windows_that_the_cpu_finds() {
    let (net, weights) = octave();
    for (w, h) in [(14, 14), (15, 33), (64, 9), (101, 67), (1, 1), (200, 150)] {
        let picture = noise(w, h, w + h);
        for plan in [PLAN, Plan { first_scale: 1.0, step: 1.26, ..PLAN }] {
            if let Some(lists) = both(&net, &weights, &picture, &plan, -6.0, OctaveNet::AT_ONCE) {
                compare(&lists, -6.0);
            }
        }
    }
}

#[test]
fn no_window_is_lost_where_there_are_more_than_are_read_back_at_once() {
    let (net, weights) = octave();
    let picture = noise(120, 90, 5);
    let Some(few) = both(&net, &weights, &picture, &PLAN, f32::NEG_INFINITY, 7) else { return };
    assert_eq!(compare(&few, f32::NEG_INFINITY), few[1].len());
    let Some(none) = both(&net, &weights, &picture, &PLAN, f32::INFINITY, 7) else { return };
    assert!(none[0].is_empty());
}

#[test]
fn random_nets_agree_with_the_cpu_engine() {
    if gpu().is_none() {
        return;
    }
    let conv = (1_usize..20, 1_usize..4, 1_usize..3, 0_usize..2)
        .prop_map(|(out, kernel, stride, pad)| vec![Layer::Conv { out, kernel, stride, pad: pad.min(kernel - 1) }]);
    let depthwise = (1_usize..4, 1_usize..3)
        .prop_map(|(kernel, stride)| vec![Layer::Depthwise { kernel, stride, pad: kernel / 2 }]);
    let pool =
        (2_usize..4, 1_usize..3, 0_usize..2).prop_map(|(size, stride, pad)| vec![Layer::MaxPool { size, stride, pad }]);
    let behind = prop_oneof![
        Just(vec![]),
        Just(vec![Layer::Relu]),
        Just(vec![Layer::BatchNorm]),
        Just(vec![Layer::BatchNorm, Layer::Dropout(0.2), Layer::Relu])
    ];
    let linear = (prop_oneof![conv, depthwise], behind).prop_map(|(a, b)| [a, b].concat());
    let layers = proptest::collection::vec(prop_oneof![3 => linear, 1 => pool], 1..5).prop_map(|l| l.concat());
    let strategy = (layers, any::<u64>(), 20_u32..70, 20_u32..70);
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    let agree = |(trunk, seed, w, h): (Vec<Layer>, u64, u32, u32)| {
        let last = vec![Layer::Conv { out: 12, kernel: 1, stride: 1, pad: 0 }];
        let net = Net {
            name: "random",
            side: 24,
            trunk,
            blocks: vec![],
            heads: vec![Head { output: Output::Octave, from: 0, layers: last }],
        };
        prop_assume!(net.check().is_ok());
        let weights = random_weights(&net, seed >> 1);
        if let Some(lists) = both(&net, &weights, &noise(w, h, seed as u32), &PLAN, 0.0, 50) {
            compare(&lists, 0.0);
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::new(config).run(&strategy, agree).unwrap();
}

#[test]
fn a_net_without_shaders_is_refused_with_the_layer_at_fault() {
    let Some(gpu) = gpu() else { return };
    let net = crate::nets::zoo::by_name("net12").unwrap();
    let weights = random_weights(&net, 1);
    let error = OctaveNet::new(gpu.device(), &net, &weights, 0.0, 1).unwrap_err().to_string();
    assert!(error.contains("net12") && error.contains("octave head"), "{error}");
    let net = Net { trunk: vec![Layer::AveragePool(2)], ..crate::nets::zoo::octave() };
    let error = OctaveNet::new(gpu.device(), &net, &random_weights(&net, 1), 0.0, 1).unwrap_err().to_string();
    assert!(error.contains("trunk.0, AveragePool"), "{error}");
}
