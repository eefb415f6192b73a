//! Gradients of depthwise convolutions.

use super::Shape;
use crate::nets::kernels::RowKernel;
use crate::nets::kernels::depthwise::Taps;
use crate::nets::kernels::lanes::{Isa, Kernel, Lanes};

/// The largest kernel side whose gradients are held in registers.
const MAX_SIDE: usize = 5;

/// `weight` `[kernel, kernel, c]` with its taps in reverse order, for the gradient of the input: a convolution (by
/// [`super::convolve`], stride 1) of the output's gradient, spread out by [`super::dilate_into`].
pub(in crate::nets) fn flipped_taps(isa: Isa, s: &Shape, weight: &[f32]) -> RowKernel {
    let turned: Vec<f32> = weight.chunks_exact(s.c).rev().flatten().copied().collect();
    RowKernel::Depthwise(Taps::new(isa, s.kernel, s.c, &turned, &[]))
}

/// dw `[kernel, kernel, c]` += the gradient of the weights from one padded input and the gradient of its output.
pub(in crate::nets) fn add_depthwise_grad_weight(isa: Isa, s: &Shape, padded: &[f32], dy: &[f32], dw: &mut [f32]) {
    assert!(s.kernel <= MAX_SIDE && dw.len() == s.kernel * s.kernel * s.c);
    assert!(padded.len() >= s.padded_len() && dy.len() >= s.out_h() * s.out_w() * s.c);
    isa.run(TapSums { s: *s, padded, dy, dw });
}

/// dw\[tap\]\[c\] += Σ over outputs of the tap's input times the output's gradient.
struct TapSums<'a> {
    s: Shape,
    padded: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl Kernel for TapSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let mut first = 0;
        while first < self.s.c {
            // SAFETY: add_depthwise_grad_weight asserted that all inputs of all outputs lie in `padded`.
            unsafe {
                match self.s.kernel {
                    3 => self.channels::<L, 9>(first),
                    _ => self.channels::<L, 0>(first),
                }
            }
            first += L::N;
        }
    }
}

impl TapSums<'_> {
    #[inline(always)]
    unsafe fn channels<L: Lanes, const TAPS: usize>(&mut self, first: usize) {
        let s = self.s;
        let taps = if TAPS == 0 { s.kernel * s.kernel } else { TAPS };
        let n = (s.c - first).min(L::N);
        let load = |p: *const f32| {
            // SAFETY: n floats from channel `first` on lie there.
            unsafe { if n == L::N { L::load(p) } else { L::load_part(p, n) } }
        };
        // SAFETY: see the caller.
        unsafe {
            let mut sums = [L::splat(0.0); MAX_SIDE * MAX_SIDE];
            let mut offset = [0; MAX_SIDE * MAX_SIDE];
            for (tap, offset) in offset.iter_mut().enumerate().take(taps) {
                *offset = (tap / s.kernel) * s.padded_row() + (tap % s.kernel) * s.c + first;
            }
            for oy in 0..s.out_h() {
                for ox in 0..s.out_w() {
                    let gradient = load(self.dy.as_ptr().add((oy * s.out_w() + ox) * s.c + first));
                    let x = self.padded.as_ptr().add(oy * s.stride * s.padded_row() + ox * s.stride * s.c);
                    for tap in 0..taps {
                        sums[tap] = sums[tap].fma(load(x.add(offset[tap])), gradient);
                    }
                }
            }
            for (tap, sum) in sums.into_iter().enumerate().take(taps) {
                let p = self.dw.as_mut_ptr().add(tap * s.c + first);
                let sum = sum.add(load(p));
                if n == L::N { sum.store(p) } else { sum.store_part(p, n) }
            }
        }
    }
}
