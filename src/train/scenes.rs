//! Crops of whole scenes: round faces, each drawn with its weight, and of pictures without faces.

use rand::Rng;
use rand::rngs::StdRng;

use super::augment;
use super::faces::Faces;
use super::pictures::Picture;
use super::windows::Sources;
use crate::cascade::crops::Crop;

/// Pictures are never enlarged by more.
pub(crate) const MOST_ENLARGED: f32 = 1.25;

/// Which crops are drawn how often. Shares, 0..1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Crops from pictures without faces.
    pub background: f64,
    /// Crops round faces whose face comes from `masks/`.
    pub masked: f64,
    /// Faces that are partly covered.
    pub occluded: f64,
}

/// Draws crops of pictures.
#[derive(Debug)]
pub(crate) struct Scenes<'a> {
    negatives: &'a [Picture],
    faces: Faces<'a>,
    masked: Faces<'a>,
    /// Of [`Shares`], as far as there are such pictures.
    background: f64,
    masked_share: f64,
    /// Longest side of a crop, in shorter sides of its picture.
    widest: f32,
}

impl<'a> Scenes<'a> {
    /// Draws crops of `sources` in these `shares`, round faces that have a side of at least `smallest` pixels at the greatest
    /// enlargement.
    pub(crate) fn new(sources: Sources<'a>, shares: Shares, smallest: f32) -> Self {
        // Large faces are drawn more often: recall of large faces is what the following levels can't make up for.
        let weight = |face: &crate::dataset::Truth| {
            let (side, smallest) = (f64::from(face.rect.to_square().w), f64::from(smallest));
            if side * f64::from(MOST_ENLARGED) < smallest { 0.0 } else { (side / (2.0 * smallest)).clamp(0.5, 2.5) }
        };
        let (faces, masked) = (Faces::new(sources.pictures, weight), Faces::new(sources.masked, weight));
        let background = match (sources.negatives.is_empty(), faces.is_empty()) {
            (true, _) => 0.0,
            (false, true) => 1.0,
            (false, false) => shares.background,
        };
        Self {
            negatives: sources.negatives,
            masked_share: if masked.is_empty() { 0.0 } else { shares.masked },
            faces,
            masked,
            background,
            widest: f32::INFINITY,
        }
    }

    /// The same, with crops whose side is at most `widest` shorter sides of their picture.
    pub(crate) fn at_most(mut self, widest: f32) -> Self {
        self.widest = widest;
        self
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
        let faces = if rng.random_bool(self.masked_share) { &self.masked } else { &self.faces };
        let (picture, face) = faces.draw(rng);
        let face = face.to_square();
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
