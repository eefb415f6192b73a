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
        let mut bytes = vec![0u8; n * n * 3];
        sample(&pyramid, coarser, &at, n, &mut bytes);
        for (i, (a, b)) in bytes.iter().zip(&expected).enumerate() {
            let grey = b * SPREAD + MIDDLE;
            assert!((f32::from(*a) - grey).abs() < 0.63, "{at:?} of {width}×{height}: {a} for {grey} at {i}");
        }
    }
}

#[test]
fn a_crop_the_size_of_its_pixels_is_the_pixels() {
    let picture = picture(30, 20, 1);
    let pyramid = Pyramid::of(&picture, 1);
    let (mut out, mut bytes) = (vec![0.0; 8 * 8 * 3], vec![0u8; 8 * 8 * 3]);
    sample(&pyramid, 0, &Crop::upright(14.0, 9.0, 8.0), 8, &mut out);
    sample(&pyramid, 0, &Crop::upright(14.0, 9.0, 8.0), 8, &mut bytes);
    for (i, (v, byte)) in out.iter().zip(bytes).enumerate() {
        let (x, y) = (i / 3 % 8 + 10, i / 24 + 5);
        let pixel = picture.get_pixel(x as u32, y as u32)[i % 3];
        assert!((v - normalise(pixel)).abs() < 1e-6 && byte == pixel);
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
    let (mut out, mut bytes) = (vec![0.0; 12], vec![0u8; 12]);
    sample(&Pyramid::default(), 0, &Crop::upright(1.0, 1.0, 4.0), 2, &mut bytes);
    assert!(bytes.iter().all(|v| f32::from(*v) == OUTSIDE));
    sample(&Pyramid::default(), 0, &Crop::upright(1.0, 1.0, 4.0), 2, &mut out);
    assert!(out.iter().all(|v| (v * 128.0 + 127.5 - OUTSIDE).abs() < 1e-4));
    let pyramid = Pyramid::of(&picture(9, 9, 1), 1);
    for at in [Crop::upright(f32::NAN, 1.0, 4.0), Crop::upright(1e30, 1.0, 4.0)] {
        sample(&pyramid, 0, &at, 2, &mut out);
        assert!(out.iter().all(|v| (v * 128.0 + 127.5 - OUTSIDE).abs() < 1e-4));
    }
}
