//! Crops of the picture at the size a net wants. Training and detection sample with this one function, so that a net
//! sees in a picture what it was trained on.

use std::cell::RefCell;

use super::colour::Colour;
use crate::nets::input::{MIDDLE, SPREAD, normalised};
use crate::pyramid::{Level, Pyramid};

/// Grey value of samples outside the picture.
pub(crate) const OUTSIDE: f32 = 127.0;

/// The shorter side of the smallest pyramid level that crops are taken from.
pub(crate) const SHORTEST: usize = 8;

/// Where a crop lies in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crop {
    /// Centre, picture pixels (continuous: pixel i covers [i, i + 1)).
    pub cx: f32,
    /// Centre, picture pixels.
    pub cy: f32,
    /// Side, picture pixels.
    pub side: f32,
    /// Turn of the crop's axes in the picture, radians, from x to y (clockwise on the screen); 0 in detection.
    pub angle: f32,
    /// Whether the crop, turned or not, is then flipped left to right.
    pub mirror: bool,
}

impl Crop {
    /// An upright crop round (`cx`, `cy`).
    pub(crate) const fn upright(cx: f32, cy: f32, side: f32) -> Self {
        Self { cx, cy, side, angle: 0.0, mirror: false }
    }

    /// Where a point of the picture lies in a crop of `n` × `n` pixels (continuous coordinates, 0..n inside).
    #[cfg(feature = "train")]
    pub(crate) fn to_crop(self, x: f32, y: f32, n: usize) -> (f32, f32) {
        let (sin, cos) = self.angle.sin_cos();
        let (dx, dy) = (x - self.cx, y - self.cy);
        let (along, down) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let along = if self.mirror { -along } else { along };
        let scale = n as f32 / self.side;
        (along * scale + n as f32 / 2.0, down * scale + n as f32 / 2.0)
    }
}

/// The level a crop of `n` × `n` pixels is sampled from: the coarsest where `side` still covers `n` pixels (level 0 if none
/// does), and `coarser` levels further up.
pub(crate) fn level_for(pyramid: &Pyramid, coarser: usize, side: f32, n: usize) -> Option<&Level> {
    let enough = |l: &Level| side * l.scale_x.min(l.scale_y) >= n as f32;
    let index = pyramid.levels.iter().rposition(enough).unwrap_or(0);
    pyramid.levels.get((index + coarser).min(pyramid.levels.len().saturating_sub(1)))
}

/// Samples a crop: `out` is `[n, n, 3]`, [normalised](crate::nets::input). Output pixel u lies at `cx` + (u − (n − 1) / 2) · `side` / n,
/// is bilinear between pixel centres of the coarsest level of `pyramid` (first level: the picture itself) where the
/// crop still covers n pixels, `coarser` levels further up if wanted (0 in detection). Outside the picture is grey 127.
///
/// # Panics
/// If `out` is shorter than n · n · 3.
pub(crate) fn sample(pyramid: &Pyramid, coarser: usize, at: &Crop, n: usize, out: &mut [f32]) {
    let out = &mut out[..n * n * 3];
    let placed = [at.cx, at.cy, at.side, at.angle].iter().all(|v| v.is_finite());
    let Some(level) = level_for(pyramid, coarser, at.side, n).filter(|_| placed) else {
        return out.fill(SHIFT);
    };
    if at.angle == 0.0 {
        upright(level, at, n, out);
    } else {
        turned(level, at, n, out);
    }
}

/// Two neighbouring pixels and their weights; 0 for a pixel outside the picture.
#[derive(Clone, Copy, Default)]
struct Tap {
    /// The first pixel; the second may lie one behind the last, with weight 0.
    first: usize,
    weights: [f32; 2],
}

impl Tap {
    /// Bilinear taps at index coordinate `p` (pixel centres at whole numbers) of a row of `len` pixels.
    #[inline(always)]
    fn new(p: f64, len: usize) -> Self {
        let floor = p.floor();
        let rest = (p - floor) as f32;
        let last = (len - 1) as f64;
        if floor >= 0.0 && floor <= last {
            let second = if floor < last { rest } else { 0.0 };
            Self { first: floor as usize, weights: [1.0 - rest, second] }
        } else {
            Self { first: 0, weights: [if floor == -1.0 { rest } else { 0.0 }, 0.0] }
        }
    }
}

/// Buffers of [`upright`].
#[derive(Default)]
struct Rows {
    /// Weights are normalised, first pixels are numbers of `blended`.
    across: Vec<Tap>,
    /// One row of the level between two of its rows, less [`OUTSIDE`], one pixel longer than needed.
    blended: Vec<f32>,
}

thread_local! {
    static ROWS: RefCell<Rows> = RefCell::default();
}

/// Position of output pixel `u` along one axis, in index coordinates of a level.
#[inline(always)]
fn position(centre: f32, offset: f64, n: usize, u: usize, scale: f32) -> f64 {
    (f64::from(centre) + (u as f64 - (n as f64 - 1.0) / 2.0) * offset) * f64::from(scale) - 0.5
}

/// Samples an axis-parallel crop, with wider instructions where the machine has them; the sums are the same.
fn upright(level: &Level, at: &Crop, n: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { upright_avx2(level, at, n, out) };
    }
    upright_in_rows(level, at, n, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn upright_avx2(level: &Level, at: &Crop, n: usize, out: &mut [f32]) {
    upright_in_rows(level, at, n, out);
}

/// Samples an axis-parallel crop: two rows are blended into one first (a loop over neighbours), then its pixels across. Pixels count
/// less [`OUTSIDE`], so that taps outside simply weigh nothing.
#[inline(always)]
fn upright_in_rows(level: &Level, at: &Crop, n: usize, out: &mut [f32]) {
    // Taken out, not borrowed by a closure, which would not take on the instruction set.
    let mut rows = ROWS.take();
    let step = f64::from(at.side) / n as f64;
    let step_x = if at.mirror { -step } else { step };
    rows.across.clear();
    rows.across.extend((0..n).map(|u| Tap::new(position(at.cx, step_x, n, u, level.scale_x), level.width)));
    let begin = rows.across.iter().map(|t| t.first).min().unwrap_or(0);
    let end = rows.across.iter().map(|t| t.first + 2).max().unwrap_or(0);
    for tap in &mut rows.across {
        tap.first = (tap.first - begin) * 3;
        tap.weights = tap.weights.map(|weight| weight * (1.0 / SPREAD));
    }
    rows.blended.clear();
    rows.blended.resize((end - begin) * 3 + 1, 0.0);
    let span = begin * 3..end.min(level.width) * 3;
    for (v, out) in out.chunks_exact_mut(n * 3).enumerate() {
        let down = Tap::new(position(at.cy, step, n, v, level.scale_y), level.height);
        let row = |y: usize| &level.pixels[y.min(level.height - 1) * level.width * 3..][span.clone()];
        blend(row(down.first), row(down.first + 1), down.weights, &mut rows.blended);
        across(&rows.blended, &rows.across, out);
    }
    ROWS.set(rows);
}

#[inline(always)]
fn blend(upper: &[u8], lower: &[u8], weights: [f32; 2], out: &mut [f32]) {
    let grey = OUTSIDE * (weights[0] + weights[1]);
    for ((out, a), b) in out.iter_mut().zip(upper).zip(lower) {
        *out = f32::from(*a) * weights[0] + f32::from(*b) * weights[1] - grey;
    }
}

/// [`OUTSIDE`], normalised: what is added to a normalised sum of samples less [`OUTSIDE`].
const SHIFT: f32 = normalised(OUTSIDE);

#[inline(always)]
fn across(row: &[f32], taps: &[Tap], out: &mut [f32]) {
    let sample = |tap: &Tap| {
        let [a, b] = tap.weights;
        let pixels: &[f32; 7] = row[tap.first..tap.first + 7].try_into().expect("seven");
        let (left, right) = (Colour::of(&pixels[..4]), Colour::of(&pixels[3..]));
        left.blend(a, right, b).plus(SHIFT)
    };
    let Some((last, taps)) = taps.split_last() else { return };
    // The fourth number of a pixel is written over by the next pixel.
    for (x, tap) in taps.iter().enumerate() {
        sample(tap).store(&mut out[3 * x..3 * x + 4]);
    }
    sample(last).store3(&mut out[3 * taps.len()..]);
}

/// Samples a crop at any angle. A crop that lies inside the level with all its corners needs no check for each pixel.
fn turned(level: &Level, at: &Crop, n: usize, out: &mut [f32]) {
    let step = f64::from(at.side) / n as f64;
    let (sin, cos) = f64::from(at.angle).sin_cos();
    let flip = if at.mirror { -1.0 } else { 1.0 };
    let (scale_x, scale_y) = (f64::from(level.scale_x), f64::from(level.scale_y));
    let (ux, uy) = (flip * step * cos * scale_x, flip * step * sin * scale_y);
    let (vx, vy) = (-step * sin * scale_x, step * cos * scale_y);
    let half = (n as f64 - 1.0) / 2.0;
    let x0 = f64::from(at.cx) * scale_x - 0.5 - half * (ux + vx);
    let y0 = f64::from(at.cy) * scale_y - 0.5 - half * (uy + vy);
    let far = n as f64 - 1.0;
    let corners =
        [(0.0, 0.0), (far, 0.0), (0.0, far), (far, far)].map(|(u, v)| (x0 + u * ux + v * vx, y0 + u * uy + v * vy));
    let (left, top) = corners.iter().fold((f64::MAX, f64::MAX), |m, c| (m.0.min(c.0), m.1.min(c.1)));
    let (right, bottom) = corners.iter().fold((f64::MIN, f64::MIN), |m, c| (m.0.max(c.0), m.1.max(c.1)));
    // Relative to a whole pixel near by, positions are small and so exact enough in f32.
    let (origin_x, origin_y) = (left.floor(), top.floor());
    let (x0, y0) = ((x0 - origin_x) as f32, (y0 - origin_y) as f32);
    let (ux, uy, vx, vy) = (ux as f32, uy as f32, vx as f32, vy as f32);
    // Inside with room for rounding and for the two bytes behind.
    let inside = left >= 1.0 && top >= 1.0 && right < level.width as f64 - 2.0 && bottom < level.height as f64 - 2.0;
    let corner = if inside { (origin_y as usize - 1) * level.width + origin_x as usize - 1 } else { 0 };
    let pixels = &level.pixels[corner * 3..];
    for (v, row) in out.chunks_exact_mut(n * 3).enumerate() {
        let (row_x, row_y) = (x0 + v as f32 * vx, y0 + v as f32 * vy);
        for (u, out) in row.chunks_exact_mut(3).enumerate() {
            let (x, y) = (row_x + u as f32 * ux, row_y + u as f32 * uy);
            if inside {
                inner(pixels, level.width * 3, x + 1.0, y + 1.0, out);
            } else {
                border(level, origin_x + f64::from(x), origin_y + f64::from(y), out);
            }
        }
    }
}

/// Samples bilinearly at (x, y) ≥ 0 of `pixels`, all four neighbours inside and two bytes behind them.
#[inline(always)]
fn inner(pixels: &[u8], stride: usize, x: f32, y: f32, out: &mut [f32]) {
    let (ix, iy) = (x as i32, y as i32);
    let (fx, fy) = (x - ix as f32, y - iy as f32);
    let at = iy as usize * stride + ix as usize * 3;
    let eight = |at: usize| u64::from_le_bytes(pixels[at..at + 8].try_into().expect("eight"));
    let (upper, lower) = (eight(at), eight(at + stride));
    let left = Colour::of_bytes(upper as u32).blend(1.0 - fy, Colour::of_bytes(lower as u32), fy);
    let right = Colour::of_bytes((upper >> 24) as u32).blend(1.0 - fy, Colour::of_bytes((lower >> 24) as u32), fy);
    left.blend((1.0 - fx) / SPREAD, right, fx / SPREAD).plus(-MIDDLE / SPREAD).store3(out);
}

/// Samples bilinearly at any (x, y).
fn border(level: &Level, x: f64, y: f64, out: &mut [f32]) {
    if x >= 0.0 && y >= 0.0 && x < level.width as f64 - 3.0 && y < level.height as f64 - 2.0 {
        return inner(&level.pixels, level.width * 3, x as f32, y as f32, out);
    }
    let (across, down) = (Tap::new(x, level.width), Tap::new(y, level.height));
    let mut sums = [0.0; 3];
    for (j, weight_y) in down.weights.into_iter().enumerate() {
        for (i, weight_x) in across.weights.into_iter().enumerate() {
            let weight = weight_x * weight_y;
            if weight > 0.0 {
                let at = ((down.first + j) * level.width + across.first + i) * 3;
                for (sum, v) in sums.iter_mut().zip(&level.pixels[at..at + 3]) {
                    *sum += weight * (f32::from(*v) - OUTSIDE);
                }
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum / SPREAD + SHIFT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::input::normalise;
    use rand::{Rng, SeedableRng};

    fn picture(width: u32, height: u32, seed: u64) -> image::RgbImage {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        image::RgbImage::from_fn(width, height, |_, _| image::Rgb(rng.random()))
    }

    /// The definition, word for word, in f64.
    fn reference(level: &Level, at: &Crop, n: usize) -> Vec<f32> {
        let pixel = |x: i64, y: i64, c: usize| {
            let inside = x >= 0 && y >= 0 && x < level.width as i64 && y < level.height as i64;
            if inside { f64::from(level.pixels[(y as usize * level.width + x as usize) * 3 + c]) } else { 127.0 }
        };
        let (sin, cos) = f64::from(at.angle).sin_cos();
        let mut out = Vec::new();
        for v in 0..n {
            for u in 0..n {
                let offset = |i: usize| (i as f64 - (n as f64 - 1.0) / 2.0) * f64::from(at.side) / n as f64;
                let along = if at.mirror { -offset(u) } else { offset(u) };
                let (dx, dy) = (along * cos - offset(v) * sin, along * sin + offset(v) * cos);
                let x = (f64::from(at.cx) + dx) * f64::from(level.scale_x) - 0.5;
                let y = (f64::from(at.cy) + dy) * f64::from(level.scale_y) - 0.5;
                let (fx, fy) = (x - x.floor(), y - y.floor());
                let (x, y) = (x.floor() as i64, y.floor() as i64);
                for c in 0..3 {
                    let top = pixel(x, y, c) * (1.0 - fx) + pixel(x + 1, y, c) * fx;
                    let bottom = pixel(x, y + 1, c) * (1.0 - fx) + pixel(x + 1, y + 1, c) * fx;
                    out.push(((top * (1.0 - fy) + bottom * fy - 127.5) / 128.0) as f32);
                }
            }
        }
        out
    }

    #[test]
    fn crops_of_any_place_size_and_angle_equal_the_definition_in_f64() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        let sizes = [(97, 61), (40, 200), (1, 1), (1, 30), (30, 1), (2, 2)];
        for round in 0..600 {
            let (width, height) = sizes[round % sizes.len()];
            let pyramid = Pyramid::of(&picture(width, height, round as u64), 1);
            let at = Crop {
                cx: rng.random_range(-0.3..1.3) * width as f32,
                cy: rng.random_range(-0.3..1.3) * height as f32,
                side: rng.random_range(1.0f32..150.0),
                angle: if round % 2 == 0 { 0.0 } else { rng.random_range(-3.0..3.0) },
                mirror: rng.random(),
            };
            let n = [12, 24, 47][round % 3];
            let coarser = round % 5 / 4;
            let mut out = vec![f32::NAN; n * n * 3];
            sample(&pyramid, coarser, &at, n, &mut out);
            let expected = reference(level_for(&pyramid, coarser, at.side, n).unwrap(), &at, n);
            for (i, (a, b)) in out.iter().zip(&expected).enumerate() {
                assert!((a - b).abs() < 1e-3, "{at:?} of {width}×{height}, {n}: {a} instead of {b} at {i}");
            }
        }
    }

    #[test]
    fn a_crop_the_size_of_its_pixels_is_the_pixels() {
        let picture = picture(30, 20, 1);
        let pyramid = Pyramid::of(&picture, 1);
        let mut out = vec![0.0; 8 * 8 * 3];
        sample(&pyramid, 0, &Crop::upright(14.0, 9.0, 8.0), 8, &mut out);
        for (i, v) in out.iter().enumerate() {
            let (x, y) = (i / 3 % 8 + 10, i / 24 + 5);
            assert!((v - normalise(picture.get_pixel(x as u32, y as u32)[i % 3])).abs() < 1e-6);
        }
    }

    #[test]
    fn a_mirrored_crop_is_the_crop_flipped_left_to_right() {
        let pyramid = Pyramid::of(&picture(60, 60, 2), 1);
        for angle in [0.0, 0.4] {
            let at = Crop { cx: 31.3, cy: 22.8, side: 37.0, angle, mirror: false };
            let (mut plain, mut flipped) = (vec![0.0; 12 * 12 * 3], vec![0.0; 12 * 12 * 3]);
            sample(&pyramid, 0, &at, 12, &mut plain);
            sample(&pyramid, 0, &Crop { mirror: true, ..at }, 12, &mut flipped);
            for (a, b) in plain.chunks_exact(36).zip(flipped.chunks_exact(36)) {
                for (a, b) in a.chunks_exact(3).zip(b.chunks_exact(3).rev()) {
                    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-4));
                }
            }
        }
    }

    #[test]
    fn points_of_the_picture_are_found_again_in_the_crop() {
        // A bright dot on black, seen through turned and mirrored crops, lies where `to_crop` says.
        let mut dark = image::RgbImage::new(64, 64);
        for (x, y) in [(40, 21), (41, 21), (40, 22), (41, 22)] {
            dark.put_pixel(x, y, image::Rgb([255; 3]));
        }
        let pyramid = Pyramid::of(&dark, 1);
        for (angle, mirror) in [(0.0, false), (0.0, true), (0.7, false), (0.7, true), (-2.0, true)] {
            let at = Crop { cx: 33.0, cy: 30.0, side: 40.0, angle, mirror };
            let mut out = vec![0.0; 40 * 40 * 3];
            sample(&pyramid, 0, &at, 40, &mut out);
            let (mut weight, mut x, mut y) = (0.0, 0.0, 0.0);
            for (i, v) in out.chunks_exact(3).enumerate() {
                let w = v[0] - normalise(0);
                weight += w;
                x += w * ((i % 40) as f32 + 0.5);
                y += w * ((i / 40) as f32 + 0.5);
            }
            let (ex, ey) = at.to_crop(41.0, 22.0, 40);
            assert!((x / weight - ex).abs() < 0.15 && (y / weight - ey).abs() < 0.15, "{angle} {mirror}");
        }
    }

    #[test]
    fn without_a_picture_or_a_place_all_is_grey() {
        let mut out = vec![0.0; 12];
        sample(&Pyramid::default(), 0, &Crop::upright(1.0, 1.0, 4.0), 2, &mut out);
        assert!(out.iter().all(|v| (v * 128.0 + 127.5 - OUTSIDE).abs() < 1e-4));
        let pyramid = Pyramid::of(&picture(9, 9, 1), 1);
        for at in [Crop::upright(f32::NAN, 1.0, 4.0), Crop::upright(1e30, 1.0, 4.0)] {
            sample(&pyramid, 0, &at, 2, &mut out);
            assert!(out.iter().all(|v| (v * 128.0 + 127.5 - OUTSIDE).abs() < 1e-4));
        }
    }
}
