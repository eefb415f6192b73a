//! Gradients of convolutions and fully connected layers.

use super::Shape;
use crate::nets::kernels::RowKernel;
use crate::nets::kernels::lanes::{Isa, Kernel, Lanes};
use crate::nets::kernels::linear::Packed;

/// `weight` `[kernel, kernel, c, out]` turned by 180° with inputs and outputs exchanged, for the gradient of the input:
/// a convolution (by [`super::convolve`], stride 1) of the output's gradient, spread out by [`super::dilate_into`].
pub(in crate::nets) fn flipped(isa: Isa, s: &Shape, weight: &[f32]) -> RowKernel {
    let taps = s.kernel * s.kernel;
    let mut flipped = vec![0.0; weight.len()];
    for (flipped, tap) in flipped.chunks_exact_mut(s.c * s.out).rev().zip(weight.chunks_exact(s.c * s.out)) {
        for (c, row) in tap.chunks_exact(s.out).enumerate() {
            flipped[c..].iter_mut().step_by(s.c).zip(row).for_each(|(f, w)| *f = *w);
        }
    }
    RowKernel::Linear(Packed::new(isa, taps * s.out, s.c, &flipped, &[]))
}

/// dw `[c, out]` += Σ over pixels of x · dy, for a pointwise or fully connected layer.
pub(in crate::nets) fn add_outer(isa: Isa, x: &[f32], dy: &[f32], (c, out): (usize, usize), dw: &mut [f32]) {
    isa.run(Outer { x, dy, dw, pixels: dy.len() / out, step: c, inputs: c, outputs: out });
}

/// dw `[kernel, kernel, c, out]` += the gradient of the weights from the rows under a row of outputs (the array that holds them, and
/// where they begin in it) and the gradient of that row.
pub(in crate::nets) fn add_conv_grad_weight_of_row(
    isa: Isa,
    s: &Shape,
    (data, rows): (&[f32], &[usize]),
    dy: &[f32],
    dw: &mut [f32],
) {
    assert!(dw.len() == s.kernel * s.kernel * s.c * s.out && rows.len() == s.kernel);
    let segment = s.kernel * s.c;
    for (start, dw) in rows.iter().zip(dw.chunks_exact_mut(segment * s.out)) {
        let x = &data[*start..];
        isa.run(Outer { x, dy, dw, pixels: s.out_w(), step: s.stride * s.c, inputs: segment, outputs: s.out });
    }
}

/// `dw[k][o] += Σ x[p · step + k] · dy[p][o]` over pixels p.
struct Outer<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
    pixels: usize,
    step: usize,
    inputs: usize,
    outputs: usize,
}

impl Kernel for Outer<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        assert!(self.x.len() >= (self.pixels.max(1) - 1) * self.step + self.inputs);
        assert!(self.dy.len() >= self.pixels * self.outputs && self.dw.len() >= self.inputs * self.outputs);
        let mut k = 0;
        while k < self.inputs {
            let left = self.inputs - k;
            // SAFETY: the assertions above; k + rows ≤ inputs, o < outputs.
            unsafe {
                k += match left.min(L::ROWS) {
                    12 => self.rows::<L, 12>(k),
                    8.. => self.rows::<L, 8>(k),
                    4.. => self.rows::<L, 4>(k),
                    _ => self.rows::<L, 1>(k),
                };
            }
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, const K: usize>(&mut self, k: usize) -> usize {
        let mut o = 0;
        while o < self.outputs {
            let left = self.outputs - o;
            // SAFETY: see the caller.
            unsafe {
                if left >= 2 * L::N {
                    self.block::<L, K, 2>(k, o, L::N)
                } else {
                    self.block::<L, K, 1>(k, o, left.min(L::N))
                }
            }
            o += if left >= 2 * L::N { 2 * L::N } else { L::N };
        }
        K
    }

    #[inline(always)]
    unsafe fn block<L: Lanes, const K: usize, const V: usize>(&mut self, k: usize, o: usize, n: usize) {
        // SAFETY: see the caller.
        unsafe {
            let mut sums = [[L::splat(0.0); V]; K];
            let (mut x, mut g) = (self.x.as_ptr().add(k), self.dy.as_ptr().add(o));
            for _ in 0..self.pixels {
                let gradient: [L; V] =
                    std::array::from_fn(|v| if n == L::N { L::load(g.add(v * L::N)) } else { L::load_part(g, n) });
                for (i, row) in sums.iter_mut().enumerate() {
                    let a = L::splat(*x.add(i));
                    for (sum, gradient) in row.iter_mut().zip(gradient) {
                        *sum = sum.fma(a, gradient);
                    }
                }
                x = x.wrapping_add(self.step);
                g = g.wrapping_add(self.outputs);
            }
            for (i, row) in sums.into_iter().enumerate() {
                for (v, sum) in row.into_iter().enumerate() {
                    let p = self.dw.as_mut_ptr().add((k + i) * self.outputs + o + v * L::N);
                    if n == L::N { sum.add(L::load(p)).store(p) } else { sum.add(L::load_part(p, n)).store_part(p, n) }
                }
            }
        }
    }
}
