//! Resizing on the CPU: halving by hand (exact), any other ratio by fast_image_resize (SIMD).

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

/// Resizes RGB pictures; keeps its buffer from call to call.
#[derive(Default)]
pub(crate) struct Resizer(fast_image_resize::Resizer);

impl Resizer {
    /// From (width, height, RGB) to (width, height, RGB), none of them empty.
    pub(crate) fn resize(&mut self, from: (usize, usize, &[u8]), to: (usize, usize, &mut [u8])) {
        if (from.0, from.1) == (to.0, to.1) {
            to.2.copy_from_slice(&from.2[..to.0 * to.1 * 3]);
            return;
        }
        let filter = filter((from.0, from.1), (to.0, to.1));
        self.run(from, to, &ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)));
    }

    /// As [`Self::resize`], from a part of the picture (x, y, width, height in pixels, within it), and quicker: each pixel comes from
    /// the four nearest ones, whatever the ratio.
    pub(crate) fn draw(
        &mut self,
        from: (usize, usize, &[u8]),
        (x, y, width, height): (f64, f64, f64, f64),
        to: (usize, usize, &mut [u8]),
    ) {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
        self.run(from, to, &options.crop(x, y, width, height));
    }

    fn run(&mut self, from: (usize, usize, &[u8]), to: (usize, usize, &mut [u8]), options: &ResizeOptions) {
        let source = TypedImageRef::<U8x3>::from_buffer(from.0 as u32, from.1 as u32, from.2);
        let target = TypedImage::<U8x3>::from_buffer(to.0 as u32, to.1 as u32, to.2);
        if let (Ok(source), Ok(mut target)) = (source, target) {
            // It refuses only parts of pictures that lie outside them.
            let resized = self.0.resize_typed(&source, &mut target, Some(options));
            debug_assert!(resized.is_ok(), "{resized:?}");
        } else {
            debug_assert!(false, "buffers smaller than their pictures");
        }
    }
}

/// How to resize from (width, height) to (width, height). Smaller: area-like means (a box for whole ratios, otherwise
/// Hamming's, since a box that takes now one and now two pixels leaves jagged edges); larger: bilinear.
pub(super) fn filter(from: (usize, usize), to: (usize, usize)) -> FilterType {
    if from.0.is_multiple_of(to.0) && from.1.is_multiple_of(to.1) {
        FilterType::Box
    } else if from.0 > to.0 || from.1 > to.1 {
        FilterType::Hamming
    } else {
        FilterType::Bilinear
    }
}

/// The mean of each 2×2 pixels, rounded half up; `from` has `from_width` columns, `to` has `width` = `from_width` / 2. An
/// odd last row or column of `from` is left out.
pub(crate) fn halve(from: &[u8], from_width: usize, to: &mut [u8], width: usize) {
    if width == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    let shuffles = std::arch::is_x86_feature_detected!("ssse3");
    for (rows, out) in from.chunks_exact(from_width * 6).zip(to.chunks_exact_mut(width * 3)) {
        let (upper, lower) = rows.split_at(from_width * 3);
        #[cfg(target_arch = "x86_64")]
        let done = if shuffles {
            // SAFETY: this machine has SSSE3.
            unsafe { halve_row_ssse3(upper, lower, out) }
        } else {
            0
        };
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        halve_row(&upper[done * 6..], &lower[done * 6..], &mut out[done * 3..]);
    }
}

fn halve_row(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    let pairs = upper.chunks_exact(6).zip(lower.chunks_exact(6));
    for (out, (a, b)) in out.chunks_exact_mut(3).zip(pairs) {
        for c in 0..3 {
            let sum = u16::from(a[c]) + u16::from(a[c + 3]) + u16::from(b[c]) + u16::from(b[c + 3]);
            out[c] = ((sum + 2) / 4) as u8;
        }
    }
}

/// Two pixels at a time, as long as whole vectors can be read and written; returns how many pixels are done.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3")]
fn halve_row_ssse3(upper: &[u8], lower: &[u8], out: &mut [u8]) -> usize {
    use std::arch::x86_64::*;
    // The same colour of neighbouring pixels side by side, so that a multiply-add by ones sums them.
    let neighbours = _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1);
    let (ones, two) = (_mm_set1_epi8(1), _mm_set1_epi16(2));
    let load = |row: &[u8], at: usize| {
        let sixteen: &[u8; 16] = row[at..at + 16].try_into().expect("sixteen");
        // SAFETY: an unaligned load of sixteen bytes that are there.
        unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) }
    };
    let mut done = 0;
    while done * 6 + 16 <= upper.len().min(lower.len()) && done * 3 + 8 <= out.len() {
        let sums = |row| _mm_maddubs_epi16(_mm_shuffle_epi8(load(row, done * 6), neighbours), ones);
        let means = _mm_srli_epi16(_mm_add_epi16(_mm_add_epi16(sums(upper), sums(lower)), two), 2);
        // Eight bytes are written, six of them these two pixels; the next pair or the plain loop overwrites the others.
        let eight = _mm_cvtsi128_si64(_mm_packus_epi16(means, means)).to_le_bytes();
        out[done * 3..done * 3 + 8].copy_from_slice(&eight);
        done += 2;
    }
    done
}
