//! Crops of whole scenes: round faces, each drawn with its weight, and of pictures without faces.

use rand::Rng;
use rand::rngs::StdRng;

use super::augment;
use super::pictures::{Picture, is_clear};
use crate::cascade::crops::Crop;

/// Pictures are never enlarged by more.
pub(crate) const MOST_ENLARGED: f32 = 1.25;

/// Draws crops of pictures.
#[derive(Debug)]
pub(crate) struct Scenes<'a> {
    pictures: Vec<&'a Picture>,
    negatives: &'a [Picture],
    /// (picture, face) that a crop can be built round.
    faces: Vec<(u32, u32)>,
    /// Cumulative weights of `faces`.
    weights: Vec<f64>,
    /// Share of crops from `negatives`.
    background: f64,
    /// Longest side of a crop, in shorter sides of its picture.
    widest: f32,
}

impl<'a> Scenes<'a> {
    /// Draws crops round the faces of `pictures` that have a side of at least `smallest` pixels at the greatest enlargement,
    /// and a share of `background` from `negatives`. Faces of crowds are drawn less often, those in atypical poses and
    /// larger ones more often.
    pub(crate) fn new(
        pictures: impl IntoIterator<Item = &'a Picture>,
        negatives: &'a [Picture],
        background: f64,
        smallest: f32,
    ) -> Self {
        let pictures: Vec<&Picture> = pictures.into_iter().collect();
        let (mut faces, mut weights, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (p, picture) in pictures.iter().enumerate() {
            let fit = |f: &crate::dataset::Truth| is_clear(f) && f.rect.to_square().w * MOST_ENLARGED >= smallest;
            let crowd = picture.faces.iter().filter(|f| fit(f)).count();
            for (f, face) in picture.faces.iter().enumerate().filter(|(_, f)| fit(f)) {
                let side = f64::from(face.rect.to_square().w);
                let pose = if face.pose_atypical { 2.5 } else { 1.0 };
                sum += (8.0 / crowd as f64).sqrt().min(1.0) * pose * (side / f64::from(2.0 * smallest)).clamp(0.5, 2.5);
                faces.push((p as u32, f as u32));
                weights.push(sum);
            }
        }
        let background = if negatives.is_empty() {
            0.0
        } else if faces.is_empty() {
            1.0
        } else {
            background
        };
        Self { pictures, negatives, faces, weights, background, widest: f32::INFINITY }
    }

    /// The same, with crops whose side is at most `widest` shorter sides of their picture.
    pub(crate) fn at_most(mut self, widest: f32) -> Self {
        self.widest = widest;
        self
    }

    /// Whether there is no face to build a crop round.
    pub(crate) fn is_empty(&self) -> bool {
        self.faces.is_empty()
    }

    /// The side of a crop of `n` × `n` pixels from a picture of this shorter side.
    fn limited(&self, side: f32, n: f32, shorter: f32) -> f32 {
        side.min((self.widest * shorter).max(n / MOST_ENLARGED))
    }

    /// Draws a picture and a crop of it that is sampled to `n` × `n` pixels; `wanted` draws the side that the chosen face's square has
    /// there, pixels.
    pub(crate) fn place(
        &self,
        rng: &mut StdRng,
        n: usize,
        wanted: impl FnOnce(&mut StdRng) -> f32,
    ) -> (&'a Picture, Crop) {
        let n = n as f32;
        if rng.random_bool(self.background) {
            let picture = &self.negatives[rng.random_range(0..self.negatives.len())];
            let scale = rng.random_range(0.25..1.25f32).min(MOST_ENLARGED);
            let (w, h) = picture.size();
            let side = self.limited(n / scale, n, w.min(h));
            let (cx, cy) = (within(rng, side, w), within(rng, side, h));
            return (picture, Crop { cx, cy, side, angle: augment::angle(rng, 0.15), mirror: rng.random() });
        }
        let at = rng.random_range(0.0..self.weights.last().copied().unwrap_or(1.0));
        let (p, f) = self.faces[self.weights.partition_point(|w| *w < at).min(self.faces.len() - 1)];
        let picture = self.pictures[p as usize];
        let face = picture.faces[f as usize].rect.to_square();
        let (w, h) = picture.size();
        let side = n * (face.w / wanted(rng)).max(1.0 / MOST_ENLARGED);
        let side = self.limited(side, n, w.min(h));
        let room = ((side - face.w) / 2.0).max(0.0);
        let (x, y) = face.center();
        let mut shift = |centre: f32, size: f32| {
            let centre = centre + rng.random_range(-room..=room);
            // Inside the picture where it can be, but never so that the face leaves the crop.
            if size >= side { centre.clamp(side / 2.0, size - side / 2.0) } else { centre }
        };
        let (cx, cy) = (shift(x, w), shift(y, h));
        (picture, Crop { cx, cy, side, angle: augment::angle(rng, 0.15), mirror: rng.random() })
    }
}

/// A centre for a span of `side` inside `size`, or round its middle where it doesn't fit.
fn within(rng: &mut StdRng, side: f32, size: f32) -> f32 {
    let (low, high) = (side.min(size) / 2.0, size - side.min(size) / 2.0);
    rng.random_range(low.min(high)..=high.max(low))
}
