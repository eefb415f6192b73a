//! Faults of cameras and files, drawn for a share of crops: blur, dim light, compression. Crops are normalised RGB,
//! `[side, side, 3]`.

use std::io::Cursor;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rand::Rng;
use rand::rngs::StdRng;

use crate::nets::input::{MIDDLE, SPREAD, normalise};

/// Degrades a share of crops: moves 10 % during their exposure, dims 8 %, blurs 6 %, compresses 12 %.
pub(crate) fn change(rng: &mut StdRng, crop: &mut [f32], side: usize) {
    if rng.random_bool(0.1) {
        let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
        let length = rng.random_range(2.0..8.0f32);
        motion(crop, side, (cos * length, sin * length));
    }
    if rng.random_bool(0.08) {
        let share = rng.random_range(0.15..0.6f32);
        crop.iter_mut().for_each(|v| *v = (*v + 1.0) * share - 1.0);
    }
    if rng.random_bool(0.06) {
        blur(crop, side);
    }
    if rng.random_bool(0.12) {
        compress(crop, side, rng.random_range(15..80));
    }
}

/// Mean over a straight way of `(x, y)` pixels; the border is repeated.
fn motion(crop: &mut [f32], side: usize, (x, y): (f32, f32)) {
    let taps = x.abs().max(y.abs()).ceil() as i32 + 1;
    let along = |step: i32| step as f32 / (taps - 1).max(1) as f32 - 0.5;
    let shifts: Vec<_> = (0..taps).map(|s| ((x * along(s)).round() as i32, (y * along(s)).round() as i32)).collect();
    let (sharp, last) = (crop.to_vec(), side as i32 - 1);
    for (row, out) in (0i32..).zip(crop.chunks_exact_mut(side * 3)) {
        out.fill(0.0);
        for (dx, dy) in &shifts {
            let from = &sharp[(row + dy).clamp(0, last) as usize * side * 3..][..side * 3];
            for (column, out) in (0i32..).zip(out.chunks_exact_mut(3)) {
                let from = &from[(column + dx).clamp(0, last) as usize * 3..][..3];
                out.iter_mut().zip(from).for_each(|(o, v)| *o += v / taps as f32);
            }
        }
    }
}

/// Mean of 3×3 pixels; the border stays.
pub(crate) fn blur(crop: &mut [f32], side: usize) {
    let sharp = crop.to_vec();
    for y in 1..side.saturating_sub(1) {
        for x in 1..side - 1 {
            for c in 0..3 {
                let sum: f32 = (0..9).map(|k| sharp[((y + k / 3 - 1) * side + x + k % 3 - 1) * 3 + c]).sum();
                crop[(y * side + x) * 3 + c] = sum / 9.0;
            }
        }
    }
}

/// Through a JPEG of this quality and back.
pub(crate) fn compress(crop: &mut [f32], side: usize, quality: u8) {
    let bytes: Vec<u8> = crop.iter().map(|v| (v * SPREAD + MIDDLE).round() as u8).collect();
    let mut jpeg = Vec::new();
    let (mut encoder, n) = (JpegEncoder::new_with_quality(Cursor::new(&mut jpeg), quality), side as u32);
    let encoded = encoder.encode(&bytes, n, n, ExtendedColorType::Rgb8);
    // A crop that no codec takes stays as it is.
    let Some(picture) = encoded.ok().and_then(|()| image::load_from_memory(&jpeg).ok()) else { return };
    for (v, byte) in crop.iter_mut().zip(picture.to_rgb8().as_raw()) {
        *v = normalise(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white pixel in the middle of a black crop.
    fn dot() -> Vec<f32> {
        let mut crop = vec![-1.0; 15 * 15 * 3];
        crop[(7 * 15 + 7) * 3..][..3].fill(1.0);
        crop
    }

    #[test]
    fn motion_spreads_a_dot_along_its_way_and_keeps_its_light() {
        let mut crop = dot();
        motion(&mut crop, 15, (4.0, 0.0));
        let light = |x: usize, y: usize| (crop[(y * 15 + x) * 3] + 1.0) / 2.0;
        assert!((5..=9).all(|x| (light(x, 7) - 0.2).abs() < 1e-5));
        let all: f32 = (0..225).map(|i| light(i % 15, i / 15)).sum();
        assert!((all - 1.0).abs() < 1e-4, "{all}");
    }

    #[test]
    fn blur_spreads_a_dot_over_nine_pixels() {
        let mut crop = dot();
        blur(&mut crop, 15);
        let lit = crop.chunks_exact(3).filter(|p| p[0] > -1.0 + 1e-4).count();
        assert_eq!(lit, 9);
    }

    #[test]
    fn compression_loses_detail_but_not_the_picture() {
        let mut crop: Vec<f32> = (0..32 * 32 * 3).map(|i| ((i / 3 % 32) as f32 / 16.0) - 1.0).collect();
        let before = crop.clone();
        compress(&mut crop, 32, 30);
        let off = crop.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off > 0.0 && off < 0.3, "{off}");
    }
}
