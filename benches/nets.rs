//! Measures the nets on one thread: each net of the zoo on one window, on 16 and on 64, but the octave net on the pyramid of a
//! frame of 640×480 pixels, and yunet on that frame at half its size. Engines: `int8` is our own in 8 bits, `cpu` our own in floats, `own` is
//! candle with our ops, `stock` is candle with its own.
//! Throughput is in multiply-adds. Weights are random, as the time does not depend on them.
//!
//! `PEERS=DIR PEERS_PYTHON=DIR/bin/python cargo bench --bench nets` measures the published YuNet on ONNX Runtime, too, beside ours:
//! `onnxruntime`. DIR holds peers.py and its weights; the Python has its requirements.
//!
//! Compare engines within one run only: whatever else the machine does slows all of them.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput};
use facecascade::nets::candle::{Mode, Model, Ops};
use facecascade::nets::cpu::{Engine, Scratch};
use facecascade::nets::int8::{self, calibrate::Ranges};
use facecascade::nets::spec::Net;
use facecascade::nets::weights::Weights;
use facecascade::nets::zoo;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Rows and columns of each level of the pyramid of a 640×480 frame, for a smallest face of 20 pixels.
const VGA_LEVELS: [(usize, usize); 6] = [(288, 384), (144, 192), (72, 96), (36, 48), (18, 24), (9, 12)];

/// Rows and columns of a 640×480 frame as `yunet` sees it, for a smallest face of 20 pixels: in multiples of 32, the only sizes that
/// its published file takes.
const HALF_VGA: (usize, usize) = (256, 320);

/// A batch of `n` pictures `[n, h, w, 3]`.
#[derive(Clone)]
struct Input {
    /// As bytes, which is how pictures reach the nets that look at whole ones.
    bytes: Vec<u8>,
    /// The same, normalised, which is how windows reach their nets.
    data: Vec<f32>,
    n: usize,
    h: usize,
    w: usize,
}

/// Runs trunk and heads of a net on all inputs, one after the other, on one engine.
type Run = Box<dyn FnMut()>;

/// One of our engines, in floats or in 8 bits, on all inputs: windows come normalised, pictures as bytes.
macro_rules! run_of_engine {
    ($engine:ident, $scratch:ident, $inputs:ident) => {{
        let (inputs, mut scratch) = ($inputs.to_vec(), $scratch);
        Box::new(move || {
            for Input { bytes, data, n, h, w } in &inputs {
                let dims = if (*h, *w) == ($engine.net().side, $engine.net().side) {
                    $engine.trunk(black_box(data), *n, *h, *w, &mut scratch)
                } else {
                    $engine.trunk_rgb(black_box(bytes), *n, *h, *w, &mut scratch)
                };
                dims.expect("the input is large enough");
                for head in &$engine.net().heads {
                    black_box($engine.head(head.output, None, &mut scratch));
                }
            }
        })
    }};
}

/// The net on our own engine.
fn cpu(net: &Net, weights: &Weights, inputs: &[Input]) -> Run {
    let engine = Engine::new(net, weights).expect("random weights fit");
    let scratch = Scratch::default();
    run_of_engine!(engine, scratch, inputs)
}

/// The net on our own engine in 8 bits, calibrated on one of the inputs.
fn int8(net: &Net, weights: &Weights, inputs: &[Input]) -> Run {
    let mut ranges = Ranges::default();
    if let Some(Input { data, n, h, w, .. }) = inputs.last() {
        ranges.add(&Engine::new(net, weights).expect("random weights fit"), data, (*n, *h, *w));
    }
    let quantised = ranges.quantise(net, weights).expect("all layers were seen");
    let engine = int8::Engine::new(net, &quantised).expect("just made");
    let scratch = int8::Scratch::default();
    run_of_engine!(engine, scratch, inputs)
}

/// The net on candle.
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

/// The published YuNet on ONNX Runtime, in a process of its own that runs it as often as it is told.
struct Published {
    process: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Published {
    /// Starts it, if the environment names a folder with other detectors.
    ///
    /// # Panics
    /// If it does not start: the process has said why.
    fn start((h, w): (usize, usize)) -> Option<Self> {
        let peers = std::env::var("PEERS").ok().filter(|peers| !peers.is_empty())?;
        let python = std::env::var("PEERS_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut process = Command::new(&python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/bench_net.py"))
            .args([peers, h.to_string(), w.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} (PEERS_PYTHON): {error}"));
        let answers = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut published = Self { process, answers };
        published.answer();
        Some(published)
    }

    fn run(&mut self, times: u64) -> Duration {
        writeln!(self.process.stdin.as_ref().expect("piped"), "{times}").expect("the process listens");
        Duration::from_nanos(self.answer().parse().expect("nanoseconds"))
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("tools/bench_net.py ended early").expect("its answers are text")
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

fn nets(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    for name in zoo::NAMES {
        let Some(net) = zoo::by_name(name) else { continue };
        let weights = Weights::initial(&net, || rng.random_range(-1.0..1.0));
        let cases = match name {
            "octave" => vec![("vga".to_owned(), 1, VGA_LEVELS.to_vec())],
            "yunet" => vec![("vga".to_owned(), 1, vec![HALF_VGA])],
            _ => [1, 16, 64].map(|n| (format!("{n} windows"), n, vec![(net.side, net.side)])).into(),
        };
        let mut group = criterion.benchmark_group(name);
        for (case, n, sizes) in cases {
            let mut input = |(h, w)| {
                let bytes: Vec<u8> = (0..n * h * w * 3).map(|_| rng.random()).collect();
                let data = bytes.iter().map(|v| (f32::from(*v) - 127.5) / 128.0).collect();
                Input { bytes, data, n, h, w }
            };
            let inputs: Vec<Input> = sizes.iter().map(|&size| input(size)).collect();
            let multiply_adds = inputs.iter().map(|i| i.n as u64 * net.multiply_adds(i.h, i.w)).sum();
            group.throughput(Throughput::Elements(multiply_adds));
            let runs = [
                ("int8", int8(&net, &weights, &inputs)),
                ("cpu", cpu(&net, &weights, &inputs)),
                ("own", candle(&net, &weights, &inputs, Ops::Own)),
                ("stock", candle(&net, &weights, &inputs, Ops::Stock)),
            ];
            for (engine, mut run) in runs {
                group.bench_function(format!("{engine} {case}"), |b| b.iter(&mut run));
            }
            if name == "yunet"
                && let Some(mut published) = Published::start(HALF_VGA)
            {
                group.bench_function(format!("onnxruntime {case}"), |b| b.iter_custom(|times| published.run(times)));
            }
        }
        group.finish();
    }
}

fn main() {
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: no other thread runs yet that could read the environment at the same time.
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
