//! Kernels that treat every channel on its own: depthwise convolution, pooling, shrinking, and plain copies.

use super::buffer::Buffer;
use super::linear::lanes_of;
use super::row::Row;
use crate::nets::kernels::Isa;
use crate::nets::kernels::lanes::{Kernel, Lanes};

/// A depthwise convolution's weights, each tap padded to whole vectors.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    isa: Isa,
    kernel: usize,
    channels: usize,
    padded: usize,
    weight: Buffer,
    bias: Buffer,
}

impl Taps {
    /// Packs `weight` `[kernel, kernel, channels]` and `bias` `[channels]`.
    pub(super) fn new(isa: Isa, kernel: usize, channels: usize, weight: &[f32], bias: &[f32]) -> Self {
        assert_eq!((weight.len(), bias.len()), (kernel * kernel * channels, channels));
        let lanes = lanes_of(isa);
        let padded = channels.div_ceil(lanes) * lanes;
        let mut wide = vec![0.0; kernel * kernel * padded];
        for (wide, tap) in wide.chunks_exact_mut(padded).zip(weight.chunks_exact(channels)) {
            wide[..channels].copy_from_slice(tap);
        }
        let mut wide_bias = bias.to_vec();
        wide_bias.resize(padded, 0.0);
        let (weight, bias) = (Buffer::from_slice(&wide), Buffer::from_slice(&wide_bias));
        Self { isa, kernel, channels, padded, weight, bias }
    }

    /// Convolves a row.
    pub(super) fn run(&self, row: Row, relu: bool) {
        assert_eq!(row.rows.len(), self.kernel);
        row.check(self.kernel * self.channels, self.channels);
        self.isa.run(Depthwise { taps: self, row, floor: if relu { 0.0 } else { f32::NEG_INFINITY } });
    }
}

struct Depthwise<'a> {
    taps: &'a Taps,
    row: Row<'a>,
    floor: f32,
}

impl Kernel for Depthwise<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let channels = self.taps.channels;
        for c in (0..channels).step_by(L::N) {
            let stride = self.row.input_step / channels;
            // SAFETY: Taps::run checked that all pixels lie inside input and output; c < channels.
            unsafe {
                match (channels - c >= L::N, self.taps.kernel, stride) {
                    (true, 3, 1) if L::N == 16 => self.three::<L, 1, 8, 10>(c),
                    (true, 3, 1) => self.three::<L, 1, 4, 6>(c),
                    (true, 3, 2) => self.three::<L, 2, 4, 9>(c),
                    _ => self.any::<L>(c),
                }
            }
        }
    }
}

impl Depthwise<'_> {
    /// One vector of channels, kernel 3: the taps stay in registers, and `M` outputs at a time share what they read,
    /// `COLUMNS` = (`M` − 1) · `STRIDE` + 3 pixels of each row.
    #[inline(always)]
    unsafe fn three<L: Lanes, const STRIDE: usize, const M: usize, const COLUMNS: usize>(&mut self, c: usize) {
        let row = &mut self.row;
        // SAFETY: see the caller.
        unsafe {
            let weight = self.taps.weight.as_slice().as_ptr().add(c);
            let taps: [L; 9] = std::array::from_fn(|t| L::load(weight.add(t * self.taps.padded)));
            let bias = L::load(self.taps.bias.as_slice().as_ptr().add(c));
            let floor = L::splat(self.floor);
            let pixel = self.taps.channels;
            for item in 0..row.items {
                let input = row.input.as_ptr().add(item * row.input_item + c);
                let mut rows: [*const f32; 3] = std::array::from_fn(|ky| input.add(row.rows[ky]));
                let mut output = row.output.as_mut_ptr().add(item * row.output_item + c);
                let mut left = row.width;
                while left >= M {
                    let sums = tile::<L, STRIDE, M, COLUMNS>(rows, pixel, &taps, bias);
                    for sum in sums {
                        sum.max(floor).store(output);
                        output = output.wrapping_add(row.output_step);
                    }
                    rows = rows.map(|p| p.wrapping_add(M * row.input_step));
                    left -= M;
                }
                for _ in 0..left {
                    let [sum] = tile::<L, STRIDE, 1, 3>(rows, pixel, &taps, bias);
                    sum.max(floor).store(output);
                    output = output.wrapping_add(row.output_step);
                    rows = rows.map(|p| p.wrapping_add(row.input_step));
                }
            }
        }
    }

    /// One vector of channels, or what is left of one, with any kernel and stride.
    #[inline(always)]
    unsafe fn any<L: Lanes>(&mut self, c: usize) {
        let (row, taps) = (&mut self.row, self.taps);
        let n = (taps.channels - c).min(L::N);
        // SAFETY: see the caller.
        unsafe {
            let weight = taps.weight.as_slice().as_ptr().add(c);
            for item in 0..row.items {
                for x in 0..row.width {
                    let mut sum = L::load(taps.bias.as_slice().as_ptr().add(c));
                    for (ky, at) in row.rows.iter().enumerate() {
                        let input = row.input.as_ptr().add(at + item * row.input_item + x * row.input_step + c);
                        for kx in 0..taps.kernel {
                            let value = L::load_part(input.add(kx * taps.channels), n);
                            sum = sum.fma(value, L::load(weight.add((ky * taps.kernel + kx) * taps.padded)));
                        }
                    }
                    let output = row.output.as_mut_ptr().add(item * row.output_item + x * row.output_step + c);
                    sum.max(L::splat(self.floor)).store_part(output, n);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, const STRIDE: usize, const M: usize, const COLUMNS: usize>(
    rows: [*const f32; 3],
    pixel: usize,
    taps: &[L; 9],
    bias: L,
) -> [L; M] {
    let mut sums = [bias; M];
    for ky in 0..3 {
        // SAFETY: the caller has `COLUMNS` pixels behind each row.
        let columns: [L; COLUMNS] = std::array::from_fn(|j| unsafe { L::load(rows[ky].add(j * pixel)) });
        for kx in 0..3 {
            for m in 0..M {
                // SAFETY: arithmetic only; the caller has the instruction set.
                sums[m] = unsafe { sums[m].fma(columns[m * STRIDE + kx], taps[ky * 3 + kx]) };
            }
        }
    }
    sums
}

/// How a square becomes one number a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// The greatest.
    Max,
    /// The mean.
    Mean,
}

/// Pools a row of squares as high as there are rows and `kernel` wide.
pub(super) fn pool(isa: Isa, row: Row, pool: Pool, kernel: usize, channels: usize, relu: bool) {
    row.check(kernel * channels, channels);
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    isa.run(Pooled { row, pool, kernel, channels, floor });
}

struct Pooled<'a> {
    row: Row<'a>,
    pool: Pool,
    kernel: usize,
    channels: usize,
    floor: f32,
}

impl Kernel for Pooled<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        for item in 0..self.row.items {
            // SAFETY: pool() checked that all pixels lie inside input and output.
            unsafe {
                match (self.pool, self.kernel, self.row.rows.len(), self.row.input_step / self.channels) {
                    (Pool::Max, 3, 3, 2) => self.greatest::<L, 3, 2, 4, 9>(item),
                    (Pool::Max, 2, 2, 2) => self.greatest::<L, 2, 2, 4, 8>(item),
                    _ => self.any::<L>(item, 0..self.row.width, 0),
                }
            }
        }
    }
}

impl Pooled<'_> {
    /// `M` outputs at a time from the greatest of each of `COLUMNS` = (`M` − 1) · `STRIDE` + `SIZE` columns.
    #[inline(always)]
    unsafe fn greatest<L: Lanes, const SIZE: usize, const STRIDE: usize, const M: usize, const COLUMNS: usize>(
        &mut self,
        item: usize,
    ) {
        let (whole, channels) = (self.row.width / M * M, self.channels / L::N * L::N);
        let row = &mut self.row;
        for x in (0..whole).step_by(M) {
            for c in (0..channels).step_by(L::N) {
                // SAFETY: see the caller.
                unsafe {
                    let input = row.input.as_ptr().add(item * row.input_item + x * row.input_step + c);
                    let columns: [L; COLUMNS] = std::array::from_fn(|j| {
                        let first = L::load(input.add(row.rows[0] + j * self.channels));
                        (1..SIZE).fold(first, |most, ky| most.max(L::load(input.add(row.rows[ky] + j * self.channels))))
                    });
                    for m in 0..M {
                        let most = (0..SIZE).fold(L::splat(self.floor), |most, kx| most.max(columns[m * STRIDE + kx]));
                        most.store(row.output.as_mut_ptr().add(item * row.output_item + (x + m) * row.output_step + c));
                    }
                }
            }
        }
        // SAFETY: see the caller.
        unsafe {
            self.any::<L>(item, whole..self.row.width, 0);
            self.any::<L>(item, 0..whole, channels);
        }
    }

    /// Any square, in the columns `xs` and from channel `c` on.
    #[inline(always)]
    unsafe fn any<L: Lanes>(&mut self, item: usize, xs: std::ops::Range<usize>, c: usize) {
        let row = &mut self.row;
        let share = 1.0 / (self.kernel * row.rows.len()) as f32;
        for x in xs {
            for c in (c..self.channels).step_by(L::N) {
                let n = (self.channels - c).min(L::N);
                // SAFETY: see the caller.
                unsafe {
                    let input = row.input.as_ptr().add(item * row.input_item + x * row.input_step + c);
                    let mut pooled = L::splat(if self.pool == Pool::Max { self.floor } else { 0.0 });
                    for at in row.rows {
                        for kx in 0..self.kernel {
                            let value = L::load_part(input.add(at + kx * self.channels), n);
                            pooled = if self.pool == Pool::Max { pooled.max(value) } else { pooled.add(value) };
                        }
                    }
                    if self.pool == Pool::Mean {
                        pooled = L::splat(0.0).fma(pooled, L::splat(share)).max(L::splat(self.floor));
                    }
                    let output = row.output.as_mut_ptr().add(item * row.output_item + x * row.output_step + c);
                    pooled.store_part(output, n);
                }
            }
        }
    }
}

/// Lays the pixels under the kernel behind each other, `length` floats from each row.
pub(super) fn patches(row: Row, length: usize, relu: bool) {
    row.check(length, row.rows.len() * length);
    for item in 0..row.items {
        for x in 0..row.width {
            let at = item * row.output_item + x * row.output_step;
            let output = &mut row.output[at..at + row.rows.len() * length];
            for (output, at) in output.chunks_exact_mut(length).zip(row.rows) {
                let at = at + item * row.input_item + x * row.input_step;
                output.copy_from_slice(&row.input[at..at + length]);
                if relu {
                    output.iter_mut().for_each(|v| *v = v.max(0.0));
                }
            }
        }
    }
}
