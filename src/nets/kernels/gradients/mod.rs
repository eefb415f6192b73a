//! Gradients of the kernels, and batch norm with its own: what training needs beside the forward kernels.

mod depthwise;
mod linear;
mod norm;
mod pool;
mod sum;

pub(in crate::nets) use depthwise::{add_strided_taps_of_row, add_taps_of_row, flipped_taps};
pub(in crate::nets) use linear::{add_conv_grad_weight_of_row, add_outer, flipped};
pub(crate) use norm::NormStats;
pub(in crate::nets) use norm::{Activation, Backward, GradientSums, Moments};
pub(in crate::nets) use pool::{average_pool_backward, max_pool_backward};
pub(in crate::nets) use sum::add_doubled_backward;

use super::row::Row;
use super::{Isa, RowKernel};

/// A layer's geometry: `n` inputs of `h` × `w` × `c`, `out` channels out (= `c` for depthwise and pooling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nets) struct Shape {
    /// Inputs in the batch.
    pub(in crate::nets) n: usize,
    /// Rows of the input.
    pub(in crate::nets) h: usize,
    /// Columns of the input.
    pub(in crate::nets) w: usize,
    /// Channels of the input.
    pub(in crate::nets) c: usize,
    /// Channels of the output.
    pub(in crate::nets) out: usize,
    /// Side of the kernel.
    pub(in crate::nets) kernel: usize,
    /// Stride of the kernel, pixels.
    pub(in crate::nets) stride: usize,
    /// Rows and columns of padding on each side of the input.
    pub(in crate::nets) pad: usize,
}

impl Shape {
    /// Rows of the output.
    pub(in crate::nets) const fn out_h(&self) -> usize {
        (self.h + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub(in crate::nets) const fn out_w(&self) -> usize {
        (self.w + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Values in the input.
    pub(in crate::nets) const fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Values in the output.
    pub(in crate::nets) const fn output_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.out
    }

    /// Values in one input and in one output.
    pub(in crate::nets) const fn maps(&self) -> (usize, usize) {
        (self.h * self.w * self.c, self.out_h() * self.out_w() * self.out)
    }

    /// The convolution of one dilated gradient, see [`dilate_into`], that gives the gradient of the input.
    pub(in crate::nets) const fn of_input_gradient(&self) -> Self {
        let (h, w) = (self.h + self.kernel - 1, self.w + self.kernel - 1);
        Self { n: 1, h, w, c: self.out, out: self.c, kernel: self.kernel, stride: 1, pad: 0 }
    }

    /// Floats between two rows of one padded input.
    pub(in crate::nets) const fn padded_row(&self) -> usize {
        (self.w + 2 * self.pad) * self.c
    }

    /// Floats between two rows of one dilated gradient, see [`dilate_into`].
    pub(in crate::nets) const fn dilated_row(&self) -> usize {
        (self.w + 2 * self.pad + self.kernel - 1) * self.out
    }

    /// Floats in one dilated gradient.
    pub(in crate::nets) const fn dilated_len(&self) -> usize {
        (self.h + 2 * self.pad + self.kernel - 1) * self.dilated_row()
    }

    fn check(&self, input: usize, output: usize) {
        assert!(self.stride > 0 && self.h + 2 * self.pad >= self.kernel && self.w + 2 * self.pad >= self.kernel);
        assert_eq!((input, output), (self.input_len(), self.output_len()), "array lengths do not fit {self:?}");
    }
}

/// Spreads one output gradient `dy` over the padded input's grid (`stride` apart, `kernel` − 1 zeros round it), so that
/// the gradient of the input is a plain convolution with the flipped kernel. Values between them stay as they are.
pub(in crate::nets) fn dilate_into(s: &Shape, dy: &[f32], dilated: &mut [f32]) {
    let (oh, ow, c, row) = (s.out_h(), s.out_w(), s.out, s.dilated_row());
    for y in 0..oh {
        let at = (y * s.stride + s.kernel - 1) * row + (s.kernel - 1) * c;
        let dy = &dy[y * ow * c..][..ow * c];
        if s.stride == 1 {
            dilated[at..at + ow * c].copy_from_slice(dy);
            continue;
        }
        for (dilated, dy) in dilated[at..].chunks_mut(s.stride * c).zip(dy.chunks_exact(c)) {
            dilated[..c].copy_from_slice(dy);
        }
    }
}

/// One map: `y`, rows of `width` pixels, from `padded`, the kernel moved by `s.stride` over rows of `row` floats. `s` says
/// what the kernel reads and writes: `kernel`, `c` and `out`.
pub(in crate::nets) fn convolve(isa: Isa, kernel: &RowKernel, s: &Shape, padded: &[f32], row: usize, y: &mut [f32]) {
    let width = s.out_w();
    let mut rows = Vec::with_capacity(s.kernel);
    for (oy, y) in y.chunks_exact_mut(width * s.out).enumerate() {
        rows.clear();
        rows.extend((0..s.kernel).map(|ky| (oy * s.stride + ky) * row));
        kernel.run(isa, Row::of_one_map(padded, &rows, (s.stride * s.c, s.out), width, y), s.kernel * s.c, s.c, false);
    }
}
