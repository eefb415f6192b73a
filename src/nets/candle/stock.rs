//! The same layers on candle's own ops: for CUDA, and to compare with.

use candle_core::{Result, Tensor};

use super::super::kernels::NormStats;
use super::super::weights::NORM_EPSILON;

/// `[n, h, w, c]` → `[n, c, h, w]`.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))?.contiguous()
}

/// `[n, c, h, w]` → `[n, h, w, c]`.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// A convolution without bias, of every channel on its own if `depthwise`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, depthwise: bool, stride: usize, pad: usize) -> Result<Tensor> {
    let (weight, groups) = if depthwise {
        // [k, k, c] → [c, 1, k, k]
        (weight.permute((2, 0, 1))?.unsqueeze(1)?.contiguous()?, x.dim(3)?)
    } else {
        // [k, k, c, out] → [out, c, k, k]
        (weight.permute((3, 2, 0, 1))?.contiguous()?, 1)
    };
    channels_last(&channels_first(x)?.conv2d(&weight, pad, stride, 1, groups)?)
}

/// Batch norm with the batch's statistics (`training`) or the `running` ones (mean, variance).
pub(super) fn norm(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    running: (&Tensor, &Tensor),
    training: bool,
) -> Result<(Tensor, NormStats)> {
    let (mean, variance) = if training {
        let flat = x.reshape(((), x.dim(3)?))?;
        let mean = flat.mean(0)?;
        let variance = flat.broadcast_sub(&mean)?.sqr()?.mean(0)?;
        (mean, variance)
    } else {
        (running.0.clone(), running.1.clone())
    };
    let inverse = (&variance + f64::from(NORM_EPSILON))?.sqrt()?.recip()?;
    let y = x.broadcast_sub(&mean)?.broadcast_mul(&(inverse * scale)?)?.broadcast_add(shift)?;
    Ok((y, NormStats { mean: mean.to_vec1()?, variance: variance.to_vec1()? }))
}

/// Max pooling; padding is far below every activation.
pub(super) fn max_pool(x: &Tensor, size: usize, stride: usize, pad: usize) -> Result<Tensor> {
    let mut x = channels_first(x)?;
    if pad > 0 {
        // Candle pads with zeros or copies only; max(x + big) − big would lose digits, so the border is concatenated.
        let (n, c, h, w) = x.dims4()?;
        let low = |shape| Tensor::full(f32::MIN, shape, x.device());
        let side = low((n, c, h, pad))?;
        let wide = Tensor::cat(&[&side, &x, &side], 3)?;
        let edge = low((n, c, pad, w + 2 * pad))?;
        x = Tensor::cat(&[&edge, &wide, &edge], 2)?;
    }
    channels_last(&x.max_pool2d_with_stride(size, stride)?)
}

/// Mean pooling without overlap.
pub(super) fn shrink(x: &Tensor, n: usize) -> Result<Tensor> {
    channels_last(&channels_first(x)?.avg_pool2d(n)?)
}
