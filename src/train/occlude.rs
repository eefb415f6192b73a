//! Pastes things on faces: bars, cloths, hands and whatever else pictures without faces show, over the mouth, the eyes or a side, so
//! that a net learns faces that are partly covered.

use rand::Rng;
use rand::rngs::StdRng;

use super::pictures::Picture;
use crate::cascade::crops::{self, Crop};
use crate::geometry::Rect;

/// Faces with a smaller side in the crop (pixels) are left alone: what is left of them shows nothing.
const SMALLEST: f32 = 14.0;
/// Share of covers that are of one colour, as masks and bars are; the others are pieces of pictures.
const PLAIN: f64 = 0.35;

/// Covers parts of faces.
#[derive(Debug)]
pub(crate) struct Occluder<'a> {
    pictures: &'a [Picture],
    /// Share of faces that get covered.
    share: f64,
}

impl<'a> Occluder<'a> {
    /// Covers a `share` of faces, by pieces of `pictures` among others.
    pub(crate) const fn new(pictures: &'a [Picture], share: f64) -> Self {
        Self { pictures, share }
    }

    /// Covers parts of some of `faces` in `crop`, normalised RGB `[side, side, 3]`.
    pub(crate) fn cover(&self, rng: &mut StdRng, crop: &mut [f32], side: usize, faces: &[Rect]) {
        for face in faces.iter().filter(|f| f.w.max(f.h) >= SMALLEST) {
            if rng.random_bool(self.share) {
                let part = part(rng, face);
                let (left, right) = (pixel(part.x, side), pixel(part.x + part.w, side));
                let (top, bottom) = (pixel(part.y, side), pixel(part.y + part.h, side));
                if left < right && top < bottom {
                    self.paste(rng, crop, side, (left, right), (top, bottom));
                }
            }
        }
    }

    fn paste(
        &self,
        rng: &mut StdRng,
        crop: &mut [f32],
        side: usize,
        (left, right): (usize, usize),
        (top, bottom): (usize, usize),
    ) {
        let n = (right - left).max(bottom - top);
        let piece = if self.pictures.is_empty() || rng.random_bool(PLAIN) {
            let light: f32 = rng.random_range(-0.9..0.9);
            let colour: [f32; 3] = std::array::from_fn(|_| (light + rng.random_range(-0.25..0.25f32)).clamp(-1.0, 1.0));
            colour.repeat(n * n)
        } else {
            let picture = &self.pictures[rng.random_range(0..self.pictures.len())];
            let (w, h) = picture.size();
            let span = w.min(h) * rng.random_range(0.15..0.7f32);
            let mut middle = |size: f32| rng.random_range(span / 2.0..=(size - span / 2.0).max(span / 2.0));
            let mut piece = vec![0.0; n * n * 3];
            crops::sample(&picture.pyramid, 0, &Crop::upright(middle(w), middle(h), span), n, &mut piece);
            piece
        };
        // An ellipse as often as a rectangle: things have round ends as often as straight ones.
        let round = rng.random_bool(0.5);
        let (w, h) = ((right - left) as f32, (bottom - top) as f32);
        for y in top..bottom {
            let down = ((y - top) as f32 + 0.5) / h * 2.0 - 1.0;
            let inset = if round { ((1.0 - (1.0 - down * down).max(0.0).sqrt()) * w / 2.0) as usize } else { 0 };
            let (from, to) = ((left + inset).min(right), right.saturating_sub(inset).max(left));
            if from < to {
                let source = &piece[((y - top) * n + from - left) * 3..][..(to - from) * 3];
                crop[(y * side + from) * 3..(y * side + to) * 3].copy_from_slice(source);
            }
        }
    }
}

/// Draws which part of a face is covered.
fn part(rng: &mut StdRng, face: &Rect) -> Rect {
    let Rect { x, y, w, h } = *face;
    let wide = rng.random_range(0.9..1.3f32);
    let (left, width) = (x - (wide - 1.0) * w / 2.0, wide * w);
    match rng.random_range(0..10) {
        // Mouth and nose, as a mask covers them.
        0..4 => {
            let from = rng.random_range(0.4..0.65f32);
            Rect::new(left, y + from * h, width, (1.05 - from) * h)
        }
        // Forehead and eyes, as a hat or a visor does.
        4..6 => Rect::new(left, y - 0.15 * h, width, rng.random_range(0.3..0.55f32) * h),
        // Eyes.
        6 => Rect::new(left, y + 0.25 * h, width, rng.random_range(0.12..0.28f32) * h),
        // One side.
        7..9 => {
            let share = rng.random_range(0.25..0.5f32);
            let from = if rng.random() { x - 0.1 * w } else { x + (1.1 - share) * w };
            Rect::new(from, y - 0.1 * h, share * w, 1.2 * h)
        }
        // A thing before it.
        _ => {
            let (sw, sh) = (rng.random_range(0.25..0.6f32) * w, rng.random_range(0.25..0.6f32) * h);
            Rect::new(
                x + rng.random_range(0.0..1.0f32) * (w - sw),
                y + rng.random_range(0.0..1.0f32) * (h - sh),
                sw,
                sh,
            )
        }
    }
}

fn pixel(v: f32, side: usize) -> usize {
    v.round().clamp(0.0, side as f32) as usize
}
