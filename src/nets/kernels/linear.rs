//! Dense convolution over one row of outputs: pixels × weights as a matrix product in registers.
//!
//! Channels last, the inputs of one kernel row lie side by side, so that an output is a sum over kernel rows of dot
//! products with `kernel columns × channels` weights: nothing is copied. A tile is up to twelve pixels (six without
//! AVX-512) by two vectors of outputs; its pixels may lie anywhere, and so the rows of several windows side by side
//! are one run of pixels.

use super::aligned::Aligned;
use super::lanes::{Isa, Kernel, Lanes};
use super::row::Row;

/// Weights in the order in which the tile reads them: blocks of up to two vectors of outputs, all inputs of a block
/// together; missing outputs are zero.
#[derive(Debug, Clone)]
pub(in crate::nets) struct Packed {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    weight: Aligned,
    bias: Aligned,
}

impl Packed {
    /// Packs `weight` `[inputs, outputs]` and `bias` `[outputs]`; an empty bias is zero.
    pub(super) fn new(isa: Isa, inputs: usize, outputs: usize, weight: &[f32], bias: &[f32]) -> Self {
        assert!(weight.len() == inputs * outputs && (bias.is_empty() || bias.len() == outputs));
        let lanes = isa.lanes();
        let padded = outputs.div_ceil(lanes) * lanes;
        let mut packed = Aligned::default();
        let mut to = packed.at_least(inputs * padded);
        for (first, width) in blocks(outputs, lanes) {
            let filled = width.min(outputs - first);
            for row in weight.chunks_exact(outputs) {
                let (vectors, rest) = to.split_at_mut(width);
                vectors[..filled].copy_from_slice(&row[first..first + filled]);
                to = rest;
            }
        }
        let mut padded_bias = Aligned::default();
        padded_bias.at_least(padded)[..bias.len()].copy_from_slice(bias);
        Self { isa, inputs, outputs, weight: packed, bias: padded_bias }
    }

    /// Computes a row; `length` floats from each of its rows of input make one output.
    pub(super) fn run(&self, row: Row, length: usize, relu: bool) {
        assert_eq!(row.rows.len() * length, self.inputs);
        row.check(length, self.outputs);
        self.isa.run(Product { weights: self, row, length, relu });
    }
}

/// (first output, width) of each block of outputs: two vectors wide while more than one vector is left.
fn blocks(outputs: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..outputs).step_by(2 * lanes).map(move |first| (first, if outputs - first > lanes { 2 * lanes } else { lanes }))
}

struct Product<'a> {
    weights: &'a Packed,
    row: Row<'a>,
    length: usize,
    relu: bool,
}

/// Where a tile begins: window and column.
#[derive(Clone, Copy)]
struct Cursor {
    item: usize,
    x: usize,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let mut packed = self.weights.weight.as_slice().as_ptr();
        for (first, width) in blocks(self.weights.outputs, L::N) {
            let mut cursor = Cursor { item: 0, x: 0 };
            let mut left = self.row.items * self.row.width;
            while left > 0 {
                // As even as can be: eleven and eleven rather than twelve and ten.
                let pixels = left.div_ceil(left.div_ceil(L::ROWS));
                macro_rules! tiles {
                    ($($m:literal)*) => {
                        match pixels {
                            // SAFETY: Packed::run checked that all pixels lie inside input and output; `packed` walks
                            // over the blocks just as Packed::new laid them out.
                            $($m if $m <= L::ROWS => unsafe {
                                if width == L::N {
                                    self.tile::<L, $m, 1>(first, packed, &mut cursor);
                                } else {
                                    self.tile::<L, $m, 2>(first, packed, &mut cursor);
                                }
                            },)*
                            _ => unreachable!("tiles have at most twelve pixels"),
                        }
                    };
                }
                tiles!(1 2 3 4 5 6 7 8 9 10 11 12);
                left -= pixels;
            }
            packed = packed.wrapping_add(self.weights.inputs * width);
        }
    }
}

impl Product<'_> {
    /// `M` pixels from the cursor on × `V` vectors of outputs.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const M: usize, const V: usize>(
        &mut self,
        first: usize,
        mut packed: *const f32,
        cursor: &mut Cursor,
    ) {
        let row = &mut self.row;
        let mut inputs = [row.input.as_ptr(); M];
        let mut outputs = [row.output.as_mut_ptr(); M];
        for (input, output) in inputs.iter_mut().zip(&mut outputs) {
            *input = input.wrapping_add(cursor.item * row.input_item + cursor.x * row.input_step);
            *output = output.wrapping_add(cursor.item * row.output_item + cursor.x * row.output_step + first);
            cursor.x += 1;
            if cursor.x == row.width {
                *cursor = Cursor { item: cursor.item + 1, x: 0 };
            }
        }
        // SAFETY: see the caller.
        unsafe {
            let bias = self.weights.bias.as_slice().as_ptr().add(first);
            let mut sums: [[L; V]; M] = [std::array::from_fn(|v| L::load(bias.add(v * L::N))); M];
            for &at in row.rows {
                let inputs = inputs.map(|p| p.add(at));
                for k in 0..self.length {
                    let column: [L; V] = std::array::from_fn(|v| L::load(packed.add(v * L::N)));
                    packed = packed.add(V * L::N);
                    for (sums, input) in sums.iter_mut().zip(inputs) {
                        let value = L::splat(*input.add(k));
                        for (sum, weight) in sums.iter_mut().zip(column) {
                            *sum = sum.fma(value, weight);
                        }
                    }
                }
            }
            let floor = L::splat(if self.relu { 0.0 } else { f32::NEG_INFINITY });
            let left = self.weights.outputs - first;
            for (sums, output) in sums.into_iter().zip(outputs) {
                for (v, sum) in sums.into_iter().enumerate() {
                    let (sum, output) = (sum.max(floor), output.wrapping_add(v * L::N));
                    if left >= (v + 1) * L::N {
                        sum.store(output);
                    } else {
                        sum.store_part(output, left - v * L::N);
                    }
                }
            }
        }
    }
}
