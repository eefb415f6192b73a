//! One row of outputs and the rows of input that it needs: the unit of work of every kernel.

/// A row of `width` outputs in each of `items` windows that lie side by side. All steps and offsets are in floats.
#[derive(Debug)]
pub(in crate::nets) struct Row<'a> {
    /// Input: a whole map or a ring of rows.
    pub(in crate::nets) input: &'a [f32],
    /// Starts in `input` of the rows under the kernel, from top to bottom.
    pub(in crate::nets) rows: &'a [usize],
    /// Distance in `input` from one window to the next.
    pub(in crate::nets) input_item: usize,
    /// Distance in `input` from the values under one output's kernel to those under the next.
    pub(in crate::nets) input_step: usize,
    /// Where the outputs are written, from the first on.
    pub(in crate::nets) output: &'a mut [f32],
    /// Distance in `output` from one window to the next.
    pub(in crate::nets) output_item: usize,
    /// Distance in `output` from one output to the next.
    pub(in crate::nets) output_step: usize,
    /// Outputs in a window.
    pub(in crate::nets) width: usize,
    /// Windows.
    pub(in crate::nets) items: usize,
}

impl<'a> Row<'a> {
    /// A row of `width` outputs in one map; `steps` is floats from the input of one output to that of the next, and from
    /// one output to the next.
    #[cfg(feature = "train")]
    pub(in crate::nets) fn of_one_map(
        input: &'a [f32],
        rows: &'a [usize],
        (input_step, output_step): (usize, usize),
        width: usize,
        output: &'a mut [f32],
    ) -> Self {
        Self { input, rows, input_item: 0, input_step, output, output_item: 0, output_step, width, items: 1 }
    }

    /// Asserts that all outputs, each reading `length` floats of every row and writing `channels`, lie in the slices.
    /// The kernels' unsafe loads and stores rely on this check.
    pub(in crate::nets) fn check(&self, length: usize, channels: usize) {
        assert!(self.width > 0 && self.items > 0);
        let (items, pixels) = (self.items - 1, self.width - 1);
        let top = self.rows.iter().max().copied().unwrap_or(0);
        assert!(top + items * self.input_item + pixels * self.input_step + length <= self.input.len());
        assert!(items * self.output_item + pixels * self.output_step + channels <= self.output.len());
    }
}
