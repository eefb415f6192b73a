//! The training engine: a net's list of layers as candle tensors. On the CPU it runs on our own ops ([`ops`]), elsewhere
//! (CUDA), or when asked to, on candle's.

mod ops;
mod stock;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor, Var};
use rand::rngs::StdRng;

use self::ops::{Kind, Linear, Pool, Saved};
use super::kernels::NormStats;
use super::spec::{Layer, Net, Output};
use super::weights::{Array, Role, Slot, Weights, head_path, path, slots};
use crate::error::{Error, Result};

/// Whose ops run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ops {
    /// Our own, on the CPU.
    Own,
    /// Candle's. Gradients of max pooling are wrong there: for inference only.
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
        Ok(Self { net: net.clone(), ops, slots, vars, device: device.clone() })
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
        let features = self.layers(&self.net.trunk, "trunk", x.clone(), mode)?;
        self.net
            .heads
            .iter()
            .map(|head| Ok((head.output, self.layers(&head.layers, head_path(head.output), features.clone(), mode)?)))
            .collect()
    }

    fn layers(&self, layers: &[Layer], parent: &str, mut x: Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mut i = 0;
        while i < layers.len() {
            let here = path(parent, i);
            if layers[i].is_linear() {
                let norm = layers.get(i + 1) == Some(&Layer::BatchNorm);
                let relu = layers.get(i + 1 + usize::from(norm)) == Some(&Layer::Relu);
                let norm_path = norm.then(|| path(parent, i + 1));
                x = self.linear(&layers[i], &here, norm_path.as_deref(), relu, &x, mode)?;
                i += 1 + usize::from(norm) + usize::from(relu);
                continue;
            }
            x = match &layers[i] {
                Layer::MaxPool { size, stride, pad } => match self.ops {
                    Ops::Own => x.apply_op1(Pool { size: *size, stride: *stride, pad: *pad, mean: false })?,
                    Ops::Stock => stock::max_pool(&x, *size, *stride, *pad)?,
                },
                Layer::Shrink(n) => match self.ops {
                    Ops::Own => x.apply_op1(Pool { size: *n, stride: *n, pad: 0, mean: true })?,
                    Ops::Stock => stock::shrink(&x, *n)?,
                },
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
                        .map(|(b, branch)| self.layers(branch, &path(&here, b), x.clone(), mode))
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

    fn linear(
        &self,
        layer: &Layer,
        here: &str,
        norm: Option<&str>,
        relu: bool,
        x: &Tensor,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let mut weight = self.var(&format!("{here}.weight"))?.as_tensor().clone();
        let mut x = x.clone();
        let (kind, stride, pad) = match layer {
            Layer::Conv { stride, pad, .. } => (Kind::Dense, *stride, *pad),
            Layer::Depthwise { stride, pad, .. } => (Kind::Depthwise, *stride, *pad),
            _ => {
                x = flatten(&x)?;
                weight = weight.unsqueeze(0)?.unsqueeze(0)?;
                (Kind::Dense, 1, 0)
            }
        };
        let array = |at: &str, what: &str| Ok::<_, Error>(self.var(&format!("{at}.{what}"))?.as_tensor());
        let training = matches!(mode, Mode::Training { .. });
        if self.ops == Ops::Own && (training || norm.is_none()) {
            let affine = match norm {
                Some(at) => Tensor::stack(&[array(at, "scale")?, array(at, "shift")?], 0)?,
                None => array(here, "bias")?.clone(),
            };
            let saved = Arc::new(Mutex::new(Saved::default()));
            let op = Linear { kind, stride, pad, norm: norm.is_some(), relu, saved: saved.clone() };
            let y = x.apply_op3(&weight, &affine, op)?;
            if let (Some(at), Mode::Training { stats, .. }) = (norm, mode) {
                stats.push((at.to_string(), ops::lock(&saved).stats.clone()));
            }
            return Ok(y);
        }
        let product = match (self.ops, norm) {
            (Ops::Own, Some(at)) => {
                // Inference: the norm's running statistics are a scale of the weights and a bias.
                let factor = (array(at, "scale")?
                    / (array(at, "variance")? + f64::from(super::weights::NORM_EPSILON))?.sqrt()?)?;
                let bias = (array(at, "shift")? - (array(at, "mean")? * &factor)?)?;
                let op = Linear { kind, stride, pad, norm: false, relu, saved: Arc::default() };
                return Ok(x.apply_op3(&weight.broadcast_mul(&factor)?, &bias, op)?);
            }
            _ => stock::linear(&x, &weight, kind, stride, pad)?,
        };
        let y = match norm {
            Some(at) => {
                let running = (array(at, "mean")?, array(at, "variance")?);
                let (y, stats) = stock::norm(&product, array(at, "scale")?, array(at, "shift")?, running, training)?;
                if let Mode::Training { stats: list, .. } = mode {
                    list.push((at.to_string(), stats));
                }
                y
            }
            None => product.broadcast_add(array(here, "bias")?)?,
        };
        Ok(if relu { y.relu()? } else { y })
    }

    fn fault(&self, reason: String) -> Error {
        Error::Net { net: self.net.name.into(), reason }
    }
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
