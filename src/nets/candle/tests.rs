//! Gradients against finite differences, our ops against candle's.

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::nets::spec::{Block, Head, Layer};
use crate::nets::zoo;

fn net(trunk: Vec<Layer>) -> Net {
    Net {
        name: "test",
        side: 9,
        trunk,
        blocks: vec![],
        heads: vec![Head { output: Output::Box, from: 0, layers: vec![Layer::Dense(4)] }],
    }
}

fn random(rng: &mut StdRng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn weights(net: &Net, rng: &mut StdRng) -> Weights {
    let mut weights = Weights::initial(net, || rng.random_range(-1.5..1.5));
    for (name, array) in &mut weights.arrays {
        // Norms and biases that differ from their first values, so that a mistake in them shows.
        if name.ends_with("scale") || name.ends_with("variance") {
            array.data.iter_mut().for_each(|v| *v = rng.random_range(0.5..1.5));
        } else if !name.ends_with("weight") {
            array.data.iter_mut().for_each(|v| *v = rng.random_range(-0.5..0.5));
        }
    }
    weights
}

fn loss(model: &Model, x: &Tensor, target: &Tensor) -> Tensor {
    let mut rng = StdRng::seed_from_u64(5);
    let mut mode = Mode::Training { rng: &mut rng, stats: Vec::new() };
    let heads = model.forward(x, &mut mode).unwrap();
    let flat: Vec<Tensor> = heads.iter().map(|(_, head)| head.flatten_all().unwrap()).collect();
    (Tensor::cat(&flat, 0).unwrap() * target).unwrap().sum_all().unwrap()
}

/// Checks d loss / d every trained array at some places, against (loss(+h) − loss(−h)) / 2h.
fn check_gradients(trunk: Vec<Layer>) {
    let net = net(trunk);
    for ops in [Ops::Own, Ops::Stock] {
        check_gradients_on(&net, ops);
    }
}

fn check_gradients_on(net: &Net, ops: Ops) {
    let mut rng = StdRng::seed_from_u64(7);
    let model = Model::new(net, &weights(net, &mut rng), ops, &Device::Cpu).unwrap();
    let side = net.side;
    let x = random(&mut rng, 3 * net.window().len());
    let x = Tensor::from_vec(x, (3, side, side, 3), &Device::Cpu).unwrap();
    let outputs: usize = net.lower(Purpose::Inference).unwrap().heads.iter().map(|head| head.ops.output.len()).sum();
    let target = Tensor::from_vec(random(&mut rng, 3 * outputs), 3 * outputs, &Device::Cpu).unwrap();
    let gradients = loss(&model, &x, &target).backward().unwrap();
    let mut checked = 0;
    for slot in model.trained_slots() {
        let var = model.var(&slot.name).unwrap();
        let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let whole = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let scale = gradient.iter().map(|g| g.abs()).fold(0.05, f32::max);
        let mut off = 0;
        let places = 12;
        for _ in 0..places {
            let at = rng.random_range(0..whole.len());
            let shifted = |h: f32| {
                let mut moved = whole.clone();
                moved[at] += h;
                model.set(&slot.name, &moved).unwrap();
                loss(&model, &x, &target).to_scalar::<f32>().unwrap()
            };
            let h = 2e-3;
            let numeric = (shifted(h) - shifted(-h)) / (2.0 * h);
            // A ReLU or a maximum may switch within ±h at a few places; a wrong gradient is wrong nearly everywhere.
            off += usize::from((numeric - gradient[at]).abs() > 0.04 * scale);
            checked += 1;
        }
        assert!(off <= places / 4, "{ops:?}, {}: {off} of {places} places differ", slot.name);
        model.set(&slot.name, &whole).unwrap();
    }
    assert!(checked > 0);
}

fn conv(out: usize, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Conv { out, kernel, stride, pad }
}

fn depthwise(kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Depthwise { kernel, stride, pad }
}

#[test]
fn gradients_of_convolutions_are_right() {
    check_gradients(vec![conv(5, 3, 1, 0), Layer::Relu, conv(18, 3, 2, 1)]);
    check_gradients(vec![conv(17, 1, 1, 0), conv(3, 5, 2, 2), conv(4, 1, 2, 0)]);
}

#[test]
fn gradients_of_depthwise_convolutions_are_right() {
    check_gradients(vec![conv(6, 1, 1, 0), depthwise(3, 1, 1), Layer::Relu, depthwise(3, 2, 1), depthwise(2, 1, 0)]);
    check_gradients(vec![conv(19, 1, 1, 0), depthwise(5, 2, 2), conv(3, 3, 1, 1)]);
}

#[test]
fn gradients_of_batch_norm_are_right() {
    let norm = Layer::BatchNorm;
    check_gradients(vec![
        conv(18, 3, 1, 0),
        norm.clone(),
        Layer::Relu,
        depthwise(3, 2, 1),
        norm.clone(),
        conv(5, 1, 1, 0),
        norm,
    ]);
}

#[test]
fn gradients_of_pooling_are_right() {
    let pool = |size, stride, pad| Layer::MaxPool { size, stride, pad };
    check_gradients(vec![conv(6, 1, 1, 0), pool(3, 2, 0), conv(4, 1, 1, 0), pool(2, 2, 0)]);
    check_gradients(vec![conv(6, 1, 1, 0), pool(3, 2, 1), Layer::AveragePool(2)]);
}

#[test]
fn gradients_of_dense_layers_dropout_and_branches_are_right() {
    let branches = vec![vec![conv(3, 3, 2, 1), Layer::Relu], vec![Layer::AveragePool(1), conv(4, 1, 2, 0)]];
    let dense = [Layer::Dense(11), Layer::BatchNorm, Layer::Relu, Layer::Dropout(0.3), Layer::Dense(6), Layer::Relu];
    check_gradients([vec![Layer::Branches(branches)], dense.to_vec()].concat());
}

#[test]
fn gradients_of_a_net_of_several_strides_are_right() {
    let unit = |out| vec![conv(out, 1, 1, 0), depthwise(3, 1, 1), Layer::BatchNorm, Layer::Relu];
    let half = || vec![Layer::MaxPool { size: 2, stride: 2, pad: 0 }];
    let sum = |fine, coarse| Block { input: Input::Sum { fine, coarse }, layers: unit(18) };
    let head = |stride, from| {
        let layers = [unit(18), vec![conv(6, 1, 1, 0), depthwise(3, 1, 1)]].concat();
        Head { output: Output::Cells(stride), from, layers }
    };
    // 18 channels, so that vectors have a rest; 11 pixels, so that sums have odd ends.
    let net = Net {
        name: "test",
        side: 11,
        trunk: [vec![conv(18, 3, 1, 1), Layer::BatchNorm, Layer::Relu], unit(18)].concat(),
        blocks: vec![
            Block { input: Input::Map(0), layers: [half(), unit(18)].concat() },
            Block { input: Input::Map(1), layers: [half(), unit(18)].concat() },
            sum(1, 2),
            sum(0, 3),
        ],
        heads: vec![head(1, 4), head(2, 3), head(4, 2)],
    };
    for ops in [Ops::Own, Ops::Stock] {
        check_gradients_on(&net, ops);
    }
}

#[test]
fn every_net_gives_the_same_on_our_ops_and_on_candles() {
    for name in zoo::NAMES {
        check_same(&zoo::by_name(name).unwrap(), name);
    }
}

#[test]
fn every_layer_gives_the_same_on_our_ops_and_on_candles() {
    let pool = |size, stride, pad| Layer::MaxPool { size, stride, pad };
    let layers = [
        vec![conv(19, 1, 1, 0)],
        vec![conv(7, 3, 2, 1), Layer::BatchNorm, Layer::Relu],
        vec![depthwise(3, 1, 1)],
        vec![depthwise(2, 2, 0), Layer::BatchNorm],
        vec![pool(2, 2, 0)],
        vec![pool(3, 2, 1)],
        vec![Layer::AveragePool(2)],
        vec![Layer::AveragePool(3), Layer::Relu],
        vec![Layer::Flatten, Layer::Dense(11), Layer::BatchNorm, Layer::Relu],
        vec![Layer::Branches(vec![vec![conv(3, 3, 2, 1)], vec![pool(3, 2, 1), conv(4, 1, 1, 0)]])],
    ];
    for layers in layers {
        let what = format!("{layers:?}");
        check_same(&net([vec![conv(5, 1, 1, 0)], layers].concat()), &what);
    }
}

/// Checks that our ops and candle's give the same outputs.
fn check_same(net: &Net, what: &str) {
    let mut rng = StdRng::seed_from_u64(3);
    let weights = weights(net, &mut rng);
    let x = random(&mut rng, 2 * net.window().len());
    let x = Tensor::from_vec(x, (2, net.side, net.side, 3), &Device::Cpu).unwrap();
    let run = |ops| Model::new(net, &weights, ops, &Device::Cpu).unwrap().forward(&x, &mut Mode::Inference).unwrap();
    for ((output, own), (_, stock)) in run(Ops::Own).into_iter().zip(run(Ops::Stock)) {
        let size = stock.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let worst = (own - stock).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst <= 1e-4 * size.max(1.0), "{what} {output:?}: {worst} of {size}");
    }
}
