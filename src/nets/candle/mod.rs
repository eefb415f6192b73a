//! A net's list of layers as candle tensors: [`Model`] to train, [`Engine`] to run batches of windows on a GPU. On the
//! CPU training runs on our own ops (`chain`), elsewhere (CUDA), or when asked to, on candle's.

mod backward;
mod buffers;
mod chain;
mod chain_op;
mod engine;
mod forward;
mod plan;
mod rows;
mod stock;
mod sum;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use rand::rngs::StdRng;

use self::buffers::Buffers;
use self::chain::{Chain, Tape};
pub use self::engine::{Engine, Scratch};
use self::plan::{Parameters, Piece, Plan, Rest};
use super::kernels::gradients::NormStats;
use super::lower::{Op, OpKind, Purpose};
use super::spec::{Input, Net, Output};
use super::weights::{Array, Role, Slot, Weights};
use crate::error::{Error, Result};

/// The kernels that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ops {
    /// Our own, on the CPU.
    Own,
    /// Candle's, on any device.
    Stock,
}

/// A net with its weights as candle variables, named as in its weights file.
pub struct Model {
    net: Net,
    slots: Vec<Slot>,
    vars: VarMap,
    /// Empty if there is one head and no block: the head's pieces then begin with the trunk's.
    trunk: Vec<Piece>,
    blocks: Vec<(Input, Vec<Piece>)>,
    heads: Vec<(Output, usize, Vec<Piece>)>,
    ops: Ops,
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
        /// Source of dropout's random numbers.
        rng: &'a mut StdRng,
        /// Statistics of every batch norm that ran, by path.
        stats: Vec<(String, NormStats)>,
    },
}

impl Model {
    /// Makes variables of the weights. `Ops::Own` falls back to `Ops::Stock` where the device is not the CPU.
    ///
    /// # Errors
    /// If the weights do not fit the net.
    pub fn new(net: &Net, weights: &Weights, ops: Ops, device: &Device) -> Result<Self> {
        let lowered = net.lower(Purpose::Training)?;
        weights.check(net, net.name)?;
        let slots = lowered.slots();
        let mut vars = VarMap::new();
        let builder = VarBuilder::from_varmap(&vars, DType::F32, device);
        let lowered = lowered.map(|op| Parameters::new(op, &builder))?;
        for slot in &slots {
            vars.set_one(&slot.name, Tensor::from_slice(weights.get(&slot.name)?, slot.shape.as_slice(), device)?)?;
        }
        let ops = if device.is_cpu() { ops } else { Ops::Stock };
        let (mut trunk, mut heads) = (lowered.trunk.parts, lowered.heads);
        if let ([head], []) = (heads.as_mut_slice(), lowered.blocks.as_slice()) {
            // In one go, so that one chain can run it all.
            head.ops.parts.splice(0..0, trunk.drain(..));
        }
        let heads = heads.into_iter().map(|h| (h.output, h.from, plan::pieces(h.ops.parts, ops))).collect();
        let blocks = lowered.blocks.into_iter().map(|b| (b.input, plan::pieces(b.ops.parts, ops))).collect();
        let (trunk, buffers) = (plan::pieces(trunk, ops), Buffers::default());
        Ok(Self { net: net.clone(), slots, vars, trunk, blocks, heads, ops, device: device.clone(), buffers })
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
    pub fn var(&self, name: &str) -> Result<Var> {
        let vars = self.vars.data().lock().unwrap_or_else(PoisonError::into_inner);
        vars.get(name).cloned().ok_or_else(|| self.fault(format!("no array {name}")))
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
        let mut maps = vec![self.run(&self.trunk, x.clone(), mode)?];
        for (input, block) in &self.blocks {
            let x = match *input {
                Input::Map(map) => maps[map].clone(),
                Input::Sum { fine, coarse } => sum::sum(&maps[fine], &maps[coarse], self.ops)?,
            };
            maps.push(self.run(block, x, mode)?);
        }
        let head = |(output, from, head): &(Output, usize, Vec<Piece>)| {
            Ok((*output, self.run(head, maps[*from].clone(), mode)?))
        };
        self.heads.iter().map(head).collect()
    }

    fn run(&self, pieces: &[Piece], mut x: Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        for piece in pieces {
            x = match piece {
                Piece::Chain(plan) => self.chain(plan, &x, mode)?,
                Piece::Op(op) => stock_op(op, &x, mode)?,
                Piece::Branches(branches) => {
                    let ends: Result<Vec<_>> = branches.iter().map(|b| self.run(b, x.clone(), mode)).collect();
                    Tensor::cat(&ends?, 3)?.contiguous()?
                }
            };
        }
        Ok(x)
    }

    fn chain(&self, plan: &Plan, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let (n, h, w, _) = x.dims4()?;
        let (mut d, mut shapes) = ((h, w), Vec::with_capacity(plan.ops.len()));
        for op in plan.ops.iter() {
            let wrong = || self.fault(format!("{} can't read a map of {} × {}", op.op.path, d.0, d.1));
            let shape = op.shape(n, d).ok_or_else(wrong)?;
            d = (shape.out_h(), shape.out_w());
            shapes.push(shape);
        }
        let parameters = match plan.parameters.as_slice() {
            [] => Tensor::zeros(0, DType::F32, &self.device)?,
            parameters => {
                let flat: candle_core::Result<Vec<_>> = parameters.iter().map(Tensor::flatten_all).collect();
                Tensor::cat(&flat?, 0)?
            }
        };
        let running = match mode {
            Mode::Training { .. } => None,
            Mode::Inference => Some(plan.running()?),
        };
        let tape = Arc::new(Tape::default());
        let (ops, buffers) = (plan.ops.clone(), self.buffers.clone());
        let chain = Chain { ops, shapes, running, tape: tape.clone(), buffers };
        let y = x.contiguous()?.apply_op2(&parameters, chain)?;
        if let Mode::Training { stats, .. } = mode {
            stats.extend(plan.norms.iter().map(|norm| norm.path.clone()).zip(tape.stats()));
        }
        Ok(y)
    }

    fn fault(&self, reason: String) -> Error {
        Error::Net { net: self.net.name.into(), reason }
    }
}

/// Runs an operation on candle's ops, with the batch norm and the ReLU behind it.
fn stock_op(op: &Op<Option<Parameters>>, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
    let y = match (op.kind, &op.arrays) {
        (OpKind::Dropout(p), _) => match mode {
            Mode::Training { rng, .. } => dropout(x, p, rng)?,
            Mode::Inference => x.clone(),
        },
        (_, None) => stock::apply(op, None, x)?,
        (_, Some(Parameters { weight, rest: Rest::Bias(bias) })) => {
            stock::apply(op, Some(&stock::Module::new(op, weight, Some(bias.clone()))?), x)?
        }
        (_, Some(Parameters { weight, rest: Rest::Norm(norm) })) => {
            let product = stock::apply(op, Some(&stock::Module::new(op, weight, None)?), x)?;
            match mode {
                Mode::Inference => {
                    stock::norm(&product, &norm.scale, &norm.shift, Some((&norm.mean, &norm.variance)))?.0
                }
                Mode::Training { stats, .. } => {
                    let (y, batch) = stock::norm(&product, &norm.scale, &norm.shift, None)?;
                    stats.push((norm.path.clone(), batch));
                    y
                }
            }
        }
    };
    Ok(if op.relu { y.relu()? } else { y })
}

/// `[n, h, w, c]` → `[n, 1, 1, h·w·c]`.
fn flatten(x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    x.contiguous()?.reshape((n, 1, 1, h * w * c))
}

/// Zeroes each value with probability `p` and scales the others, so that the mean stays.
fn dropout(x: &Tensor, p: f32, rng: &mut StdRng) -> Result<Tensor> {
    use rand::Rng;
    let keep = 1.0 / (1.0 - p);
    let mask: Vec<f32> = (0..x.elem_count()).map(|_| if rng.random::<f32>() < p { 0.0 } else { keep }).collect();
    Ok((x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(DType::F32)?)?)
}

#[cfg(test)]
mod tests;
