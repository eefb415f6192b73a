//! Depthwise convolution of one row of outputs: every channel on its own, a vector of channels at a time.

use super::aligned::Aligned;
use super::lanes::{Isa, Kernel, Lanes};
use super::row::Row;

/// A depthwise convolution's weights, each tap padded to whole vectors.
#[derive(Debug, Clone)]
pub(in crate::nets) struct Taps {
    isa: Isa,
    kernel: usize,
    channels: usize,
    padded: usize,
    weight: Aligned,
    bias: Aligned,
}

impl Taps {
    /// Packs `weight` `[kernel, kernel, channels]` and `bias` `[channels]`; an empty bias is zero.
    pub(super) fn new(isa: Isa, kernel: usize, channels: usize, weight: &[f32], bias: &[f32]) -> Self {
        assert!(weight.len() == kernel * kernel * channels && (bias.is_empty() || bias.len() == channels));
        let lanes = isa.lanes();
        let padded = channels.div_ceil(lanes) * lanes;
        let (mut wide, mut wide_bias) = (Aligned::default(), Aligned::default());
        let rows = wide.at_least(kernel * kernel * padded).chunks_exact_mut(padded);
        rows.zip(weight.chunks_exact(channels)).for_each(|(wide, tap)| wide[..channels].copy_from_slice(tap));
        wide_bias.at_least(padded)[..bias.len()].copy_from_slice(bias);
        Self { isa, kernel, channels, padded, weight: wide, bias: wide_bias }
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
