//! The sum of a map and of a coarser one at twice its size (nearest neighbour), a row at a time.

use super::lanes::{Isa, Kernel, Lanes};

/// Writes `fine` + `coarse` to `sum`: rows of pixels of `channels`, each pixel of `coarse` standing for two of the others, its last
/// one also for an odd last pixel.
///
/// # Panics
/// If `fine` and `sum` differ in length, or `coarse` is empty.
pub(in crate::nets) fn add_doubled(isa: Isa, fine: &[f32], coarse: &[f32], channels: usize, sum: &mut [f32]) {
    assert!(fine.len() == sum.len() && coarse.len() >= channels);
    isa.run(AddDoubled { fine, coarse, channels, sum });
}

struct AddDoubled<'a> {
    fine: &'a [f32],
    coarse: &'a [f32],
    channels: usize,
    sum: &'a mut [f32],
}

impl Kernel for AddDoubled<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (c, last) = (self.channels, self.coarse.len() / self.channels - 1);
        let pixels = self.sum.chunks_exact_mut(c).zip(self.fine.chunks_exact(c));
        for (x, (sum, fine)) in pixels.enumerate() {
            let coarse = &self.coarse[(x / 2).min(last) * c..][..c];
            sum.iter_mut().zip(fine.iter().zip(coarse)).for_each(|(sum, (fine, coarse))| *sum = fine + coarse);
        }
    }
}
