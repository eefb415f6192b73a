//! Augmentation: random changes of a crop's light and colour, drawn for every sample, and random angles.

use rand::Rng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

/// Changes light and colour. Holds a table of normally distributed numbers, from which noise is copied at a random offset:
/// drawing a number for every pixel would cost more than training on the pixel.
#[derive(Debug)]
pub(crate) struct Light {
    noise: Vec<f32>,
}

/// Numbers in the table.
const NOISE: usize = 1 << 18;

impl Light {
    /// Draws the table of noise from `rng`.
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { noise: (0..NOISE).map(|_| StandardNormal.sample(rng)).collect() }
    }

    /// Changes contrast (× .6–1.4), brightness (σ .18), channel gains (± 12 %), colour (12 % grey), adds noise (30 %,
    /// σ up to .07) and darkens one side of a line (10 %, × .35–.8). `crop` is normalised RGB, `[side, side, 3]`.
    pub(crate) fn change(&self, rng: &mut StdRng, crop: &mut [f32]) {
        let contrast: f32 = rng.random_range(0.6..1.4);
        let brightness: f32 = 0.18 * rng.sample::<f32, _>(StandardNormal);
        let gains: [f32; 3] = std::array::from_fn(|_| contrast * rng.random_range(0.88..1.12));
        let mean = crop.iter().sum::<f32>() / crop.len().max(1) as f32;
        let offset = mean - contrast * mean + brightness;
        if rng.random_bool(0.12) {
            for p in crop.chunks_exact_mut(3) {
                let grey = (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]) * contrast + offset;
                p.fill(grey.clamp(-1.0, 1.0));
            }
        } else {
            for p in crop.chunks_exact_mut(3) {
                for (v, gain) in p.iter_mut().zip(gains) {
                    *v = (*v * gain + offset).clamp(-1.0, 1.0);
                }
            }
        }
        if rng.random_bool(0.1) {
            shadow(rng, crop);
        }
        if rng.random_bool(0.3) {
            let sigma = rng.random_range(0.02..0.07);
            for piece in crop.chunks_mut(1 << 12) {
                let from = rng.random_range(0..NOISE - piece.len());
                piece.iter_mut().zip(&self.noise[from..]).for_each(|(v, n)| *v += sigma * n);
            }
        }
    }
}

/// Darkens all pixels on one side of a random line through the middle third of the crop, `[side, side, 3]`.
fn shadow(rng: &mut StdRng, crop: &mut [f32]) {
    let side = ((crop.len() / 3) as f32).sqrt();
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let (strength, offset) = (rng.random_range(0.35..0.8f32), side * rng.random_range(-0.17..0.17f32));
    for (i, p) in crop.chunks_exact_mut(3).enumerate() {
        let (x, y) = (i as f32 % side - side / 2.0, (i as f32 / side).floor() - side / 2.0);
        if x * cos + y * sin > offset {
            p.iter_mut().for_each(|v| *v = (*v + 1.0) * strength - 1.0);
        }
    }
}

/// Draws an angle in radians from N(0, 8°), or with probability `wide` from N(0, 25°).
pub(crate) fn angle(rng: &mut StdRng, wide: f64) -> f32 {
    let sigma: f32 = if rng.random_bool(wide) { 25.0 } else { 8.0 };
    (sigma * rng.sample::<f32, _>(StandardNormal)).to_radians()
}
