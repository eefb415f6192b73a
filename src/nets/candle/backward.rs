//! The backward pass of one operation of a chain, a few maps at a time.

use std::ops::Range;

use super::super::kernels::gradients::{self as k, Backward, GradientSums, Shape, convolve};
use super::super::kernels::row::Row;
use super::super::kernels::{Isa, RowKernel};
use super::super::lower::OpKind;
use super::buffers::{Buffer, Buffers};
use super::chain_op::{ChainOp, Kept, Source, pixels_at_once};
use super::rows::{GradientRows, PaddedRows};

/// An operation on its way back over a batch.
#[derive(Debug)]
pub(super) struct OpBackward<'a> {
    op: &'a ChainOp,
    s: Shape,
    kept: &'a Kept,
    /// Sums of the gradients of this operation's outputs. With batch norm they are those of the whole batch from the beginning;
    /// without, they grow with the maps, and only the biases need them.
    pub(super) sums: GradientSums,
    back: Backward,
    /// The kernel that gives the gradient of the input, where that is wanted.
    flipped: Option<RowKernel>,
    work: Scratch,
}

#[derive(Debug)]
enum Scratch {
    /// Pixels: inputs, activated, and gradients of products.
    Pointwise(Buffer, Buffer),
    /// Whole maps: the input, activated, and the gradient of the product.
    Pool(Buffer, Buffer),
    /// Rows of the input and of the gradient of the product, of an operation of stride 1.
    Rows(PaddedRows, GradientRows),
    /// Rows of the input, the gradient of the product as a whole, and the same spread out by the stride.
    Strided(PaddedRows, Buffer, Buffer),
}

/// What comes before an operation: whose outputs it read, and what it finds out about their gradients.
#[derive(Debug)]
pub(super) struct Before<'a> {
    /// The gradients of the maps, where they are wanted.
    pub(super) dx: Option<&'a mut [f32]>,
    /// Their sums, for the operation before.
    pub(super) sums: Option<&'a mut GradientSums>,
}

impl<'a> OpBackward<'a> {
    /// Begins with the end of a batch of the geometry `s`. `sums` are those of the gradients of the outputs; `wants_dx` says whether the
    /// gradient of the input is computed.
    pub(super) fn new(
        (op, s): (&'a ChainOp, Shape),
        isa: Isa,
        (kept, sums): (&'a Kept, GradientSums),
        parameters: &[f32],
        wants_dx: bool,
        buffers: &Buffers,
    ) -> Self {
        let depthwise = op.op.kind == OpKind::Depthwise;
        let pool = matches!(op.op.kind, OpKind::MaxPool | OpKind::AveragePool);
        let flip = if depthwise { k::flipped_taps } else { k::flipped };
        let flipped = (wants_dx && !pool).then(|| flip(isa, &s, &parameters[op.weight.clone()]));
        let (input, output) = s.maps();
        let rows = || PaddedRows::new(s, 0.0, buffers);
        let work = if pool {
            Scratch::Pool(buffers.take(input), buffers.take(output))
        } else if op.is_pointwise(&s) {
            let pixels = pixels_at_once(&s);
            Scratch::Pointwise(buffers.take(pixels * s.c), buffers.take(pixels * s.out))
        } else if s.stride == 1 {
            Scratch::Rows(rows(), GradientRows::new(s, buffers))
        } else {
            Scratch::Strided(rows(), buffers.take(output), buffers.filled(s.dilated_len(), 0.0))
        };
        let back = Backward::new(sums.clone());
        Self { op, s, kept, sums, back, flipped, work }
    }

    /// From `dy`, the gradients of the outputs of `maps`, computes what `before` asks for and adds those of the weights to `dw`.
    pub(super) fn run(
        &mut self,
        isa: Isa,
        maps: Range<usize>,
        source: &Source<'_>,
        dy: &[f32],
        mut before: Before<'_>,
        dw: &mut [f32],
    ) {
        let Self { op, s, kept, back, flipped, work, .. } = self;
        let (input, output) = s.maps();
        let first = maps.start * input;
        let product = &kept.product[maps.start * output..maps.end * output];
        // `range` counts from the first of `maps`.
        let done = |before: &mut Before<'_>, range: Range<usize>| {
            if let (Some(sums), Some(dx)) = (&mut before.sums, &before.dx) {
                sums.add(isa, &source.data[first + range.start..first + range.end], &dx[range]);
            }
        };
        match work {
            Scratch::Pool(x, g) => {
                let one = Shape { n: 1, ..*s };
                for (i, (y, dy)) in product.chunks_exact(output).zip(dy.chunks_exact(output)).enumerate() {
                    let Some(dx) = &mut before.dx else { return };
                    let (range, dx) = (i * input..(i + 1) * input, &mut dx[i * input..(i + 1) * input]);
                    back.apply(isa, y, dy, g);
                    if op.op.kind == OpKind::MaxPool {
                        let x = source.part(isa, first + range.start..first + range.end, x);
                        k::max_pool_backward(&one, x, y, g, dx);
                    } else {
                        k::average_pool_backward(&one, g, dx);
                    }
                    done(&mut before, range);
                }
            }
            Scratch::Pointwise(xs, gs) => {
                let pixels = pixels_at_once(s);
                for (i, (dy, product)) in dy.chunks(pixels * s.out).zip(product.chunks(pixels * s.out)).enumerate() {
                    let (from, pixels) = (i * pixels * s.c, dy.len() / s.out);
                    let range = from..from + pixels * s.c;
                    let g = &mut gs[..dy.len()];
                    back.apply(isa, product, dy, g);
                    k::add_outer(
                        isa,
                        source.part(isa, first + range.start..first + range.end, xs),
                        g,
                        (s.c, s.out),
                        dw,
                    );
                    if let (Some(flipped), Some(dx)) = (&flipped, &mut before.dx) {
                        let row = Row::of_one_map(g, &[0], (s.out, s.c), pixels, &mut dx[range.clone()]);
                        flipped.run(isa, row, s.out, s.out, false);
                        done(&mut before, range);
                    }
                }
            }
            Scratch::Rows(x, g) => {
                let (row, out_row) = (s.w * s.c, s.out_w() * s.out);
                for (i, (dy, product)) in dy.chunks_exact(output).zip(product.chunks_exact(output)).enumerate() {
                    x.restart();
                    let mut next = 0;
                    for (oy, (dy, product)) in dy.chunks_exact(out_row).zip(product.chunks_exact(out_row)).enumerate() {
                        back.apply(isa, product, dy, g.row(oy));
                        x.advance(isa, oy, source, first + i * input);
                        let (data, starts) = x.rows();
                        if op.op.kind == OpKind::Depthwise {
                            k::add_taps_of_row(isa, s, (data, starts), g.whole_row(oy), dw);
                        } else {
                            k::add_conv_grad_weight_of_row(isa, s, (data, starts), g.row(oy), dw);
                        }
                        // Rows of dx whose last gradient row this is; behind the last one, all that are left.
                        let until = if oy + 1 == s.out_h() { s.h } else { (oy + 1).saturating_sub(s.pad).min(s.h) };
                        let (Some(flipped), Some(dx)) = (&flipped, &mut before.dx) else { continue };
                        for y in next..until {
                            let (data, starts) = g.under(y);
                            let dx = &mut dx[i * input + y * row..][..row];
                            let row = Row::of_one_map(data, starts, (s.out, s.c), s.w, dx);
                            flipped.run(isa, row, s.kernel * s.out, s.out, false);
                        }
                        if next < until {
                            done(&mut before, i * input + next * row..i * input + until * row);
                            next = until;
                        }
                    }
                }
            }
            Scratch::Strided(x, g, dilated) => {
                let dilated_row = s.dilated_row();
                for (i, (dy, product)) in dy.chunks_exact(output).zip(product.chunks_exact(output)).enumerate() {
                    back.apply(isa, product, dy, g);
                    x.restart();
                    for (oy, g) in g.chunks_exact(s.out_w() * s.out).enumerate() {
                        x.advance(isa, oy, source, first + i * input);
                        if op.op.kind == OpKind::Depthwise {
                            k::add_strided_taps_of_row(isa, s, x.rows(), g, dw);
                        } else {
                            k::add_conv_grad_weight_of_row(isa, s, x.rows(), g, dw);
                        }
                    }
                    let (Some(flipped), Some(dx)) = (&flipped, &mut before.dx) else { continue };
                    k::dilate_into(s, g, dilated);
                    let inside = &dilated[s.pad * (dilated_row + s.out)..];
                    let range = i * input..(i + 1) * input;
                    convolve(isa, flipped, &s.of_input_gradient(), inside, dilated_row, &mut dx[range.clone()]);
                    done(&mut before, range);
                }
            }
        }
    }

    /// Writes the gradients of biases, or of batch norm's scales and shifts.
    pub(super) fn finish(self, gradient: &mut [f32]) {
        let affine = &mut gradient[self.op.affine.clone()];
        let back = if self.op.norm { self.back } else { Backward::new(self.sums) };
        if !affine.is_empty() {
            let (scale, shift) = affine.split_at_mut(back.scale.len());
            scale.copy_from_slice(&back.scale);
            shift.copy_from_slice(&back.shift);
        }
    }
}
