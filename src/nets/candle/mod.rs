//! A net's list of layers as candle tensors: [`Model`] to train, [`Engine`] to run batches of windows on a GPU. On the
//! CPU training runs on our own ops (`chain`), elsewhere (CUDA), or when asked to, on candle's.

mod buffers;
mod chain;
mod engine;
mod step;
mod stock;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use rand::rngs::StdRng;

use self::buffers::Buffers;
use self::chain::{Chain, Tape};
pub use self::engine::{Engine, Scratch};
use self::step::{Kind, Step};
use super::kernels::{NormStats, Shape};
use super::spec::{Dims, Layer, Net, Output};
use super::weights::{Array, Role, Slot, Weights, head_path, path, slots};
use crate::error::{Error, Result};

/// Whose ops run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ops {
    /// Our own, on the CPU.
    Own,
    /// Candle's, on any device.
    Stock,
}

/// A net with its weights as candle variables.
#[derive(Debug)]
pub struct Model {
    net: Net,
    ops: Ops,
    slots: Vec<Slot>,
    vars: BTreeMap<String, Var>,
    device: Device,
    buffers: Buffers,
}

/// How a forward pass runs: batch statistics and dropout (training), or running statistics.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Running statistics, nothing dropped.
    Inference,
    /// Batch statistics, collected by the path of their layer; dropout drawn from `rng`.
    Training {
        /// Where dropout's random numbers come from.
        rng: &'a mut StdRng,
        /// Statistics of every batch norm that ran, by path.
        stats: Vec<(String, NormStats)>,
    },
}

impl Model {
    /// Variables from weights. `Ops::Own` falls back to `Ops::Stock` where the device is not the CPU.
    ///
    /// # Errors
    /// If the weights do not fit the net.
    pub fn new(net: &Net, weights: &Weights, ops: Ops, device: &Device) -> Result<Self> {
        net.check()?;
        weights.check(net, net.name)?;
        let slots = slots(net);
        let vars = slots
            .iter()
            .map(|slot| {
                let tensor = Tensor::from_slice(weights.get(&slot.name)?, slot.shape.as_slice(), device)?;
                Ok((slot.name.clone(), Var::from_tensor(&tensor)?))
            })
            .collect::<Result<_>>()?;
        let ops = if device.is_cpu() { ops } else { Ops::Stock };
        Ok(Self { net: net.clone(), ops, slots, vars, device: device.clone(), buffers: Buffers::default() })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The arrays that learn (all but running statistics), in the net's order.
    pub fn trained_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|s| !matches!(s.role, Role::Mean | Role::Variance))
    }

    /// The variable of this name.
    ///
    /// # Errors
    /// If the net has none of that name.
    pub fn var(&self, name: &str) -> Result<&Var> {
        self.vars.get(name).ok_or_else(|| Error::Net { net: self.net.name.into(), reason: format!("no array {name}") })
    }

    /// Overwrites one array.
    ///
    /// # Errors
    /// If the net has none of that name or its size differs.
    pub fn set(&self, name: &str, data: &[f32]) -> Result<()> {
        let var = self.var(name)?;
        Ok(var.set(&Tensor::from_slice(data, var.shape(), &self.device)?)?)
    }

    /// All arrays as they are now.
    ///
    /// # Errors
    /// If they can't be read back from the device.
    pub fn weights(&self) -> Result<Weights> {
        let arrays = self.slots.iter().map(|slot| {
            let data = self.var(&slot.name)?.flatten_all()?.to_vec1::<f32>()?;
            Ok((slot.name.clone(), Array { shape: slot.shape.clone(), data }))
        });
        Ok(Weights { arrays: arrays.collect::<Result<_>>()?, notes: BTreeMap::new() })
    }

    /// Runs the net over `x` `[n, h, w, 3]`; one tensor `[n, h', w', outputs]` for each head, in the net's order.
    ///
    /// # Errors
    /// If the input is too small for the net.
    pub fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Vec<(Output, Tensor)>> {
        let trunk = named(&self.net.trunk, "trunk");
        if let [head] = self.net.heads.as_slice() {
            // In one go, so that one chain can run it all.
            let all = [trunk, named(&head.layers, head_path(head.output))].concat();
            return Ok(vec![(head.output, self.layers(&all, x.clone(), mode)?)]);
        }
        let features = self.layers(&trunk, x.clone(), mode)?;
        let mut run = |layers, parent| self.layers(&named(layers, parent), features.clone(), mode);
        self.net.heads.iter().map(|head| Ok((head.output, run(&head.layers, head_path(head.output))?))).collect()
    }

    fn layers(&self, layers: &[Named<'_>], mut x: Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mut i = 0;
        while i < layers.len() {
            if self.ops == Ops::Own {
                let (y, count) = self.chain(&layers[i..], &x, mode)?;
                if count > 0 {
                    x = y;
                    i += count;
                    continue;
                }
            }
            let (here, layer) = &layers[i];
            if layer.is_linear() {
                let (norm, relu, count) = followers(&layers[i..]);
                x = self.stock_linear(layer, here, norm, relu, &x, mode)?;
                i += count;
                continue;
            }
            x = match layer {
                Layer::MaxPool { size, stride, pad } => stock::max_pool(&x, *size, *stride, *pad)?,
                Layer::Shrink(n) => stock::shrink(&x, *n)?,
                Layer::Relu => x.relu()?,
                Layer::Dropout(p) => match mode {
                    Mode::Training { rng, .. } => dropout(&x, *p, rng)?,
                    Mode::Inference => x,
                },
                Layer::Flatten => flatten(&x)?,
                Layer::Branches(branches) => {
                    let ends: Vec<Tensor> = branches
                        .iter()
                        .enumerate()
                        .map(|(b, branch)| self.layers(&named(branch, &path(here, b)), x.clone(), mode))
                        .collect::<Result<_>>()?;
                    Tensor::cat(&ends, 3)?.contiguous()?
                }
                Layer::Conv { .. } | Layer::Depthwise { .. } | Layer::Dense(_) => x,
                Layer::BatchNorm => return Err(self.fault(format!("batch norm at {here} follows no linear layer"))),
            };
            i += 1;
        }
        Ok(x)
    }

    /// As many of the first layers as one [`Chain`] can run; returns their output and number.
    fn chain(&self, layers: &[Named<'_>], x: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, usize)> {
        let training = matches!(mode, Mode::Training { .. });
        let (n, h, w, c) = x.dims4()?;
        let mut d = Dims::new(h, w, c);
        let (mut steps, mut parts, mut norms, mut len) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut i = 0;
        while let Some((here, layer)) = layers.get(i) {
            let small = || self.fault(format!("an input of {h} × {w} is too small at {here}"));
            let after = layer.dims(d).ok_or_else(small)?;
            let (kind, kernel, stride, pad) = match layer {
                Layer::Conv { kernel, stride, pad, .. } => (Kind::Dense, *kernel, *stride, *pad),
                Layer::Depthwise { kernel, stride, pad } => (Kind::Depthwise, *kernel, *stride, *pad),
                Layer::MaxPool { size, stride, pad } => (Kind::MaxPool, *size, *stride, *pad),
                Layer::Shrink(n) => (Kind::MeanPool, *n, *n, 0),
                Layer::Dense(_) => {
                    d = Dims::new(1, 1, d.len());
                    (Kind::Dense, 1, 1, 0)
                }
                Layer::Flatten => {
                    (d, i) = (after, i + 1);
                    continue;
                }
                _ => break,
            };
            let shape = Shape { n, h: d.h, w: d.w, c: d.c, out: after.c, kernel, stride, pad };
            let (norm, relu, count) = if layer.is_linear() { followers(&layers[i..]) } else { (None, false, 1) };
            let mut place = |arrays: Vec<Tensor>| -> Result<_> {
                let from = len;
                for array in arrays {
                    len += array.elem_count();
                    parts.push(array.flatten_all()?);
                }
                Ok(from..len)
            };
            let (weight, affine) = match (layer.is_linear(), norm) {
                (false, _) => (0..0, 0..0),
                (true, Some(at)) if training => {
                    let weight = place(vec![self.array(here, "weight")?.clone()])?;
                    norms.push(at.to_string());
                    (weight, place(vec![self.array(at, "scale")?.clone(), self.array(at, "shift")?.clone()])?)
                }
                (true, at) => {
                    let (weight, bias) = self.folded(here, at)?;
                    (place(vec![weight])?, place(vec![bias])?)
                }
            };
            steps.push(Step { kind, shape, norm: norm.is_some() && training, relu, weight, affine });
            (d, i) = (after, i + count);
        }
        if steps.is_empty() {
            return Ok((x.clone(), 0));
        }
        let parameters =
            if parts.is_empty() { Tensor::zeros(0, DType::F32, &self.device)? } else { Tensor::cat(&parts, 0)? };
        let tape = Arc::new(Tape::default());
        let output = [n, d.h, d.w, d.c];
        let chain = Chain { steps, output, keep: training, tape: tape.clone(), buffers: self.buffers.clone() };
        let y = x.contiguous()?.apply_op2(&parameters, chain)?;
        if let Mode::Training { stats, .. } = mode {
            stats.extend(norms.into_iter().zip(tape.stats()));
        }
        Ok((y, i))
    }

    fn array(&self, at: &str, what: &str) -> Result<&Tensor> {
        Ok(self.var(&format!("{at}.{what}"))?.as_tensor())
    }

    /// Weights and biases of a linear layer; the running statistics of a batch norm behind it are a scale of the weights
    /// and a bias.
    fn folded(&self, here: &str, norm: Option<&str>) -> Result<(Tensor, Tensor)> {
        let weight = self.array(here, "weight")?;
        let Some(at) = norm else { return Ok((weight.clone(), self.array(here, "bias")?.clone())) };
        let deviation = (self.array(at, "variance")? + f64::from(super::weights::NORM_EPSILON))?.sqrt()?;
        let factor = (self.array(at, "scale")? / deviation)?;
        let bias = (self.array(at, "shift")? - (self.array(at, "mean")? * &factor)?)?;
        Ok((weight.broadcast_mul(&factor)?, bias))
    }

    /// A linear layer on candle's ops, with what follows it.
    fn stock_linear(
        &self,
        layer: &Layer,
        here: &str,
        norm: Option<&str>,
        relu: bool,
        x: &Tensor,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let weight = self.array(here, "weight")?;
        let product = match layer {
            Layer::Conv { stride, pad, .. } => stock::conv(x, weight, *stride, *pad)?,
            Layer::Depthwise { stride, pad, .. } => stock::depthwise(x, weight, *stride, *pad)?,
            _ => stock::conv(&flatten(x)?, &weight.unsqueeze(0)?.unsqueeze(0)?, 1, 0)?,
        };
        let y = match norm {
            Some(at) => {
                let running = (self.array(at, "mean")?, self.array(at, "variance")?);
                let training = matches!(mode, Mode::Training { .. });
                let (y, stats) =
                    stock::norm(&product, self.array(at, "scale")?, self.array(at, "shift")?, running, training)?;
                if let Mode::Training { stats: list, .. } = mode {
                    list.push((at.to_string(), stats));
                }
                y
            }
            None => product.broadcast_add(self.array(here, "bias")?)?,
        };
        Ok(if relu { y.relu()? } else { y })
    }

    fn fault(&self, reason: String) -> Error {
        Error::Net { net: self.net.name.into(), reason }
    }
}

/// A layer and the path of its arrays.
type Named<'a> = (String, &'a Layer);

fn named<'a>(layers: &'a [Layer], parent: &str) -> Vec<Named<'a>> {
    layers.iter().enumerate().map(|(i, layer)| (path(parent, i), layer)).collect()
}

/// What follows the linear layer at the front: batch norm (its path), ReLU; and the number of layers together with it.
fn followers<'a>(layers: &'a [Named<'_>]) -> (Option<&'a str>, bool, usize) {
    let is = |i: usize, layer: &Layer| layers.get(i).is_some_and(|(_, l)| *l == layer);
    let norm = layers.get(1).filter(|(_, l)| **l == Layer::BatchNorm).map(|(path, _)| path.as_str());
    let relu = is(1 + usize::from(norm.is_some()), &Layer::Relu);
    (norm, relu, 1 + usize::from(norm.is_some()) + usize::from(relu))
}

/// `[n, h, w, c]` → `[n, 1, 1, h·w·c]`.
fn flatten(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    Ok(x.contiguous()?.reshape((n, 1, 1, h * w * c))?)
}

/// Zeroes each number with probability `p` and scales the others, so that the mean stays.
fn dropout(x: &Tensor, p: f32, rng: &mut StdRng) -> Result<Tensor> {
    use rand::Rng;
    let keep = 1.0 / (1.0 - p);
    let mask: Vec<f32> = (0..x.elem_count()).map(|_| if rng.random::<f32>() < p { 0.0 } else { keep }).collect();
    Ok((x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(DType::F32)?)?)
}

#[cfg(test)]
mod tests;
