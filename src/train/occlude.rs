//! Augmentation: covers parts of faces with plain colours or with pieces of other pictures, as masks, visors, hands, hats and people
//! in front do.

use rand::Rng;
use rand::rngs::StdRng;

use super::pictures::Picture;
use crate::cascade::crops::{self, Crop};
use crate::geometry::Rect;

/// Side of a piece of another picture, pixels; it is stretched over what is covered.
const PIECE: usize = 24;

/// Covers parts of faces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occluder<'a> {
    /// Share of faces that are covered, 0..1.
    share: f64,
    /// Pictures that pieces are cut from.
    pieces: &'a [Picture],
}

/// The covered part of a face. Coordinates are in half sides of the face's box, from its centre: −1..1 inside.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    /// Centre along the face's width and height.
    centre: [f32; 2],
    /// Half of the part's width and height.
    half: [f32; 2],
    /// An ellipse instead of a rectangle.
    round: bool,
    /// Probability of a plain colour; otherwise a piece of another picture.
    plain: f64,
}

impl Part {
    fn draw(rng: &mut StdRng) -> Self {
        let mut between = |from: f32, to: f32| rng.random_range(from..to);
        let span = |from: f32, to: f32| ((from + to) / 2.0, (to - from) / 2.0);
        match between(0.0, 1.0) {
            // A mask or a scarf: from the nose down.
            at if at < 0.4 => {
                let (y, half) = span(between(-0.1, 0.35), 1.2);
                Self { centre: [0.0, y], half: [between(0.85, 1.15), half], round: false, plain: 0.8 }
            }
            // A visor, goggles, a bar: over the eyes.
            at if at < 0.6 => {
                let y = between(-0.45, -0.1);
                Self { centre: [0.0, y], half: [1.2, between(0.18, 0.35)], round: false, plain: 0.6 }
            }
            // Something in front of the left or the right of the face.
            at if at < 0.75 => {
                let (x, half) = span(between(0.0, 0.5), 1.3);
                let side = if between(0.0, 1.0) < 0.5 { 1.0 } else { -1.0 };
                Self { centre: [side * x, 0.0], half: [half, 1.3], round: false, plain: 0.3 }
            }
            // A hand, a microphone, an arm: anywhere.
            at if at < 0.9 => {
                let centre = [between(-0.8, 0.8), between(-0.8, 0.8)];
                Self { centre, half: [between(0.3, 0.6), between(0.3, 0.6)], round: true, plain: 0.3 }
            }
            // A hat or a helmet: from the brows up.
            _ => {
                let (y, half) = span(-1.3, between(-0.6, -0.3));
                Self { centre: [0.0, y], half: [1.3, half], round: false, plain: 0.5 }
            }
        }
    }

    /// Maps a point of the face to the part, −1..1 along both axes; `None` outside.
    fn within(&self, u: f32, v: f32) -> Option<[f32; 2]> {
        let at = [(u - self.centre[0]) / self.half[0], (v - self.centre[1]) / self.half[1]];
        let inside = if self.round { at[0] * at[0] + at[1] * at[1] <= 1.0 } else { at.iter().all(|a| a.abs() <= 1.0) };
        inside.then_some(at)
    }
}

/// What a part is covered with.
enum Cover {
    /// A colour, and how it changes from the part's top to its bottom.
    Plain([f32; 3], f32),
    /// A piece of a picture, `[PIECE, PIECE, 3]`.
    Piece(Box<[f32; PIECE * PIECE * 3]>),
}

impl Cover {
    fn colour(&self, [x, y]: [f32; 2]) -> [f32; 3] {
        match self {
            Self::Plain(colour, slope) => colour.map(|c| (c + slope * y).clamp(-1.0, 1.0)),
            Self::Piece(pixels) => {
                let cell = |v: f32| (((v + 1.0) / 2.0 * PIECE as f32) as usize).min(PIECE - 1);
                let at = (cell(y) * PIECE + cell(x)) * 3;
                [pixels[at], pixels[at + 1], pixels[at + 2]]
            }
        }
    }
}

impl<'a> Occluder<'a> {
    /// Covers a `share` of faces (0..1), some with pieces of `pieces`.
    pub(crate) fn new(share: f64, pieces: &'a [Picture]) -> Self {
        Self { share, pieces }
    }

    /// Covers a part of the face whose box in the picture is `face`, or leaves the face alone. `crop` is normalised RGB,
    /// `[n, n, 3]`, sampled at `at`.
    pub(crate) fn change(&self, rng: &mut StdRng, crop: &mut [f32], n: usize, at: &Crop, face: &Rect) {
        if !rng.random_bool(self.share) {
            return;
        }
        let part = Part::draw(rng);
        let cover = self.cover(rng, &part);
        let scale = n as f32 / at.side;
        let (x, y) = face.center();
        let (x, y) = at.to_crop(x, y, n);
        let (half_w, half_h) = (face.w * scale / 2.0, face.h * scale / 2.0);
        let (sin, cos) = at.angle.sin_cos();
        let mirror = if at.mirror { -1.0 } else { 1.0 };
        // The part reaches no farther from the face's centre than this.
        let reach = half_w.hypot(half_h) * 1.5;
        let pixels = |centre: f32| {
            let clamped = |v: f32| (v.max(0.0) as usize).min(n);
            clamped(centre - reach)..clamped(centre + reach + 1.0)
        };
        for row in pixels(y) {
            for column in pixels(x) {
                let (dx, dy) = (mirror * (column as f32 + 0.5 - x), row as f32 + 0.5 - y);
                let (u, v) = ((dx * cos - dy * sin) / half_w, (dx * sin + dy * cos) / half_h);
                if let Some(inside) = part.within(u, v) {
                    let pixel = (row * n + column) * 3;
                    crop[pixel..pixel + 3].copy_from_slice(&cover.colour(inside));
                }
            }
        }
    }

    fn cover(&self, rng: &mut StdRng, part: &Part) -> Cover {
        if self.pieces.is_empty() || rng.random_bool(part.plain) {
            // Cloth is mostly grey or nearly so.
            let (grey, colour) = (rng.random_range(-0.9..0.95f32), if rng.random_bool(0.5) { 0.1 } else { 0.5 });
            let colour = std::array::from_fn(|_| grey + rng.random_range(-colour..colour));
            return Cover::Plain(colour, rng.random_range(-0.25..0.25));
        }
        let picture = &self.pieces[rng.random_range(0..self.pieces.len())];
        let (w, h) = picture.size();
        let side = w.min(h) * rng.random_range(0.05..0.4);
        let mut along = |size: f32| rng.random_range(0.0..=1.0) * (size - side) + side / 2.0;
        let at = Crop::upright(along(w), along(h), side);
        let mut piece = Box::new([0.0; PIECE * PIECE * 3]);
        crops::sample(&picture.pyramid, 0, &at, PIECE, &mut piece[..]);
        Cover::Piece(piece)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const N: usize = 48;

    /// The pixels that differ from an empty crop after covering, as distances from the face in its half sides.
    fn covered(seed: u64, at: &Crop, face: &Rect) -> Vec<(usize, usize)> {
        let mut crop = vec![9.0; N * N * 3];
        Occluder::new(1.0, &[]).change(&mut StdRng::seed_from_u64(seed), &mut crop, N, at, face);
        crop.chunks_exact(3).enumerate().filter(|(_, p)| p[0] != 9.0).map(|(i, _)| (i % N, i / N)).collect()
    }

    #[test]
    fn a_part_of_the_face_is_covered_and_never_most_of_it() {
        let face = Rect::new(30.0, 30.0, 30.0, 40.0);
        for seed in 0..200 {
            let at = Crop { angle: seed as f32 * 0.01, mirror: seed % 2 == 0, ..Crop::upright(45.0, 50.0, 60.0) };
            let pixels = covered(seed, &at, &face);
            let (scale, (x, y)) = (N as f32 / 60.0, at.to_crop(45.0, 50.0, N));
            let radius = (15.0 * scale, 20.0 * scale);
            let inside = |(column, row): &&(usize, usize)| {
                let (dx, dy) = (*column as f32 + 0.5 - x, *row as f32 + 0.5 - y);
                (dx / radius.0).powi(2) + (dy / radius.1).powi(2) <= 1.0
            };
            let share = pixels.iter().filter(inside).count() as f32 / (std::f32::consts::PI * radius.0 * radius.1);
            assert!((0.02..0.75).contains(&share), "seed {seed}: {share}");
        }
    }

    #[test]
    fn a_cover_turns_with_the_crop_and_is_mirrored_with_it() {
        // A face in the crop's middle: a cover that lies right of it lies left of it in the mirrored crop, and above it in a crop
        // that is turned by a quarter.
        let face = Rect::new(15.0, 15.0, 30.0, 30.0);
        let upright = Crop::upright(30.0, 30.0, 48.0);
        for seed in 0..50 {
            let mean = |at: &Crop| {
                let pixels = covered(seed, at, &face);
                let sum = pixels.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0 as f32 - 23.5, s.1 + p.1 as f32 - 23.5));
                (sum.0 / pixels.len() as f32, sum.1 / pixels.len() as f32)
            };
            let (x, y) = mean(&upright);
            let mirrored = mean(&Crop { mirror: true, ..upright });
            assert!((mirrored.0 + x).abs() < 1.0 && (mirrored.1 - y).abs() < 1.0, "seed {seed}");
            let turned = mean(&Crop { angle: std::f32::consts::FRAC_PI_2, ..upright });
            assert!((turned.0 - y).abs() < 1.0 && (turned.1 + x).abs() < 1.0, "seed {seed}: {x} {y} {turned:?}");
        }
    }

    #[test]
    fn a_share_of_none_changes_nothing() {
        let mut crop = vec![0.5; N * N * 3];
        let at = Crop::upright(10.0, 10.0, 20.0);
        let face = Rect::new(5.0, 5.0, 10.0, 10.0);
        Occluder::new(0.0, &[]).change(&mut StdRng::seed_from_u64(1), &mut crop, N, &at, &face);
        assert!(crop.iter().all(|v| *v == 0.5));
    }
}
