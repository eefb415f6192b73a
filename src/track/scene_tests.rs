//! Where cuts and dissolves are seen, and where not.

use super::super::appearance::tests::frame;
use super::*;
use image::imageops::flip_horizontal;

/// What lies before each frame but the first.
fn changes<'a>(frames: impl IntoIterator<Item = &'a RgbImage>) -> Vec<Change> {
    let mut shots = Shots::default();
    frames.into_iter().map(|picture| shots.next(picture).0).skip(1).collect()
}

fn walking(count: usize, light: f32) -> Vec<RgbImage> {
    (0..count).map(|i| frame(0, Some((40.0 + 2.0 * i as f32, 40.0)), light)).collect()
}

/// `share` of the second picture over the first.
fn over(a: &RgbImage, b: &RgbImage, share: f32) -> RgbImage {
    let mix = |(a, b): (&u8, &u8)| (f32::from(*a) * (1.0 - share) + f32::from(*b) * share) as u8;
    RgbImage::from_raw(a.width(), a.height(), a.as_raw().iter().zip(b.as_raw()).map(mix).collect()).unwrap()
}

#[test]
fn a_cut_is_seen_and_a_fade_or_a_movement_is_none() {
    let (walking, other) = (walking(6, 1.0), frame(1, Some((40.0, 40.0)), 1.0));
    assert_eq!(changes(&walking), [Change::None; 5]);
    assert_eq!(changes(walking[..4].iter().chain([&other]))[3], Change::Cut);
    for light in [0.3, 0.02, 0.0] {
        let dark = frame(0, Some((40.0 + 2.0 * 4.0, 40.0)), light);
        assert_eq!(changes(walking[..4].iter().chain([&dark]))[3], Change::None, "{light}");
    }
}

#[test]
fn a_negative_is_no_cut_and_no_dissolve() {
    let mut film = walking(20, 1.0);
    film[8..12].iter_mut().for_each(image::imageops::invert);
    assert_eq!(changes(&film), [Change::None; 19]);
    let film: Vec<_> = film.iter().map(|picture| Scene::of(picture).coarse).collect();
    assert!((0..20).all(|newest| dissolve(newest + 1, |k| &film[k]).is_empty()));
}

#[test]
fn a_cut_to_a_mirrored_or_a_similar_picture_is_seen() {
    // Alike as a whole: bright at the top, dark at the bottom.
    let graded = |scene: u32, x: f32| {
        let mut picture = frame(scene, Some((x, 40.0)), 1.0);
        for (_, y, pixel) in picture.enumerate_pixels_mut() {
            pixel.0 = pixel.0.map(|v| (f32::from(v) * 0.3 + 190.0 - y as f32) as u8);
        }
        picture
    };
    let before: Vec<_> = (0..6).map(|i| graded(0, 40.0 + 2.0 * i as f32)).collect();
    assert_eq!(changes(&before), [Change::None; 5]);
    for (name, next) in [("mirrored", flip_horizontal(&before[5])), ("similar", graded(1, 52.0))] {
        let alike = Scene::of(&next).coarse.correlation(&Scene::of(&before[5]).coarse);
        assert!(alike > SAME_SHOT, "{name}: {alike}");
        assert_eq!(changes(before.iter().chain([&next]))[5], Change::Likely, "{name}");
    }
}

#[test]
fn no_cut_is_seen_where_the_camera_turns_or_all_is_noise() {
    let texture = frame(0, None, 1.0);
    let wide = RgbImage::from_fn(600, 160, |x, y| *texture.get_pixel(x * 7 % 240, y));
    let turn = |x: u32| image::imageops::crop_imm(&wide, x, 0, 240, 160).to_image();
    let frames: Vec<_> = [0, 0, 0, 0, 50, 100, 150].into_iter().map(turn).collect();
    assert_eq!(changes(&frames)[2..], [Change::None; 4]);
    let noise = |seed: u32| {
        RgbImage::from_fn(240, 160, |x, y| {
            let v = (x / 3 + 80 * (y / 3)).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503_477));
            image::Rgb([(v >> 24) as u8 / 2 + (160 - y as u8) / 2; 3])
        })
    };
    let frames: Vec<_> = (0..8).map(noise).collect();
    assert!(changes(&frames).iter().all(|change| *change != Change::Likely));
}

#[test]
fn a_dissolve_is_where_frames_show_both_shots_and_a_movement_is_none() {
    let (a, b) = (frame(0, Some((40.0, 40.0)), 1.0), frame(1, Some((120.0, 60.0)), 1.0));
    let share = |i: usize| ((i as f32 - 9.0) / 20.0).clamp(0.0, 1.0);
    let film: Vec<_> = (0..35).map(|i| Scene::of(&over(&a, &b, share(i))).coarse).collect();
    let mut mixed = vec![false; film.len()];
    for newest in 0..film.len() {
        for k in dissolve(newest + 1, |k| &film[k]) {
            mixed[k] = true;
        }
    }
    for (i, mixed) in mixed.into_iter().enumerate() {
        let share = share(i);
        if !(0.02..0.1).contains(&share) && !(0.9..0.98).contains(&share) {
            assert_eq!(mixed, (0.1..0.9).contains(&share), "frame {i}");
        }
    }
    let film: Vec<_> = walking(40, 1.0).iter().map(|picture| Scene::of(picture).coarse).collect();
    assert!((0..40).all(|newest| dissolve(newest + 1, |k| &film[k]).is_empty()));
}

#[test]
fn no_size_of_pictures_panics() {
    let mut shots = Shots::default();
    for picture in [RgbImage::new(0, 0), RgbImage::new(1, 1), frame(0, None, 1.0), RgbImage::new(3, 900)] {
        shots.next(&picture);
    }
}
