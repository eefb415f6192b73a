//! What becomes of the picture: pixels that are not square, sizes that change, colours, lines, and how it is encoded.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;
use std::process::Command;

use common::clips::{Clips, decoded_times};
use common::{ffmpeg, ffprobe, frames, ours};

/// Grey samples of frame `number`.
fn frame(file: &Path, (width, height): (u32, u32), number: usize, format: &str) -> Vec<u8> {
    let filter = format!("select=eq(n\\,{number}),scale={width}:{height}");
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(["-vf", &filter, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", format, "pipe:1"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Faces by frame: x, y, w, h.
fn faces(clips: &Clips, records: &str) -> Vec<Vec<[f64; 4]>> {
    let text = std::fs::read_to_string(clips.path(records)).unwrap();
    let lines = text.lines().skip(1).map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let of = |f: &serde_json::Value| ["x", "y", "w", "h"].map(|key| f[key].as_f64().unwrap());
    lines.map(|l| l["faces"].as_array().unwrap().iter().map(of).collect()).collect()
}

/// The overlap of two boxes, as a share of what they cover together.
fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |k: usize| ((a[k] + a[k + 2]).min(b[k] + b[k + 2]) - a[k].max(b[k])).max(0.0);
    let inside = side(0) * side(1);
    inside / (a[2] * a[3] + b[2] * b[3] - inside)
}

#[test]
fn faces_are_found_whatever_the_shape_of_pixels_and_boxes_are_in_stored_ones() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours("assets/two-faces-tilting.mp4");
    clips.make("plain.mp4", &format!("-i {} -t 1 -c:v libx264 -qp 14", clip.display()));
    clips.run(&["plain.mp4", "--json", "plain.jsonl"]).exits(0);
    let known = faces(&clips, "plain.jsonl");
    assert!(known.iter().all(|frame| frame.len() == 2));
    for (width, height, shape) in
        [(480, 540, "2/1"), (240, 270, "2/1"), (720, 576, "64/45"), (720, 540, "4/3"), (1440, 540, "2/3")]
    {
        clips.make(
            "in.mp4",
            &format!("-i plain.mp4 -vf scale={width}:{height}:flags=lanczos,setsar={shape} -c:v libx264 -qp 14"),
        );
        clips.run(&["in.mp4", "--json", "in.jsonl", "--redact", "solid", "-o", "out.mp4"]).exits(0);
        let size = ffprobe(&clips.path("out.mp4"), "-show_entries stream=width,height,sample_aspect_ratio");
        assert_eq!(size, format!("{width},{height},{}", shape.replace('/', ":")));
        let (sx, sy) = (f64::from(width) / 480.0, f64::from(height) / 270.0);
        for (number, (want, got)) in known.iter().zip(faces(&clips, "in.jsonl")).enumerate() {
            for [x, y, w, h] in want {
                let there = [x * sx, y * sy, w * sx, h * sy];
                let best = got.iter().map(|face| iou(&there, face)).fold(0.0, f64::max);
                assert!(best > 0.6, "{width}×{height}, {shape}, frame {number}: {there:?} in {got:?}");
            }
        }
        // What is covered is where the player shows the face.
        let grey = frame(&clips.path("out.mp4"), (width, height), 6, "gray");
        for [x, y, w, h] in &known[6] {
            let (cx, cy) = (((x + w / 2.0) * sx) as u32, ((y + h / 2.0) * sy) as u32);
            assert!(grey[(cy * width + cx) as usize] < 50, "{width}×{height}, {shape}: the middle of a face is open");
        }
    }
}

#[test]
fn behind_a_change_of_size_frames_have_bars_and_faces_are_found() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours("assets/two-faces-tilting.mp4");
    let source = format!("-i {} -t 1 -c:v libx264 -bf 0 -qp 16", clip.display());
    clips.make("a.ts", &source);
    // Upright, as when a phone is turned: the picture in its middle.
    clips.make("b.ts", &format!("{source} -vf scale=540:304,pad=540:960:0:328,setsar=1"));
    let joined = [std::fs::read(clips.path("a.ts")).unwrap(), std::fs::read(clips.path("b.ts")).unwrap()].concat();
    std::fs::write(clips.path("in.ts"), joined).unwrap();
    clips.run(&["in.ts", "--json", "a.jsonl", "-o", "out.mp4", "--min-face", "12"]).exits(0);
    let found = faces(&clips, "a.jsonl");
    assert_eq!((found.len(), frames(&clips.path("out.mp4"))), (24, 24));
    assert_eq!(ffprobe(&clips.path("out.mp4"), "-show_entries stream=width,height"), "480,270");
    // 152 columns in the middle are picture.
    let grey = frame(&clips.path("out.mp4"), (480, 270), 18, "gray");
    let column = |x: usize| (100..170).map(|y| u32::from(grey[y * 480 + x])).sum::<u32>() / 70;
    assert!(column(20) < 24 && column(150) < 24 && column(460) < 24 && column(240) > 60);
    let behind: Vec<_> = found[16..].iter().flatten().collect();
    assert!(behind.len() >= 8, "{found:?}");
    assert!(behind.iter().all(|face| face[0] > 150.0 && face[0] + face[2] < 330.0 && face[2] < 40.0), "{behind:?}");
}

#[test]
fn behind_a_change_of_the_pixels_shape_alone_frames_have_bars_and_faces_are_found() {
    let Some(clips) = Clips::new() else { return };
    let source = |cut: &str, shape: &str| {
        let clip = ours("assets/three-faces-approaching.mp4");
        format!("-i {} -t 1 -vf {cut}scale=720:576,setsar={shape} -c:v libx264 -bf 0 -qp 14", clip.display())
    };
    clips.make("wide.ts", &source("", "64/45"));
    clips.make("narrow.ts", &source("crop=360:270,", "16/15"));
    let part = |name: &str| std::fs::read(clips.path(name)).unwrap();
    // In the middle of each frame is the same face, as wide as high on a screen.
    for (name, parts) in [("a", ["wide.ts", "narrow.ts"]), ("b", ["narrow.ts", "wide.ts"])] {
        std::fs::write(clips.path("in.ts"), parts.map(part).concat()).unwrap();
        clips.run(&["in.ts", "--json", "a.jsonl", "-o", "out.mp4"]).exits(0);
        let found = faces(&clips, "a.jsonl");
        assert_eq!((found.len(), frames(&clips.path("out.mp4"))), (24, 24));
        let (w, h) = if name == "a" { (64.0, 45.0) } else { (16.0, 15.0) };
        for frame in [&found[4], &found[20]] {
            assert!(frame.len() >= 2, "{name}: {found:?}");
            for [_, _, width, height] in frame {
                let shape = width * w / h / height;
                assert!((0.6..1.0).contains(&shape), "{name}: {shape}, {frame:?}");
            }
        }
        // Bars at the sides of the narrow one; over and under the wide one.
        let grey = frame(&clips.path("out.mp4"), (720, 576), 20, "gray");
        let dark = |x: usize, y: usize| grey[y * 720 + x] < 24;
        assert_eq!((dark(30, 288), dark(360, 20)), (name == "a", name == "b"), "{name}");
    }
}

#[test]
fn an_absurd_shape_of_pixels_squeezes_no_frame() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours("assets/two-faces-tilting.mp4");
    clips.make("in.mp4", &format!("-i {} -t 0.5 -vf setsar=1/100 -c:v libx264 -qp 14", clip.display()));
    clips.run(&["in.mp4", "--json", "in.jsonl", "-o", "out.mp4"]).exits(0);
    assert!(faces(&clips, "in.jsonl").iter().all(|frame| frame.len() == 2));
}

#[test]
fn colours_stay_and_are_said() {
    let Some(clips) = Clips::new() else { return };
    let colour = |name: &str| {
        ffprobe(&clips.path(name), "-show_entries stream=color_range,color_space,color_transfer,color_primaries")
    };
    // Brightness and the two colours in the middle, as stored.
    let middle = |name: &str| -> [i32; 3] {
        let planes = frame(&clips.path(name), (8, 8), 2, "yuv420p");
        [4 * 8 + 4, 64 + 2 * 4 + 2, 80 + 2 * 4 + 2].map(|at| i32::from(planes[at]))
    };
    // Red, as RGB, large enough for players to take BT.709: 198, 39, 38.
    clips.make("rgb.mkv", "-f lavfi -i color=0xC82828:s=1280x720:r=5:d=1 -pix_fmt gbrp -c:v libx264rgb -qp 0");
    clips.run(&["rgb.mkv", "-o", "rgb.mp4"]).exits(0);
    assert!(colour("rgb.mp4").contains("bt709"), "{}", colour("rgb.mp4"));
    let near = |a: [i32; 3], b: [i32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 4);
    assert!(near(middle("rgb.mp4"), [78, 112, 198]), "{:?}", middle("rgb.mp4"));
    // Primaries and transfer are said, the matrix is not.
    clips.make(
        "tags.mp4",
        "-f lavfi -i testsrc2=s=96x64:r=5:d=1 -c:v libx264 -color_primaries bt709 -color_trc smpte2084",
    );
    let before = colour("tags.mp4");
    assert!(before.contains("smpte2084") && before.contains("unknown"), "{before}");
    clips.run(&["tags.mp4", "-o", "out.mp4"]).exits(0);
    assert!(colour("out.mp4").contains("smpte2084") && colour("out.mp4").contains("bt709"), "{}", colour("out.mp4"));
}

#[test]
fn transparency_is_named_and_lines_of_two_moments_become_one_frame() {
    let Some(clips) = Clips::new() else { return };
    clips.make("alpha.mov", "-f lavfi -i color=red@0.5:s=96x64:r=5:d=1,format=argb -c:v qtrle");
    clips.run(&["alpha.mov", "-o", "out.mp4"]).exits(0).complains("transparent");
    clips.make(
        "lines.mp4",
        "-f lavfi -i testsrc2=s=160x120:r=50:d=1 -vf tinterlace=interleave_top,setfield=tff -flags +ildct+ilme -c:v libx264",
    );
    assert_eq!(ffprobe(&clips.path("lines.mp4"), "-show_entries stream=field_order"), "tt");
    clips.run(&["lines.mp4", "-o", "out.mp4"]).exits(0);
    assert_eq!(ffprobe(&clips.path("out.mp4"), "-show_entries stream=field_order"), "progressive");
    let (before, after) = (decoded_times(&clips.path("lines.mp4")), decoded_times(&clips.path("out.mp4")));
    assert_eq!(before.len(), after.len());
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 2e-3), "{before:?} {after:?}");
}

#[test]
fn quality_and_encoder_are_the_users_choice_and_checked_before_the_run() {
    let Some(clips) = Clips::new() else { return };
    ffmpeg(clips.dir(), "-f lavfi -i testsrc2=s=160x120:r=10:d=1 a.mp4");
    let size = |name: &str| std::fs::metadata(clips.path(name)).unwrap().len();
    clips.run(&["a.mp4", "--quality", "10", "-o", "fine.mp4"]).exits(0);
    clips.run(&["a.mp4", "--quality", "45", "-o", "coarse.mp4"]).exits(0);
    assert!(size("fine.mp4") > 2 * size("coarse.mp4"), "{} {}", size("fine.mp4"), size("coarse.mp4"));
    clips.run(&["a.mp4", "--encoder", "h264_nosuch", "-o", "x.mp4"]).exits(2).complains("h264_nosuch");
    clips.run(&["a.mp4", "--encoder", "libwebp", "-o", "x.mp4"]).exits(2).complains("libwebp");
    clips.run(&["a.mp4", "--quality", "52", "-o", "x.mp4"]).exits(2);
    assert!(!clips.path("x.mp4").exists());
    if Command::new("ffmpeg").args(["-v", "error", "-h", "encoder=mpeg4"]).output().is_ok_and(|o| o.stdout.len() > 100)
    {
        clips.run(&["a.mp4", "--encoder", "mpeg4", "-o", "other.mkv"]).exits(0);
        assert_eq!(ffprobe(&clips.path("other.mkv"), "-show_entries stream=codec_name"), "mpeg4");
    }
}
