//! How fast the nets run, one thread: every net of the zoo on windows, one and a batch of 64, and the octave net over
//! the pyramid of a VGA frame. Throughput is in multiply-adds; weights are random, as time does not depend on them.
//!
//! Compare engines within one run only: whatever else the machine does slows all of them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use facecascade::nets::cpu::{Engine, Scratch};
use facecascade::nets::spec::Net;
use facecascade::nets::weights::Weights;
use facecascade::nets::zoo;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Something that runs a net, trunk and heads, over `n` inputs `[n, h, w, 3]`.
struct Entry {
    name: &'static str,
    run: Box<dyn FnMut(&[f32], usize, usize, usize)>,
}

/// All engines for one net; a further one is one more entry.
fn entries(net: &Net, weights: &Weights) -> Vec<Entry> {
    vec![fast(net, weights)]
}

fn fast(net: &Net, weights: &Weights) -> Entry {
    let engine = Engine::new(net, weights).expect("random weights fit");
    let mut scratch = Scratch::default();
    let run = move |input: &[f32], n, h, w| {
        engine.trunk(black_box(input), n, h, w, &mut scratch).expect("the input is large enough");
        for head in &engine.net().heads {
            black_box(engine.head(head.output, None, &mut scratch));
        }
    };
    Entry { name: "cpu", run: Box::new(run) }
}

/// Levels of the pyramid of a 640 × 480 frame for faces from 20 pixels on: rows and columns.
const VGA_LEVELS: [(usize, usize); 6] = [(288, 384), (144, 192), (72, 96), (36, 48), (18, 24), (9, 12)];

fn nets(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    for name in zoo::NAMES {
        let Some(net) = zoo::by_name(name) else { continue };
        let weights = Weights::initial(&net, || rng.random_range(-1.0..1.0));
        let cases: Vec<(String, usize, Vec<(usize, usize)>)> = if name == "octave" {
            vec![("vga".into(), 1, VGA_LEVELS.to_vec())]
        } else {
            [1, 64].map(|n| (format!("{n} windows"), n, vec![(net.side, net.side)])).into()
        };
        let mut group = c.benchmark_group(name);
        for (case, n, sizes) in cases {
            let inputs: Vec<Vec<f32>> =
                sizes.iter().map(|(h, w)| (0..n * h * w * 3).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
            let multiply_adds: u64 = sizes.iter().map(|(h, w)| n as u64 * net.multiply_adds(*h, *w)).sum();
            group.throughput(Throughput::Elements(multiply_adds));
            for mut entry in entries(&net, &weights) {
                group.bench_function(format!("{} {case}", entry.name), |b| {
                    b.iter(|| {
                        for (input, (h, w)) in inputs.iter().zip(&sizes) {
                            (entry.run)(input, n, *h, *w);
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2)).sample_size(20);
    targets = nets
}
criterion_main!(benches);
