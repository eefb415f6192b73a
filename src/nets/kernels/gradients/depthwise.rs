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

/// dw `[kernel, kernel, c]` += the gradient of the weights from the rows under a row of outputs (the array that holds them, and where
/// they begin in it) and the gradient of that row, with `kernel` − 1 zeros on each side; the stride is 1.
pub(in crate::nets) fn add_taps_of_row(
    isa: Isa,
    s: &Shape,
    (data, rows): (&[f32], &[usize]),
    dy: &[f32],
    dw: &mut [f32],
) {
    if s.kernel != 3 {
        let zeros = (s.kernel - 1) * s.c;
        return add_strided_taps_of_row(isa, s, (data, rows), &dy[zeros..dy.len() - zeros], dw);
    }
    check(s, data, rows, dw);
    assert!(s.stride == 1 && dy.len() >= (s.out_w() + 4) * s.c);
    isa.run(ThreeTaps { s: *s, data, rows, dy, dw });
}

/// As [`add_taps_of_row`] with any kernel and stride; `dy` is the gradient of the row alone.
pub(in crate::nets) fn add_strided_taps_of_row(
    isa: Isa,
    s: &Shape,
    (data, rows): (&[f32], &[usize]),
    dy: &[f32],
    dw: &mut [f32],
) {
    check(s, data, rows, dw);
    assert!(s.kernel <= MAX_SIDE && dy.len() >= s.out_w() * s.c);
    isa.run(TapSums { s: *s, data, rows, dy, dw });
}

/// Asserts that all that the kernels read and write lies in the slices.
fn check(s: &Shape, data: &[f32], rows: &[usize], dw: &[f32]) {
    let top = rows.iter().max().copied().unwrap_or(0);
    assert!(rows.len() == s.kernel && dw.len() == s.kernel * s.kernel * s.c);
    assert!(top + ((s.out_w() - 1) * s.stride + s.kernel) * s.c <= data.len());
}

/// dw\[tap\]\[c\] += Σ over the pixels of a row of the tap's input times the output's gradient.
struct TapSums<'a> {
    s: Shape,
    data: &'a [f32],
    rows: &'a [usize],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl Kernel for TapSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let s = self.s;
        for first in (0..s.c).step_by(L::N) {
            let n = (s.c - first).min(L::N);
            // SAFETY: the callers asserted that all inputs of all outputs lie in the slices; n floats from channel `first` on do.
            unsafe {
                for (tap, ky) in (0..s.kernel * s.kernel).map(|tap| (tap, tap / s.kernel)) {
                    let mut x = self.data.as_ptr().add(self.rows[ky] + tap % s.kernel * s.c + first);
                    let mut dy = self.dy.as_ptr().add(first);
                    let to = self.dw.as_mut_ptr().add(tap * s.c + first);
                    let mut sum = L::load_part(to, n);
                    for _ in 0..s.out_w() {
                        sum = sum.fma(L::load_part(x, n), L::load_part(dy, n));
                        x = x.wrapping_add(s.stride * s.c);
                        dy = dy.wrapping_add(s.c);
                    }
                    sum.store_part(to, n);
                }
            }
        }
    }
}

/// The same for a kernel of 3 and a stride of 1: each input is read once, and meets the gradients of the three outputs round it. `dy` has
/// two zeros on each side.
struct ThreeTaps<'a> {
    s: Shape,
    data: &'a [f32],
    rows: &'a [usize],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl Kernel for ThreeTaps<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let c = self.s.c;
        for first in (0..c / L::N * L::N).step_by(L::N) {
            // SAFETY: add_taps_of_row asserted that all inputs and gradients lie in the slices; a whole vector does.
            unsafe { self.channels::<L, true>(first, L::N) }
        }
        if !c.is_multiple_of(L::N) {
            // SAFETY: as above; what is left of a vector does.
            unsafe { self.channels::<L, false>(c / L::N * L::N, c % L::N) }
        }
    }
}

impl ThreeTaps<'_> {
    #[inline(always)]
    unsafe fn channels<L: Lanes, const WHOLE: bool>(&mut self, first: usize, n: usize) {
        let c = self.s.c;
        // SAFETY: see the caller.
        unsafe {
            let mut x: [*const f32; 3] = std::array::from_fn(|ky| self.data.as_ptr().add(self.rows[ky] + first));
            let mut dy = self.dy.as_ptr().add(first);
            let mut sums = [[L::splat(0.0); 3]; 3];
            // The gradients of the outputs that read input pixel j by their last, middle and first tap: j − 2, j − 1, j.
            let (mut last, mut middle) = (part::<L, WHOLE>(dy, n), part::<L, WHOLE>(dy.add(c), n));
            dy = dy.add(2 * c);
            for _ in 0..self.s.out_w() + 2 {
                let next = part::<L, WHOLE>(dy, n);
                for ky in 0..3 {
                    let value = part::<L, WHOLE>(x[ky], n);
                    sums[ky][0] = sums[ky][0].fma(value, next);
                    sums[ky][1] = sums[ky][1].fma(value, middle);
                    sums[ky][2] = sums[ky][2].fma(value, last);
                    x[ky] = x[ky].wrapping_add(c);
                }
                (last, middle) = (middle, next);
                dy = dy.wrapping_add(c);
            }
            for (tap, sum) in sums.into_iter().flatten().enumerate() {
                let to = self.dw.as_mut_ptr().add(tap * c + first);
                let sum = sum.add(part::<L, WHOLE>(to, n));
                if WHOLE { sum.store(to) } else { sum.store_part(to, n) }
            }
        }
    }
}

/// A whole vector, or its first `n` floats.
///
/// # Safety
/// The machine has the instruction set, and so many floats lie there.
#[inline(always)]
unsafe fn part<L: Lanes, const WHOLE: bool>(p: *const f32, n: usize) -> L {
    // SAFETY: as the caller.
    unsafe { if WHOLE { L::load(p) } else { L::load_part(p, n) } }
}
