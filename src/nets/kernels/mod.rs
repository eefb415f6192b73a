//! The arithmetic of both engines: convolution, pooling and batch norm over channels-last arrays, with their gradients.
//!
//! Every kernel is written once over `lanes::Lanes` and compiled for AVX-512, for AVX2 and without either; [`Isa`]
//! says which one runs. One thread each; arrays are `[n, h, w, c]`, row-major, 32-bit floats.

mod conv;
mod depthwise;
pub(in crate::nets) mod lanes;
mod norm;
mod pool;

pub use conv::{Packed, add_conv_grad_weight, add_outer, convolve, flipped, matmul_segments};
pub use depthwise::{DepthwiseRow, add_depthwise_grad_weight, depthwise_forward, depthwise_grad_input, depthwise_row};
pub use lanes::Isa;
pub use norm::{Activation, Backward, GradientSums, Moments, NormStats};
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
    pub const fn padded_row(&self) -> usize {
        (self.w + 2 * self.pad) * self.c
    }

    /// Floats in one padded input.
    pub const fn padded_len(&self) -> usize {
        (self.h + 2 * self.pad) * self.padded_row()
    }

    /// Floats between two rows of one dilated gradient, see [`dilate_into`].
    pub const fn dilated_row(&self) -> usize {
        (self.w + 2 * self.pad + self.kernel - 1) * self.out
    }

    /// Floats in one dilated gradient.
    pub const fn dilated_len(&self) -> usize {
        (self.h + 2 * self.pad + self.kernel - 1) * self.dilated_row()
    }

    fn check(&self, input: usize, output: usize) {
        assert!(self.stride > 0 && self.h + 2 * self.pad >= self.kernel && self.w + 2 * self.pad >= self.kernel);
        assert_eq!((input, output), (self.input_len(), self.output_len()), "array lengths do not fit {self:?}");
    }
}

/// Writes the `h` × `w` × `c` input `x` into the middle of `padded`, whose border stays as it is, through `activation`
/// where there is one.
pub fn pad_into(isa: Isa, s: &Shape, x: &[f32], activation: Option<&Activation>, padded: &mut [f32]) {
    let row = s.w * s.c;
    for y in 0..s.h {
        let start = (y + s.pad) * s.padded_row() + s.pad * s.c;
        let (x, padded) = (&x[y * row..][..row], &mut padded[start..start + row]);
        match activation {
            Some(activation) => activation.apply(isa, x, padded),
            None => padded.copy_from_slice(x),
        }
    }
}

/// Spreads one output gradient `dy` over the padded input's grid (`stride` apart, `kernel` − 1 zeros round it), so that
/// the gradient of the input is a plain convolution with the flipped kernel. What lies between stays as it is.
pub fn dilate_into(s: &Shape, dy: &[f32], dilated: &mut [f32]) {
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
