//! The forward pass of one operation of a chain, a few maps at a time.

use std::ops::Range;

use super::super::kernels::gradients::{Activation, Moments, NormStats, Shape};
use super::super::kernels::row::Row;
use super::super::kernels::{Isa, RowKernel};
use super::super::weights::NORM_EPSILON;
use super::buffers::{Buffer, Buffers};
use super::chain_op::{ChainOp, Kept, Source, pixels_at_once};
use super::rows::PaddedRows;

/// An operation at work on a batch.
#[derive(Debug)]
pub(super) struct Forward<'a> {
    s: Shape,
    kernel: RowKernel,
    relu: bool,
    affine: &'a [f32],
    kept: Kept,
    /// Sums for the batch's statistics, where these are wanted.
    moments: Option<Moments>,
    /// What a pointwise operation reads, activated; the rows that any other reads.
    input: Input,
}

#[derive(Debug)]
enum Input {
    Pixels(Buffer),
    Rows(PaddedRows),
}

impl<'a> Forward<'a> {
    /// Begins with a batch of the geometry `s`. `stats` are batch norm's statistics; `None` stands for those of the batch.
    pub(super) fn new(
        op: &ChainOp,
        isa: Isa,
        s: Shape,
        parameters: &'a [f32],
        stats: Option<&NormStats>,
        buffers: &Buffers,
    ) -> Self {
        let affine = &parameters[op.affine.clone()];
        let bias = if op.norm { &[] } else { affine };
        let kernel = RowKernel::new(isa, &op.op, &parameters[op.weight.clone()], bias);
        let input = if op.is_pointwise(&s) {
            Input::Pixels(buffers.take(pixels_at_once(&s) * s.c))
        } else {
            Input::Rows(PaddedRows::new(s, op.op.border(), buffers))
        };
        let mut forward = Self {
            s,
            kernel,
            relu: op.op.relu,
            affine,
            kept: Kept {
                product: buffers.take(s.output_len()),
                activation: Activation::plain(s.out, op.op.relu),
                stats: None,
            },
            moments: (op.norm && stats.is_none()).then(|| Moments::new(s.out)),
            input,
        };
        if op.norm
            && let Some(stats) = stats
        {
            forward.norm(stats.clone());
        }
        forward
    }

    fn norm(&mut self, stats: NormStats) {
        let (scale, shift) = self.affine.split_at(self.s.out);
        self.kept.activation = Activation::normed(&stats, scale, shift, NORM_EPSILON, self.relu);
        self.kept.stats = Some(stats);
    }

    /// What has been computed so far, for the next operation to read: not before [`Self::finish`] if the batch's statistics are
    /// wanted.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Computes the products of some of the batch's maps.
    pub(super) fn run(&mut self, isa: Isa, maps: Range<usize>, source: &Source<'_>) {
        let Self { s, kernel, kept, moments, .. } = self;
        let (input, output) = s.maps();
        let mut count = |y: &[f32]| moments.iter_mut().for_each(|m| m.add(isa, y));
        match &mut self.input {
            Input::Pixels(scratch) => {
                let pixels = pixels_at_once(s);
                let product = &mut kept.product[maps.start * output..maps.end * output];
                for (i, y) in product.chunks_mut(pixels * s.out).enumerate() {
                    let (from, pixels) = (maps.start * input + i * pixels * s.c, y.len() / s.out);
                    let x = source.part(isa, from..from + pixels * s.c, scratch);
                    kernel.run(isa, Row::of_one_map(x, &[0], (s.c, s.out), pixels, y), s.c, s.c, false);
                    count(y);
                }
            }
            Input::Rows(rows) => {
                let (steps, width) = ((s.stride * s.c, s.out), s.out_w());
                for map in maps {
                    rows.restart();
                    let product = &mut kept.product[map * output..(map + 1) * output];
                    for (oy, y) in product.chunks_exact_mut(width * s.out).enumerate() {
                        rows.advance(isa, oy, source, map * input);
                        let (data, starts) = rows.rows();
                        kernel.run(isa, Row::of_one_map(data, starts, steps, width, y), s.kernel * s.c, s.c, false);
                        count(y);
                    }
                }
            }
        }
    }

    /// The products of the whole batch, and how they become outputs.
    pub(super) fn finish(mut self) -> Kept {
        if let Some(moments) = self.moments.take() {
            self.norm(moments.stats());
        }
        self.kept
    }
}
