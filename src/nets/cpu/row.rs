//! One row of outputs and the rows of input that it needs: the unit of work of every kernel.

/// A row of `width` outputs in each of `items` windows that lie side by side. All steps and offsets are in floats.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// What is read: a whole map or a ring of rows.
    pub(super) input: &'a [f32],
    /// Where the rows under the kernel begin in `input`, from top to bottom.
    pub(super) rows: &'a [usize],
    /// From one window to the next.
    pub(super) input_item: usize,
    /// From the input of one output to that of the next.
    pub(super) input_step: usize,
    /// What is written, from the first output on.
    pub(super) output: &'a mut [f32],
    /// From one window to the next.
    pub(super) output_item: usize,
    /// From one output to the next.
    pub(super) output_step: usize,
    /// Outputs in a window.
    pub(super) width: usize,
    /// Windows.
    pub(super) items: usize,
}

impl Row<'_> {
    /// Asserts that all outputs, each reading `length` floats of every row and writing `channels`, lie in the slices.
    /// The kernels' unsafe loads and stores rest on this.
    pub(super) fn check(&self, length: usize, channels: usize) {
        assert!(self.width > 0 && self.items > 0);
        let (items, pixels) = (self.items - 1, self.width - 1);
        let top = self.rows.iter().max().copied().unwrap_or(0);
        assert!(top + items * self.input_item + pixels * self.input_step + length <= self.input.len());
        assert!(items * self.output_item + pixels * self.output_step + channels <= self.output.len());
    }
}
