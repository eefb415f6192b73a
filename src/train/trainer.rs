//! The training loop: samples are drawn on threads of their own, a batch is split into shards that run forward and backward
//! side by side, their gradients are averaged, and one optimizer step is made.
//!
//! All random numbers of a step come from (seed, stage, step): a resumed run sees the samples it would have seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::Optimizer as _;
use crossbeam_channel::{Receiver, bounded};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::average::Average;
use super::checkpoint;
use super::events::{Event, Events};
use super::held_back::validate;
use super::optimizer::{AdamW, AdamWConfig, Schedule};
use super::task::{Figures, Prediction, Samples, Task};
use super::validation::SetMeasures;
use crate::error::{Error, Result};
use crate::nets::candle::{Mode, Model, Ops};
use crate::nets::kernels::gradients::NormStats;
use crate::nets::spec::Net;
use crate::nets::weights::Weights;

/// Share of a batch's statistics in batch norm's running averages.
const NORM_MOMENTUM: f32 = 0.02;

/// One stage of training: a net, and how it is trained.
pub(crate) struct TrainingStage<'a> {
    /// Name in the record, e.g. `octave` or `refine24-2`.
    pub name: &'a str,
    /// The net.
    pub net: &'a Net,
    /// Steps, batch and rates.
    pub schedule: Schedule,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Parts of a batch that run side by side, each with its own batch norm statistics.
    pub shards: usize,
    /// Threads that draw samples, and as many that run shards.
    pub threads: usize,
    /// Path of the checkpoint.
    pub checkpoint: PathBuf,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Set by the caller to end early, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// Device of the forward and backward passes.
    pub device: Device,
    /// Share of the weights' moving average that stays at each step; `None`: the weights of the last step are the result.
    pub average: Option<f32>,
    /// The run's folder, for pictures.
    pub run: &'a Path,
    /// Steps from one validation to the next.
    pub validate_every: usize,
    /// Samples that loss and accuracy are computed on at validation.
    pub validation_samples: usize,
    /// Measures a net that is a detector of its own, at validation.
    pub measure: Option<Measure<'a>>,
}

/// Measures weights on pictures that the net does not learn from.
pub(crate) type Measure<'a> = &'a (dyn Fn(&Weights) -> Result<Vec<SetMeasures>> + Sync);

/// How a stage ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All steps were made; the weights.
    Done(Weights),
    /// `stop` was set; the checkpoint holds the state.
    Stopped,
}

/// The random number generator of one part of one step.
pub(crate) fn rng(seed: u64, stage: &str, step: usize, part: u64) -> StdRng {
    let mut key = [0; 32];
    let name = stage.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    for (chunk, word) in key.chunks_exact_mut(8).zip([seed, name, step as u64, part]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(key)
}

/// Trains from `weights`, or goes on from the stage's checkpoint where there is one. `held_back` draws samples of pictures that
/// `task` does not draw from, to validate on.
///
/// # Errors
/// If the loss is no longer a number, or a file can't be written.
pub(crate) fn train<T: Task>(
    task: &T,
    held_back: Option<&T>,
    stage: &TrainingStage<'_>,
    weights: Weights,
    events: &mut Events<'_>,
) -> Result<End> {
    let resumed = checkpoint::load(&stage.checkpoint, stage.name)?;
    let (first, weights, average, moments) = match resumed {
        Some(c) => (c.step, c.weights, c.average, Some(c.optimizer)),
        None => (0, weights, None, None),
    };
    let model = Model::new(stage.net, &weights, Ops::Own, &stage.device)?;
    // From here on the model's variables are the weights.
    let mut average = stage.average.map(|decay| Average::new(decay, average.unwrap_or(weights)));
    let slots: Vec<_> = model.trained_slots().cloned().collect();
    let vars = slots.iter().map(|slot| model.var(&slot.name)).collect::<Result<_>>()?;
    let mut optimizer = AdamW::new(vars, AdamWConfig { slots, weight_decay: stage.schedule.weight_decay })?;
    if let Some(mut moments) = moments {
        optimizer.load_from(&mut moments)?;
    }
    let steps = stage.schedule.steps;
    let (name, seed) = (stage.name.to_string(), stage.seed);
    events.push(&Event::Start { stage: name.clone(), step: first, steps, seed })?;
    let mut meter = Meter::new();
    let workers = stage.threads.max(1);
    std::thread::scope(|scope| {
        // Dropping the receivers on the way out ends the drawing threads.
        let batches: Vec<Receiver<Vec<Samples<T::Targets>>>> = (0..workers)
            .map(|worker| {
                let (sender, receiver) = bounded(2);
                scope.spawn(move || {
                    for step in (first + worker..steps).step_by(workers) {
                        if sender.send(draw(task, stage, step)).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut saved = Instant::now();
        for step in first..steps {
            if stage.stop.load(Ordering::Relaxed) {
                save(stage, step, &model, average.as_ref(), &optimizer, events)?;
                return Ok(End::Stopped);
            }
            let batch = batches[(step - first) % workers]
                .recv()
                .map_err(|_| Error::Backend("a thread that draws samples ended early".into()))?;
            let rate = stage.schedule.rate(step);
            let (figures, gradients, norm, stats) = forward_backward(task, stage, step, &model, &batch)?;
            let samples: usize = batch.iter().map(|s| s.n).sum();
            let side = batch.first().map_or(0, |s| s.side);
            let speed = meter.tick(samples);
            events.push(&Event::Step {
                stage: name.clone(),
                step,
                steps,
                loss: figures.loss,
                accuracy: figures.accuracy(),
                rate,
                gradient_norm: Some(norm),
                samples: ((step + 1) * stage.schedule.batch) as u64,
                samples_per_second: speed,
                multiply_adds_per_second: speed * 3.0 * stage.net.multiply_adds(side, side) as f64,
            })?;
            // The step that failed stands in the record, too.
            if !figures.loss.is_finite() {
                return Err(Error::Backend(format!(
                    "{}: the loss is {} at step {step}; lower `peak` in the recipe",
                    stage.name, figures.loss
                )));
            }
            optimizer.set_learning_rate(rate.into());
            optimizer.step(&gradients)?;
            update_running(&model, &stats, step)?;
            if let Some(average) = &mut average {
                average.update(&model, step)?;
            }
            if saved.elapsed() >= stage.checkpoint_every {
                save(stage, step + 1, &model, average.as_ref(), &optimizer, events)?;
                saved = Instant::now();
            }
            if (step + 1) % stage.validate_every == 0 || step + 1 == steps {
                let weights = result(&model, average.as_ref())?;
                validate(held_back, stage, step + 1, &weights, events)?;
                meter.pause();
            }
        }
        save(stage, steps, &model, average.as_ref(), &optimizer, events)?;
        Ok(End::Done(result(&model, average.as_ref())?))
    })
}

/// The weights that training has made so far: their average where one is kept.
fn result(model: &Model, average: Option<&Average>) -> Result<Weights> {
    average.map_or_else(|| model.weights(), |average| Ok(average.weights().clone()))
}

fn draw<T: Task>(task: &T, stage: &TrainingStage<'_>, step: usize) -> Vec<Samples<T::Targets>> {
    let shards = stage.shards.clamp(1, stage.schedule.batch);
    (0..shards)
        .map(|shard| {
            let n = (shard + 1) * stage.schedule.batch / shards - shard * stage.schedule.batch / shards;
            task.draw(&mut rng(stage.seed, stage.name, step, shard as u64), n)
        })
        .collect()
}

type Stats = BTreeMap<String, NormStats>;

/// Runs all shards side by side; returns the means of their figures, gradients (and the length of these) and statistics.
fn forward_backward<T: Task>(
    task: &T,
    stage: &TrainingStage<'_>,
    step: usize,
    model: &Model,
    batch: &[Samples<T::Targets>],
) -> Result<(Figures, GradStore, f64, Stats)> {
    let next = AtomicUsize::new(0);
    // A shard at a time on each thread: the fewer run side by side, the more of their maps stay in the caches.
    let work = || {
        let mut done = Vec::new();
        loop {
            let shard = next.fetch_add(1, Ordering::Relaxed);
            let Some(samples) = batch.get(shard) else { return done };
            // Dropout's numbers are apart from those of drawing samples.
            let mut rng = rng(stage.seed, stage.name, step, (1 << 32) + shard as u64);
            done.push((shard, one_shard(task, &stage.device, model, samples, &mut rng)));
        }
    };
    let workers = stage.threads.clamp(1, batch.len().max(1));
    let mut parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|t| {
                t.join()
                    .unwrap_or_else(|_| vec![(usize::MAX, Err(Error::Backend("a training thread panicked".into())))])
            })
            .collect()
    });
    // Sums are made in the order of the shards, whichever thread was first.
    parts.sort_by_key(|(shard, _)| *shard);
    let share = 1.0 / batch.len().max(1) as f32;
    let (mut figures, mut stats, mut stores) = (Figures::default(), Stats::new(), Vec::with_capacity(batch.len()));
    for (_, part) in parts {
        let (f, store, s) = part?;
        figures.loss += f.loss * f64::from(share);
        figures.right += f.right;
        figures.decisions += f.decisions;
        stores.push(store);
        for (path, s) in s {
            let sum = stats.entry(path).or_default();
            add(&mut sum.mean, &s.mean, share);
            add(&mut sum.variance, &s.variance, share);
        }
    }
    let (gradients, norm) = mean(model, stores, share)?;
    Ok((figures, gradients, norm, stats))
}

/// The sums of all stores' gradients of the arrays that learn, times `share`, in the first store; and the length of all of them
/// as one vector.
fn mean(model: &Model, stores: Vec<GradStore>, share: f32) -> Result<(GradStore, f64)> {
    let (mut sums, mut squares) = (Vec::new(), 0.0);
    for slot in model.trained_slots() {
        let (var, mut sum) = (model.var(&slot.name)?, Vec::new());
        for gradient in stores.iter().filter_map(|store| store.get(&var)) {
            add(&mut sum, &gradient.flatten_all()?.to_vec1::<f32>()?, share);
        }
        if !sum.is_empty() {
            squares += sum.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
            let sum = Tensor::from_vec(sum, var.shape(), var.device())?;
            sums.push((var, sum));
        }
    }
    let Some(mut store) = stores.into_iter().next() else {
        return Err(Error::Backend("a batch has no samples".into()));
    };
    for (var, sum) in sums {
        store.insert(&var, sum);
    }
    Ok((store, squares.sqrt()))
}

fn add(sum: &mut Vec<f32>, part: &[f32], share: f32) {
    sum.resize(part.len(), 0.0);
    sum.iter_mut().zip(part).for_each(|(s, p)| *s += share * p);
}

/// Runs the net on samples; returns the heads' outputs and what these predict.
pub(super) fn forward<T>(
    model: &Model,
    samples: &Samples<T>,
    device: &Device,
    mode: &mut Mode<'_>,
) -> Result<(Vec<Tensor>, Vec<Prediction>)> {
    let input = Tensor::from_slice(&samples.input, (samples.n, samples.side, samples.side, 3), device)?;
    let (mut tensors, mut predictions) = (Vec::new(), Vec::new());
    for (output, tensor) in model.forward(&input, mode)? {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let gradient = vec![0.0; values.len()];
        predictions.push(Prediction { output, values, gradient });
        tensors.push(tensor);
    }
    Ok((tensors, predictions))
}

/// What one shard of a batch gives: its figures, the gradients, and the statistics of every batch norm by its path.
type ShardResults = (Figures, GradStore, Vec<(String, NormStats)>);

fn one_shard<T: Task>(
    task: &T,
    device: &Device,
    model: &Model,
    samples: &Samples<T::Targets>,
    rng: &mut StdRng,
) -> Result<ShardResults> {
    let mut mode = Mode::Training { rng, stats: Vec::new() };
    let (heads, mut predictions) = forward(model, samples, device, &mut mode)?;
    let figures = task.loss(&samples.targets, &mut predictions);
    // The losses give their own gradients; Σ prediction · gradient has just these as its gradient.
    let mut surrogate = Tensor::zeros((), candle_core::DType::F32, device)?;
    for (tensor, p) in heads.iter().zip(predictions) {
        let gradient = Tensor::from_vec(p.gradient, tensor.shape(), device)?;
        surrogate = (surrogate + (tensor * gradient)?.sum_all()?)?;
    }
    let Mode::Training { stats, .. } = mode else { return Err(Error::Backend("not in training".into())) };
    Ok((figures, surrogate.backward()?, stats))
}

/// Moves the model's running statistics towards the batch's.
fn update_running(model: &Model, stats: &Stats, step: usize) -> Result<()> {
    // A plain mean at first, so that the first values do not linger.
    let momentum = NORM_MOMENTUM.max(1.0 / (step + 1) as f32);
    for (path, stats) in stats {
        for (what, batch) in [("mean", &stats.mean), ("variance", &stats.variance)] {
            let name = format!("{path}.{what}");
            let mut running = model.var(&name)?.to_vec1::<f32>()?;
            running.iter_mut().zip(batch).for_each(|(r, b)| *r += momentum * (b - *r));
            model.set(&name, &running)?;
        }
    }
    Ok(())
}

fn save(
    stage: &TrainingStage<'_>,
    step: usize,
    model: &Model,
    average: Option<&Average>,
    optimizer: &AdamW,
    events: &mut Events<'_>,
) -> Result<()> {
    let average = average.map(Average::weights);
    checkpoint::save(&stage.checkpoint, stage.name, step, model.weights()?, average, optimizer)?;
    events.push(&Event::Checkpoint { stage: stage.name.to_string(), step })
}

/// Samples a second, smoothed over about five seconds.
struct Meter {
    last: Instant,
    speed: Option<f64>,
}

impl Meter {
    fn new() -> Self {
        Self { last: Instant::now(), speed: None }
    }

    /// Leaves out the time since the last step.
    fn pause(&mut self) {
        self.last = Instant::now();
    }

    fn tick(&mut self, samples: usize) -> f64 {
        let seconds = self.last.elapsed().as_secs_f64().max(1e-9);
        self.last = Instant::now();
        let now = samples as f64 / seconds;
        let speed = self.speed.map_or(now, |s| s + (now - s) * (seconds / 5.0).min(1.0));
        self.speed = Some(speed);
        speed
    }
}
