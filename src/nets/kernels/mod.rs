//! The arithmetic of nets over channels-last arrays `[n, h, w, c]`, row-major, 32-bit floats, one thread each.
//!
//! Every kernel is written once over `lanes::Lanes` and compiled for AVX-512, for AVX2 and without either; [`Isa`]
//! says which one runs. Forward kernels compute one row of outputs ([`row`]); detection and training both call them.
//! `gradients` holds what training needs beside them.

pub(in crate::nets) mod aligned;
mod depthwise;
#[cfg(feature = "train")]
pub(crate) mod gradients;
pub(in crate::nets) mod lanes;
mod linear;
mod pool;
pub(in crate::nets) mod row;
pub(in crate::nets) mod sum;

pub(crate) use lanes::Isa;

use self::depthwise::Taps;
use self::linear::Packed;
use self::pool::Pool;
use self::row::Row;
use super::lower::{Op, OpKind};

/// The kernel of an operation, with its weights as the machine's vectors read them.
#[derive(Debug, Clone)]
pub(in crate::nets) enum RowKernel {
    /// Weighted sums over all channels.
    Linear(Packed),
    /// Weighted sums over each channel.
    Depthwise(Taps),
    /// The greatest or the mean of each channel.
    Pool(Pool),
    /// The values under the kernel, one behind the other.
    Gather,
}

impl RowKernel {
    /// The kernel of `op`; `weight` and `bias` are empty where it has none. Dropout has none at
    /// detection and is a copy.
    pub(in crate::nets) fn new<A>(isa: Isa, op: &Op<A>, weight: &[f32], bias: &[f32]) -> Self {
        match op.kind {
            OpKind::Conv | OpKind::Dense => Self::Linear(Packed::new(isa, op.inputs(), op.output.c, weight, bias)),
            OpKind::Depthwise => Self::Depthwise(Taps::new(isa, op.kernel.0, op.output.c, weight, bias)),
            OpKind::MaxPool => Self::Pool(Pool::Max),
            OpKind::AveragePool => Self::Pool(Pool::Average),
            OpKind::Gather | OpKind::Dropout(_) => Self::Gather,
        }
    }

    /// Computes a row of outputs, each from `length` floats of every row of input: pixels of `c` channels.
    pub(in crate::nets) fn run(&self, isa: Isa, row: Row, length: usize, c: usize, relu: bool) {
        match self {
            Self::Linear(weights) => weights.run(row, length, relu),
            Self::Depthwise(taps) => taps.run(row, relu),
            Self::Pool(pool) => pool::pool(isa, row, *pool, length / c, c, relu),
            Self::Gather => pool::gather(row, length, relu),
        }
    }
}
