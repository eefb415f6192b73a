//! Makes quantised weights from float ones: a pass over samples notes which values each channel takes, and scales follow from these.

use std::collections::BTreeMap;

use super::quantised::{Quantised, QuantisedOp, QuantisedSum};
use crate::error::{Error, Result};
use crate::nets::cpu;
use crate::nets::cpu::observe::sum_path;
use crate::nets::input::{MIDDLE, SPREAD, normalise};
use crate::nets::lower::{Arrays, Op, OpKind, Part, Purpose, Sequence};
use crate::nets::spec::{Input, Net};
use crate::nets::weights::Weights;

/// The greatest 8-bit weight; −128 is not used, so that both signs reach equally far.
const GREATEST: f64 = 127.0;
/// The greatest byte.
const BYTE: f64 = 255.0;
/// No channel's range is less than this share of its layer's widest one.
const NARROWEST: f64 = 1e-3;
/// The greatest bias, in steps of the sum, and the greatest sum in steps of the output.
const GREATEST_SUM: f64 = (1 << 28) as f64;
/// The least multiplier: a zero point fits in the bias.
const MULTIPLIER: f64 = 1.0 / (1 << 20) as f64;
/// The path that stands for the net's input.
const INPUT: &str = "";

/// The values that a channel took.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    least: f32,
    greatest: f32,
    sum: f64,
    count: f64,
}

impl Range {
    const NONE: Self = Self { least: 0.0, greatest: 0.0, sum: 0.0, count: 0.0 };

    fn add(&mut self, v: f32) {
        self.least = self.least.min(v);
        self.greatest = self.greatest.max(v);
        self.sum += f64::from(v);
        self.count += 1.0;
    }

    fn width(&self) -> f64 {
        f64::from(self.greatest) - f64::from(self.least)
    }

    fn mean(&self) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }
}

/// The values that the channels of every operation took on samples.
#[derive(Debug, Clone, Default)]
pub struct Ranges {
    by_path: BTreeMap<String, Vec<Range>>,
    /// Pixels of input seen so far.
    pixels: usize,
}

impl Ranges {
    /// Notes the values that `n` inputs `[n, h, w, 3]` of normalised pixels make in the net, trunk and heads. Too small ones make none.
    pub fn add(&mut self, engine: &cpu::Engine, input: &[f32], (n, h, w): (usize, usize, usize)) {
        if engine.dims(h, w).is_none() || n == 0 {
            return;
        }
        self.pixels += n * h * w;
        self.note(INPUT, 3, input);
        engine.observe(input, (n, h, w), &mut |path, channels, values| self.note(path, channels, values));
    }

    /// As [`Self::add`], of a picture as it is.
    pub fn add_rgb(&mut self, engine: &cpu::Engine, input: &[u8], h: usize, w: usize) {
        let floats: Vec<f32> = input.iter().map(|v| normalise(*v)).collect();
        self.add(engine, &floats, (1, h, w));
    }

    fn note(&mut self, path: &str, channels: usize, values: &[f32]) {
        let ranges = self.by_path.entry(path.to_owned()).or_insert_with(|| vec![Range::NONE; channels]);
        for pixel in values.chunks_exact(channels) {
            ranges.iter_mut().zip(pixel).for_each(|(range, v)| range.add(*v));
        }
    }

    /// Quantises the weights of `net`, whose operations took these values.
    ///
    /// # Errors
    /// If an array is missing, or if no sample went through the net.
    pub fn quantise(&self, net: &Net, weights: &Weights) -> Result<Quantised> {
        let lowered = net.lower(Purpose::Inference)?;
        let mut quantiser = Quantiser { net: net.name, weights, ranges: self, quantised: Quantised::default() };
        let mut maps: Vec<Vec<Channel>> = Vec::new();
        for map in 0..lowered.maps() {
            let (read, ops) = lowered.map_of(map);
            let input = match read.map(Input::maps) {
                None => vec![Channel::PICTURE; 3],
                Some((fine, None)) => maps[fine].clone(),
                Some((fine, Some(coarse))) => quantiser.sum(&sum_path(map), &maps[fine], &maps[coarse])?,
            };
            maps.push(quantiser.sequence(ops, input, false)?);
        }
        for head in &lowered.heads {
            quantiser.sequence(&head.ops, maps[head.from].clone(), true)?;
        }
        let mut quantised = quantiser.quantised;
        quantised.notes.insert("net".into(), net.name.into());
        quantised.notes.insert("pixels".into(), self.pixels.to_string());
        quantised.note_origin(weights);
        quantised.check(net, net.name)?;
        Ok(quantised)
    }
}

/// What a channel's bytes mean: (byte − `zero`) · `step`.
#[derive(Debug, Clone, Copy)]
struct Channel {
    step: f64,
    zero: f64,
    /// Mean of the real values.
    mean: f64,
}

impl Channel {
    /// A channel of a picture.
    const PICTURE: Self = Self { step: 1.0 / SPREAD as f64, zero: MIDDLE as f64, mean: 0.0 };

    /// A channel that takes the values of `range`.
    fn of(range: &Range, step: f64) -> Self {
        Self { step, zero: (-f64::from(range.least) / step).round_ties_even(), mean: range.mean() }
    }
}

struct Quantiser<'a> {
    net: &'a str,
    weights: &'a Weights,
    ranges: &'a Ranges,
    quantised: Quantised,
}

impl Quantiser<'_> {
    /// Quantises a sequence that reads `channels`; returns those that come out. With `reals`, real numbers come out.
    fn sequence(
        &mut self,
        sequence: &Sequence<Option<Arrays>>,
        mut channels: Vec<Channel>,
        reals: bool,
    ) -> Result<Vec<Channel>> {
        for (i, part) in sequence.parts.iter().enumerate() {
            let last = reals && i + 1 == sequence.parts.len();
            match part {
                Part::Chain(ops) => {
                    for (k, op) in ops.iter().enumerate() {
                        channels = self.op(op, &channels, last && k + 1 == ops.len())?;
                    }
                }
                Part::Branches(branches) => {
                    let mut joined = Vec::new();
                    for branch in branches {
                        joined.extend(self.sequence(branch, channels.clone(), last)?);
                    }
                    channels = joined;
                }
            }
        }
        Ok(channels)
    }

    fn op(&mut self, op: &Op, input: &[Channel], reals: bool) -> Result<Vec<Channel>> {
        let (rows, columns) = op.kernel;
        if op.arrays.is_none() {
            let repeat = if op.kind == OpKind::Gather { rows * columns } else { 1 };
            let mut channels = vec![input; repeat].concat();
            if matches!(op.kind, OpKind::MaxPool | OpKind::AveragePool) {
                let ranges = self.ranges(&op.path)?;
                channels.iter_mut().zip(ranges).for_each(|(channel, range)| channel.mean = range.mean());
            }
            return Ok(channels);
        }
        let ranges = self.ranges(&op.path)?;
        let widest = ranges.iter().map(Range::width).fold(0.0, f64::max).max(1e-6);
        let (weight, bias) = self.weights.folded(op)?;
        let mut quantised = QuantisedOp { weight: vec![0; weight.len()], ..QuantisedOp::default() };
        let (mut outputs, count) = (Vec::new(), op.output.c);
        for (o, range) in ranges.iter().enumerate() {
            // The taps of one output: index among the weights, and the channel that is read.
            let taps: Vec<(usize, Channel)> = match op.kind {
                OpKind::Depthwise => (0..rows * columns).map(|tap| (tap * count + o, input[o])).collect(),
                _ => (0..op.inputs()).map(|i| (i * count + o, input[i % input.len()])).collect(),
            };
            let real = |(i, channel): &(usize, Channel)| f64::from(weight[*i]) * channel.step;
            let (greatest, bias) = (taps.iter().map(|tap| real(tap).abs()).fold(0.0, f64::max), f64::from(bias[o]));
            let most = bias.abs() + taps.iter().map(|tap| real(tap).abs() * BYTE).sum::<f64>();
            // All of the range in 255 steps, of which 0 is one.
            let least_step = (widest * NARROWEST / BYTE).max(most / GREATEST_SUM);
            let output = Channel::of(range, (range.width() / BYTE).max(least_step));
            let step = (greatest / GREATEST).max(bias.abs() / GREATEST_SUM).max(output.step * MULTIPLIER);
            let (mut zero, mut error) = (0.0, 0.0);
            for tap in &taps {
                let rounded = (real(tap) / step).round_ties_even();
                quantised.weight[tap.0] = rounded as i8;
                zero += rounded * tap.1.zero;
                // What rounding adds to the mean output, which the bias takes back.
                error += (rounded * step - real(tap)) * tap.1.mean / tap.1.step;
            }
            let multiplier = if reals { step } else { step / output.step };
            let shift = if reals { 0.0 } else { output.zero / multiplier };
            quantised.bias.push(((bias - error) / step - zero + shift).round_ties_even() as i32);
            quantised.multiplier.push(multiplier as f32);
            quantised.zero.push(output.zero as u8);
            outputs.push(output);
        }
        self.quantised.ops.insert(op.path.clone(), quantised);
        Ok(outputs)
    }

    /// Quantises the sum of two maps; returns its channels.
    fn sum(&mut self, path: &str, fine: &[Channel], coarse: &[Channel]) -> Result<Vec<Channel>> {
        let ranges = self.ranges(path)?;
        let widest = ranges.iter().map(Range::width).fold(0.0, f64::max).max(1e-6);
        let step = |range: &Range| (range.width() / BYTE).max(widest * NARROWEST / BYTE);
        let outputs: Vec<_> = ranges.iter().map(|range| Channel::of(range, step(range))).collect();
        let mut sum = QuantisedSum::default();
        for (output, (fine, coarse)) in outputs.iter().zip(fine.iter().zip(coarse)) {
            let by = [fine, coarse].map(|channel| channel.step / output.step);
            sum.fine.push(by[0] as f32);
            sum.coarse.push(by[1] as f32);
            sum.offset.push((output.zero - fine.zero * by[0] - coarse.zero * by[1]) as f32);
            sum.zero.push(output.zero as u8);
        }
        self.quantised.sums.insert(path.to_owned(), sum);
        Ok(outputs)
    }

    fn ranges(&self, path: &str) -> Result<&[Range]> {
        self.ranges.by_path.get(path).map(Vec::as_slice).ok_or_else(|| Error::Net {
            net: self.net.into(),
            reason: format!("no sample reached {}: there are too few pictures, or too few faces in them", path),
        })
    }
}
