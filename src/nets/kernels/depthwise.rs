//! Depthwise convolution: every channel on its own, a vector of channels at a time, the taps held in registers.

use super::Shape;
use super::lanes::{Isa, Kernel, Lanes};

/// The largest kernel side that depthwise layers may have.
const MAX_SIDE: usize = 5;

/// One row of outputs: output x, channel c is `bias` + Σ over taps (ky, kx) of
/// `input[ky · row + (x · stride + kx) · c + c]` · `weight[(ky · kernel + kx) · c + c]`.
#[derive(Debug)]
pub struct DepthwiseRow<'a> {
    /// The padded input from the row's first tap on.
    pub input: &'a [f32],
    /// Floats from one input row to the next.
    pub row: usize,
    /// `[kernel, kernel, c]`.
    pub weight: &'a [f32],
    /// `[c]`, or empty.
    pub bias: &'a [f32],
    /// Side of the kernel.
    pub kernel: usize,
    /// Step of the kernel.
    pub stride: usize,
    /// Channels.
    pub c: usize,
    /// `[outputs, c]`.
    pub output: &'a mut [f32],
}

/// Computes one row.
pub fn depthwise_row(isa: Isa, row: DepthwiseRow<'_>) {
    let outputs = row.output.len() / row.c;
    assert!(row.kernel <= MAX_SIDE && row.kernel > 0 && row.output.len() == outputs * row.c);
    assert_eq!(row.weight.len(), row.kernel * row.kernel * row.c);
    assert!(row.bias.is_empty() || row.bias.len() == row.c);
    if outputs > 0 {
        let last = (row.kernel - 1) * row.row + ((outputs - 1) * row.stride + row.kernel) * row.c;
        assert!(row.input.len() >= last);
        isa.run(row);
    }
}

impl Kernel for DepthwiseRow<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let mut first = 0;
        while first < self.c {
            // SAFETY: depthwise_row checked the lengths for all channels.
            unsafe {
                match self.kernel {
                    3 => self.channels::<L, 9>(first),
                    5 => self.channels::<L, 25>(first),
                    _ => self.channels::<L, 0>(first),
                }
            }
            first += L::N;
        }
    }
}

impl DepthwiseRow<'_> {
    /// The channels `first..first + L::N`; `TAPS` = kernel², or 0 for any.
    #[inline(always)]
    unsafe fn channels<L: Lanes, const TAPS: usize>(&mut self, first: usize) {
        let (c, kernel) = (self.c, self.kernel);
        let taps = if TAPS == 0 { kernel * kernel } else { TAPS };
        let n = (c - first).min(L::N);
        let load = |p: *const f32| {
            // SAFETY: n floats from channel `first` on lie there.
            unsafe { if n == L::N { L::load(p) } else { L::load_part(p, n) } }
        };
        // SAFETY: see the caller.
        unsafe {
            let mut weight = [L::splat(0.0); MAX_SIDE * MAX_SIDE];
            let mut offset = [0; MAX_SIDE * MAX_SIDE];
            for tap in 0..taps {
                weight[tap] = load(self.weight.as_ptr().add(tap * c + first));
                offset[tap] = (tap / kernel) * self.row + (tap % kernel) * c + first;
            }
            let bias = if self.bias.is_empty() { L::splat(0.0) } else { load(self.bias.as_ptr().add(first)) };
            let (mut x, mut y) = (self.input.as_ptr(), self.output.as_mut_ptr().add(first));
            for _ in 0..self.output.len() / c {
                let mut sum = bias;
                for tap in 0..taps {
                    sum = sum.fma(load(x.add(offset[tap])), weight[tap]);
                }
                if n == L::N {
                    sum.store(y)
                } else {
                    sum.store_part(y, n)
                }
                x = x.wrapping_add(self.stride * c);
                y = y.wrapping_add(c);
            }
        }
    }
}

/// One map: y = `padded` ∗ weight (+ bias), rows of `row` floats; `weight` is `[kernel, kernel, c]`.
pub fn depthwise_forward(
    isa: Isa,
    s: &Shape,
    padded: &[f32],
    row: usize,
    (weight, bias): (&[f32], &[f32]),
    y: &mut [f32],
) {
    for (oy, output) in y.chunks_exact_mut(s.out_w() * s.c).enumerate() {
        let (input, kernel, stride, c) = (&padded[oy * s.stride * row..], s.kernel, s.stride, s.c);
        depthwise_row(isa, DepthwiseRow { input, row, weight, bias, kernel, stride, c, output });
    }
}

/// The gradient of one input, `dx`, from that of its output, spread out by [`super::dilate_into`]; `flipped` is the
/// weights with their taps in reverse order.
pub fn depthwise_grad_input(isa: Isa, s: &Shape, dilated: &[f32], row: usize, flipped: &[f32], dx: &mut [f32]) {
    for (y, output) in dx.chunks_exact_mut(s.w * s.c).enumerate() {
        let input = &dilated[(y + s.pad) * row + s.pad * s.c..];
        let (weight, bias, kernel, c) = (flipped, [].as_slice(), s.kernel, s.c);
        depthwise_row(isa, DepthwiseRow { input, row, weight, bias, kernel, stride: 1, c, output });
    }
}

/// dw `[kernel, kernel, c]` += the gradient of the weights from one padded input and the gradient of its output.
pub fn add_depthwise_grad_weight(isa: Isa, s: &Shape, padded: &[f32], dy: &[f32], dw: &mut [f32]) {
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
