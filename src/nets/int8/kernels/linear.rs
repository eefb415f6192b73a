//! Dense convolution over one row of outputs: pixels × weights as a matrix product of bytes in registers.
//!
//! As in the engine for floats the inputs of one kernel row lie side by side; here a sum takes four of them at a time, and a row whose
//! length is no multiple of four reads on, into weights of zero.

use super::dots::{Dots, Isa, Kernel};
use super::row::{Row, Sink, with_sink};
use super::{Requantise, aligned, array, unrolled};
use crate::nets::kernels::aligned::Aligned;

/// Bytes that a sum takes at a time.
const GROUP: usize = 4;

/// Weights in the order in which the tile reads them: blocks of up to two vectors of outputs, all inputs of a block together.
#[derive(Debug, Clone)]
pub(in crate::nets::int8) struct Packed {
    isa: Isa,
    /// Groups of four inputs in a row.
    groups: usize,
    rows: usize,
    /// Outputs without those that fill up the last vector.
    outputs: usize,
    weight: Aligned,
    requantise: Requantise,
}

impl Packed {
    /// Packs what `weight` gives for (kernel row, byte of the row, output), for `rows` rows of `length` bytes.
    pub(in crate::nets::int8) fn new(
        isa: Isa,
        (rows, length): (usize, usize),
        weight: impl Fn(usize, usize, usize) -> i8,
        bias: &[i32],
        multiplier: &[f32],
    ) -> Self {
        let (groups, outputs) = (length.div_ceil(GROUP), bias.len());
        let bytes = || (0..rows * length).map(|i| (i / length, i % length));
        let sum = |output| bytes().map(|(row, byte)| i32::from(weight(row, byte, output))).sum();
        let requantise = Requantise::new(bias, multiplier).for_isa(isa, outputs, sum);
        let mut packed = Vec::with_capacity(rows * groups * GROUP * requantise.padded());
        for (first, vectors) in blocks(requantise.padded(), isa.lanes()) {
            for row in 0..rows {
                for group in 0..groups {
                    for output in first..first + vectors * isa.lanes() {
                        packed.extend(
                            (group * GROUP..(group + 1) * GROUP).map(|byte| {
                                if byte < length && output < outputs { weight(row, byte, output) } else { 0 }
                            }),
                        );
                    }
                }
            }
        }
        Self { isa, groups, rows, outputs, weight: aligned(&packed), requantise }
    }

    /// Computes a row.
    pub(in crate::nets::int8) fn run(&self, input: &[u8], row: Row) {
        assert_eq!(row.rows.len(), self.rows);
        let written =
            if matches!(row.output, super::row::Output::Reals(..)) { self.outputs } else { self.requantise.padded() };
        row.check(input.len(), self.groups * GROUP, written);
        self.isa.run(Product { weights: self, input, row });
    }
}

/// (first output, vectors) of each block of outputs: two vectors while more than one is left.
fn blocks(padded: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..padded).step_by(2 * lanes).map(move |first| (first, if padded - first > lanes { 2 } else { 1 }))
}

struct Product<'a> {
    weights: &'a Packed,
    input: &'a [u8],
    row: Row<'a>,
}

/// Where a tile begins: window and column.
#[derive(Clone, Copy)]
struct Cursor {
    item: usize,
    x: usize,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<D: Dots>(mut self) {
        // SAFETY: Packed::run checked that all pixels lie inside input and output.
        with_sink!(&mut self.row.output, |sink| unsafe { self.all::<D, _>(sink) });
    }
}

impl Product<'_> {
    #[inline(always)]
    unsafe fn all<D: Dots, S: Sink>(&self, sink: S) {
        let mut packed = self.weights.weight.as_slice().as_ptr().cast::<i8>();
        for (first, vectors) in blocks(self.weights.requantise.padded(), D::N) {
            let mut cursor = Cursor { item: 0, x: 0 };
            let mut left = self.row.items * self.row.width;
            while left > 0 {
                // As even as can be: eleven and eleven rather than twelve and ten.
                let pixels = left.div_ceil(left.div_ceil(D::PIXELS));
                macro_rules! tiles {
                    ($($m:literal)*) => {
                        match pixels {
                            // SAFETY: as the caller; `packed` walks over the blocks just as Packed::new laid them out.
                            $($m if $m <= D::PIXELS => unsafe {
                                if vectors == 1 {
                                    self.tile::<D, S, $m, 1>(sink, first, packed, &mut cursor);
                                } else {
                                    self.tile::<D, S, $m, 2>(sink, first, packed, &mut cursor);
                                }
                            },)*
                            _ => unreachable!("tiles have at most twelve pixels"),
                        }
                    };
                }
                tiles!(1 2 3 4 5 6 7 8 9 10 11 12);
                left -= pixels;
            }
            packed = packed.wrapping_add(self.weights.rows * self.weights.groups * GROUP * vectors * D::N);
        }
    }

    /// `M` pixels from the cursor on × `V` vectors of outputs.
    #[inline(always)]
    unsafe fn tile<D: Dots, S: Sink, const M: usize, const V: usize>(
        &self,
        sink: S,
        first: usize,
        mut packed: *const i8,
        cursor: &mut Cursor,
    ) {
        let row = &self.row;
        let (mut inputs, mut outputs) = ([self.input.as_ptr(); M], [first; M]);
        let (input, output) = (cursor.item * row.input_item, cursor.item * row.output_item);
        if cursor.x + M < row.width {
            for m in 0..M {
                inputs[m] = inputs[m].wrapping_add(input + (cursor.x + m) * row.input_step);
                outputs[m] += output + (cursor.x + m) * row.output_step;
            }
            cursor.x += M;
        } else {
            for (input, output) in inputs.iter_mut().zip(&mut outputs) {
                *input = input.wrapping_add(cursor.item * row.input_item + cursor.x * row.input_step);
                *output += cursor.item * row.output_item + cursor.x * row.output_step;
                cursor.x += 1;
                if cursor.x == row.width {
                    *cursor = Cursor { item: cursor.item + 1, x: 0 };
                }
            }
        }
        // SAFETY: see the caller.
        unsafe {
            let requantise = &self.weights.requantise;
            let bias: [D; V] = array!(v < V, requantise.bias::<D>(first + v * D::N));
            let mut sums = [bias; M];
            for &at in row.rows {
                let inputs = inputs.map(|p| p.add(at));
                for group in 0..self.weights.groups {
                    let column: [D::Weights; V] = array!(v < V, D::weights(packed.add(v * D::N * GROUP)));
                    packed = packed.add(V * D::N * GROUP);
                    for (sums, input) in sums.iter_mut().zip(inputs) {
                        let bytes = D::same(input.add(group * GROUP));
                        for (sum, weights) in sums.iter_mut().zip(column) {
                            *sum = sum.dot(bytes, weights);
                        }
                    }
                }
            }
            let by: [D::Reals; V] = array!(v < V, requantise.multiplier::<D>(first + v * D::N));
            unrolled!(m < M, {
                for v in 0..V {
                    let channel = first + v * D::N;
                    if !S::PART || channel < self.weights.outputs {
                        let n = self.weights.outputs.saturating_sub(channel).min(D::N);
                        sink.put(sums[m][v], by[v], outputs[m] + v * D::N, n);
                    }
                }
            });
        }
    }
}
