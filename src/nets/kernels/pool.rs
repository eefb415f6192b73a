//! Max pooling, average pooling and plain copies of one row of outputs.

use super::lanes::{Isa, Kernel, Lanes};
use super::row::Row;

/// How the values of a channel under the kernel become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nets) enum Pool {
    /// The greatest.
    Max,
    /// The mean.
    Average,
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

    /// Squares of any size, in the columns `xs` and from channel `c` on.
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
                    if self.pool == Pool::Average {
                        pooled = L::splat(0.0).fma(pooled, L::splat(share)).max(L::splat(self.floor));
                    }
                    let output = row.output.as_mut_ptr().add(item * row.output_item + x * row.output_step + c);
                    pooled.store_part(output, n);
                }
            }
        }
    }
}

/// Lays the pixels under the kernel one behind the other, `length` floats from each row.
pub(super) fn gather(row: Row, length: usize, relu: bool) {
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
