//! Our own ops for candle's CPU tensors, each with its own gradient: candle's convolution is slow there, and its
//! gradient of max pooling wrong.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape as Dims, Tensor, bail};

use super::super::kernels::{self as k, Isa, NormStats, Shape};
use super::super::weights::NORM_EPSILON;

/// What a linear op multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weights `[kernel, kernel, c, out]`.
    Dense,
    /// Weights `[kernel, kernel, c]`.
    Depthwise,
}

/// A convolution (or, on a 1 × 1 map, a dense layer) with what follows it: bias or batch norm, and ReLU. One op instead
/// of three, because candle's backward pass goes through memory twice more for every op.
///
/// Arguments: input `[n, h, w, c]`, weights, and either biases `[out]` or batch norm's scale and shift `[2, out]`.
pub(super) struct Linear {
    pub(super) kind: Kind,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) norm: bool,
    pub(super) relu: bool,
    pub(super) saved: Arc<Mutex<Saved>>,
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// The product before batch norm.
    product: Vec<f32>,
    /// The batch's statistics.
    pub(super) stats: NormStats,
}

impl Linear {
    fn shape(&self, x: &[usize], weight: &[usize]) -> Result<Shape> {
        let (&[n, h, w, c], Some((&kernel, &out))) = (x, weight.first().zip(weight.last())) else {
            bail!("{x:?} is not [n, h, w, c]")
        };
        Ok(Shape { n, h, w, c, out, kernel, stride: self.stride, pad: self.pad })
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "facecascade-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let s = self.shape(x_layout.dims(), weight_layout.dims())?;
        let (x, weight, affine) = (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(affine, affine_layout)?);
        let isa = Isa::best();
        let mut y = vec![0.0; s.output_len()];
        let bias = (!self.norm).then_some(affine);
        match self.kind {
            Kind::Dense => k::conv_forward(isa, &s, x, weight, bias, self.relu && !self.norm, &mut y),
            Kind::Depthwise => {
                k::depthwise_forward(isa, &s, x, weight, bias, &mut y);
                if self.relu && !self.norm {
                    y.iter_mut().for_each(|v| *v = v.max(0.0));
                }
            }
        }
        if self.norm {
            let mut normed = vec![0.0; y.len()];
            let (scale, shift) = affine.split_at(s.out);
            let stats = k::norm_forward(isa, &y, scale, shift, NORM_EPSILON, self.relu, &mut normed);
            *lock(&self.saved) = Saved { product: std::mem::replace(&mut y, normed), stats };
        }
        Ok((CpuStorage::F32(y), Dims::from((s.n, s.out_h(), s.out_w(), s.out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let s = self.shape(x.dims(), weight.dims())?;
        let isa = Isa::best();
        let dy_contiguous = dy.contiguous()?;
        let (gradient, affine_gradient) = with_slice(&dy_contiguous, |dy| {
            with_slice(y, |y| {
                let masked = self.relu.then_some(y);
                if self.norm {
                    let saved = lock(&self.saved);
                    let mut dx = vec![0.0; dy.len()];
                    let scale = affine.get(0)?.to_vec1::<f32>()?;
                    let (mut scale, shift) =
                        k::norm_backward(isa, &saved.product, masked, dy, &scale, &saved.stats, NORM_EPSILON, &mut dx);
                    scale.extend(shift);
                    Ok((dx, scale))
                } else {
                    let dx: Vec<f32> = match masked {
                        Some(y) => dy.iter().zip(y).map(|(d, y)| if *y > 0.0 { *d } else { 0.0 }).collect(),
                        None => dy.to_vec(),
                    };
                    let bias = k::bias_grad(isa, &dx, s.out);
                    Ok((dx, bias))
                }
            })
        })?;
        let mut dw = vec![0.0; weight.elem_count()];
        with_slice(x, |x| {
            match self.kind {
                Kind::Dense => k::conv_grad_weight(isa, &s, x, &gradient, &mut dw),
                Kind::Depthwise => k::depthwise_grad_weight(isa, &s, x, &gradient, &mut dw),
            }
            Ok(())
        })?;
        let dx = if x.track_op() {
            let mut dx = vec![0.0; s.input_len()];
            with_slice(weight, |weight| {
                match self.kind {
                    Kind::Dense => k::conv_grad_input(isa, &s, &gradient, weight, &mut dx),
                    Kind::Depthwise => k::depthwise_grad_input(isa, &s, &gradient, weight, &mut dx),
                }
                Ok(())
            })?;
            Some(Tensor::from_vec(dx, x.shape(), x.device())?)
        } else {
            None
        };
        let dw = Tensor::from_vec(dw, weight.shape(), x.device())?;
        Ok((dx, Some(dw), Some(Tensor::from_vec(affine_gradient, affine.shape(), x.device())?)))
    }
}

/// Max pooling (or, with `mean`, mean pooling without padding) of `[n, h, w, c]`.
pub(super) struct Pool {
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) mean: bool,
}

impl Pool {
    fn shape(&self, x: &[usize]) -> Result<Shape> {
        let &[n, h, w, c] = x else { bail!("{x:?} is not [n, h, w, c]") };
        Ok(Shape { n, h, w, c, out: c, kernel: self.size, stride: self.stride, pad: self.pad })
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "facecascade-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let s = self.shape(layout.dims())?;
        let mut y = vec![0.0; s.output_len()];
        let forward = if self.mean { k::mean_pool_forward } else { k::max_pool_forward };
        forward(&s, slice(x, layout)?, &mut y);
        Ok((CpuStorage::F32(y), Dims::from((s.n, s.out_h(), s.out_w(), s.out))))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let s = self.shape(x.dims())?;
        let mut dx = vec![0.0; s.input_len()];
        let dy = dy.contiguous()?;
        with_slice(&dy, |dy| {
            if self.mean {
                k::mean_pool_backward(&s, dy, &mut dx);
                return Ok(());
            }
            with_slice(x, |x| with_slice(y, |y| Ok(k::max_pool_backward(&s, x, y, dy, &mut dx))))
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("facecascade's ops need contiguous tensors, this one has layout {layout:?}"),
    }
}

fn with_slice<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("facecascade's ops run on the CPU; elsewhere candle's own are used"),
    }
}
