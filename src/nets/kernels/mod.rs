//! The arithmetic of both engines: convolution, pooling and batch norm over channels-last arrays, with their gradients.
//!
//! Every kernel is written once over [`lanes::Lanes`] and compiled for AVX-512, for AVX2 and without either; [`Isa`]
//! says which one runs. One thread each; arrays are `[n, h, w, c]`, row-major, 32-bit floats.

mod conv;
mod depthwise;
pub(in crate::nets) mod lanes;
mod norm;
mod pool;

pub use conv::{Packed, conv_forward, conv_grad_input, conv_grad_weight, matmul_segments};
pub use depthwise::{DepthwiseRow, depthwise_forward, depthwise_grad_input, depthwise_grad_weight, depthwise_row};
pub use lanes::Isa;
pub use norm::{NormStats, bias_grad, norm_backward, norm_forward};
pub use pool::{max_pool_backward, max_pool_forward, mean_pool_backward, mean_pool_forward};

/// A layer's geometry: `n` inputs of `h` × `w` × `c`, `out` channels out (= `c` for depthwise and pooling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Inputs in the batch.
    pub n: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Channels of the input.
    pub c: usize,
    /// Channels of the output.
    pub out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step of the kernel.
    pub stride: usize,
    /// Border round the input.
    pub pad: usize,
}

impl Shape {
    /// Rows of the output.
    pub const fn out_h(&self) -> usize {
        (self.h + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub const fn out_w(&self) -> usize {
        (self.w + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Numbers in the input.
    pub const fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Numbers in the output.
    pub const fn output_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.out
    }

    /// Floats between two rows of one padded input.
    const fn padded_row(&self) -> usize {
        (self.w + 2 * self.pad) * self.c
    }

    /// Floats in one padded input.
    const fn padded_len(&self) -> usize {
        (self.h + 2 * self.pad) * self.padded_row()
    }

    fn check(&self, input: usize, output: usize) {
        assert!(self.stride > 0 && self.h + 2 * self.pad >= self.kernel && self.w + 2 * self.pad >= self.kernel);
        assert_eq!((input, output), (self.input_len(), self.output_len()), "array lengths do not fit {self:?}");
    }
}

/// Copies the `h` × `w` × `c` input `x` into the middle of `padded`, whose border stays zero.
fn pad_into(s: &Shape, x: &[f32], padded: &mut [f32]) {
    let row = s.w * s.c;
    for y in 0..s.h {
        let start = (y + s.pad) * s.padded_row() + s.pad * s.c;
        padded[start..start + row].copy_from_slice(&x[y * row..][..row]);
    }
}

/// Spreads one output gradient of `dy` over the padded input's grid (`stride` apart, `kernel` − 1 zeros round it), so
/// that the gradient of the input is a plain convolution with the flipped kernel. Returns floats between rows.
fn dilate_into(s: &Shape, dy: &[f32], dilated: &mut Vec<f32>) -> usize {
    let (oh, ow, c) = (s.out_h(), s.out_w(), s.out);
    let row = (s.w + 2 * s.pad + s.kernel - 1) * c;
    dilated.resize((s.h + 2 * s.pad + s.kernel - 1) * row, 0.0);
    for y in 0..oh {
        for x in 0..ow {
            let at = (y * s.stride + s.kernel - 1) * row + (x * s.stride + s.kernel - 1) * c;
            dilated[at..at + c].copy_from_slice(&dy[(y * ow + x) * c..][..c]);
        }
    }
    row
}
