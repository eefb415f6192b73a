//! `video --redact` on the shipped clips: a face that is followed is covered in every single frame.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ran, ffmpeg_is_here, ours, program};
use facecascade::Rect;
use image::RgbImage;

const CLIPS: [&str; 4] =
    ["classroom-four-faces.mp4", "signing-hands-near-face.mp4", "three-faces-approaching.mp4", "two-faces-tilting.mp4"];

/// Of each face, the frames in which it was shown and where.
type Faces = BTreeMap<u64, BTreeMap<usize, Rect>>;

fn video(dir: &Path, arguments: &[&str]) {
    let ran: Ran = program().arg("video").args(arguments).current_dir(dir).output().unwrap().into();
    ran.exits(0);
}

fn faces(records: &Path) -> Faces {
    let mut faces = Faces::new();
    for line in std::fs::read_to_string(records).unwrap().lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let frame = line["frame"].as_u64().unwrap() as usize;
        for face in line["faces"].as_array().unwrap() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| face[key].as_f64().unwrap() as f32);
            faces.entry(face["id"].as_u64().unwrap()).or_default().insert(frame, Rect::new(x, y, w, h));
        }
    }
    faces
}

fn decoded(file: &Path, (width, height): (u32, u32)) -> Vec<RgbImage> {
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"])
        .output()
        .unwrap();
    assert!(out.status.success());
    let frames = out.stdout.chunks_exact((width * height * 3) as usize);
    frames.map(|bytes| RgbImage::from_raw(width, height, bytes.to_vec()).unwrap()).collect()
}

/// How much of a face's fine detail there is in another picture of it: 1 in the same, about 0 where nothing is left of it.
/// What counts are the differences of each pixel in the box's ellipse from the mean of those round it.
fn kept(original: &RgbImage, other: &RgbImage, face: &Rect) -> f64 {
    let light = |p: &RgbImage, x: i64, y: i64| {
        let inside = |v: i64, most: u32| v.clamp(0, i64::from(most) - 1) as u32;
        p.get_pixel(inside(x, p.width()), inside(y, p.height())).0.iter().map(|v| f64::from(*v)).sum::<f64>()
    };
    let detail = |p: &RgbImage, x: i64, y: i64| {
        let reach = 2;
        let around = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
        light(p, x, y) - around.map(|(dx, dy)| light(p, x + dx, y + dy)).sum::<f64>() / 25.0
    };
    let (cx, cy) = face.center();
    let (mut both, mut alone) = (0.0, 0.0);
    for y in face.y.max(0.0) as u32..((face.y + face.h) as u32).min(original.height()) {
        for x in face.x.max(0.0) as u32..((face.x + face.w) as u32).min(original.width()) {
            let (dx, dy) = ((x as f32 + 0.5 - cx) / face.w * 2.0, (y as f32 + 0.5 - cy) / face.h * 2.0);
            if dx * dx + dy * dy < 1.0 {
                let (a, b) = (detail(original, x.into(), y.into()), detail(other, x.into(), y.into()));
                both += a * b;
                alone += a * a;
            }
        }
    }
    if alone > 0.0 { both / alone } else { 0.0 }
}

/// The share of the ellipse that is dark and grey.
fn solid(picture: &RgbImage, face: &Rect) -> f64 {
    let (cx, cy) = face.center();
    let (mut dark, mut all) = (0, 0);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let (dx, dy) = ((x as f32 + 0.5 - cx) / face.w * 2.0, (y as f32 + 0.5 - cy) / face.h * 2.0);
        if dx * dx + dy * dy < 1.0 {
            all += 1;
            dark += usize::from(pixel.0.iter().all(|v| *v < 48));
        }
    }
    if all == 0 { 1.0 } else { f64::from(dark as u32) / f64::from(all) }
}

/// Checks `style` on a clip; `None`, said so, without ffmpeg.
fn covers(clip: &str, style: &str) -> Option<()> {
    if !ffmpeg_is_here() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let clip: PathBuf = ours("assets").join(clip);
    let name = clip.to_str().unwrap();
    video(dir.path(), &[name, "--json", "faces.jsonl"]);
    video(dir.path(), &[name, "--redact", style, "-o", "redacted.mp4"]);
    let first = std::fs::read_to_string(dir.path().join("faces.jsonl")).unwrap();
    let about: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let size = (about["width"].as_u64().unwrap() as u32, about["height"].as_u64().unwrap() as u32);
    let (before, after) = (decoded(&clip, size), decoded(&dir.path().join("redacted.mp4"), size));
    assert_eq!(before.len(), after.len(), "every frame is there");
    let faces = faces(&dir.path().join("faces.jsonl"));
    assert!(!faces.is_empty(), "{name}: no face is followed");
    let (mut looked_at, mut worst) = (0, 0.0);
    for (id, places) in &faces {
        let (first, last) = (*places.keys().next().unwrap(), *places.keys().next_back().unwrap());
        for frame in first..=last {
            let face = places.get(&frame).unwrap_or_else(|| panic!("{name}: face {id} is lost in frame {frame}"));
            let (old, new) = (&before[frame], &after[frame]);
            let left = kept(old, new, face);
            assert!(left < 0.25, "{name}, {style}: face {id} shines through in frame {frame}: {left:.2}");
            if style == "solid" {
                let share = solid(new, face);
                assert!(share > 0.995, "{name}: {share:.3} of face {id} is covered in frame {frame}");
            }
            // What would be seen, were this frame left out.
            assert!(kept(old, old, face) > 0.99 && solid(old, face) < 0.9, "{name}: this test sees nothing");
            looked_at += 1;
            worst = f64::max(worst, left);
        }
    }
    eprintln!("{name}, {style}: {looked_at} faces looked at, at most {worst:.3} of their detail left");
    Some(())
}

#[test]
fn no_face_flashes_through_solid_ellipses() {
    let _ = CLIPS.iter().try_for_each(|clip| covers(clip, "solid"));
}

#[test]
fn no_face_flashes_through_a_mosaic() {
    let _ = CLIPS.iter().try_for_each(|clip| covers(clip, "mosaic"));
}

#[test]
fn no_face_flashes_through_a_blur() {
    let _ = CLIPS.iter().try_for_each(|clip| covers(clip, "blur"));
}

/// The measure itself: were a single frame of the clip left as it is, it would be seen.
#[test]
fn boxes_alone_cover_nothing() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let clip = ours("assets/two-faces-tilting.mp4");
    video(dir.path(), &[clip.to_str().unwrap(), "-o", "boxes.mp4", "--json", "faces.jsonl"]);
    let (before, after) = (decoded(&clip, (480, 270)), decoded(&dir.path().join("boxes.mp4"), (480, 270)));
    for (id, places) in faces(&dir.path().join("faces.jsonl")) {
        for (frame, face) in places {
            let left = kept(&before[frame], &after[frame], &face);
            assert!(left > 0.4, "face {id} in frame {frame}: {left:.2}");
        }
    }
}
