//! Rows of bytes that are made as they are read: from normalised pixels, or from two maps.

use super::dots::{Dots, Isa, Kernel};
use crate::nets::input::{MIDDLE, SPREAD};

/// Turns normalised pixels into the nearest bytes.
pub(in crate::nets::int8) fn nearest(isa: Isa, from: &[f32], to: &mut [u8]) {
    isa.run(Nearest { from, to });
}

struct Nearest<'a> {
    from: &'a [f32],
    to: &'a mut [u8],
}

impl Kernel for Nearest<'_> {
    #[inline(always)]
    unsafe fn run<D: Dots>(self) {
        for (to, v) in self.to.iter_mut().zip(self.from) {
            *to = byte_of(*v * SPREAD + MIDDLE);
        }
    }
}

/// Between this number and its double, floats are whole.
const WHOLE: f32 = (1 << 23) as f32;

/// The integer nearest to a number, of two the even one, cut to 0..=255; 0 for a NaN. The sum with [`WHOLE`] rounds just so, and its lowest
/// byte is the integer: unlike a conversion, that needs no look at each number.
#[inline(always)]
pub(super) fn byte_of(v: f32) -> u8 {
    // Not `clamp`, which would keep a NaN.
    let from_0 = v.max(0.0);
    (from_0.min(255.0) + WHOLE).to_bits() as u8
}

/// Adds a row of a map and one of a coarser map at twice its size, each with what its channels are multiplied by: each pixel of
/// `coarse` stands for two of the others, its last one also for an odd last pixel.
///
/// # Panics
/// If the lengths do not fit each other.
pub(in crate::nets::int8) fn add_doubled(
    isa: Isa,
    fine: (&[u8], &[f32]),
    coarse: (&[u8], &[f32]),
    offset: &[f32],
    sum: &mut [u8],
) {
    let channels = offset.len();
    assert!(fine.0.len() == sum.len() && coarse.0.len() >= channels);
    assert!(fine.1.len() == channels && coarse.1.len() == channels);
    isa.run(AddDoubled { fine, coarse, offset, sum });
}

struct AddDoubled<'a> {
    fine: (&'a [u8], &'a [f32]),
    coarse: (&'a [u8], &'a [f32]),
    offset: &'a [f32],
    sum: &'a mut [u8],
}

impl Kernel for AddDoubled<'_> {
    #[inline(always)]
    unsafe fn run<D: Dots>(self) {
        let channels = self.offset.len();
        let last = self.coarse.0.len() / channels - 1;
        let pixels = self.sum.chunks_exact_mut(channels).zip(self.fine.0.chunks_exact(channels));
        for (x, (sum, fine)) in pixels.enumerate() {
            let coarse = &self.coarse.0[(x / 2).min(last) * channels..][..channels];
            let (a, b, offset) = (&self.fine.1[..channels], &self.coarse.1[..channels], &self.offset[..channels]);
            for c in 0..channels {
                let real = f32::from(fine[c]) * a[c] + f32::from(coarse[c]) * b[c] + offset[c];
                sum[c] = byte_of(real);
            }
        }
    }
}
