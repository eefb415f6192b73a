pub(in crate::nets) mod strides;

use super::*;
use crate::nets::lower::dims_of;
use crate::nets::spec::{Head, Layer, steps};
use crate::nets::weights::{Array, NORM_EPSILON, head_path, path};
use crate::nets::zoo;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A map `[h, w, c]` of the plain reference.
#[derive(Clone)]
struct Map {
    d: Dims,
    data: Vec<f32>,
}

impl Map {
    fn filled(d: Dims, mut at: impl FnMut(usize, usize, usize) -> f32) -> Self {
        let mut data = Vec::with_capacity(d.len());
        for y in 0..d.h {
            for x in 0..d.w {
                data.extend((0..d.c).map(|c| at(y, x, c)));
            }
        }
        Self { d, data }
    }

    /// The number at a place of the padded map, or `None` on the border.
    fn get(&self, y: usize, x: usize, c: usize, pad: usize) -> Option<f32> {
        let (y, x) = (y.checked_sub(pad)?, x.checked_sub(pad)?);
        (y < self.d.h && x < self.d.w).then(|| self.data[(y * self.d.w + x) * self.d.c + c])
    }

    /// The numbers of one channel under a kernel; `None` on the border.
    fn square(
        &self,
        (y, x, c): (usize, usize, usize),
        (kh, kw): (usize, usize),
        stride: usize,
        pad: usize,
    ) -> Vec<Option<f32>> {
        let at = |i| self.get(y * stride + i / kw, x * stride + i % kw, c, pad);
        (0..kh * kw).map(at).collect()
    }
}

/// Dimensions behind one layer; batch norm, which can't stand alone, changes none.
fn after(layer: &Layer, d: Dims) -> Option<Dims> {
    if *layer == Layer::BatchNorm { Some(d) } else { dims_of(std::slice::from_ref(layer), d) }
}

/// Layer by layer as the definitions say. `window` is what one window gives these layers: a fully connected layer over
/// a larger map is a convolution with its size.
fn reference(layers: &[Layer], parent: &str, window: Dims, input: &Map, weights: &Weights) -> Option<Map> {
    let (mut d, mut map) = (window, input.clone());
    for (i, layer) in layers.iter().enumerate() {
        let name = path(parent, i);
        let get = |array: &str| weights.arrays.get(&format!("{name}.{array}")).map(|a: &Array| a.data.as_slice());
        let bias = |o: usize| get("bias").map_or(0.0, |b| b[o]);
        let over = |size: (usize, usize), stride, pad, c| {
            Some(Dims::new(steps(map.d.h, size.0, stride, pad)?, steps(map.d.w, size.1, stride, pad)?, c))
        };
        let linear = |size: (usize, usize), stride, pad, out: usize| {
            let weight = get("weight")?;
            let sum = |y, x, o| {
                let mut sum = bias(o);
                for c in 0..map.d.c {
                    for (t, v) in map.square((y, x, c), size, stride, pad).into_iter().enumerate() {
                        sum += v.unwrap_or(0.0) * weight[(t * map.d.c + c) * out + o];
                    }
                }
                sum
            };
            Some(Map::filled(over(size, stride, pad, out)?, sum))
        };
        let next = match layer {
            Layer::Conv { out, kernel, stride, pad } => linear((*kernel, *kernel), *stride, *pad, *out)?,
            Layer::Dense(out) => linear((d.h, d.w), 1, 0, *out)?,
            Layer::Depthwise { kernel, stride, pad } => {
                let weight = get("weight")?;
                Map::filled(over((*kernel, *kernel), *stride, *pad, map.d.c)?, |y, x, c| {
                    let square = map.square((y, x, c), (*kernel, *kernel), *stride, *pad).into_iter().enumerate();
                    bias(c) + square.map(|(t, v)| v.unwrap_or(0.0) * weight[t * map.d.c + c]).sum::<f32>()
                })
            }
            Layer::MaxPool { size, stride, pad } => {
                Map::filled(over((*size, *size), *stride, *pad, map.d.c)?, |y, x, c| {
                    let square = map.square((y, x, c), (*size, *size), *stride, *pad);
                    square.into_iter().flatten().max_by(f32::total_cmp).unwrap_or(f32::NEG_INFINITY)
                })
            }
            Layer::AveragePool(n) => Map::filled(over((*n, *n), *n, 0, map.d.c)?, |y, x, c| {
                map.square((y, x, c), (*n, *n), *n, 0).into_iter().flatten().sum::<f32>() / (n * n) as f32
            }),
            Layer::BatchNorm => {
                let (scale, shift, mean, variance) = (get("scale")?, get("shift")?, get("mean")?, get("variance")?);
                Map::filled(map.d, |y, x, c| {
                    let v = map.get(y, x, c, 0).unwrap();
                    (v - mean[c]) / (variance[c] + NORM_EPSILON).sqrt() * scale[c] + shift[c]
                })
            }
            Layer::Relu => Map { data: map.data.iter().map(|v| v.max(0.0)).collect(), ..map },
            Layer::Dropout(_) => map.clone(),
            Layer::Flatten => Map::filled(over((d.h, d.w), 1, 0, d.len())?, |y, x, i| {
                map.get(y + i / d.c / d.w, x + i / d.c % d.w, i % d.c, 0).unwrap()
            }),
            Layer::Branches(branches) => {
                let ends: Option<Vec<Map>> = (0..)
                    .zip(branches)
                    .map(|(b, layers)| reference(layers, &path(&name, b), d, &map, weights))
                    .collect();
                let ends = ends?;
                let first = ends[0].d;
                if ends.iter().any(|e| (e.d.h, e.d.w) != (first.h, first.w)) {
                    return None;
                }
                let all = Dims { c: ends.iter().map(|e| e.d.c).sum(), ..first };
                Map::filled(all, |y, x, mut c| {
                    let end = ends
                        .iter()
                        .find(|e| {
                            c < e.d.c || {
                                c -= e.d.c;
                                false
                            }
                        })
                        .unwrap();
                    end.get(y, x, c, 0).unwrap()
                })
            }
        };
        map = next;
        d = after(layer, d)?;
    }
    Some(map)
}

/// All maps of a net, as its definition says.
fn reference_maps(net: &Net, lowered: &Lowered, input: &Map, weights: &Weights) -> Option<Vec<Map>> {
    let mut maps = vec![reference(&net.trunk, "trunk", net.window(), input, weights)?];
    for (i, block) in net.blocks.iter().enumerate() {
        let (fine, coarse) = block.input.maps();
        let map = match coarse.map(|coarse| &maps[coarse]) {
            None => maps[fine].clone(),
            Some(coarse) => Map::filled(maps[fine].d, |y, x, c| {
                let (top, left) = ((y / 2).min(coarse.d.h - 1), (x / 2).min(coarse.d.w - 1));
                maps[fine].get(y, x, c, 0).unwrap() + coarse.get(top, left, c, 0).unwrap()
            }),
        };
        let window = lowered.map_of(fine).1.output;
        maps.push(reference(&block.layers, &format!("block{}", i + 1), window, &map, weights)?);
    }
    Some(maps)
}

pub(in crate::nets) fn random_weights(net: &Net, rng: &mut StdRng) -> Weights {
    let mut weights = Weights::initial(net, || rng.random_range(-1.7..1.7));
    for (name, array) in &mut weights.arrays {
        let range = match name.rsplit('.').next().unwrap() {
            "weight" => continue,
            "scale" | "variance" => 0.5..1.5,
            _ => -0.5..0.5,
        };
        array.data.iter_mut().for_each(|v| *v = rng.random_range(range.clone()));
    }
    weights
}

pub(in crate::nets) fn random_input(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let most = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= 2e-4 * most, "{what}: number {i} is {g}, not {e}");
    }
}

/// Runs trunk and heads over `n` inputs in every instruction set and holds them against the reference.
fn check(net: &Net, weights: &Weights, rng: &mut StdRng, (n, h, w): (usize, usize, usize), scratch: &mut Scratch) {
    let input = random_input(rng, n * h * w * 3);
    let maps = input.chunks_exact(h * w * 3).map(|data| Map { d: Dims::new(h, w, 3), data: data.to_vec() });
    let lowered = net.lower(Purpose::Inference).unwrap();
    let features: Option<Vec<Vec<Map>>> = maps.map(|m| reference_maps(net, &lowered, &m, weights)).collect();
    for isa in Isa::available() {
        let engine = Engine::with_isa(net, weights, isa).unwrap();
        let what = format!("{net:?} over {n}×{h}×{w} in {isa:?}");
        let got = engine.trunk(&input, n, h, w, scratch);
        if engine.stride.is_none() && (h, w) != (net.side, net.side) {
            assert_eq!(got, None);
            continue;
        }
        let Some(features) = &features else {
            assert_eq!(got, None, "{what}");
            continue;
        };
        if n == 0 && got.is_none() {
            // Without an input the reference can't say whether its size would do.
            continue;
        }
        let expected = features.first().map_or(got, |f| Some(f[0].d));
        assert_eq!(got, expected, "{what}");
        for head in &net.heads {
            let window = lowered.map_of(head.from).1.output;
            let ends = |f: &Vec<Map>| {
                let name = head_path(head.output);
                reference(&head.layers, &name, window, &f[head.from], weights).map_or(vec![], |m| m.data)
            };
            let all: Vec<Vec<f32>> = features.iter().map(ends).collect();
            assert_close(engine.head(head.output, None, scratch), &all.concat(), &what);
            let rows: Vec<usize> = (0..n).rev().step_by(2).collect();
            let some: Vec<f32> = rows.iter().flat_map(|r| all[*r].clone()).collect();
            assert_close(engine.head(head.output, Some(&rows), scratch), &some, &what);
        }
    }
}

pub(in crate::nets) fn layer(depth: u32) -> BoxedStrategy<Vec<Layer>> {
    let out = prop::sample::select(vec![1usize, 3, 8, 12, 16, 20, 32, 37, 48]);
    let kernel = prop::sample::select(vec![1usize, 1, 2, 3, 3, 5]);
    let tail = prop::sample::select(vec![
        vec![],
        vec![Layer::Relu],
        vec![Layer::BatchNorm],
        vec![Layer::BatchNorm, Layer::Relu],
    ]);
    let conv = (out.clone(), kernel.clone(), 1usize..3, 0usize..3, tail.clone())
        .prop_map(|(out, kernel, stride, pad, tail)| [vec![Layer::Conv { out, kernel, stride, pad }], tail].concat());
    let depthwise = (kernel.clone(), 1usize..3, 0usize..3, tail.clone())
        .prop_map(|(kernel, stride, pad, tail)| [vec![Layer::Depthwise { kernel, stride, pad }], tail].concat());
    let pool =
        (2usize..4, 1usize..4, 0usize..2).prop_map(|(size, stride, pad)| vec![Layer::MaxPool { size, stride, pad }]);
    let dense = (out, tail).prop_map(|(out, tail)| [vec![Layer::Dense(out)], tail].concat());
    let others = prop::sample::select(vec![
        Layer::Relu,
        Layer::AveragePool(2),
        Layer::AveragePool(3),
        Layer::Dropout(0.5),
        Layer::Flatten,
    ]);
    let others = others.prop_map(|layer| vec![layer]);
    if depth == 0 {
        prop_oneof![4 => conv, 4 => depthwise, 2 => pool, 2 => others, 1 => dense].boxed()
    } else {
        let branch = prop::collection::vec(layer(depth - 1), 0..3).prop_map(|l| l.concat());
        let branches = prop::collection::vec(branch, 1..4).prop_map(|b| vec![Layer::Branches(b)]);
        prop_oneof![4 => conv, 4 => depthwise, 2 => pool, 2 => others, 1 => dense, 2 => branches].boxed()
    }
}

/// Those of the proposed layers that fit, as far as they stay affordable.
pub(in crate::nets) fn fitting(proposed: Vec<Layer>, mut d: Dims) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for layer in proposed {
        let layer = match layer {
            // Branches of equal size only come about by luck: make them so with a fully connected layer.
            Layer::Branches(branches) => {
                let mut branches: Vec<_> = branches.into_iter().map(|b| fitting(b, d)).collect();
                if after(&Layer::Branches(branches.clone()), d).is_none() {
                    branches.iter_mut().for_each(|b| b.push(Layer::Dense(5)));
                }
                Layer::Branches(branches)
            }
            layer => layer,
        };
        let stands = layer != Layer::BatchNorm || layers.last().is_some_and(Layer::takes_norm);
        let next = after(&layer, d).filter(|n| !n.is_empty() && n.len() < 12_000);
        // A window of border only has no greatest: nets don't do that.
        let bare = matches!(layer, Layer::MaxPool { size, pad, stride } if pad >= size || pad > 0 && stride > size);
        if let (Some(next), true, false) = (next, stands, bare) {
            layers.push(layer);
            d = next;
        }
    }
    layers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_nets_give_what_their_definition_says_on_windows_and_on_pictures(
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
        let weights = random_weights(&net, &mut rng);
        let mut scratch = Scratch::default();
        check(&net, &weights, &mut rng, (n, side, side), &mut scratch);
        check(&net, &weights, &mut rng, (n % 3, side + wider.0, side + wider.1), &mut scratch);
        check(&net, &weights, &mut rng, (1, side, side), &mut scratch);
    }
}

#[test]
fn every_net_of_the_zoo_gives_what_its_definition_says() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut scratch = Scratch::default();
    for name in zoo::NAMES {
        let net = zoo::by_name(name).unwrap();
        let weights = random_weights(&net, &mut rng);
        let n = if net.multiply_adds(net.side, net.side) > 5_000_000 { 1 } else { 7 };
        check(&net, &weights, &mut rng, (n, net.side, net.side), &mut scratch);
        if n > 1 {
            check(&net, &weights, &mut rng, (2, net.side + 5, net.side + 9), &mut scratch);
        }
    }
}

#[test]
fn net12_over_a_picture_equals_window_by_window_at_its_stride() {
    let net = zoo::by_name("net12").unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let weights = random_weights(&net, &mut rng);
    let (h, w) = (42, 58);
    let picture = random_input(&mut rng, h * w * 3);
    for isa in Isa::available() {
        let engine = Engine::with_isa(&net, &weights, isa).unwrap();
        assert_eq!(engine.stride(), 2);
        let mut scratch = Scratch::default();
        let cells = engine.trunk(&picture, 1, h, w, &mut scratch).unwrap();
        assert_eq!((cells.h, cells.w), ((h - 12) / 2 + 1, (w - 12) / 2 + 1));
        let all = engine.head(Output::Face, None, &mut scratch).to_vec();
        let mut windows = Vec::new();
        for cell in 0..cells.h * cells.w {
            let (y, x) = (cell / cells.w * 2, cell % cells.w * 2);
            (y..y + 12).for_each(|y| windows.extend_from_slice(&picture[(y * w + x) * 3..][..36]));
        }
        engine.trunk(&windows, cells.h * cells.w, 12, 12, &mut scratch).unwrap();
        assert_close(engine.head(Output::Face, None, &mut scratch), &all, &format!("{isa:?}"));
    }
}

#[test]
fn bytes_give_exactly_what_their_normalised_floats_give() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut scratch = Scratch::default();
    let dense_first = Net { trunk: vec![Layer::Dense(9)], ..zoo::refine24() };
    let nets = ["octave", "refine24", "net24_mr"].map(|name| zoo::by_name(name).unwrap());
    for net in nets.into_iter().chain([dense_first]) {
        let weights = random_weights(&net, &mut rng);
        let bytes: Vec<u8> = (0..5 * 24 * 24 * 3).map(|_| rng.random()).collect();
        let floats: Vec<f32> = bytes.iter().map(|v| (f32::from(*v) - 127.5) / 128.0).collect();
        for isa in Isa::available() {
            let engine = Engine::with_isa(&net, &weights, isa).unwrap();
            let output = net.heads[0].output;
            engine.trunk(&floats, 5, 24, 24, &mut scratch).unwrap();
            let expected = engine.head(output, None, &mut scratch).to_vec();
            engine.trunk_rgb(&bytes, 5, 24, 24, &mut scratch).unwrap();
            assert_close(engine.head(output, None, &mut scratch), &expected, &format!("{} {isa:?}", net.name));
        }
    }
}

#[test]
fn an_input_too_small_for_one_cell_gives_nothing() {
    let net = zoo::by_name("net12").unwrap();
    let weights = random_weights(&net, &mut StdRng::seed_from_u64(3));
    let engine = Engine::new(&net, &weights).unwrap();
    assert_eq!(engine.trunk(&[0.0; 10 * 40 * 3], 1, 10, 40, &mut Scratch::default()), None);
    assert_eq!(engine.multiply_adds(10, 40), 0);
}

#[test]
fn multiply_adds_are_those_of_the_net() {
    for name in zoo::NAMES {
        let net = zoo::by_name(name).unwrap();
        let weights = random_weights(&net, &mut StdRng::seed_from_u64(4));
        let engine = Engine::new(&net, &weights).unwrap();
        assert_eq!(engine.multiply_adds(net.side, net.side), net.multiply_adds(net.side, net.side), "{name}");
    }
}

#[test]
fn weights_of_another_net_are_refused() {
    let weights = random_weights(&zoo::refine24(), &mut StdRng::seed_from_u64(5));
    assert!(Engine::new(&zoo::refine48(), &weights).is_err());
}
