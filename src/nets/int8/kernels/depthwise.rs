//! Depthwise convolution of one row of outputs. Its input keeps four rows of a channel side by side, in one group of four bytes: a sum
//! takes a column of the kernel at a time, and nothing has to be shuffled.

use super::dots::{Dots, Isa, Kernel};
use super::row::{Row, Sink, with_sink};
use super::{Requantise, aligned, array, unrolled};
use crate::nets::kernels::aligned::Aligned;

/// Rows that lie side by side, and so the most that a kernel may have.
pub(in crate::nets::int8) const SLOTS: usize = 4;

/// A depthwise convolution's weights.
#[derive(Debug, Clone)]
pub(in crate::nets::int8) struct Taps {
    isa: Isa,
    /// Columns of the kernel.
    columns: usize,
    /// Channels without those that fill up the last vector; real numbers are written for these alone.
    outputs: usize,
    /// `[slot of the top row, column, channel, slot]`; zero for slots that the kernel does not cover.
    weight: Aligned,
    requantise: Requantise,
}

impl Taps {
    /// Packs what `weight` gives for (row, column, channel), of a kernel of `rows` × `columns`. Channels that only fill up a vector have
    /// bias and multiplier 0.
    pub(in crate::nets::int8) fn new(
        isa: Isa,
        (rows, columns): (usize, usize),
        weight: impl Fn(usize, usize, usize) -> i8,
        bias: &[i32],
        multiplier: &[f32],
    ) -> Self {
        assert!(rows <= SLOTS);
        let taps = || (0..rows * columns).map(|i| (i / columns, i % columns));
        let sum = |channel| taps().map(|(row, column)| i32::from(weight(row, column, channel))).sum();
        let requantise = Requantise::new(bias, multiplier).for_isa(isa, bias.len(), sum);
        let mut packed = Vec::with_capacity(SLOTS * columns * requantise.padded() * SLOTS);
        for top in 0..SLOTS {
            for column in 0..columns {
                for channel in 0..requantise.padded() {
                    packed.extend((0..SLOTS).map(|slot| {
                        let row = (slot + SLOTS - top) % SLOTS;
                        if row < rows && channel < bias.len() { weight(row, column, channel) } else { 0 }
                    }));
                }
            }
        }
        Self { isa, columns, outputs: bias.len(), weight: aligned(&packed), requantise }
    }

    /// Convolves a row, whose top row of input is in slot `top`.
    pub(in crate::nets::int8) fn run(&self, input: &[u32], row: Row, top: usize) {
        let channels = self.requantise.padded();
        assert!(row.rows.len() == 1 && top < SLOTS);
        let written = if matches!(row.output, super::row::Output::Reals(..)) { self.outputs } else { channels };
        row.check(input.len(), self.columns * channels, written);
        self.isa.run(Depthwise { taps: self, input, row, top });
    }
}

struct Depthwise<'a> {
    taps: &'a Taps,
    input: &'a [u32],
    row: Row<'a>,
    top: usize,
}

impl Kernel for Depthwise<'_> {
    #[inline(always)]
    unsafe fn run<D: Dots>(mut self) {
        // SAFETY: Taps::run checked that all pixels lie inside input and output.
        with_sink!(&mut self.row.output, |sink| unsafe { self.all::<D, _>(sink) });
    }
}

impl Depthwise<'_> {
    /// How many real numbers the vector of `lanes` channels from `c` on stands for.
    #[inline(always)]
    fn reals(&self, c: usize, lanes: usize) -> usize {
        self.taps.outputs.saturating_sub(c).min(lanes)
    }

    #[inline(always)]
    unsafe fn all<D: Dots, S: Sink>(&self, sink: S) {
        let channels = self.taps.requantise.padded();
        for c in (0..if S::PART { self.taps.outputs } else { channels }).step_by(D::N) {
            // SAFETY: as the caller; c < channels.
            unsafe {
                match (self.taps.columns, self.row.input_step / channels) {
                    (3, 1) if D::N == 16 => self.three::<D, S, 1, 8, 10>(sink, c),
                    (3, 1) => self.three::<D, S, 1, 2, 4>(sink, c),
                    (3, 2) if D::N == 16 => self.three::<D, S, 2, 4, 9>(sink, c),
                    (3, 2) => self.three::<D, S, 2, 1, 3>(sink, c),
                    _ => self.any::<D, S>(sink, c),
                }
            }
        }
    }

    /// One vector of channels, three columns: the taps stay in registers, and `M` outputs at a time share what they read,
    /// `COLUMNS` = (`M` − 1) · `STRIDE` + 3 pixels.
    #[inline(always)]
    unsafe fn three<D: Dots, S: Sink, const STRIDE: usize, const M: usize, const COLUMNS: usize>(
        &self,
        sink: S,
        c: usize,
    ) {
        let (row, requantise, n) = (&self.row, &self.taps.requantise, self.reals(c, D::N));
        let pixel = requantise.padded();
        // SAFETY: see the caller.
        unsafe {
            let weight = self.taps.weight.as_slice().as_ptr().cast::<i8>().add((self.top * 3 * pixel + c) * SLOTS);
            let taps: [D::Weights; 3] = array!(k < 3, D::weights(weight.add(k * pixel * SLOTS)));
            let (bias, by) = (requantise.bias::<D>(c), requantise.multiplier::<D>(c));
            for item in 0..row.items {
                let mut input = self.input.as_ptr().add(row.rows[0] + item * row.input_item + c);
                let mut output = item * row.output_item + c;
                let mut left = row.width;
                while left >= M {
                    let sums = tile::<D, STRIDE, M, COLUMNS>(input, pixel, &taps, bias);
                    unrolled!(m < M, {
                        sink.put(sums[m], by, output + m * row.output_step, n);
                    });
                    output += M * row.output_step;
                    input = input.wrapping_add(M * row.input_step);
                    left -= M;
                }
                for _ in 0..left {
                    let [sum] = tile::<D, STRIDE, 1, 3>(input, pixel, &taps, bias);
                    sink.put(sum, by, output, n);
                    output += row.output_step;
                    input = input.wrapping_add(row.input_step);
                }
            }
        }
    }

    /// One vector of channels with any number of columns and stride.
    #[inline(always)]
    unsafe fn any<D: Dots, S: Sink>(&self, sink: S, c: usize) {
        let (row, requantise, columns) = (&self.row, &self.taps.requantise, self.taps.columns);
        let n = self.reals(c, D::N);
        let pixel = requantise.padded();
        // SAFETY: see the caller.
        unsafe {
            let weight =
                self.taps.weight.as_slice().as_ptr().cast::<i8>().add((self.top * columns * pixel + c) * SLOTS);
            for item in 0..row.items {
                for x in 0..row.width {
                    let input = self.input.as_ptr().add(row.rows[0] + item * row.input_item + x * row.input_step + c);
                    let mut sum = requantise.bias::<D>(c);
                    for k in 0..columns {
                        sum = sum.dot(D::quads(input.add(k * pixel)), D::weights(weight.add(k * pixel * SLOTS)));
                    }
                    let output = item * row.output_item + x * row.output_step + c;
                    sink.put(sum, requantise.multiplier::<D>(c), output, n);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<D: Dots, const STRIDE: usize, const M: usize, const COLUMNS: usize>(
    input: *const u32,
    pixel: usize,
    taps: &[D::Weights; 3],
    bias: D,
) -> [D; M] {
    // SAFETY: the caller has `COLUMNS` pixels behind `input`, and the instruction set.
    unsafe {
        let columns: [D::Bytes; COLUMNS] = array!(j < COLUMNS, D::quads(input.add(j * pixel)));
        let mut sums = [bias; M];
        for (k, taps) in taps.iter().enumerate() {
            for (m, sum) in sums.iter_mut().enumerate() {
                *sum = sum.dot(columns[m * STRIDE + k], *taps);
            }
        }
        sums
    }
}
