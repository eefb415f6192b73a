//! One operation of a chain: a linear layer with what follows it (bias or batch norm, ReLU), or pooling.
//!
//! An operation keeps only its product. The reader of a product applies batch norm and ReLU to it, a piece at a time that stays
//! in the first caches.

use std::ops::Range;

use super::super::kernels::gradients::{
    self as k, Activation, Backward, GradientSums, Moments, NormStats, Shape, convolve,
};
use super::super::kernels::row::Row;
use super::super::kernels::{Isa, RowKernel};
use super::super::lower::{Op, OpKind};
use super::super::weights::NORM_EPSILON;
use super::buffers::{Buffer, Buffers};

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

/// The gradients that an operation's backward pass reads and writes.
#[derive(Debug)]
pub(super) struct Gradients<'a> {
    /// Gradient of the output.
    pub(super) dy: &'a [f32],
    /// Sums of `dy` over the batch.
    pub(super) sums: GradientSums,
    /// Gradient of the input, where it is wanted.
    pub(super) dx: Option<&'a mut [f32]>,
    /// Sums of `dx` over the batch, for the operation before.
    pub(super) sums_before: Option<&'a mut GradientSums>,
    /// Gradients of all parameters.
    pub(super) parameters: &'a mut [f32],
}

/// An operation's input: the product of the one before, and how it becomes an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) data: &'a [f32],
    pub(super) activation: Option<&'a Activation>,
}

impl Source<'_> {
    /// The floats `range`, activated in `scratch` where need be.
    fn part<'s>(&'s self, isa: Isa, range: Range<usize>, scratch: &'s mut [f32]) -> &'s [f32] {
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
        !matches!(kind, OpKind::Gather | OpKind::Dropout(_))
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

    fn is_pointwise(&self, s: &Shape) -> bool {
        matches!(self.op.kind, OpKind::Conv | OpKind::Dense) && s.kernel == 1 && s.stride == 1 && s.pad == 0
    }

    /// Computes the product and the activation that makes outputs of it. `stats` are batch norm's statistics; `None`
    /// stands for those of the batch.
    pub(super) fn forward(
        &self,
        isa: Isa,
        s: &Shape,
        source: Source<'_>,
        parameters: &[f32],
        stats: Option<&NormStats>,
        buffers: &Buffers,
    ) -> Kept {
        let affine = &parameters[self.affine.clone()];
        let bias = if self.norm { &[] } else { affine };
        let kernel = RowKernel::new(isa, &self.op, &parameters[self.weight.clone()], bias);
        let mut product = buffers.take(s.output_len());
        let mut moments = (self.norm && stats.is_none()).then(|| Moments::new(s.out));
        let mut count = |y: &[f32]| moments.iter_mut().for_each(|m| m.add(isa, y));
        if self.is_pointwise(s) {
            let pixels = pixels_at_once(s);
            let mut scratch = buffers.take(pixels * s.c);
            for (i, y) in product.chunks_mut(pixels * s.out).enumerate() {
                let (from, pixels) = (i * pixels * s.c, y.len() / s.out);
                let x = source.part(isa, from..from + pixels * s.c, &mut scratch);
                kernel.run(isa, Row::of_one_map(x, &[0], (s.c, s.out), pixels, y), s.c, s.c, false);
                count(y);
            }
        } else {
            let mut padded = buffers.filled(s.padded_len(), self.op.border());
            let (input, output) = s.maps();
            for (x, y) in source.data.chunks_exact(input).zip(product.chunks_exact_mut(output)) {
                k::pad_into(isa, s, x, source.activation, &mut padded);
                convolve(isa, &kernel, s, &padded, s.padded_row(), y);
                count(y);
            }
        }
        let stats = moments.map(|m| m.stats()).or_else(|| stats.cloned());
        let activation = match &stats {
            Some(stats) => {
                let (scale, shift) = affine.split_at(s.out);
                Activation::normed(stats, scale, shift, NORM_EPSILON, self.op.relu)
            }
            None => Activation::plain(s.out, self.op.relu),
        };
        Kept { product, activation, stats }
    }

    /// From the gradient of the output, `dy`, those of the input, `dx` (where it is wanted), and of the parameters.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn backward(
        &self,
        isa: Isa,
        s: &Shape,
        source: Source<'_>,
        kept: &Kept,
        parameters: &[f32],
        gradients: Gradients<'_>,
        buffers: &Buffers,
    ) {
        let Gradients { dy, sums, mut dx, mut sums_before, parameters: gradient } = gradients;
        let mut count = |range: Range<usize>, dx: &[f32]| {
            sums_before.iter_mut().for_each(|sums| sums.add(isa, &source.data[range.clone()], dx));
        };
        let (input, output) = s.maps();
        let back = Backward::new(sums);
        if matches!(self.op.kind, OpKind::MaxPool | OpKind::AveragePool) {
            let Some(dx) = dx else { return };
            let (mut x, mut g) = (buffers.take(input), buffers.take(output));
            let outputs = kept.product.chunks_exact(output).zip(dy.chunks_exact(output));
            for (i, ((y, dy), dx)) in outputs.zip(dx.chunks_exact_mut(input)).enumerate() {
                back.apply(isa, y, dy, &mut g);
                let one = Shape { n: 1, ..*s };
                match self.op.kind {
                    OpKind::MaxPool => {
                        let x = source.part(isa, i * input..(i + 1) * input, &mut x);
                        k::max_pool_backward(&one, x, y, &g, dx);
                    }
                    _ => k::average_pool_backward(&one, &g, dx),
                }
            }
            return count(0..dx.len(), dx);
        }
        let weight = &parameters[self.weight.clone()];
        let affine = &mut gradient[self.affine.clone()];
        let (scale, shift) = affine.split_at_mut(back.scale.len());
        scale.copy_from_slice(&back.scale);
        shift.copy_from_slice(&back.shift);
        let dw = &mut gradient[self.weight.clone()];
        let depthwise = self.op.kind == OpKind::Depthwise;
        let flip = if depthwise { k::flipped_taps } else { k::flipped };
        let flipped = dx.is_some().then(|| flip(isa, s, weight));
        if self.is_pointwise(s) {
            let pixels = pixels_at_once(s);
            let (mut xs, mut gs) = (buffers.take(pixels * s.c), buffers.take(pixels * s.out));
            for (i, (dy, product)) in dy.chunks(pixels * s.out).zip(kept.product.chunks(pixels * s.out)).enumerate() {
                let (from, pixels) = (i * pixels * s.c, dy.len() / s.out);
                let range = from..from + pixels * s.c;
                let g = &mut gs[..dy.len()];
                back.apply(isa, product, dy, g);
                k::add_outer(isa, source.part(isa, range.clone(), &mut xs), g, (s.c, s.out), dw);
                if let (Some(flipped), Some(dx)) = (&flipped, &mut dx) {
                    let dx = &mut dx[range.clone()];
                    flipped.run(isa, Row::of_one_map(g, &[0], (s.out, s.c), pixels, dx), s.out, s.out, false);
                    count(range, dx);
                }
            }
            return;
        }
        let (mut padded, mut g) = (buffers.filled(s.padded_len(), 0.0), buffers.take(output));
        let mut dilated = buffers.filled(s.dilated_len(), 0.0);
        let row = s.dilated_row();
        for (i, (dy, product)) in dy.chunks_exact(output).zip(kept.product.chunks_exact(output)).enumerate() {
            let range = i * input..(i + 1) * input;
            back.apply(isa, product, dy, &mut g);
            k::pad_into(isa, s, &source.data[range.clone()], source.activation, &mut padded);
            if depthwise {
                k::add_depthwise_grad_weight(isa, s, &padded, &g, dw);
            } else {
                k::add_conv_grad_weight(isa, s, &padded, &g, dw);
            }
            let (Some(flipped), Some(dx)) = (&flipped, &mut dx) else { continue };
            let dx = &mut dx[range.clone()];
            k::dilate_into(s, &g, &mut dilated);
            let inside = &dilated[s.pad * (row + s.out)..];
            convolve(isa, flipped, &s.of_input_gradient(), inside, row, dx);
            count(range, dx);
        }
    }
}

/// Pixels of a pointwise operation that are worked on at a time: their inputs and outputs stay in the first cache.
fn pixels_at_once(s: &Shape) -> usize {
    (6144 / (s.c + s.out) / 12 * 12).max(48)
}
