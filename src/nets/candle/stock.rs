//! The same layers on candle's own ops: for CUDA, and to compare with.

use candle_core::{Result, Tensor, bail};

use super::super::kernels::NormStats;
use super::super::spec::steps;
use super::super::weights::NORM_EPSILON;

/// `[n, h, w, c]` → `[n, c, h, w]`.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))?.contiguous()
}

/// `[n, c, h, w]` → `[n, h, w, c]`.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// A convolution without bias.
pub(super) fn conv(x: &Tensor, weight: &Tensor, stride: usize, pad: usize) -> Result<Tensor> {
    // [k, k, c, out] → [out, c, k, k]
    conv_channels_first(x, &weight.permute((3, 2, 0, 1))?.contiguous()?, stride, pad)
}

/// The same with weights `[out, c, k, k]`, as candle wants them.
pub(super) fn conv_channels_first(x: &Tensor, weight: &Tensor, stride: usize, pad: usize) -> Result<Tensor> {
    channels_last(&channels_first(x)?.conv2d(weight, pad, stride, 1, 1)?)
}

/// A convolution of every channel on its own, without bias; weights `[k, k, c]`. Candle's own takes one convolution a
/// channel, each of several kernels on a GPU; this takes two a pixel of the kernel.
pub(super) fn depthwise(x: &Tensor, weight: &Tensor, stride: usize, pad: usize) -> Result<Tensor> {
    let (kernel, _, c) = weight.dims3()?;
    let weight = weight.reshape((kernel * kernel, c))?;
    let mut sum: Option<Tensor> = None;
    for (i, tap) in taps(x, kernel, stride, pad, 0.0)?.iter().enumerate() {
        let part = tap.broadcast_mul(&weight.get(i)?)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.map_or_else(|| Ok(x.clone()), Ok)
}

/// What each pixel of a kernel that slides over `x` `[n, h, w, c]` meets, row by row: `kernel`² views `[n, h', w', c]`.
/// Round the input stands `border`.
fn taps(x: &Tensor, kernel: usize, stride: usize, pad: usize, border: f32) -> Result<Vec<Tensor>> {
    let (n, h, w, c) = x.dims4()?;
    let (Some(rows), Some(columns)) = (steps(h, kernel, stride, pad), steps(w, kernel, stride, pad)) else {
        bail!("an input of {h} × {w} is too small for a kernel of {kernel}")
    };
    // So many more that the stride divides it; nobody sees them.
    let more = |side: usize| pad + (stride - (side + 2 * pad) % stride) % stride;
    let x = bordered(&bordered(x, 1, pad, more(h), border)?, 2, pad, more(w), border)?;
    let (h, w) = (x.dim(1)? / stride, x.dim(2)? / stride);
    let cells = x.contiguous()?.reshape(vec![n, h, stride, w, stride, c])?;
    let mut list = Vec::with_capacity(kernel * kernel);
    for ky in 0..kernel {
        let row = cells.narrow(1, ky / stride, rows)?.narrow(2, ky % stride, 1)?;
        for kx in 0..kernel {
            let tap = row.narrow(3, kx / stride, columns)?.narrow(4, kx % stride, 1)?;
            list.push(tap.squeeze(4)?.squeeze(2)?);
        }
    }
    Ok(list)
}

/// `x` with `before` and `after` more of `value` along `axis`.
fn bordered(x: &Tensor, axis: usize, before: usize, after: usize, value: f32) -> Result<Tensor> {
    let side = |more: usize| {
        let mut shape = x.dims().to_vec();
        shape[axis] = more;
        Tensor::full(value, shape, x.device())
    };
    match (before, after) {
        (0, 0) => Ok(x.clone()),
        (0, after) => Tensor::cat(&[x, &side(after)?], axis),
        (before, 0) => Tensor::cat(&[&side(before)?, x], axis),
        (before, after) => Tensor::cat(&[&side(before)?, x, &side(after)?], axis),
    }
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

/// Max pooling. The gradient of candle's own is wrong, that of `maximum` is right.
pub(super) fn max_pool(x: &Tensor, size: usize, stride: usize, pad: usize) -> Result<Tensor> {
    // Padding is far below every activation.
    let taps = taps(x, size, stride, pad, f32::MIN)?;
    let mut most = taps[0].contiguous()?;
    for tap in &taps[1..] {
        most = most.maximum(tap)?;
    }
    Ok(most)
}

/// Mean pooling without overlap. The gradient of candle's own is wrong where something is left over.
pub(super) fn shrink(x: &Tensor, n: usize) -> Result<Tensor> {
    let taps = taps(x, n, n, 0, 0.0)?;
    let mut sum = taps[0].contiguous()?;
    for tap in &taps[1..] {
        sum = (sum + tap)?;
    }
    sum / (n * n) as f64
}
