//! `video --redact` on the shipped clips: a face that is followed is covered in every single frame.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::{Path, PathBuf};

use common::film::{decoded, faces, kept, solid};
use common::{Ran, ffmpeg_is_here, ours, program};

const CLIPS: [&str; 4] =
    ["classroom-four-faces.mp4", "signing-hands-near-face.mp4", "three-faces-approaching.mp4", "two-faces-tilting.mp4"];

fn video(dir: &Path, arguments: &[&str]) {
    let ran: Ran = program().arg("video").args(arguments).current_dir(dir).output().unwrap().into();
    ran.exits(0);
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
