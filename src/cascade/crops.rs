//! Crops of the picture at the size a net wants. Training and detection sample with this one function, so that a net
//! sees in a picture what it was trained on.

use std::cell::RefCell;

use super::colour::{Colour, Two};
use crate::nets::input::{MIDDLE, SPREAD};
use crate::pyramid::{Level, Pyramid};

#[cfg(test)]
mod tests;

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

/// What a crop's samples are.
pub(crate) trait Sample: Copy + Default {
    /// A grey value times this …
    const SCALE: f32;
    /// … plus this is the sample.
    const OFFSET: f32;

    /// The sample of this value.
    fn of(v: f32) -> Self;

    /// The same of two colours.
    fn of_two(colours: impl Two) -> [Self; 8];
}

/// [Normalised](crate::nets::input).
impl Sample for f32 {
    const SCALE: Self = 1.0 / SPREAD;
    const OFFSET: Self = -MIDDLE / SPREAD;

    #[inline(always)]
    fn of(v: f32) -> Self {
        v
    }

    #[inline(always)]
    fn of_two(colours: impl Two) -> [Self; 8] {
        colours.floats()
    }
}

/// The byte nearest to the grey value.
impl Sample for u8 {
    const SCALE: f32 = 1.0;
    const OFFSET: f32 = 0.0;

    #[inline(always)]
    fn of(v: f32) -> Self {
        v.round_ties_even() as Self
    }

    #[inline(always)]
    fn of_two(colours: impl Two) -> [Self; 8] {
        colours.bytes()
    }
}

/// Samples a crop: `out` is `[n, n, 3]`. Output pixel u lies at `cx` + (u − (n − 1) / 2) · `side` / n,
/// is bilinear between pixel centres of the coarsest level of `pyramid` (first level: the picture itself) where the
/// crop still covers n pixels, `coarser` levels further up if wanted (0 in detection). Outside the picture is grey 127.
///
/// # Panics
/// If `out` is shorter than n · n · 3.
pub(crate) fn sample<T: Sample>(pyramid: &Pyramid, coarser: usize, at: &Crop, n: usize, out: &mut [T]) {
    let out = &mut out[..n * n * 3];
    let placed = [at.cx, at.cy, at.side, at.angle].iter().all(|v| v.is_finite());
    let Some(level) = level_for(pyramid, coarser, at.side, n).filter(|_| placed) else {
        return out.fill(T::of(shift::<T>()));
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
    across: Vec<Tap>,
    pairs: Vec<Pair>,
    /// One row of the level between two of its rows, less [`OUTSIDE`], one pixel longer than needed.
    blended: Vec<f32>,
}

/// The taps of two neighbouring output pixels: as a vector, they cost as much as one.
struct Pair {
    /// Where their first pixels begin in a row of blended numbers.
    first: [usize; 2],
    /// Of the first and of the second pixels: four times the weight for one output pixel, four times that for the other.
    weights: [[f32; 8]; 2],
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
fn upright<T: Sample>(level: &Level, at: &Crop, n: usize, out: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { upright_avx2(level, at, n, out) };
    }
    upright_in_rows::<T, [f32; 8]>(level, at, n, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn upright_avx2<T: Sample>(level: &Level, at: &Crop, n: usize, out: &mut [T]) {
    upright_in_rows::<T, super::colour::Avx2>(level, at, n, out);
}

/// Samples an axis-parallel crop: two rows are blended into one first (a loop over neighbours), then its pixels across. Pixels count
/// less [`OUTSIDE`], so that taps outside simply weigh nothing.
#[inline(always)]
fn upright_in_rows<T: Sample, V: Two>(level: &Level, at: &Crop, n: usize, out: &mut [T]) {
    // Taken out, not borrowed by a closure, which would not take on the instruction set.
    let mut rows = ROWS.take();
    let step = f64::from(at.side) / n as f64;
    let step_x = if at.mirror { -step } else { step };
    rows.across.clear();
    rows.across.extend((0..n).map(|u| Tap::new(position(at.cx, step_x, n, u, level.scale_x), level.width)));
    let begin = rows.across.iter().map(|t| t.first).min().unwrap_or(0);
    let end = rows.across.iter().map(|t| t.first + 2).max().unwrap_or(0);
    rows.pairs.clear();
    rows.pairs.extend(rows.across.chunks(2).map(|taps| {
        let [one, other] = [taps[0], taps[taps.len() - 1]];
        let weights = |i: usize| std::array::from_fn(|lane| if lane < 4 { one } else { other }.weights[i] * T::SCALE);
        Pair { first: [one, other].map(|tap| (tap.first - begin) * 3), weights: [weights(0), weights(1)] }
    }));
    rows.blended.clear();
    rows.blended.resize((end - begin) * 3 + 1, 0.0);
    let span = begin * 3..end.min(level.width) * 3;
    for (v, out) in out.chunks_exact_mut(n * 3).enumerate() {
        let down = Tap::new(position(at.cy, step, n, v, level.scale_y), level.height);
        let row = |y: usize| &level.pixels[y.min(level.height - 1) * level.width * 3..][span.clone()];
        blend(row(down.first), row(down.first + 1), down.weights, &mut rows.blended);
        across::<T, V>(&rows.blended, &rows.pairs, out);
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

/// The sample of [`OUTSIDE`]: what is added to a sum of samples less [`OUTSIDE`].
const fn shift<T: Sample>() -> f32 {
    OUTSIDE * T::SCALE + T::OFFSET
}

#[inline(always)]
fn across<T: Sample, V: Two>(row: &[f32], pairs: &[Pair], out: &mut [T]) {
    for (i, pair) in pairs.iter().enumerate() {
        let [one, other]: [&[f32; 7]; 2] = pair.first.map(|first| row[first..first + 7].try_into().expect("seven"));
        let at = |from: usize| V::of(four(one, from), four(other, from));
        let [a, b] = &pair.weights;
        let samples = T::of_two(at(0).blend(a, at(3), b).plus(shift::<T>()));
        // The fourth number of a pixel means nothing: the next pixel is written over it.
        let out = &mut out[6 * i..];
        if let Some(out) = out.first_chunk_mut::<7>() {
            out[..4].copy_from_slice(&samples[..4]);
            out[3..].copy_from_slice(&samples[4..]);
        } else {
            out.chunks_exact_mut(3)
                .zip(samples.chunks_exact(4))
                .for_each(|(out, pixel)| out.copy_from_slice(&pixel[..3]));
        }
    }
}

/// Four numbers of a row's seven.
#[inline(always)]
fn four(row: &[f32; 7], from: usize) -> &[f32; 4] {
    row[from..from + 4].try_into().expect("four")
}

/// Samples a crop at any angle. A crop that lies inside the level with all its corners needs no check for each pixel.
fn turned<T: Sample>(level: &Level, at: &Crop, n: usize, out: &mut [T]) {
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
fn inner<T: Sample>(pixels: &[u8], stride: usize, x: f32, y: f32, out: &mut [T]) {
    let (ix, iy) = (x as i32, y as i32);
    let (fx, fy) = (x - ix as f32, y - iy as f32);
    let at = iy as usize * stride + ix as usize * 3;
    let eight = |at: usize| u64::from_le_bytes(pixels[at..at + 8].try_into().expect("eight"));
    let (upper, lower) = (eight(at), eight(at + stride));
    let left = Colour::of_bytes(upper as u32).blend(1.0 - fy, Colour::of_bytes(lower as u32), fy);
    let right = Colour::of_bytes((upper >> 24) as u32).blend(1.0 - fy, Colour::of_bytes((lower >> 24) as u32), fy);
    let sample = left.blend((1.0 - fx) * T::SCALE, right, fx * T::SCALE).plus(T::OFFSET);
    out.iter_mut().zip(sample.floats()).for_each(|(out, v)| *out = T::of(v));
}

/// Samples bilinearly at any (x, y).
fn border<T: Sample>(level: &Level, x: f64, y: f64, out: &mut [T]) {
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
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::of(sum * T::SCALE + shift::<T>()));
}
