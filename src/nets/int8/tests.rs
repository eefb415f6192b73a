use std::collections::BTreeMap;

use super::calibrate::Ranges;
use super::quantised::QuantisedOp;
use super::*;
use crate::nets::cpu;
use crate::nets::cpu::tests::strides::net_of_several_strides;
use crate::nets::cpu::tests::{fitting, layer, random_input, random_weights};
use crate::nets::lower;
use crate::nets::lower::{Arrays, Op, OpKind, Part, Sequence as Lowered, dims_of};
use crate::nets::spec::{Head, Layer};
use crate::nets::weights::Weights;
use crate::nets::zoo;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A map `[h, w, c]` of the plain reference, and the byte that stands for 0 in each channel.
#[derive(Clone)]
struct Map {
    d: Dims,
    data: Vec<u8>,
    zero: Vec<u8>,
}

impl Map {
    /// The bytes of one channel under a kernel; `None` on the border.
    fn square(&self, (y, x, c): (usize, usize, usize), op: &Op) -> Vec<Option<u8>> {
        let (kh, kw) = op.kernel;
        let at = |i: usize| {
            let y = (y * op.stride + i / kw).checked_sub(op.pad).filter(|y| *y < self.d.h)?;
            let x = (x * op.stride + i % kw).checked_sub(op.pad).filter(|x| *x < self.d.w)?;
            Some(self.data[(y * self.d.w + x) * self.d.c + c])
        };
        (0..kh * kw).map(at).collect()
    }
}

/// What a layer gives: bytes, or a head's real numbers.
enum End {
    Bytes(Map),
    Reals(Vec<f32>),
}

/// Operation by operation as their definitions say.
fn reference(sequence: &Lowered<Option<Arrays>>, mut map: Map, weights: &Quantised, reals: bool) -> Option<End> {
    for (i, part) in sequence.parts.iter().enumerate() {
        match part {
            Part::Chain(ops) => {
                for (k, op) in ops.iter().enumerate() {
                    let last = reals && i + 1 == sequence.parts.len() && k + 1 == ops.len();
                    match apply(op, &map, weights, last)? {
                        End::Bytes(next) => map = next,
                        end @ End::Reals(_) => return Some(end),
                    }
                }
            }
            Part::Branches(branches) => {
                let ends: Option<Vec<Map>> = branches
                    .iter()
                    .map(|branch| match reference(branch, map.clone(), weights, false)? {
                        End::Bytes(map) => Some(map),
                        End::Reals(_) => None,
                    })
                    .collect();
                let ends = ends?;
                if ends.iter().any(|e| (e.d.h, e.d.w) != (ends[0].d.h, ends[0].d.w)) {
                    return None;
                }
                let d = Dims { c: ends.iter().map(|e| e.d.c).sum(), ..ends[0].d };
                let pixel = |i| ends.iter().flat_map(move |e| &e.data[i * e.d.c..(i + 1) * e.d.c]).copied();
                let zero = ends.iter().flat_map(|e| e.zero.clone()).collect();
                map = Map { d, data: (0..d.h * d.w).flat_map(pixel).collect(), zero };
            }
        }
    }
    Some(End::Bytes(map))
}

fn apply(op: &Op, map: &Map, weights: &Quantised, reals: bool) -> Option<End> {
    let (h, w) = op.dims((map.d.h, map.d.w))?;
    let channels = if op.kind == OpKind::Gather { op.kernel.0 * op.kernel.1 * map.d.c } else { op.output.c };
    let none = QuantisedOp::default();
    let arrays = if op.arrays.is_some() { &weights.ops[&op.path] } else { &none };
    let zero = match op.kind {
        _ if op.arrays.is_some() => arrays.zero.clone(),
        OpKind::Gather => map.zero.repeat(op.kernel.0 * op.kernel.1),
        _ => map.zero.clone(),
    };
    let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
    for i in 0..h * w * channels {
        let (y, x, o) = (i / channels / w, i / channels % w, i % channels);
        let taps = |c: usize| map.square((y, x, c), op).into_iter().enumerate();
        let product = |(t, v): (usize, Option<u8>), c: usize, index: usize| {
            let _ = t;
            i32::from(v.unwrap_or(map.zero[c])) * i32::from(arrays.weight[index])
        };
        let share = 1.0 / (op.kernel.0 * op.kernel.1) as f32;
        let (sum, by) = match op.kind {
            OpKind::Conv | OpKind::Dense => {
                let all = (0..map.d.c).flat_map(|c| taps(c).map(move |tap| (c, tap)));
                let sum: i32 = all.map(|(c, tap)| product(tap, c, (tap.0 * map.d.c + c) * channels + o)).sum();
                (sum + arrays.bias[o], arrays.multiplier[o])
            }
            OpKind::Depthwise => {
                let sum: i32 = taps(o).map(|tap| product(tap, o, tap.0 * channels + o)).sum();
                (sum + arrays.bias[o], arrays.multiplier[o])
            }
            OpKind::MaxPool => (taps(o).filter_map(|(_, v)| v).max().map_or(0, i32::from), 1.0),
            OpKind::AveragePool => (taps(o).map(|(_, v)| i32::from(v.unwrap())).sum(), share),
            OpKind::Gather | OpKind::Dropout(_) => {
                let tap = taps(o % map.d.c).nth(o / map.d.c).unwrap();
                (i32::from(tap.1.unwrap()), 1.0)
            }
        };
        let real = sum as f32 * by;
        if reals && op.arrays.is_some() {
            numbers.push(if op.relu { real.max(0.0) } else { real });
            continue;
        }
        let floor = if op.relu { zero[o] } else { 0 };
        bytes.push((real.round_ties_even().clamp(0.0, 255.0) as u8).max(floor));
    }
    Some(if reals { End::Reals(numbers) } else { End::Bytes(Map { d: Dims::new(h, w, channels), data: bytes, zero }) })
}

/// All maps of a net, operation by operation.
fn reference_maps(lowered: &lower::Lowered, picture: &Map, weights: &Quantised) -> Option<Vec<Map>> {
    let mut maps: Vec<Map> = Vec::new();
    for map in 0..lowered.maps() {
        let (read, ops) = lowered.map_of(map);
        let input = match read.map(Input::maps) {
            None => picture.clone(),
            Some((fine, None)) => maps[fine].clone(),
            Some((fine, Some(coarse))) => {
                let (fine, coarse, sum) = (&maps[fine], &maps[coarse], &weights.sums[&format!("block{map}.sum")]);
                let (d, low) = (fine.d, coarse.d);
                let byte = |i: usize| {
                    let (y, x, c) = (i / d.c / d.w, i / d.c % d.w, i % d.c);
                    let at = ((y / 2).min(low.h - 1) * low.w + (x / 2).min(low.w - 1)) * low.c + c;
                    let real = f32::from(fine.data[i]) * sum.fine[c] + f32::from(coarse.data[at]) * sum.coarse[c];
                    (real + sum.offset[c]).round_ties_even().clamp(0.0, 255.0) as u8
                };
                Map { d, data: (0..d.len()).map(byte).collect(), zero: sum.zero.clone() }
            }
        };
        match reference(ops, input, weights, false)? {
            End::Bytes(made) => maps.push(made),
            End::Reals(_) => return None,
        }
    }
    Some(maps)
}

/// The weights in 8 bits, calibrated on `n` random pictures.
fn quantised(net: &Net, weights: &Weights, rng: &mut StdRng, n: usize) -> Quantised {
    let engine = cpu::Engine::new(net, weights).unwrap();
    let mut ranges = Ranges::default();
    let side = net.side;
    ranges.add(&engine, &random_input(rng, n * side * side * 3), (n, side, side));
    ranges.quantise(net, weights).unwrap()
}

/// Runs trunk and heads over `n` inputs in every instruction set and holds them equal to the reference, to the bit.
fn check(net: &Net, weights: &Quantised, rng: &mut StdRng, (n, h, w): (usize, usize, usize), scratch: &mut Scratch) {
    let input: Vec<u8> = (0..n * h * w * 3).map(|_| rng.random()).collect();
    let maps = input.chunks_exact(h * w * 3).map(|data| Map {
        d: Dims::new(h, w, 3),
        data: data.to_vec(),
        zero: vec![128; 3],
    });
    let lowered = net.lower(Purpose::Inference).unwrap();
    let features: Option<Vec<Vec<Map>>> = maps.map(|map| reference_maps(&lowered, &map, weights)).collect();
    for isa in Isa::available() {
        let engine = Engine::with_isa(net, weights, isa).unwrap();
        let what = format!("{net:?} over {n}×{h}×{w} in {isa:?}");
        let got = engine.trunk_rgb(&input, n, h, w, scratch);
        let Some(features) = features.as_ref().filter(|_| engine.whole || (h, w) == (net.side, net.side)) else {
            assert_eq!(got, None, "{what}");
            continue;
        };
        if n == 0 {
            continue;
        }
        assert_eq!(got, Some(features[0][0].d), "{what}");
        for head in &lowered.heads {
            let output = &head.output;
            let ends = |maps: &Vec<Map>| match reference(&head.ops, maps[head.from].clone(), weights, true) {
                Some(End::Reals(numbers)) => numbers,
                _ => Vec::new(),
            };
            let all: Vec<Vec<f32>> = features.iter().map(ends).collect();
            assert_eq!(engine.head(*output, None, scratch), all.concat(), "{what}");
            let rows: Vec<usize> = (0..n).rev().step_by(2).collect();
            let some: Vec<f32> = rows.iter().flat_map(|r| all[*r].clone()).collect();
            assert_eq!(engine.head(*output, Some(&rows), scratch), some, "{what}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_nets_give_the_same_bits_in_every_instruction_set_as_their_definition(
        trunk in prop::collection::vec(layer(1), 0..6),
        head in prop::collection::vec(layer(0), 0..2),
        side in 5usize..20,
        n in 0usize..15,
        wider in (0usize..9, 0usize..30),
        seed in any::<u64>(),
    ) {
        let trunk = fitting(trunk.concat(), Dims::new(side, side, 3));
        let features = dims_of(&trunk, Dims::new(side, side, 3)).unwrap();
        let mut head = fitting(head.concat(), features);
        head.push(Layer::Dense(2));
        let net = Net { name: "random", side, trunk, blocks: vec![], heads: vec![Head { output: Output::Face, from: 0, layers: head }] };
        let mut rng = StdRng::seed_from_u64(seed);
        let float = random_weights(&net, &mut rng);
        let weights = quantised(&net, &float, &mut rng, 2);
        let mut scratch = Scratch::default();
        check(&net, &weights, &mut rng, (n, side, side), &mut scratch);
        check(&net, &weights, &mut rng, (n % 3, side + wider.0, side + wider.1), &mut scratch);
        check(&net, &weights, &mut rng, (1, side, side), &mut scratch);
    }
}

#[test]
fn a_net_of_several_strides_gives_the_same_bits_as_its_definition_on_odd_sides_too() {
    let (net, mut rng, mut scratch) = (net_of_several_strides(), StdRng::seed_from_u64(8), Scratch::default());
    let float = random_weights(&net, &mut rng);
    let weights = quantised(&net, &float, &mut rng, 3);
    for (n, h, w) in [(3, 16, 16), (1, 45, 61), (2, 23, 17), (1, 8, 9), (9, 16, 16), (1, 7, 30), (1, 6, 6)] {
        check(&net, &weights, &mut rng, (n, h, w), &mut scratch);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = quantised::file(folder.path(), net.name);
    weights.save(&file).unwrap();
    assert_eq!(Quantised::load(&file).unwrap(), weights);
    let mut less = weights.clone();
    less.sums.get_mut("block3.sum").unwrap().offset.pop();
    assert!(less.check(&net, "some file").unwrap_err().to_string().contains("block3.sum"));
}

#[test]
fn every_net_of_the_zoo_says_in_8_bits_nearly_what_it_says_in_floats() {
    for name in zoo::NAMES {
        // Random weights of its own, whatever stands before it in the list.
        let mut rng = StdRng::seed_from_u64(name.bytes().map(u64::from).sum());
        let net = zoo::by_name(name).unwrap();
        let float = random_weights(&net, &mut rng);
        let weights = quantised(&net, &float, &mut rng, 90);
        let (n, side) = (12, net.side);
        let input: Vec<u8> = (0..n * side * side * 3).map(|_| rng.random()).collect();
        let (engine, in_floats) = (Engine::new(&net, &weights).unwrap(), cpu::Engine::new(&net, &float).unwrap());
        let (mut scratch, mut other) = (Scratch::default(), cpu::Scratch::default());
        engine.trunk_rgb(&input, n, side, side, &mut scratch).unwrap();
        in_floats.trunk_rgb(&input, n, side, side, &mut other).unwrap();
        for head in &net.heads {
            let got = engine.head(head.output, None, &mut scratch);
            let expected = in_floats.head(head.output, None, &mut other);
            let mean =
                |of: &dyn Fn(usize) -> f32| (0..got.len()).map(|i| of(i).powi(2)).sum::<f32>() / got.len() as f32;
            let (error, size) = (mean(&|i| got[i] - expected[i]), mean(&|i| expected[i]));
            assert!(error < 0.03 * size, "{name}, {:?}: {error} of {size}", head.output);
        }
    }
}

#[test]
fn floats_give_what_the_nearest_bytes_give() {
    let mut rng = StdRng::seed_from_u64(6);
    for name in ["octave", "refine24", "net24_mr"] {
        let net = zoo::by_name(name).unwrap();
        let float = random_weights(&net, &mut rng);
        let engine = Engine::new(&net, &quantised(&net, &float, &mut rng, 2)).unwrap();
        let bytes: Vec<u8> = (0..5 * 24 * 24 * 3).map(|_| rng.random()).collect();
        let floats: Vec<f32> =
            bytes.iter().map(|v| (f32::from(*v) - 127.5 + rng.random_range(-0.49..0.49)) / 128.0).collect();
        let (output, mut scratch) = (net.heads[0].output, Scratch::default());
        engine.trunk_rgb(&bytes, 5, 24, 24, &mut scratch).unwrap();
        let expected = engine.head(output, None, &mut scratch).to_vec();
        engine.trunk(&floats, 5, 24, 24, &mut scratch).unwrap();
        assert_eq!(engine.head(output, None, &mut scratch), expected, "{name}");
    }
}

#[test]
fn weights_survive_their_file_and_those_of_another_net_or_too_large_ones_are_refused() {
    let mut rng = StdRng::seed_from_u64(5);
    let net = zoo::refine24();
    let float = random_weights(&net, &mut rng);
    let mut weights = quantised(&net, &float, &mut rng, 2);
    let folder = tempfile::tempdir().unwrap();
    let file = quantised::file(folder.path(), net.name);
    weights.save(&file).unwrap();
    assert_eq!(Quantised::load(&file).unwrap(), weights);
    assert!(weights.is_made_from(&float) && !weights.is_made_from(&random_weights(&net, &mut rng)));
    assert!(Engine::new(&zoo::refine48(), &weights).is_err());
    let cut = std::fs::read(&file).unwrap();
    assert!(Quantised::from_bytes(&cut[..cut.len() / 2], "cut").unwrap_err().to_string().contains("cut"));
    weights.ops.get_mut("trunk.0").unwrap().bias[0] = i32::MAX;
    assert!(weights.check(&net, "some file").unwrap_err().to_string().contains("trunk.0"));
    let empty = Quantised { ops: BTreeMap::new(), ..Quantised::default() };
    assert!(empty.check(&net, "some file").unwrap_err().to_string().contains("missing"));
}

#[test]
fn a_head_that_ends_in_no_weights_is_refused() {
    let mut net = zoo::octave();
    net.heads[0].layers.push(Layer::MaxPool { size: 1, stride: 1, pad: 0 });
    let mut rng = StdRng::seed_from_u64(7);
    let float = random_weights(&net, &mut rng);
    let weights = quantised(&net, &float, &mut rng, 1);
    assert!(Engine::new(&net, &weights).unwrap_err().to_string().contains("ends a head"));
}
