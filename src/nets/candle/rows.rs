//! Rows of maps on their way through an operation: a ring of the rows under a kernel, as wide as padding asks, so that a map passes
//! through the first caches instead of being copied as a whole.

use std::ops::Range;

use super::super::kernels::Isa;
use super::super::kernels::gradients::Shape;
use super::buffers::{Buffer, Buffers};
use super::chain_op::Source;

/// The last rows of one map's input, padded, as many as the kernel covers.
#[derive(Debug)]
pub(super) struct PaddedRows {
    s: Shape,
    /// `kernel` rows of the ring, and one that is all border.
    data: Buffer,
    /// Where the rows under the kernel begin in `data`.
    starts: Vec<usize>,
    /// Rows of the padded map that are in the ring or were.
    done: usize,
}

impl PaddedRows {
    /// A ring for the geometry `s`, with a border of that value.
    pub(super) fn new(s: Shape, border: f32, buffers: &Buffers) -> Self {
        let data = buffers.filled((s.kernel + 1) * s.padded_row(), border);
        Self { s, data, starts: Vec::with_capacity(s.kernel), done: 0 }
    }

    /// Begins with the first row of a map.
    pub(super) fn restart(&mut self) {
        self.done = 0;
    }

    /// Moves down to the rows under output row `y`; `from` is where the map begins in `source`.
    pub(super) fn advance(&mut self, isa: Isa, y: usize, source: &Source<'_>, from: usize) {
        let Shape { h, w, c, kernel, stride, pad, .. } = self.s;
        let (row, top) = (self.s.padded_row(), y * stride);
        for p in self.done.max(top)..top + kernel {
            if (pad..pad + h).contains(&p) {
                let x = from + (p - pad) * w * c;
                let at = p % kernel * row + pad * c;
                source.write(isa, x..x + w * c, &mut self.data[at..at + w * c]);
            }
        }
        self.done = top + kernel;
        self.starts.clear();
        let inside = |p: &usize| (pad..pad + h).contains(p);
        self.starts.extend((top..top + kernel).map(|p| if inside(&p) { p % kernel * row } else { kernel * row }));
    }

    /// The ring, and where the rows under the kernel begin in it.
    pub(super) fn rows(&self) -> (&[f32], &[usize]) {
        (&self.data, &self.starts)
    }
}

/// The last rows of the gradient of one map's product, as many as the kernel of stride 1 covers, with `kernel` − 1 zeros on each
/// side: the gradient of the input is a convolution of them with the flipped kernel.
#[derive(Debug)]
pub(super) struct GradientRows {
    s: Shape,
    /// `kernel` rows of the ring, and one of zeros.
    data: Buffer,
    starts: Vec<usize>,
}

impl GradientRows {
    /// A ring for the geometry `s`.
    pub(super) fn new(s: Shape, buffers: &Buffers) -> Self {
        let data = buffers.filled((s.kernel + 1) * s.dilated_row(), 0.0);
        Self { s, data, starts: Vec::with_capacity(s.kernel) }
    }

    /// Row `y` to be written, without the zeros.
    pub(super) fn row(&mut self, y: usize) -> &mut [f32] {
        let inside = self.inside(y);
        &mut self.data[inside]
    }

    /// Row `y` with its zeros.
    pub(super) fn whole_row(&self, y: usize) -> &[f32] {
        let row = self.s.dilated_row();
        &self.data[y % self.s.kernel * row..][..row]
    }

    fn inside(&self, y: usize) -> Range<usize> {
        let s = &self.s;
        let at = y % s.kernel * s.dilated_row() + (s.kernel - 1) * s.out;
        at..at + s.out_w() * s.out
    }

    /// The ring, and where the rows begin in it that row `y` of the input's gradient is made of.
    pub(super) fn under(&mut self, y: usize) -> (&[f32], &[usize]) {
        let s = &self.s;
        let (row, left) = (s.dilated_row(), s.pad * s.out);
        let start = |dilated: usize| match dilated.checked_sub(s.kernel - 1) {
            Some(y) if y < s.out_h() => y % s.kernel * row + left,
            _ => s.kernel * row + left,
        };
        self.starts.clear();
        self.starts.extend((y + s.pad..y + s.pad + s.kernel).map(start));
        (&self.data, &self.starts)
    }
}
