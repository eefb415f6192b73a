//! How a net is trained: which of its operations run as one chain of our kernels, and which on candle's ops. Made once, when
//! the net is loaded.

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

use super::super::kernels::gradients::NormStats;
use super::super::lower::{Op, Part};
use super::Ops;
use super::chain_op::ChainOp;
use crate::error::Result;

/// The variables of an operation that multiplies by weights.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    pub(super) weight: Tensor,
    pub(super) rest: Rest,
}

/// What is added to, or normalises, the products.
#[derive(Debug, Clone)]
pub(super) enum Rest {
    Bias(Tensor),
    Norm(Norm),
}

/// The variables of a batch norm.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub(super) path: String,
    pub(super) scale: Tensor,
    pub(super) shift: Tensor,
    /// Running mean and variance.
    pub(super) mean: Tensor,
    pub(super) variance: Tensor,
}

impl Parameters {
    /// The variables of `op` in `vars`, by their names in the weights file; new ones are zero.
    pub(super) fn new(op: &Op, vars: &VarBuilder<'_>) -> Result<Option<Self>> {
        let Some(arrays) = &op.arrays else { return Ok(None) };
        let get =
            |path: &str, array: &str, shape: &[usize]| vars.pp(path).get_with_hints(shape, array, Init::Const(0.0));
        let channels = |path: &str, array: &str| get(path, array, &[op.output.c]);
        let rest = match &arrays.norm {
            None => Rest::Bias(channels(&op.path, "bias")?),
            Some(path) => Rest::Norm(Norm {
                path: path.clone(),
                scale: channels(path, "scale")?,
                shift: channels(path, "shift")?,
                mean: channels(path, "mean")?,
                variance: channels(path, "variance")?,
            }),
        };
        Ok(Some(Self { weight: get(&op.path, "weight", &arrays.weight)?, rest }))
    }
}

/// A piece of a net.
#[derive(Debug)]
pub(super) enum Piece {
    /// Operations that our kernels run in one go.
    Chain(Plan),
    /// One operation on candle's ops.
    Op(Op<Option<Parameters>>),
    /// All read the same map, and their channels are joined by concatenation.
    Branches(Vec<Vec<Piece>>),
}

/// A chain without the dimensions of its input.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) ops: Arc<Vec<ChainOp>>,
    /// The variables that the ops read, in the order in which they expect them.
    pub(super) parameters: Vec<Tensor>,
    /// The batch norms, in the order of their ops.
    pub(super) norms: Vec<Norm>,
    /// Values in all parameters.
    len: usize,
}

/// Plans `parts`, as few and long chains as can be; on candle's ops there are none.
pub(super) fn pieces(parts: Vec<Part<Option<Parameters>>>, ops: Ops) -> Vec<Piece> {
    let mut list = Vec::new();
    for part in parts {
        match part {
            Part::Branches(branches) => {
                list.push(Piece::Branches(branches.into_iter().map(|branch| pieces(branch.parts, ops)).collect()));
            }
            Part::Chain(chain) => {
                for op in chain {
                    match list.last_mut() {
                        _ if ops == Ops::Stock || !ChainOp::computes(op.kind) => list.push(Piece::Op(op)),
                        Some(Piece::Chain(plan)) => plan.push(op),
                        _ => {
                            let mut plan = Plan::default();
                            plan.push(op);
                            list.push(Piece::Chain(plan));
                        }
                    }
                }
            }
        }
    }
    list
}

impl Plan {
    fn push(&mut self, op: Op<Option<Parameters>>) {
        let mut place = |array: &Tensor| {
            let from = self.len;
            self.len += array.elem_count();
            self.parameters.push(array.clone());
            from..self.len
        };
        let (mut weight, mut affine, mut norm) = (0..0, 0..0, false);
        if let Some(parameters) = &op.arrays {
            weight = place(&parameters.weight);
            affine = match &parameters.rest {
                Rest::Bias(bias) => place(bias),
                Rest::Norm(of) => {
                    norm = true;
                    self.norms.push(of.clone());
                    let scale = place(&of.scale);
                    scale.start..place(&of.shift).end
                }
            };
        }
        Arc::make_mut(&mut self.ops).push(ChainOp { op: op.with(()), norm, weight, affine });
    }

    /// The running statistics of the batch norms.
    pub(super) fn running(&self) -> Result<Vec<NormStats>> {
        let of = |norm: &Norm| Ok(NormStats { mean: norm.mean.to_vec1()?, variance: norm.variance.to_vec1()? });
        self.norms.iter().map(of).collect()
    }
}
