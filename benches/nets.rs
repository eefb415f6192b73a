//! How fast the nets run, one thread: every net of the zoo on windows, one and a batch of 64, and the octave net over
//! the pyramid of a VGA frame; on our engine (`cpu`), on candle with our ops (`own`) and on candle's (`stock`).
//! Throughput is in multiply-adds; weights are random, as time does not depend on them.
//!
//! Compare engines within one run only: whatever else the machine does slows all of them.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput};
use facecascade::nets::candle::{Mode, Model, Ops};
use facecascade::nets::cpu::{Engine, Scratch};
use facecascade::nets::spec::Net;
use facecascade::nets::weights::Weights;
use facecascade::nets::zoo;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Levels of the pyramid of a 640 × 480 frame for faces from 20 pixels on: rows and columns.
const VGA_LEVELS: [(usize, usize); 6] = [(288, 384), (144, 192), (72, 96), (36, 48), (18, 24), (9, 12)];

/// A batch of `n` pictures `[n, h, w, 3]`.
struct Input {
    data: Vec<f32>,
    n: usize,
    h: usize,
    w: usize,
}

/// A net on an engine, trunk and heads, with the inputs that follow each other.
type Run = Box<dyn FnMut()>;

fn cpu(net: &Net, weights: &Weights, inputs: &[Input]) -> Run {
    let engine = Engine::new(net, weights).expect("random weights fit");
    let mut scratch = Scratch::default();
    let inputs: Vec<_> = inputs.iter().map(|i| (i.data.clone(), i.n, i.h, i.w)).collect();
    Box::new(move || {
        for (data, n, h, w) in &inputs {
            engine.trunk(black_box(data), *n, *h, *w, &mut scratch).expect("the input is large enough");
            for head in &engine.net().heads {
                black_box(engine.head(head.output, None, &mut scratch));
            }
        }
    })
}

fn candle(net: &Net, weights: &Weights, inputs: &[Input], ops: Ops) -> Run {
    let model = Model::new(net, weights, ops, &Device::Cpu).expect("random weights fit");
    let tensor =
        |i: &Input| Tensor::from_slice(&i.data, (i.n, i.h, i.w, 3), &Device::Cpu).expect("shape and data agree");
    let inputs: Vec<Tensor> = inputs.iter().map(tensor).collect();
    Box::new(move || {
        for input in &inputs {
            black_box(model.forward(black_box(input), &mut Mode::Inference).expect("the input is large enough"));
        }
    })
}

fn nets(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    for name in zoo::NAMES {
        let Some(net) = zoo::by_name(name) else { continue };
        let weights = Weights::initial(&net, || rng.random_range(-1.0..1.0));
        let cases = if name == "octave" {
            vec![("vga".to_owned(), 1, VGA_LEVELS.to_vec())]
        } else {
            [1, 64].map(|n| (format!("{n} windows"), n, vec![(net.side, net.side)])).into()
        };
        let mut group = criterion.benchmark_group(name);
        for (case, n, sizes) in cases {
            let mut data = |len| (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
            let inputs: Vec<Input> = sizes.iter().map(|&(h, w)| Input { data: data(n * h * w * 3), n, h, w }).collect();
            let multiply_adds = inputs.iter().map(|i| i.n as u64 * net.multiply_adds(i.h, i.w)).sum();
            group.throughput(Throughput::Elements(multiply_adds));
            let runs = [
                ("cpu", cpu(&net, &weights, &inputs)),
                ("own", candle(&net, &weights, &inputs, Ops::Own)),
                ("stock", candle(&net, &weights, &inputs, Ops::Stock)),
            ];
            for (engine, mut run) in runs {
                group.bench_function(format!("{engine} {case}"), |b| b.iter(&mut run));
            }
        }
        group.finish();
    }
}

fn main() {
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: nothing has started a thread yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(variable, "1") };
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    nets(&mut criterion);
    criterion.final_summary();
}
