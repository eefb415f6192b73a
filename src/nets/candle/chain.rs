//! A chain of layers as one op for candle's CPU tensors, with its own gradient: candle's convolution is slow there, its
//! gradient of max pooling wrong, and its backward pass goes through memory twice more for every op.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape as Dims, Tensor, bail};

use super::super::kernels::Isa;
use super::super::kernels::gradients::{NormStats, Shape};
use super::buffers::{Buffer, Buffers, lock};
use super::chain_op::{ChainOp, Gradients, Kept, Source};

/// Arguments: input `[n, h, w, c]` and all parameters of the ops, one behind the other.
pub(super) struct Chain {
    /// The operations; at least one.
    pub(super) ops: Arc<Vec<ChainOp>>,
    /// Dimensions of each operation for this input.
    pub(super) shapes: Vec<Shape>,
    /// Statistics of the ops' batch norms, in order; `None` in training: those of the batch.
    pub(super) running: Option<Vec<NormStats>>,
    /// Products of the forward pass, for the backward pass.
    pub(super) tape: Arc<Tape>,
    /// Stock of arrays for the maps.
    pub(super) buffers: Buffers,
}

/// Products and statistics of each operation of a forward pass.
#[derive(Debug, Default)]
pub(super) struct Tape(Mutex<Vec<Kept>>);

impl Tape {
    /// The statistics of all batch norms, in order.
    pub(super) fn stats(&self) -> Vec<NormStats> {
        lock(&self.0).iter().filter_map(|kept| kept.stats.clone()).collect()
    }
}

impl CustomOp2 for Chain {
    fn name(&self) -> &'static str {
        "facecascade-chain"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (x, parameters) = (slice(x, x_layout)?, slice(parameters, parameters_layout)?);
        let isa = Isa::best();
        let mut tape: Vec<Kept> = Vec::with_capacity(self.ops.len());
        let mut running = self.running.iter().flatten();
        for (op, shape) in self.ops.iter().zip(&self.shapes) {
            let stats = if op.norm { running.next() } else { None };
            let kept = op.forward(isa, shape, source(x, tape.last()), parameters, stats, &self.buffers);
            tape.push(kept);
        }
        let (Some(last), Some(s)) = (tape.last(), self.shapes.last()) else {
            bail!("a chain has at least one operation")
        };
        let mut y = vec![0.0; s.output_len()];
        last.activation.apply(isa, &last.product, &mut y);
        if self.running.is_none() {
            *lock(&self.tape.0) = tape;
        }
        Ok((CpuStorage::F32(y), Dims::from((s.n, s.out_h(), s.out_w(), s.out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let isa = Isa::best();
        let mut tape = std::mem::take(&mut *lock(&self.tape.0));
        let mut gradient = vec![0.0; parameters.elem_count()];
        let (dy, x_tracks) = (dy.contiguous()?, x.track_op());
        let dx = with_slice(x, |x| {
            with_slice(parameters, |parameters| {
                with_slice(&dy, |first| {
                    let Some(last) = tape.last() else { bail!("a chain's backward pass runs only once") };
                    let mut sums = last.gradient_sums();
                    sums.add(isa, &last.product, first);
                    let mut dy: Option<Buffer> = None;
                    for (i, (op, shape)) in self.ops.iter().zip(&self.shapes).enumerate().rev() {
                        let Some(kept) = tape.pop() else { bail!("the tape is shorter than its chain") };
                        let mut dx = (i > 0 || x_tracks).then(|| self.buffers.take(shape.input_len()));
                        let mut sums_before = tape.last().map(Kept::gradient_sums);
                        let gradients = Gradients {
                            dy: dy.as_deref().unwrap_or(first),
                            sums,
                            dx: dx.as_deref_mut(),
                            sums_before: sums_before.as_mut(),
                            parameters: &mut gradient,
                        };
                        op.backward(isa, shape, source(x, tape.last()), &kept, parameters, gradients, &self.buffers);
                        dy = dx;
                        let Some(before) = sums_before else { break };
                        sums = before;
                    }
                    Ok(dy.map(|dx| dx.to_vec()))
                })
            })
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        Ok((dx, Some(Tensor::from_vec(gradient, parameters.shape(), x.device())?)))
    }
}

fn source<'a>(x: &'a [f32], before: Option<&'a Kept>) -> Source<'a> {
    match before {
        Some(kept) => {
            let activation = Some(&kept.activation).filter(|a| !a.is_identity());
            Source { data: &kept.product, activation }
        }
        None => Source { data: x, activation: None },
    }
}

pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("facecascade's ops need contiguous tensors, this one has layout {layout:?}"),
    }
}

pub(super) fn with_slice<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("facecascade's ops run on the CPU; elsewhere candle's own are used"),
    }
}
