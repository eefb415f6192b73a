//! One row of outputs and the rows of bytes that it needs: the unit of work of every kernel.

use super::dots::Dots;

/// A row of `width` outputs in each of `items` windows that lie side by side. Steps and offsets are counted in values: bytes, or
/// groups of four where these stand for a channel.
#[derive(Debug)]
pub(in crate::nets::int8) struct Row<'a> {
    /// Starts in the input of the rows under the kernel, from top to bottom.
    pub(in crate::nets::int8) rows: &'a [usize],
    /// Distance in the input from one window to the next.
    pub(in crate::nets::int8) input_item: usize,
    /// Distance in the input from the values under one output's kernel to those under the next.
    pub(in crate::nets::int8) input_step: usize,
    /// Where the outputs are written, from the first on.
    pub(in crate::nets::int8) output: Output<'a>,
    /// Distance in the output from one window to the next.
    pub(in crate::nets::int8) output_item: usize,
    /// Distance in the output from one output to the next.
    pub(in crate::nets::int8) output_step: usize,
    /// Outputs in a window.
    pub(in crate::nets::int8) width: usize,
    /// Windows.
    pub(in crate::nets::int8) items: usize,
}

/// How outputs are stored.
#[derive(Debug)]
pub(in crate::nets::int8) enum Output<'a> {
    /// A byte a channel.
    Bytes(&'a mut [u8]),
    /// A byte a channel, at the place of this number in the channel's group of four rows.
    Quads(&'a mut [u32], u32),
    /// A real number a channel, not less than this one.
    Reals(&'a mut [f32], f32),
}

impl Output<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(data) => data.len(),
            Self::Quads(data, _) => data.len(),
            Self::Reals(data, _) => data.len(),
        }
    }
}

impl Row<'_> {
    /// Asserts that all outputs, each reading `length` values of every row of an input of `input` values and writing `channels`,
    /// lie inside. The kernels' unsafe loads and stores rely on this check.
    pub(super) fn check(&self, input: usize, length: usize, channels: usize) {
        assert!(self.width > 0 && self.items > 0);
        let (items, pixels) = (self.items - 1, self.width - 1);
        let top = self.rows.iter().max().copied().unwrap_or(0);
        assert!(top + items * self.input_item + pixels * self.input_step + length <= input);
        assert!(items * self.output_item + pixels * self.output_step + channels <= self.output.len());
    }
}

/// Stores sums in one of the ways of [`Output`].
pub(super) trait Sink: Copy {
    /// Whether the last vector is stored in part, up to the last channel.
    const PART: bool;
    /// # Safety
    /// `at` + `D::N` values lie in the output; for real numbers, `at` + `n`.
    unsafe fn put<D: Dots>(self, sums: D, by: D::Reals, at: usize, n: usize);
}

#[derive(Clone, Copy)]
pub(super) struct Bytes(pub(super) *mut u8);

impl Sink for Bytes {
    const PART: bool = false;
    #[inline(always)]
    unsafe fn put<D: Dots>(self, sums: D, by: D::Reals, at: usize, _n: usize) {
        // SAFETY: the trait's contract.
        unsafe { sums.rounded(by).store_bytes(self.0.add(at)) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Quads(pub(super) *mut u32, pub(super) u32);

impl Sink for Quads {
    const PART: bool = false;
    #[inline(always)]
    unsafe fn put<D: Dots>(self, sums: D, by: D::Reals, at: usize, _n: usize) {
        // SAFETY: the trait's contract.
        unsafe { sums.rounded(by).store_quads(self.0.add(at), self.1) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reals(pub(super) *mut f32, pub(super) f32);

impl Sink for Reals {
    const PART: bool = true;
    #[inline(always)]
    unsafe fn put<D: Dots>(self, sums: D, by: D::Reals, at: usize, n: usize) {
        // SAFETY: the trait's contract.
        unsafe { sums.store_reals(by, self.1, self.0.add(at), n) }
    }
}

/// Calls a function with the sink of an output.
macro_rules! with_sink {
    ($output:expr, |$sink:ident| $call:expr) => {
        match $output {
            $crate::nets::int8::kernels::row::Output::Bytes(data) => {
                let $sink = $crate::nets::int8::kernels::row::Bytes(data.as_mut_ptr());
                $call
            }
            $crate::nets::int8::kernels::row::Output::Quads(data, slot) => {
                let $sink = $crate::nets::int8::kernels::row::Quads(data.as_mut_ptr(), *slot);
                $call
            }
            $crate::nets::int8::kernels::row::Output::Reals(data, floor) => {
                let $sink = $crate::nets::int8::kernels::row::Reals(data.as_mut_ptr(), *floor);
                $call
            }
        }
    };
}
pub(super) use with_sink;
