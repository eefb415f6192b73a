//! Smiles as users see them: in pictures, in videos, live, and left out.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;

use common::{Ran, ffmpeg_is_here, ours, picture, program, run};
use facecascade::smile::{BEGINS, ENDS};
use facecascade::track::Tracker;
use facecascade::{Cascade, Options};
use image::{Rgb, RgbImage, imageops};
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// (time, probability) of the one face of a clip, in every frame.
fn clip(name: &str, dir: &Path) -> Vec<(f64, f64)> {
    let records = dir.join("records.jsonl");
    run([Path::new("video"), &ours(name), Path::new("--json"), &records]).exits(0);
    let text = std::fs::read_to_string(records).unwrap();
    let frames = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    frames
        .map(|frame| {
            let faces = frame["faces"].as_array().unwrap();
            assert_eq!(faces.len(), 1, "{frame}");
            (frame["t"].as_f64().unwrap(), faces[0]["smile"].as_f64().unwrap())
        })
        .collect()
}

/// Times at which a smile begins or ends.
fn changes(track: &[(f64, f64)]) -> Vec<(f64, bool)> {
    let mut smiling = track[0].1 >= f64::from(BEGINS);
    let mut changes = Vec::new();
    for &(time, p) in track {
        let now = if smiling { p >= f64::from(ENDS) } else { p >= f64::from(BEGINS) };
        if now != smiling {
            changes.push((time, now));
        }
        smiling = now;
    }
    changes
}

#[test]
fn the_smile_track_follows_a_clip_without_flicker() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let track = clip("assets/smile-off-on-off.mp4", dir.path());
    let changes = changes(&track);
    // It cuts to the smile after 1.33 s, and back after 3.83 s.
    assert!(
        matches!(changes[..], [(on, true), (off, false)] if (1.3..1.8).contains(&on) && (3.8..4.5).contains(&off)),
        "{changes:?}"
    );
    let smiling = clip("assets/one-face-smiling.mp4", dir.path());
    assert!(smiling.iter().all(|(_, p)| *p >= f64::from(BEGINS)), "{smiling:?}");
}

#[test]
fn a_video_ends_with_how_long_each_face_smiled() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let video = |more: &[&str]| {
        let mut command = program();
        command.arg("video").arg(ours("assets/smile-off-on-off.mp4")).args(["--json", "a.jsonl"]).args(more);
        Ran::from(command.current_dir(dir.path()).output().unwrap()).exits(0)
    };
    let ran = video(&[]);
    let line = ran.out.lines().find(|line| line.starts_with("face #1")).unwrap_or_else(|| panic!("{}", ran.out));
    let numbers: Vec<f64> = line.split_whitespace().skip(2).map(|n| n.parse().unwrap()).collect();
    assert!(numbers[0] == numbers[1] && (2.0..3.3).contains(&numbers[0]), "{line}");
    let ran = video(&["--no-smile"]);
    assert!(!ran.out.contains("smile"), "{}", ran.out);
    assert!(!std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap().contains("smile\":"));
}

#[test]
fn one_portrait_gives_one_number_and_none_with_no_smile() {
    let smile = |name: &str| {
        let lines = run(["detect", "--json", name]).exits(0).lines();
        let faces = lines[0]["faces"].as_array().unwrap().clone();
        assert_eq!(faces.len(), 1);
        faces[0]["smile"].as_f64().unwrap()
    };
    let (astronaut, hopper) = (smile("assets/astronaut.jpg"), smile("assets/grace_hopper.jpg"));
    assert!(astronaut > 0.9 && hopper < astronaut - 0.25, "{astronaut} {hopper}");
    let ran = run(["detect", "--json", "--no-smile", "assets/astronaut.jpg"]).exits(0);
    assert!(ran.lines()[0]["faces"][0].get("smile").is_none());
    assert!(!run(["detect", "--no-smile", "assets/astronaut.jpg"]).exits(0).out.contains("smile"));
    assert!(run(["detect", "assets/astronaut.jpg"]).exits(0).out.contains("smile 0."));
    run(["live", "--headless", "--source", "synthetic", "--no-smile", "--snap-on-smile", "all"]).exits(2);
    let silent = Cascade::shipped(Options { smile: false, ..Options::default() }).unwrap();
    assert!(!silent.tells_smiles());
    assert!(silent.detect(&picture("assets/astronaut.jpg")).unwrap()[0].smile.is_none());
}

#[test]
fn of_a_crowd_the_largest_faces_are_looked_at() {
    let face = imageops::crop_imm(&picture("assets/astronaut.jpg"), 149, 20, 150, 150).to_image();
    let mut crowd = RgbImage::from_pixel(720, 540, Rgb([120; 3]));
    for i in 0..48 {
        let side = 64 + i / 2;
        let face = imageops::resize(&face, side, side, imageops::FilterType::Triangle);
        imageops::replace(&mut crowd, &face, i64::from(i % 8 * 90), i64::from(i / 8 * 90));
    }
    let faces = Cascade::shipped(Options::default()).unwrap().detect(&crowd).unwrap();
    let (told, not): (Vec<_>, Vec<_>) = faces.iter().partition(|face| face.smile.is_some());
    assert!(told.len() == 32 && !not.is_empty(), "{} and {}", told.len(), not.len());
    let side = |face: &&facecascade::Face| face.rect.w.max(face.rect.h);
    let smallest = told.iter().map(side).fold(f32::INFINITY, f32::min);
    assert!(not.iter().all(|face| side(face) <= smallest));
}

#[test]
fn live_saves_one_picture_when_the_face_has_begun_to_smile_and_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["live", "--source", "synthetic,faces=1,smile=1.5", "--headless", "--seconds", "4.5", "-v"]);
    let output = command.args(["--snap-on-smile", "all", "--snap", "here"]).current_dir(dir.path()).output().unwrap();
    let ran = Ran::from(output).exits(0);
    let saved: Vec<_> = std::fs::read_dir(dir.path().join("here")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(saved.len(), 1, "{}", ran.err);
    let line = ran.err.lines().find(|line| line.contains("saved")).unwrap();
    let time: f64 = line.split(", ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((2.0..=2.5).contains(&time), "{line}");
    let picture = image::open(&saved[0]).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (640, 480));
    let faces = Cascade::shipped(Options { min_face: 40.0, ..Options::default() }).unwrap().detect(&picture).unwrap();
    assert!(faces.len() == 1 && faces[0].smile.unwrap() > 0.5, "{faces:?}");
}

#[test]
fn a_wrong_synthetic_camera_is_a_wrong_command_line() {
    for name in ["synthetic,smile=soon", "synthetic,frown=1", "synthetic,"] {
        run(["live", "--headless", "--source", name]).exits(2).complains("smile=SECONDS");
    }
}

/// A still picture as a camera or an encoder changes it from frame to frame: noise, a shift by a pixel, JPEG.
fn disturbed(still: &RgbImage, rng: &mut rand::rngs::StdRng) -> RgbImage {
    let (dx, dy) = (rng.random_range(-1..=1i64), rng.random_range(-1..=1i64));
    let mut frame = still.clone();
    imageops::replace(&mut frame, still, dx, dy);
    for Rgb(p) in frame.pixels_mut() {
        for v in p {
            let noise: i32 = (0..3).map(|_| rng.random_range(-4..=4)).sum();
            *v = (i32::from(*v) + noise).clamp(0, 255) as u8;
        }
    }
    if rng.random_bool(0.5) {
        let mut jpeg = Vec::new();
        let quality = rng.random_range(60..95);
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality).encode_image(&frame).unwrap();
        frame = image::load_from_memory(&jpeg).unwrap().into_rgb8();
    }
    frame
}

#[test]
fn a_still_face_in_a_shaking_noisy_re_encoded_video_keeps_its_probability() {
    let cascade = Cascade::shipped(Options { min_face: 40.0, ..Options::default() }).unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    for (name, width) in [("astronaut", 512), ("astronaut", 300), ("grace_hopper", 512), ("grace_hopper", 200)] {
        let whole = picture(&format!("assets/{name}.jpg"));
        let height = whole.height() * width / whole.width();
        let still = imageops::resize(&whole, width, height, imageops::FilterType::Triangle);
        let mut tracker = Tracker::default();
        let mut range = (1.0f32, 0.0f32);
        for i in 0..60 {
            let faces = cascade.detect(&disturbed(&still, &mut rng)).unwrap();
            let followed = tracker.update(&faces, f64::from(i) / 30.0);
            let smile = followed[0].face.smile.unwrap();
            // Settled after a second; before, single frames count.
            if i >= 30 {
                range = (range.0.min(smile), range.1.max(smile));
            }
        }
        assert!(range.1 - range.0 < 0.05, "{name} {width} pixels wide: {range:?}");
    }
}
