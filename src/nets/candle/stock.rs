//! Operations on candle's own ops and modules: for CUDA, and to compare with.

use candle_core::{Result, Tensor, bail};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, Module as _, ModuleT as _};

use super::super::kernels::gradients::NormStats;
use super::super::lower::{Op, OpKind};
use super::super::spec::steps;
use super::super::weights::NORM_EPSILON;
use super::flatten;

/// An operation that multiplies by weights.
#[derive(Debug)]
pub(super) enum Module {
    /// A fully connected layer, or a pointwise convolution.
    Linear(Linear),
    /// Any other convolution over all channels.
    Conv(Conv2d),
    /// A convolution of every channel on its own; weights `[k, k, c]`. Candle's own takes one convolution a channel, each
    /// of several kernels on a GPU; this takes two a pixel of the kernel.
    Depthwise(Tensor, Option<Tensor>),
}

impl Module {
    /// The module of `op`, with its weights in the order of our files; without a bias where batch norm follows.
    pub(super) fn new<A>(op: &Op<A>, weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(match (op.kind, op.kernel, op.stride, op.pad) {
            (OpKind::Depthwise, ..) => Self::Depthwise(weight.clone(), bias),
            (OpKind::Conv, (1, 1), 1, 0) => Self::Linear(Linear::new(weight.squeeze(0)?.squeeze(0)?.t()?, bias)),
            (OpKind::Conv, _, stride, padding) => {
                // [k, k, c, out] → [out, c, k, k]
                let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
                Self::Conv(Conv2d::new(weight, bias, Conv2dConfig { padding, stride, ..Conv2dConfig::default() }))
            }
            _ => Self::Linear(Linear::new(weight.t()?, bias)),
        })
    }

    fn forward<A>(&self, op: &Op<A>, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear(linear) if op.kind == OpKind::Dense => linear.forward(&flatten(x)?),
            Self::Linear(linear) => linear.forward(&x.contiguous()?),
            Self::Conv(conv) => channels_last(&conv.forward(&channels_first(x)?)?),
            Self::Depthwise(weight, bias) => {
                let y = depthwise(x, weight, op.stride, op.pad)?;
                bias.as_ref().map_or_else(|| Ok(y.clone()), |bias| y.broadcast_add(bias))
            }
        }
    }
}

/// Runs an operation on `x` `[n, h, w, c]`, without the ReLU behind it; dropout does nothing. `module` is that of
/// an operation with weights.
pub(super) fn apply<A>(op: &Op<A>, module: Option<&Module>, x: &Tensor) -> Result<Tensor> {
    match (op.kind, module) {
        (_, Some(module)) => module.forward(op, x),
        (OpKind::MaxPool, _) => max_pool(x, op.kernel.0, op.stride, op.pad),
        (OpKind::AveragePool, _) => average_pool(x, op.kernel.0, op.stride, op.pad),
        (OpKind::Gather, _) if op.kernel != (1, 1) => flatten(x),
        (OpKind::Gather | OpKind::Dropout(_), _) => Ok(x.clone()),
        (kind, None) => bail!("{}, {kind:?}, has no weights", op.path),
    }
}

/// Batch norm of `x` `[n, h, w, c]`: with the batch's statistics, which are returned, or with those that are given (mean and
/// variance).
pub(super) fn norm(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    running: Option<(&Tensor, &Tensor)>,
) -> Result<(Tensor, NormStats)> {
    let (c, epsilon) = (scale.elem_count(), f64::from(NORM_EPSILON));
    let (mean, variance) = match running {
        Some((mean, variance)) => (mean.clone(), variance.clone()),
        None => (scale.zeros_like()?, scale.zeros_like()?),
    };
    // A module for this batch alone, whose running averages take the whole of the batch's: threads share the net, and
    // the trainer averages over them.
    let norm = BatchNorm::new_with_momentum(c, mean, variance, scale.clone(), shift.clone(), epsilon, 1.0)?;
    let pixels = x.elem_count() / c;
    let y = norm.forward_t(&x.reshape((pixels, c))?, running.is_none())?.reshape(x.shape())?;
    // Candle estimates the variance of all pictures from the batch; ours is that of the batch itself.
    let own = (pixels - 1) as f64 / pixels as f64;
    let variance = if pixels > 1 { (norm.running_var() * own)? } else { scale.zeros_like()? };
    Ok((y, NormStats { mean: norm.running_mean().to_vec1()?, variance: variance.to_vec1()? }))
}

/// `[n, h, w, c]` → `[n, c, h, w]`.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))?.contiguous()
}

/// `[n, c, h, w]` → `[n, h, w, c]`.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// A depthwise convolution without bias.
fn depthwise(x: &Tensor, weight: &Tensor, stride: usize, pad: usize) -> Result<Tensor> {
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
/// Samples outside the input have the value `border`.
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

/// Extends `x` along `axis` by `before` and `after` rows or columns of `value`.
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

/// Max pooling. The gradient of candle's own is wrong, that of `maximum` is right.
fn max_pool(x: &Tensor, size: usize, stride: usize, pad: usize) -> Result<Tensor> {
    // Padding is far below every activation.
    let taps = taps(x, size, stride, pad, f32::MIN)?;
    let mut most = taps[0].contiguous()?;
    for tap in &taps[1..] {
        most = most.maximum(tap)?;
    }
    Ok(most)
}

/// Average pooling; the border counts as zeros. The gradient of candle's own is wrong where something is left over.
fn average_pool(x: &Tensor, size: usize, stride: usize, pad: usize) -> Result<Tensor> {
    let taps = taps(x, size, stride, pad, 0.0)?;
    let mut sum = taps[0].contiguous()?;
    for tap in &taps[1..] {
        sum = (sum + tap)?;
    }
    sum / (size * size) as f64
}
