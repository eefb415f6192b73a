//! Arrays of floats that begin at a cache line, so that the vectors of a row of pixels do not straddle two lines.

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: an array of floats without padding (64 bytes, aligned to 64); all bits zero are sixteen times 0.0.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above, and any bits are floats.
unsafe impl bytemuck::Pod for Line {}

/// A reusable array of floats that only grows; its values stay.
#[derive(Debug, Clone, Default)]
pub(in crate::nets) struct Aligned(Vec<Line>);

impl Aligned {
    /// The first `len` floats, of any value; allocates only when the array must grow.
    pub(in crate::nets) fn at_least(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }

    /// All floats.
    pub(in crate::nets) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    /// All floats.
    pub(in crate::nets) fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
