//! Draws the synthetic camera's background.

use image::RgbImage;

use super::Random;

/// A coloured cloth with soft spots and hard bars that slides past the camera. Its pattern repeats every [`CLOTH`] pixels.
#[derive(Debug)]
pub(super) struct Ground {
    /// RGB of the cloth.
    pixels: Vec<u8>,
    /// Motion of the cloth in x and y: start as a share of [`CLOTH`] (0..1), and speed in pixels a second.
    motion: [(f64, f64); 2],
}

/// Side of the cloth, pixels.
const CLOTH: usize = 1024;

impl Ground {
    /// Paints the cloth.
    pub(super) fn new(random: &mut Random) -> Self {
        let octaves: Vec<(usize, f32, Vec<[f32; 3]>)> = [(4, 60.0), (16, 26.0), (64, 12.0)]
            .map(|(cells, strength)| {
                let values = (0..cells * cells).map(|_| [0; 3].map(|_: i32| random.share() as f32 - 0.5)).collect();
                (cells, strength, values)
            })
            .into();
        let mut pixels = vec![0; CLOTH * CLOTH * 3];
        for (y, row) in pixels.chunks_exact_mut(CLOTH * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let mut colour = [112.0, 116.0, 120.0];
                for (cells, strength, values) in &octaves {
                    let value = smooth(values, *cells, x, y);
                    colour.iter_mut().zip(value).for_each(|(to, v)| *to += v * 2.0 * strength);
                }
                // Dark bars, like door frames and shelves: edges that belong to no face.
                let bar = if x % 256 < 10 || y % 341 < 8 { 0.72 } else { 1.0 };
                pixel.iter_mut().zip(colour).for_each(|(to, v)| *to = (v * bar).clamp(0.0, 255.0) as u8);
            }
        }
        let motion = [(random.share(), 41.0), (random.share(), 23.0)];
        Self { pixels, motion }
    }

    /// Fills `into` with the part of the cloth that the camera sees after `seconds`.
    pub(super) fn draw(&self, into: &mut RgbImage, seconds: f64) {
        let offset = |(start, speed): (f64, f64)| ((start * CLOTH as f64 + seconds * speed) as usize) % CLOTH;
        let (left, top) = (offset(self.motion[0]), offset(self.motion[1]));
        let width = into.width() as usize * 3;
        for (y, row) in into.as_mut().chunks_exact_mut(width).enumerate() {
            let cloth = &self.pixels[(top + y) % CLOTH * CLOTH * 3..][..CLOTH * 3];
            let (mut filled, mut from) = (0, left * 3);
            while filled < width {
                let n = (CLOTH * 3 - from).min(width - filled);
                row[filled..filled + n].copy_from_slice(&cloth[from..from + n]);
                filled += n;
                from = 0;
            }
        }
    }
}

/// Returns the colour at pixel (`x`, `y`) of the cloth: smoothly between the `values` of a grid of `cells` × `cells`,
/// which repeats.
fn smooth(values: &[[f32; 3]], cells: usize, x: usize, y: usize) -> [f32; 3] {
    let axis = |v: usize| {
        let at = v as f32 * cells as f32 / CLOTH as f32;
        let (cell, t) = (at as usize, at.fract());
        (cell % cells, (cell + 1) % cells, t * t * (3.0 - 2.0 * t))
    };
    let ((x0, x1, tx), (y0, y1, ty)) = (axis(x), axis(y));
    let at = |x: usize, y: usize, c: usize| values[y * cells + x][c];
    [0, 1, 2].map(|c| {
        let upper = at(x0, y0, c) + (at(x1, y0, c) - at(x0, y0, c)) * tx;
        let lower = at(x0, y1, c) + (at(x1, y1, c) - at(x0, y1, c)) * tx;
        upper + (lower - upper) * ty
    })
}
