//! Dense convolution as a matrix product without a copy: in channels-last order the inputs of one kernel row lie side by
//! side, so an output pixel is a sum over `segments` (kernel rows) of dot products of `segment_len` (kernel columns ×
//! channels) floats. Pointwise and fully connected layers are the case of one segment.

use super::Shape;
use super::lanes::{Isa, Kernel, Lanes};

/// Weights in the order in which the kernel reads them: blocks of up to two vectors of outputs, all inputs of a block
/// together; missing outputs are zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Packed {
    /// Packs `weight` `[inputs, outputs]` and an optional bias.
    pub fn new(isa: Isa, inputs: usize, outputs: usize, weight: &[f32], bias: Option<&[f32]>) -> Self {
        assert_eq!(weight.len(), inputs * outputs);
        let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
        let padded = outputs.div_ceil(lanes) * lanes;
        let mut packed = Vec::with_capacity(inputs * padded);
        for (first, width) in blocks(outputs, lanes) {
            for row in weight.chunks_exact(outputs.max(1)) {
                let row = &row[first..outputs.min(first + width)];
                packed.extend_from_slice(row);
                packed.extend(std::iter::repeat_n(0.0, width - row.len()));
            }
        }
        let mut padded_bias = vec![0.0; padded];
        if let Some(bias) = bias {
            padded_bias[..outputs].copy_from_slice(bias);
        }
        Self { isa, inputs, outputs, weight: packed, bias: padded_bias }
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// (first output, width) of each block of outputs: two vectors wide while more than one vector is left.
fn blocks(outputs: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = outputs.saturating_sub(first);
        let width = if left == 0 {
            return None;
        } else if left > lanes {
            2 * lanes
        } else {
            lanes
        };
        first += width;
        Some((first - width, width))
    })
}

/// One run of output pixels: where their inputs and outputs lie.
#[derive(Debug, Clone, Copy)]
struct Run {
    pixels: usize,
    input_step: usize,
    output_step: usize,
    segments: usize,
    segment_step: usize,
    segment_len: usize,
}

/// `pixels` outputs: output p is Σ over segments s of `input[p · steps.0 + s · segments.1 ..][..segments.2]` times the
/// weights, plus bias, `relu`; written to output[p · `steps.1` ..]. `segments` = (count, step, length), in floats.
pub fn matmul_segments(
    weights: &Packed,
    input: &[f32],
    output: &mut [f32],
    pixels: usize,
    steps: (usize, usize),
    segments: (usize, usize, usize),
    relu: bool,
) {
    if pixels == 0 {
        return;
    }
    let run = Run {
        pixels,
        input_step: steps.0,
        output_step: steps.1,
        segments: segments.0,
        segment_step: segments.1,
        segment_len: segments.2,
    };
    assert_eq!(run.segments * run.segment_len, weights.inputs);
    assert!(input.len() >= (pixels - 1) * steps.0 + (run.segments - 1) * run.segment_step + run.segment_len);
    assert!(output.len() >= (pixels - 1) * steps.1 + weights.outputs);
    weights.isa.run(Product { run, weights, input: input.as_ptr(), output: output.as_mut_ptr(), relu });
}

struct Product<'a> {
    run: Run,
    weights: &'a Packed,
    input: *const f32,
    output: *mut f32,
    relu: bool,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { run, weights, .. } = self;
        let mut packed = weights.weight.as_ptr();
        for (first, width) in blocks(weights.outputs, L::N) {
            let mut p = 0;
            while p < run.pixels {
                let rows = (run.pixels - p).min(L::ROWS);
                // SAFETY: matmul_segments checked that all pixels lie inside input and output; `packed` walks over the
                // blocks just as Packed::new laid them out.
                unsafe {
                    let tile = Tile {
                        first,
                        packed,
                        input: self.input.add(p * run.input_step),
                        output: self.output.add(p * run.output_step),
                    };
                    match (rows, width == L::N) {
                        (12, false) => self.tile::<L, 12, 2>(tile),
                        (12, true) => self.tile::<L, 12, 1>(tile),
                        (8.., false) => {
                            p += self.tile::<L, 8, 2>(tile);
                            continue;
                        }
                        (8.., true) => {
                            p += self.tile::<L, 8, 1>(tile);
                            continue;
                        }
                        (6.., false) => {
                            p += self.tile::<L, 6, 2>(tile);
                            continue;
                        }
                        (4.., false) => {
                            p += self.tile::<L, 4, 2>(tile);
                            continue;
                        }
                        (4.., true) => {
                            p += self.tile::<L, 4, 1>(tile);
                            continue;
                        }
                        (_, false) => {
                            p += self.tile::<L, 1, 2>(tile);
                            continue;
                        }
                        (_, true) => {
                            p += self.tile::<L, 1, 1>(tile);
                            continue;
                        }
                    };
                    p += rows;
                }
            }
            // SAFETY: the next block's weights follow.
            packed = unsafe { packed.add(weights.inputs * width) };
        }
    }
}

#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    packed: *const f32,
    input: *const f32,
    output: *mut f32,
}

impl Product<'_> {
    /// `M` pixels × `V` vectors of outputs; returns `M`.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const M: usize, const V: usize>(&self, tile: Tile) -> usize {
        let run = &self.run;
        // SAFETY: see the caller.
        unsafe {
            let bias = self.weights.bias.as_ptr().add(tile.first);
            let mut sums = [[L::splat(0.0); V]; M];
            for row in &mut sums {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum =
                        L::load(bias.add(v * L::N).min(self.weights.bias.as_ptr().add(self.weights.bias.len() - L::N)));
                }
            }
            let mut w = tile.packed;
            for s in 0..run.segments {
                let segment = tile.input.add(s * run.segment_step);
                for k in 0..run.segment_len {
                    let column: [L; V] = std::array::from_fn(|v| L::load(w.add(v * L::N)));
                    w = w.add(V * L::N);
                    for (m, row) in sums.iter_mut().enumerate() {
                        let a = L::splat(*segment.add(m * run.input_step + k));
                        for (sum, weight) in row.iter_mut().zip(column) {
                            *sum = sum.fma(a, weight);
                        }
                    }
                }
            }
            for (m, row) in sums.into_iter().enumerate() {
                for (v, mut sum) in row.into_iter().enumerate() {
                    if self.relu {
                        sum = sum.max(L::splat(0.0));
                    }
                    let at = tile.first + v * L::N;
                    let left = self.weights.outputs.saturating_sub(at);
                    let p = tile.output.wrapping_add(m * run.output_step + at);
                    if left >= L::N {
                        sum.store(p)
                    } else if left > 0 {
                        sum.store_part(p, left)
                    }
                }
            }
        }
        M
    }
}

/// One map: y = `padded` ∗ weights, the kernel moved by `stride` over rows of `row` floats, `c` a pixel; `y` is `oh` rows
/// of `ow` pixels.
pub fn convolve(
    w: &Packed,
    (kernel, stride, c): (usize, usize, usize),
    padded: &[f32],
    row: usize,
    y: &mut [f32],
    ow: usize,
) {
    for (oy, y) in y.chunks_exact_mut(ow * w.outputs).enumerate() {
        let (steps, segments) = ((stride * c, w.outputs), (kernel, row, kernel * c));
        matmul_segments(w, &padded[oy * stride * row..], y, ow, steps, segments, false);
    }
}

/// `weight` `[kernel, kernel, c, out]` turned by 180° with inputs and outputs exchanged, for the gradient of the input:
/// a convolution (by [`convolve`], stride 1) of the output's gradient, spread out by [`super::dilate_into`].
pub fn flipped(isa: Isa, s: &Shape, weight: &[f32]) -> Packed {
    let taps = s.kernel * s.kernel;
    let mut flipped = vec![0.0; weight.len()];
    for (flipped, tap) in flipped.chunks_exact_mut(s.c * s.out).rev().zip(weight.chunks_exact(s.c * s.out)) {
        for (c, row) in tap.chunks_exact(s.out).enumerate() {
            flipped[c..].iter_mut().step_by(s.c).zip(row).for_each(|(f, w)| *f = *w);
        }
    }
    Packed::new(isa, taps * s.out, s.c, &flipped, None)
}

/// dw `[c, out]` += Σ over pixels of x · dy, for a pointwise or fully connected layer.
pub fn add_outer(isa: Isa, x: &[f32], dy: &[f32], (c, out): (usize, usize), dw: &mut [f32]) {
    isa.run(Outer { x, dy, dw, pixels: dy.len() / out, step: c, inputs: c, outputs: out });
}

/// dw `[kernel, kernel, c, out]` += the gradient of the weights from one padded input and the gradient of its output.
pub fn add_conv_grad_weight(isa: Isa, s: &Shape, padded: &[f32], dy: &[f32], dw: &mut [f32]) {
    assert_eq!(dw.len(), s.kernel * s.kernel * s.c * s.out);
    let segment = s.kernel * s.c;
    for (oy, dy) in dy.chunks_exact(s.out_w() * s.out).enumerate() {
        for (ky, dw) in dw.chunks_exact_mut(segment * s.out).enumerate() {
            let x = &padded[(oy * s.stride + ky) * s.padded_row()..];
            isa.run(Outer { x, dy, dw, pixels: s.out_w(), step: s.stride * s.c, inputs: segment, outputs: s.out });
        }
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
