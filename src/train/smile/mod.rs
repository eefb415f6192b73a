//! Samples of the smile net: crops round boxes as the cascade finds them, jittered, in any light, down to the detail of small
//! faces. Two crops of the same face stand side by side in a batch, and the net is asked to say the same of both.

pub(crate) mod faces;
pub(crate) mod fit;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::augment::{self, Light};
use super::degrade::{blur, compress};
use super::loss;
use super::task::{Figures, Prediction, Samples, Task};
use crate::cascade::crops::{self, Crop};
use crate::cascade::smile::SmileSettings;
use crate::nets::spec::Output;
use faces::{Set, SmileFace};

/// How samples of the smile net are drawn and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmileSamples {
    /// Share of samples from `mtfl/`; the others are from `fer/`.
    pub portraits: f64,
    /// Most that a crop is moved, as a share of its side, and enlarged or reduced (e to its power).
    pub shift: f32,
    /// Share of crops with the detail of a smaller face, of [`Self::least_detail`] pixels or more.
    pub coarse: f64,
    /// Side of the coarsest crops, pixels.
    pub least_detail: f32,
    /// Share of crops made grey.
    pub grey: f64,
    /// Share of crops with a rectangle covered.
    pub covered: f64,
    /// How much of the other class is expected among the labels.
    pub smoothing: f32,
    /// Weight of half the squared difference of a face's two logits.
    pub agreement: f32,
}

impl SmileSamples {
    /// What is wrong with the values, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let shares = [self.portraits, self.coarse, self.grey, self.covered];
        if shares.iter().any(|s| !(0.0..=1.0).contains(s)) {
            return Some("samples: portraits, coarse, grey and covered must lie in 0..1");
        }
        if !((0.0..0.5).contains(&self.shift) && (0.0..0.5).contains(&self.smoothing)) {
            return Some("samples: shift and smoothing must lie in 0..0.5");
        }
        if !(self.least_detail >= 4.0 && self.least_detail.is_finite() && self.agreement >= 0.0) {
            return Some("samples: least_detail must be at least 4 and agreement at least 0");
        }
        None
    }
}

/// The task of the smile net.
#[derive(Debug)]
pub(crate) struct Smiles<'a> {
    side: usize,
    shown: &'a SmileSettings,
    settings: &'a SmileSamples,
    light: Light,
    /// Faces by set and label.
    pools: [[Vec<&'a SmileFace>; 2]; 2],
}

impl<'a> Smiles<'a> {
    /// Crops of `side` × `side` pixels, which lie on a face's box as `shown` says, of those `faces` that are held back, or of the others.
    pub(crate) fn new(
        side: usize,
        shown: &'a SmileSettings,
        settings: &'a SmileSamples,
        (faces, held_back): (&'a [SmileFace], bool),
        rng: &mut StdRng,
    ) -> Self {
        let pool = |set, smile| {
            let wanted = |f: &&SmileFace| f.set == set && f.smile == smile && f.held_back == held_back;
            faces.iter().filter(wanted).collect::<Vec<_>>()
        };
        let pools = [Set::Portraits, Set::Tiles].map(|set| [pool(set, false), pool(set, true)]);
        Self { side, shown, settings, light: Light::new(rng), pools }
    }

    fn face(&self, rng: &mut StdRng) -> Option<&'a SmileFace> {
        let first = usize::from(!rng.random_bool(self.settings.portraits));
        let smile = usize::from(rng.random::<bool>());
        let pool = [first, 1 - first].map(|set| &self.pools[set][smile]).into_iter().find(|p| !p.is_empty())?;
        Some(pool[rng.random_range(0..pool.len())])
    }

    fn crop(&self, rng: &mut StdRng, face: &SmileFace, out: &mut [f32]) {
        let at = self.shown.crop(&face.rect);
        let shift = self.settings.shift;
        let mut off = || rng.random_range(-shift..=shift) * at.side;
        let (cx, cy) = (at.cx + off(), at.cy + off());
        let at = Crop {
            cx,
            cy,
            side: at.side * rng.random_range(-shift..=shift).exp(),
            angle: augment::angle(rng, 0.1),
            mirror: rng.random(),
        };
        let detail = if rng.random_bool(self.settings.coarse) {
            let least = self.settings.least_detail;
            (least * (self.side as f32 / least).max(1.0).powf(rng.random())) as usize
        } else {
            self.side
        };
        let mut small = vec![0.0; detail * detail * 3];
        crops::sample(&face.pyramid, 0, &at, detail, &mut small);
        if rng.random_bool(self.settings.grey) {
            for p in small.chunks_exact_mut(3) {
                let grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
                p.fill(grey);
            }
        }
        if rng.random_bool(0.15) {
            blur(&mut small, detail);
        }
        self.light.change(rng, &mut small);
        if rng.random_bool(0.25) {
            compress(&mut small, detail, rng.random_range(25..90));
        }
        if rng.random_bool(self.settings.covered) {
            cover(rng, &mut small, detail);
        }
        enlarge(&small, detail, out, self.side);
    }
}

impl Task for Smiles<'_> {
    type Targets = Vec<bool>;

    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Vec<bool>> {
        let len = self.side * self.side * 3;
        let mut input = vec![0.0; n * len];
        let mut targets = Vec::with_capacity(n);
        for pair in input.chunks_mut(2 * len) {
            let Some(face) = self.face(rng) else {
                targets.resize(n, false);
                break;
            };
            for crop in pair.chunks_exact_mut(len) {
                self.crop(rng, face, crop);
                targets.push(face.smile);
            }
        }
        Samples { input, n, side: self.side, targets }
    }

    /// Cross-entropy with smoothed labels, and the disagreement of each face's two crops.
    fn loss(&self, targets: &Vec<bool>, predictions: &mut [Prediction]) -> Figures {
        let mut figures = Figures::default();
        let share = 1.0 / targets.len().max(1) as f32;
        let doubt = self.settings.smoothing;
        for head in predictions.iter_mut().filter(|p| p.output == Output::Smile) {
            for ((logit, gradient), smile) in head.values.iter().zip(&mut head.gradient).zip(targets) {
                let (right, other) = (loss::cross_entropy(*logit, *smile), loss::cross_entropy(*logit, !*smile));
                figures.loss += f64::from(share * ((1.0 - doubt) * right.0 + doubt * other.0));
                *gradient += share * ((1.0 - doubt) * right.1 + doubt * other.1);
                figures.right += f64::from(u8::from((*logit > 0.0) == *smile));
                figures.decisions += 1.0;
            }
            for (pair, gradient) in head.values.chunks_exact(2).zip(head.gradient.chunks_exact_mut(2)) {
                let pull = self.settings.agreement * share * (pair[0] - pair[1]);
                figures.loss += f64::from(0.5 * pull * (pair[0] - pair[1]));
                gradient[0] += pull;
                gradient[1] -= pull;
            }
        }
        figures
    }
}

/// A rectangle of .15 to .45 of the side in one colour: a hand, a cup, hair.
fn cover(rng: &mut StdRng, crop: &mut [f32], n: usize) {
    let mut size = || ((n as f32 * rng.random_range(0.15f32..0.45)) as usize).clamp(1, n);
    let (w, h) = (size(), size());
    let (x, y) = (rng.random_range(0..=n - w), rng.random_range(0..=n - h));
    let colour: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
    for row in crop.chunks_exact_mut(n * 3).skip(y).take(h) {
        row[x * 3..(x + w) * 3].chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&colour));
    }
}

/// Bilinear from `n` × `n` to `side` × `side` pixels, as [`crops::sample`] enlarges; the border is repeated.
fn enlarge(small: &[f32], n: usize, out: &mut [f32], side: usize) {
    if n == side {
        return out.copy_from_slice(small);
    }
    let scale = n as f32 / side as f32;
    let tap = |u: usize| {
        let p = ((u as f32 + 0.5) * scale - 0.5).clamp(0.0, (n - 1) as f32);
        let first = p as usize;
        (first, (first + 1).min(n - 1), p - first as f32)
    };
    let taps: Vec<_> = (0..side).map(tap).collect();
    for (row, &(y0, y1, fy)) in out.chunks_exact_mut(side * 3).zip(&taps) {
        for (out, &(x0, x1, fx)) in row.chunks_exact_mut(3).zip(&taps) {
            for (c, out) in out.iter_mut().enumerate() {
                let at = |y: usize, x: usize| small[(y * n + x) * 3 + c];
                let (top, bottom) =
                    (at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx, at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx);
                *out = top * (1.0 - fy) + bottom * fy;
            }
        }
    }
}

#[cfg(test)]
mod tests;
