//! The image pyramid: the picture at many sizes. A net knows faces of one size, or of one octave of sizes; in the pyramid every
//! face has that size on some level. [`mod@cpu`] builds pyramids on the CPU and `gpu` on a GPU, with the same pixels; a
//! [`Builder`] chooses between the two.

mod builder;
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;

pub use builder::{Builder, Pending};

use image::RgbImage;

/// One level of a pyramid: the picture at one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Level {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGB, `[height, width, 3]`.
    pub pixels: Vec<u8>,
    /// Level pixels per picture pixel, across: level x = picture x × `scale_x` (continuous, pixel i covers [i, i + 1)).
    pub scale_x: f32,
    /// Level pixels per picture pixel, down.
    pub scale_y: f32,
}

/// The two pyramids of a picture: its halves, which crops are sampled from, and the levels that the first net runs over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Least shorter side of a half, pixels: smaller halves are not made.
    pub shortest_half: usize,
    /// Scale of the first net's largest level: level pixels per picture pixel.
    pub first_scale: f32,
    /// Factor from one of the first net's levels to the next, over 1.
    pub step: f32,
    /// Least shorter side of a level of the first net, pixels.
    pub shortest: usize,
}

impl Plan {
    /// Builds both pyramids of `picture` on the CPU.
    pub fn build(&self, picture: &RgbImage, halves: &mut Pyramid, levels: &mut Pyramid) {
        halves.build(picture, 1.0, 2.0, self.shortest_half);
        levels.build_over(halves, self.first_scale, self.step, self.shortest);
    }
}

/// The levels of one picture, largest first. The next picture uses the same buffers.
#[derive(Default)]
pub struct Pyramid {
    /// Levels, largest first; empty if the picture is too small for one.
    pub levels: Vec<Level>,
    /// Levels that the last picture did not need; their buffers are kept.
    spare: Vec<Level>,
    resizer: cpu::Resizer,
}

impl Pyramid {
    /// Makes this the pyramid of `picture`: its size times `first_scale`, then `step` times smaller each, while the
    /// shorter side is at least `shortest` (and 1). Each level is made from the one above by area means, at step 2
    /// exactly the mean of 2×2 pixels (an odd last row or column is left out, so that scales stay exact).
    /// `first_scale` 1 keeps the picture itself as level 0.
    pub fn build(&mut self, picture: &RgbImage, first_scale: f32, step: f32, shortest: usize) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        self.build_from((width, height), (width, height, picture.as_raw()), first_scale, step, shortest);
    }

    /// Does what [`Self::build`] does, for the picture that `over` was built from. The first level is made from the smallest
    /// level of `over` that is not smaller: where the smallest face is large, that is much cheaper than to start from the picture.
    pub fn build_over(&mut self, over: &Self, first_scale: f32, step: f32, shortest: usize) {
        let Some((size, from)) = over.source_for(first_scale) else { return self.clear() };
        let from = &over.levels[from];
        self.build_from(size, (from.width, from.height, &from.pixels), first_scale, step, shortest);
    }

    /// Returns the picture's size, and the index of the level that [`Self::build_over`] starts from.
    fn source_for(&self, first_scale: f32) -> Option<((usize, usize), usize)> {
        let picture = self.levels.first()?;
        // Scales are rounded to whole pixels, hence the margin.
        let from = self.levels.iter().rposition(|l| l.scale_x.min(l.scale_y) >= first_scale * 0.999).unwrap_or(0);
        let side = |pixels: usize, scale: f32| (pixels as f32 / scale).round() as usize;
        Some(((side(picture.width, picture.scale_x), side(picture.height, picture.scale_y)), from))
    }

    /// Makes the pyramid that crops are sampled from: the picture and its halves, down to a shorter side of `shortest` pixels.
    /// Keeps no buffers beside the levels.
    pub fn of(picture: &RgbImage, shortest: usize) -> Self {
        let mut pyramid = Self::default();
        pyramid.build(picture, 1.0, 2.0, shortest);
        pyramid.resizer = cpu::Resizer::default();
        pyramid
    }

    fn clear(&mut self) {
        self.spare.append(&mut self.levels);
        // Largest buffers last, so that the first level gets one that is large enough.
        self.spare.sort_by_key(|l| l.pixels.capacity());
    }

    /// Builds the levels of a picture of `size`; the first is made from `from`: width, height, RGB.
    fn build_from(
        &mut self,
        size: (usize, usize),
        from: (usize, usize, &[u8]),
        first_scale: f32,
        step: f32,
        shortest: usize,
    ) {
        self.outline(size, first_scale, step, shortest);
        for k in 0..self.levels.len() {
            let (done, rest) = self.levels.split_at_mut(k);
            let above = done.last().map_or(from, |l| (l.width, l.height, &l.pixels));
            let Level { width, height, pixels, .. } = &mut rest[0];
            pixels.resize(*width * *height * 3, 0);
            if k > 0 && step == 2.0 {
                cpu::halve(above.2, above.0, pixels, *width);
            } else {
                self.resizer.resize(above, (*width, *height, pixels));
            }
        }
    }

    /// Replaces the levels: each gets the size and scales of a level, and the pixels given with it.
    #[cfg(feature = "gpu")]
    fn refill<'a>(&mut self, levels: impl Iterator<Item = (&'a Level, &'a [u8])>) {
        self.clear();
        for (shape, pixels) in levels {
            let mut level = self.spare.pop().unwrap_or_default();
            level.pixels.clear();
            level.pixels.extend_from_slice(pixels);
            let Level { width, height, scale_x, scale_y, .. } = *shape;
            self.levels.push(Level { width, height, scale_x, scale_y, ..level });
        }
    }

    /// Sets sizes and scales of the levels; their pixels are left as they were.
    fn outline(&mut self, size: (usize, usize), first_scale: f32, step: f32, shortest: usize) {
        self.clear();
        let (width, height) = size;
        for (w, h) in sizes(size, first_scale, step, shortest) {
            let mut level = self.spare.pop().unwrap_or_default();
            (level.width, level.height) = (w, h);
            (level.scale_x, level.scale_y) = match self.levels.last() {
                Some(above) if step == 2.0 => (above.scale_x / 2.0, above.scale_y / 2.0),
                _ => (w as f32 / width as f32, h as f32 / height as f32),
            };
            self.levels.push(level);
        }
    }
}

/// Returns widths and heights of the levels that [`Pyramid::build`] makes of a picture of `size`, pixels.
pub fn sizes(
    size: (usize, usize),
    first_scale: f32,
    step: f32,
    shortest: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let (first_scale, step) = (f64::from(first_scale), f64::from(step));
    let valid = first_scale > 0.0 && first_scale.is_finite() && step > 1.0;
    let scaled = move |v: usize, k: i32| (v as f64 * first_scale * step.powi(-k)).round() as usize;
    let levels = (0..).scan((0, 0), move |above: &mut (usize, usize), k| {
        *above = if k > 0 && step == 2.0 { (above.0 / 2, above.1 / 2) } else { (scaled(size.0, k), scaled(size.1, k)) };
        Some(*above)
    });
    levels.take_while(move |(w, h)| valid && *w.min(h) >= shortest.max(1))
}

impl std::fmt::Debug for Pyramid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<_> = self.levels.iter().map(|l| (l.width, l.height)).collect();
        f.debug_struct("Pyramid").field("levels", &sizes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7 + y * 13) as u8, (x * x) as u8, (y * 91 + x) as u8]))
    }

    #[test]
    fn halves_are_exact_means_down_to_the_shortest_side() {
        let picture = picture(101, 67);
        let pyramid = Pyramid::of(&picture, 8);
        let sizes: Vec<_> = pyramid.levels.iter().map(|l| (l.width, l.height)).collect();
        assert_eq!(sizes, [(101, 67), (50, 33), (25, 16), (12, 8)]);
        assert_eq!(&pyramid.levels[0].pixels, picture.as_raw());
        for (k, pair) in pyramid.levels.windows(2).enumerate() {
            let (above, level) = (&pair[0], &pair[1]);
            assert_eq!((level.scale_x, level.scale_y), (0.5f32.powi(k as i32 + 1), 0.5f32.powi(k as i32 + 1)));
            for (i, v) in level.pixels.iter().enumerate() {
                let (c, x, y) = (i % 3, i / 3 % level.width, i / 3 / level.width);
                let at = |dx, dy| u32::from(above.pixels[((2 * y + dy) * above.width + 2 * x + dx) * 3 + c]);
                assert_eq!(u32::from(*v), (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4);
            }
        }
    }

    #[test]
    fn levels_have_the_scales_asked_for_and_keep_the_mean_colour() {
        let mean = |p: &[u8]| p.iter().map(|v| f64::from(*v)).sum::<f64>() / p.len() as f64;
        let picture = picture(160, 120);
        let mut pyramid = Pyramid::default();
        for (first, step) in [(0.6, 2.0), (0.6, 1.26), (1.5, 2.0), (0.25, 2.0)] {
            pyramid.build(&picture, first, step, 8);
            assert!(!pyramid.levels.is_empty());
            for (k, level) in pyramid.levels.iter().enumerate() {
                let scale = f64::from(first) / f64::from(step).powi(k as i32);
                assert!((level.width as f64 - 160.0 * scale).abs() <= 1.0, "{first} {step} {k}");
                assert!((f64::from(level.scale_x) - level.width as f64 / 160.0).abs() < 0.01);
                assert_eq!(level.pixels.len(), level.width * level.height * 3);
                assert!((mean(&level.pixels) - mean(picture.as_raw())).abs() < 6.0, "{first} {step} {k}");
            }
            let last = pyramid.levels.last().unwrap();
            assert!(last.height >= 8 && (last.height as f32 / step) < 8.6);
        }
    }

    #[test]
    fn the_way_over_halves_gives_the_same_sizes_and_nearly_the_same_pixels() {
        let picture = RgbImage::from_fn(400, 300, |x, y| image::Rgb([(x / 2) as u8, (y / 2) as u8, 100]));
        let (mut direct, mut over) = (Pyramid::default(), Pyramid::default());
        direct.build(&picture, 0.15, 2.0, 8);
        over.build_over(&Pyramid::of(&picture, 8), 0.15, 2.0, 8);
        assert_eq!(direct.levels.len(), over.levels.len());
        for (a, b) in direct.levels.iter().zip(&over.levels) {
            assert_eq!((a.width, a.height, a.scale_x, a.scale_y), (b.width, b.height, b.scale_x, b.scale_y));
            assert!(a.pixels.iter().zip(&b.pixels).all(|(a, b)| a.abs_diff(*b) <= 3));
        }
    }

    #[test]
    fn a_pyramid_used_again_is_as_good_as_new() {
        let mut used = Pyramid::default();
        for (w, h) in [(300, 200), (20, 31), (0, 0), (1, 1), (5000, 1), (64, 64), (300, 200)] {
            let picture = picture(w, h);
            used.build(&picture, 0.6, 2.0, 8);
            let mut fresh = Pyramid::default();
            fresh.build(&picture, 0.6, 2.0, 8);
            assert_eq!(used.levels, fresh.levels);
        }
    }
}
