//! Batches of windows on a candle device, for detection on a GPU: the layers become few large ops with weights that wait
//! on the device, and a batch is one upload, one pass through trunk and all heads, and one download.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use candle_core::{Device, Tensor};

use super::super::lower::{Lowered, Part, Purpose, Sequence};
use super::super::spec::{Input, Net, Output};
use super::super::weights::Weights;
use super::Ops;
use super::buffers::lock;
use super::stock::{self, Module};
use super::sum::sum;
use crate::error::{Error, Result};

/// A net on one device or several streams of it. It can be shared by threads.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    /// At least one.
    streams: Vec<Mutex<Stream>>,
    /// Number of the stream to wait for next when all are taken.
    turn: AtomicUsize,
    /// Columns of each head among the outputs of a window, and the number of outputs of all heads.
    columns: Vec<(Output, Range<usize>)>,
    width: usize,
    /// Makes every run fail as if the device were lost.
    #[cfg(test)]
    pub(crate) lost: std::sync::atomic::AtomicBool,
}

/// Outputs of the last batch; grows to the size of the largest.
#[derive(Debug, Default)]
pub struct Scratch {
    outputs: Vec<f32>,
    chosen: Vec<f32>,
}

/// The net on one stream of a device.
#[derive(Debug)]
struct Stream {
    device: Device,
    net: Lowered<Option<Module>>,
}

impl Engine {
    /// Loads the net onto each of `streams`: devices, or the same one opened several times, each time with a stream of
    /// its own. As many threads as there are streams have batches under way at once.
    ///
    /// # Errors
    /// If the weights do not fit the net, there is no stream, or a device fails.
    pub fn new(net: &Net, weights: &Weights, streams: &[Device]) -> Result<Self> {
        let lowered = net.lower(Purpose::Inference)?;
        weights.check(net, net.name)?;
        let (mut columns, mut width) = (Vec::new(), 0);
        for head in &lowered.heads {
            columns.push((head.output, width..width + head.ops.output.len()));
            width += head.ops.output.len();
        }
        if streams.is_empty() || columns.is_empty() {
            let reason = "it has no head, or no device to run on".into();
            return Err(Error::Net { net: net.name.into(), reason });
        }
        let streams = streams.iter().map(|device| Ok(Mutex::new(Stream::new(net, &lowered, weights, device)?)));
        Ok(Self {
            net: net.clone(),
            streams: streams.collect::<Result<_>>()?,
            turn: AtomicUsize::new(0),
            columns,
            width,
            #[cfg(test)]
            lost: Default::default(),
        })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Runs trunk and all heads over `n` windows `[n, side, side, 3]` of normalised pixels, (v − 127.5) / 128, and leaves
    /// the heads' outputs in `scratch`. Waits for the device; other threads can use the other streams meanwhile.
    ///
    /// # Errors
    /// If the device fails: it may be lost, or out of memory.
    ///
    /// # Panics
    /// If `input` is not `n · side · side · 3` long.
    pub fn run(&self, input: &[f32], n: usize, scratch: &mut Scratch) -> Result<()> {
        let side = self.net.side;
        assert_eq!(input.len(), n * side * side * 3, "the input is not [{n}, {side}, {side}, 3]");
        scratch.outputs.clear();
        #[cfg(test)]
        if self.lost.load(Ordering::Relaxed) {
            return Err(Error::Backend("injected".into()));
        }
        if n > 0 {
            scratch.outputs = self.free_stream().run(input, (n, side, side, 3))?;
        }
        Ok(())
    }

    /// Outputs of a head for the last batch in `scratch`: for all windows, or only for `rows`, in that order. Returns
    /// `[rows, outputs of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, or a row is out of range.
    pub fn head<'s>(&self, output: Output, rows: Option<&[usize]>, scratch: &'s mut Scratch) -> &'s [f32] {
        let Some((_, columns)) = self.columns.iter().find(|(o, _)| *o == output) else {
            panic!("the net {} has no {output:?} head", self.net.name)
        };
        let Scratch { outputs, chosen } = scratch;
        chosen.clear();
        match rows {
            None => outputs.chunks_exact(self.width).for_each(|window| chosen.extend(&window[columns.clone()])),
            Some(rows) => rows.iter().for_each(|row| chosen.extend(&outputs[row * self.width..][columns.clone()])),
        }
        chosen
    }

    fn free_stream(&self) -> MutexGuard<'_, Stream> {
        let free = self.streams.iter().find_map(|stream| stream.try_lock().ok());
        free.unwrap_or_else(|| lock(&self.streams[self.turn.fetch_add(1, Ordering::Relaxed) % self.streams.len()]))
    }
}

impl Stream {
    fn new(net: &Net, lowered: &Lowered, weights: &Weights, device: &Device) -> Result<Self> {
        let net_on_device = lowered.map(|op| {
            let Some(arrays) = &op.arrays else { return Ok(None) };
            let (weight, bias) = weights.folded(op)?;
            let weight = Tensor::from_vec(weight, arrays.weight.as_slice(), device)?;
            let bias = Tensor::from_vec(bias, op.output.c, device)?;
            Ok(Some(Module::new(op, &weight, Some(bias))?))
        });
        let stream = Self { device: device.clone(), net: net_on_device? };
        // A device that can't run what it was built for says so now, and kernels are loaded before the first picture.
        let side = net.side;
        stream.run(&vec![0.0; side * side * 3], (1, side, side, 3))?;
        Ok(stream)
    }

    /// Returns `[n, outputs of all heads]`.
    fn run(&self, input: &[f32], shape: (usize, usize, usize, usize)) -> Result<Vec<f32>> {
        let mut maps = vec![apply(&self.net.trunk, Tensor::from_slice(input, shape, &self.device)?)?];
        for block in &self.net.blocks {
            let x = match block.input {
                Input::Map(map) => maps[map].clone(),
                Input::Sum { fine, coarse } => sum(&maps[fine], &maps[coarse], Ops::Stock)?,
            };
            maps.push(apply(&block.ops, x)?);
        }
        let heads = self.net.heads.iter();
        let heads = heads.map(|head| Ok(apply(&head.ops, maps[head.from].clone())?.flatten_from(1)?));
        Ok(Tensor::cat(&heads.collect::<Result<Vec<_>>>()?, 1)?.flatten_all()?.to_vec1::<f32>()?)
    }
}

fn apply(sequence: &Sequence<Option<Module>>, mut x: Tensor) -> Result<Tensor> {
    for part in &sequence.parts {
        match part {
            Part::Chain(ops) => {
                for op in ops {
                    x = stock::apply(op, op.arrays.as_ref(), &x)?;
                    x = if op.relu { x.relu()? } else { x };
                }
            }
            Part::Branches(branches) => {
                let ends: Result<Vec<_>> = branches.iter().map(|branch| apply(branch, x.clone())).collect();
                x = Tensor::cat(&ends?, 3)?.contiguous()?;
            }
        }
    }
    Ok(x)
}
