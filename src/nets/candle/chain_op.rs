//! One operation of a chain: a linear layer with what follows it (bias or batch norm, ReLU), or pooling.
//!
//! An operation keeps only its product. The reader of a product applies batch norm and ReLU to it, a piece at a time that stays
//! in the first caches.

use std::ops::Range;

use super::super::kernels::Isa;
use super::super::kernels::gradients::{Activation, GradientSums, NormStats, Shape};
use super::super::lower::{Op, OpKind};
use super::super::weights::NORM_EPSILON;
use super::buffers::Buffer;

/// One operation of a chain.
#[derive(Debug, Clone)]
pub(super) struct ChainOp {
    /// Any operation but dropout and copies.
    pub(super) op: Op<()>,
    /// Whether batch norm follows; else a bias is added.
    pub(super) norm: bool,
    /// Where the weights lie in the parameters.
    pub(super) weight: Range<usize>,
    /// Where batch norm's scales and then its shifts, or the biases lie in the parameters.
    pub(super) affine: Range<usize>,
}

/// Results of an operation's forward pass.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) product: Buffer,
    pub(super) activation: Activation,
    pub(super) stats: Option<NormStats>,
}

impl Kept {
    /// Where the gradients of this operation's output are added up.
    pub(super) fn gradient_sums(&self) -> GradientSums {
        GradientSums::new(&self.activation, self.stats.as_ref().map(|stats| (stats, NORM_EPSILON)))
    }
}

/// An operation's input: the product of the one before, and how it becomes an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) data: &'a [f32],
    pub(super) activation: Option<&'a Activation>,
}

impl Source<'_> {
    /// Writes the floats `range`, activated, to `out`.
    pub(super) fn write(&self, isa: Isa, range: Range<usize>, out: &mut [f32]) {
        match self.activation {
            Some(activation) => activation.apply(isa, &self.data[range], out),
            None => out.copy_from_slice(&self.data[range]),
        }
    }

    /// The floats `range`, activated in `scratch` where need be.
    pub(super) fn part<'s>(&'s self, isa: Isa, range: Range<usize>, scratch: &'s mut [f32]) -> &'s [f32] {
        let data = &self.data[range];
        match self.activation {
            Some(activation) => {
                activation.apply(isa, data, &mut scratch[..data.len()]);
                &scratch[..data.len()]
            }
            None => data,
        }
    }
}

impl ChainOp {
    /// Whether a chain can compute operations of this kind.
    pub(super) fn computes(kind: OpKind) -> bool {
        match kind {
            OpKind::Conv | OpKind::Dense | OpKind::Depthwise | OpKind::MaxPool | OpKind::AveragePool => true,
            OpKind::Gather | OpKind::Dropout(_) => false,
        }
    }

    /// The operation's geometry for `n` inputs of `h` × `w`; `None` if they are too small. A fully connected layer is a pointwise
    /// one on a 1 × 1 map, and needs an input of one window's sides.
    pub(super) fn shape(&self, n: usize, (h, w): (usize, usize)) -> Option<Shape> {
        let Op { kernel: (kernel, _), stride, pad, .. } = self.op;
        let (c, out) = (self.op.input.c, self.op.output.c);
        if self.op.kind == OpKind::Dense {
            let pixel = Shape { n, h: 1, w: 1, c: self.op.inputs(), out, kernel: 1, stride: 1, pad: 0 };
            return ((h, w) == self.op.kernel).then_some(pixel);
        }
        self.op.dims((h, w)).map(|_| Shape { n, h, w, c, out, kernel, stride, pad })
    }

    /// Whether each pixel depends on one pixel only.
    pub(super) fn is_pointwise(&self, s: &Shape) -> bool {
        matches!(self.op.kind, OpKind::Conv | OpKind::Dense) && s.kernel == 1 && s.stride == 1 && s.pad == 0
    }
}

/// Pixels of a pointwise operation that are worked on at a time: their inputs and outputs stay in the first cache.
pub(super) fn pixels_at_once(s: &Shape) -> usize {
    (6144 / (s.c + s.out) / 12 * 12).max(48)
}
