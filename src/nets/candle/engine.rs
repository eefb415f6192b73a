//! Batches of windows on a candle device, for detection on a GPU: the layers become few large ops with weights that wait
//! on the device, and a batch is one upload, one pass through trunk and all heads, and one download.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use candle_core::{Device, Tensor};

use super::super::spec::{Layer, Net, Output};
use super::super::weights::{Weights, head_path, path};
use super::buffers::lock;
use super::{Model, Named, Ops, flatten, followers, named, stock};
use crate::error::{Error, Result};

/// A net on one device or several streams of it. It can be shared by threads.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    /// At least one.
    lanes: Vec<Mutex<Lane>>,
    /// Which lane is waited for next, where all are taken.
    turn: AtomicUsize,
    /// Where each head's numbers stand among those of a window, and how many there are of all heads.
    columns: Vec<(Output, Range<usize>)>,
    width: usize,
    /// As if the device were lost.
    #[cfg(test)]
    pub(crate) lost: std::sync::atomic::AtomicBool,
}

/// What the last batch gave. It grows to what the largest batch needed.
#[derive(Debug, Default)]
pub struct Scratch {
    outputs: Vec<f32>,
    chosen: Vec<f32>,
}

/// The net's weights for one stream of a device.
#[derive(Debug)]
struct Lane {
    device: Device,
    trunk: Vec<Op>,
    heads: Vec<Vec<Op>>,
}

/// One step; maps are `[n, h, w, c]`. Batch norm is folded into the weights.
#[derive(Debug)]
enum Op {
    /// Weights `[c, out]`: a pointwise convolution, or a fully connected layer.
    Product {
        weight: Tensor,
        bias: Tensor,
    },
    /// Weights `[out, c, k, k]`.
    Conv {
        weight: Tensor,
        bias: Tensor,
        stride: usize,
        pad: usize,
    },
    /// Weights `[k, k, c]`.
    Depthwise {
        weight: Tensor,
        bias: Tensor,
        stride: usize,
        pad: usize,
    },
    MaxPool {
        size: usize,
        stride: usize,
        pad: usize,
    },
    Shrink(usize),
    Relu,
    Flatten,
    Branches(Vec<Vec<Op>>),
}

impl Engine {
    /// Loads the net onto each of `lanes`: devices, or the same one opened several times, each time with a stream of its
    /// own. As many threads as there are lanes have batches under way at once.
    ///
    /// # Errors
    /// If the weights do not fit the net, there is no lane, or a device fails.
    pub fn new(net: &Net, weights: &Weights, lanes: &[Device]) -> Result<Self> {
        let fault = |reason: &str| Error::Net { net: net.name.into(), reason: reason.into() };
        let model = Model::new(net, weights, Ops::Own, &Device::Cpu)?;
        let features = net.trunk_dims(net.side, net.side).ok_or_else(|| fault("its window is too small"))?;
        let (mut columns, mut width) = (Vec::new(), 0);
        for head in &net.heads {
            let dims = head.layers.iter().try_fold(features, |d, layer| layer.dims(d));
            let numbers = dims.ok_or_else(|| fault("its window is too small for a head"))?.len();
            columns.push((head.output, width..width + numbers));
            width += numbers;
        }
        if lanes.is_empty() || columns.is_empty() {
            return Err(fault("it has no head, or no device to run on"));
        }
        let lanes: Result<_> = lanes.iter().map(|device| Ok(Mutex::new(Lane::new(&model, device)?))).collect();
        Ok(Self {
            net: net.clone(),
            lanes: lanes?,
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
    /// what the heads say in `scratch`. Returns when it is there; meanwhile other threads have the other lanes.
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
            scratch.outputs = self.free_lane().run(input, (n, side, side, 3), self.width)?;
        }
        Ok(())
    }

    /// What a head said of the last batch in `scratch`: of all windows, or only of `rows`, in that order. Returns `[rows,
    /// numbers of the head]`.
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

    fn free_lane(&self) -> MutexGuard<'_, Lane> {
        let free = self.lanes.iter().find_map(|lane| lane.try_lock().ok());
        free.unwrap_or_else(|| lock(&self.lanes[self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes.len()]))
    }
}

impl Lane {
    fn new(model: &Model, device: &Device) -> Result<Self> {
        let net = model.net();
        let trunk = lower(model, &named(&net.trunk, "trunk"), device)?;
        let heads = net.heads.iter().map(|h| lower(model, &named(&h.layers, head_path(h.output)), device));
        let lane = Self { device: device.clone(), trunk, heads: heads.collect::<Result<_>>()? };
        // A device that can't run what it was built for says so now, and kernels are loaded before the first picture.
        let side = net.side;
        lane.run(&vec![0.0; side * side * 3], (1, side, side, 3), 0)?;
        Ok(lane)
    }

    /// Returns `[n, numbers of all heads]`, `width` of them a window.
    fn run(&self, input: &[f32], shape: (usize, usize, usize, usize), width: usize) -> Result<Vec<f32>> {
        let features = apply_all(&self.trunk, Tensor::from_slice(input, shape, &self.device)?)?;
        let heads: Result<Vec<_>> =
            self.heads.iter().map(|ops| Ok(apply_all(ops, features.clone())?.flatten_from(1)?)).collect();
        let outputs = Tensor::cat(&heads?, 1)?.flatten_all()?.to_vec1::<f32>()?;
        debug_assert!(width == 0 || outputs.len() == shape.0 * width);
        Ok(outputs)
    }
}

fn lower(model: &Model, layers: &[Named<'_>], device: &Device) -> Result<Vec<Op>> {
    let mut ops = Vec::with_capacity(layers.len());
    let mut i = 0;
    while let Some((here, layer)) = layers.get(i) {
        let (norm, relu, count) = if layer.is_linear() { followers(&layers[i..]) } else { (None, false, 1) };
        // Detached, or every pass would be recorded for a backward pass.
        let on_device = |array: &Tensor| Ok::<_, Error>(array.detach().contiguous()?.to_device(device)?);
        let parameters = || -> Result<_> {
            let (weight, bias) = model.folded(here, norm)?;
            Ok((weight, on_device(&bias)?))
        };
        match layer {
            Layer::Conv { kernel: 1, stride: 1, pad: 0, .. } => {
                let (weight, bias) = parameters()?;
                ops.push(Op::Product { weight: on_device(&weight.squeeze(0)?.squeeze(0)?)?, bias });
            }
            Layer::Conv { stride, pad, .. } => {
                let (weight, bias) = parameters()?;
                let weight = on_device(&weight.permute((3, 2, 0, 1))?)?;
                ops.push(Op::Conv { weight, bias, stride: *stride, pad: *pad });
            }
            Layer::Depthwise { stride, pad, .. } => {
                let (weight, bias) = parameters()?;
                ops.push(Op::Depthwise { weight: on_device(&weight)?, bias, stride: *stride, pad: *pad });
            }
            Layer::Dense(_) => {
                let (weight, bias) = parameters()?;
                ops.extend([Op::Flatten, Op::Product { weight: on_device(&weight)?, bias }]);
            }
            Layer::MaxPool { size, stride, pad } => {
                ops.push(Op::MaxPool { size: *size, stride: *stride, pad: *pad });
            }
            Layer::Shrink(n) => ops.push(Op::Shrink(*n)),
            Layer::Relu => ops.push(Op::Relu),
            Layer::Flatten => ops.push(Op::Flatten),
            Layer::Branches(branches) => {
                let branches =
                    branches.iter().enumerate().map(|(b, l)| lower(model, &named(l, &path(here, b)), device));
                ops.push(Op::Branches(branches.collect::<Result<_>>()?));
            }
            Layer::Dropout(_) => {}
            Layer::BatchNorm => return Err(model.fault(format!("batch norm at {here} follows no linear layer"))),
        }
        if relu {
            ops.push(Op::Relu);
        }
        i += count;
    }
    Ok(ops)
}

fn apply_all(ops: &[Op], x: Tensor) -> Result<Tensor> {
    ops.iter().try_fold(x, |x, op| op.apply(&x))
}

impl Op {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Product { weight, bias } => {
                let (n, h, w, c) = x.dims4()?;
                let y = x.reshape((n * h * w, c))?.matmul(weight)?.broadcast_add(bias)?;
                y.reshape((n, h, w, ()))?
            }
            Self::Conv { weight, bias, stride, pad } => {
                stock::conv_channels_first(x, weight, *stride, *pad)?.broadcast_add(bias)?
            }
            Self::Depthwise { weight, bias, stride, pad } => {
                stock::depthwise(x, weight, *stride, *pad)?.broadcast_add(bias)?
            }
            Self::MaxPool { size, stride, pad } => stock::max_pool(x, *size, *stride, *pad)?,
            Self::Shrink(n) => stock::shrink(x, *n)?,
            Self::Relu => x.relu()?,
            Self::Flatten => flatten(x)?,
            Self::Branches(branches) => {
                let ends: Result<Vec<_>> = branches.iter().map(|ops| apply_all(ops, x.clone())).collect();
                Tensor::cat(&ends?, 3)?.contiguous()?
            }
        })
    }
}
