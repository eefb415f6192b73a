//! The sum of a map and of a coarser one at twice its size: as one op with its own gradient on the CPU, and on candle's ops.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::super::kernels::Isa;
use super::super::kernels::gradients::add_doubled_backward;
use super::super::kernels::sum::add_doubled;
use super::Ops;
use super::chain::{slice, with_slice};

/// `fine` `[n, h, w, c]` plus `coarse` `[n, h / 2, w / 2, c]`, each value of which stands for 2 × 2 pixels.
pub(super) fn sum(fine: &Tensor, coarse: &Tensor, ops: Ops) -> Result<Tensor> {
    let ((n, h, w, c), (_, ch, cw, _)) = (fine.dims4()?, coarse.dims4()?);
    if ops == Ops::Own {
        return fine.contiguous()?.apply_op2(&coarse.contiguous()?, Sum { n, fine: (h, w), coarse: (ch, cw), c });
    }
    let doubled = coarse.reshape(vec![n, ch, 1, cw, 1, c])?.broadcast_as(vec![n, ch, 2, cw, 2, c])?;
    let doubled = doubled.contiguous()?.reshape((n, 2 * ch, 2 * cw, c))?;
    fine + extended(&extended(&doubled, 1, h)?, 2, w)?
}

/// Cuts `x` along `axis` to `len`, or repeats its last row or column once.
fn extended(x: &Tensor, axis: usize, len: usize) -> Result<Tensor> {
    let has = x.dim(axis)?;
    if len <= has { x.narrow(axis, 0, len) } else { Tensor::cat(&[x, &x.narrow(axis, has - 1, 1)?], axis) }
}

struct Sum {
    n: usize,
    fine: (usize, usize),
    coarse: (usize, usize),
    c: usize,
}

impl Sum {
    /// Values of one finer and of one coarser map.
    fn lens(&self) -> (usize, usize) {
        (self.fine.0 * self.fine.1 * self.c, self.coarse.0 * self.coarse.1 * self.c)
    }
}

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "facecascade-sum"
    }

    fn cpu_fwd(
        &self,
        fine: &CpuStorage,
        fine_at: &Layout,
        coarse: &CpuStorage,
        coarse_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (fine, coarse) = (slice(fine, fine_at)?, slice(coarse, coarse_at)?);
        let ((h, w), (ch, cw), c) = (self.fine, self.coarse, self.c);
        let (len, coarse_len) = self.lens();
        let mut y = vec![0.0; self.n * len];
        let maps = y.chunks_exact_mut(len).zip(fine.chunks_exact(len)).zip(coarse.chunks_exact(coarse_len));
        for ((y, fine), coarse) in maps {
            for (row, (y, fine)) in y.chunks_exact_mut(w * c).zip(fine.chunks_exact(w * c)).enumerate() {
                add_doubled(Isa::best(), fine, &coarse[(row / 2).min(ch - 1) * cw * c..][..cw * c], c, y);
            }
        }
        Ok((CpuStorage::F32(y), Shape::from((self.n, h, w, c))))
    }

    fn bwd(&self, _: &Tensor, coarse: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (len, coarse_len) = self.lens();
        let dx = with_slice(&dy, |dy| {
            if dy.len() != self.n * len {
                bail!("the gradient of a sum has {} values instead of {}", dy.len(), self.n * len);
            }
            let mut dx = vec![0.0; self.n * coarse_len];
            for (dy, dx) in dy.chunks_exact(len).zip(dx.chunks_exact_mut(coarse_len)) {
                add_doubled_backward(self.fine, self.coarse, self.c, dy, dx);
            }
            Ok(dx)
        })?;
        Ok((Some(dy), Some(Tensor::from_vec(dx, coarse.shape(), coarse.device())?)))
    }
}
