//! `video --redact` on clips in which the search alone misses faces: fades, dissolves, dim stretches at any rate. Where a face was
//! found within a second, or followed by its appearance, no frame shows it.

mod common;

use std::path::Path;

use common::film::{self, by_frame, decoded, solid};
use common::{Ran, ffmpeg, ffmpeg_is_here, ours, program};
use facecascade::Rect;

const SIZE: (u32, u32) = (480, 270);

fn video(dir: &Path, arguments: &str) -> Ran {
    let ran: Ran = program().arg("video").args(arguments.split(' ')).current_dir(dir).output().unwrap().into();
    ran.exits(0)
}

/// The faces of a clip of ours, frame by frame.
fn known(dir: &Path, clip: &str) -> Vec<Vec<Rect>> {
    std::fs::copy(ours("assets").join(clip), dir.join("clip.mp4")).unwrap();
    video(dir, "clip.mp4 --no-track --json known.jsonl");
    by_frame(&dir.join("known.jsonl"))
}

/// Covers `input` and counts the faces of which less than 70 % of the inner ellipse is covered.
fn open(dir: &Path, input: &str, faces: &[Vec<Rect>], size: (u32, u32)) -> Vec<(usize, Rect)> {
    video(dir, &format!("{input} --redact solid -o out.mp4"));
    let frames = decoded(&dir.join("out.mp4"), size);
    assert_eq!(frames.len(), faces.len(), "{input}: every frame is there");
    let all = frames.iter().zip(faces).enumerate();
    all.flat_map(|(i, (frame, faces))| faces.iter().filter(|f| solid(frame, f) < 0.7).map(move |f| (i, *f))).collect()
}

#[test]
fn no_face_is_open_in_a_fade_or_a_dissolve() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let faces = known(dir.path(), "two-faces-tilting.mp4");
    ffmpeg(dir.path(), "-i clip.mp4 -frames:v 60 -vf fade=in:0:30 -c:v libx264 -qp 12 fade.mp4");
    // Its first frame is black.
    let mut fading = faces[..60].to_vec();
    fading[0].clear();
    assert_eq!(open(dir.path(), "fade.mp4", &fading, SIZE), []);
    ffmpeg(
        dir.path(),
        "-i clip.mp4 -f lavfi -i testsrc2=s=480x270:r=12 -filter_complex \
         [1]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,format=yuv420p[m];[0]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,format=yuv420p[f];[m][f]xfade=duration=2:offset=1[v] \
         -map [v] -c:v libx264 -qp 12 dissolve.mp4",
    );
    // A quarter of a second in, the face begins to be there.
    let frames = decoded(&dir.path().join("dissolve.mp4"), SIZE).len();
    let dissolving: Vec<_> = (0..frames).map(|k| if k >= 15 { faces[k - 12].clone() } else { Vec::new() }).collect();
    assert_eq!(open(dir.path(), "dissolve.mp4", &dissolving, SIZE), []);
}

#[test]
fn no_face_is_open_where_one_shot_dissolves_into_another() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let other = known(dir.path(), "three-faces-approaching.mp4");
    std::fs::copy(dir.path().join("clip.mp4"), dir.path().join("other.mp4")).unwrap();
    let faces = known(dir.path(), "two-faces-tilting.mp4");
    ffmpeg(dir.path(), "-i other.mp4 -vf hflip -c:v libx264 -qp 8 mirrored.mp4");
    let mirror = |f: &Rect| Rect::new(SIZE.0 as f32 - f.x - f.w, f.y, f.w, f.h);
    let mirrored: Vec<Vec<Rect>> = other.iter().map(|faces| faces.iter().map(mirror).collect()).collect();
    let part = "trim=0:4,setpts=PTS-STARTPTS,settb=1/12,setsar=1,format=yuv420p";
    for (seconds, inputs, from, to) in [
        (3, "-i clip.mp4 -i other.mp4", Some(&faces), Some(&other)),
        (3, "-f lavfi -i testsrc2=s=480x270:r=12 -i other.mp4", None, Some(&other)),
        (2, "-i clip.mp4 -f lavfi -i testsrc2=s=480x270:r=12", Some(&faces), None),
        // Faces of both overlap.
        (2, "-i clip.mp4 -i mirrored.mp4", Some(&faces), Some(&mirrored)),
        // Much in it looks like a part of a face.
        (2, "-f lavfi -i mandelbrot=s=480x270:r=12 -i other.mp4", None, Some(&other)),
    ] {
        ffmpeg(
            dir.path(),
            &format!(
                "{inputs} -filter_complex [0]{part}[a];[1]{part}[b];[a][b]xfade=duration={seconds}:offset=0.9[v] \
                 -map [v] -frames:v 60 -c:v libx264 -qp 12 made.mp4"
            ),
        );
        let frames = decoded(&dir.path().join("made.mp4"), SIZE).len();
        // An eighth of a face is nothing that could be known.
        let (start, length) = (11, 12 * seconds);
        let there: Vec<Vec<Rect>> = (0..frames)
            .map(|k| {
                let going = from.filter(|_| k < start + length * 7 / 8).map_or(&[][..], |faces| &faces[k]);
                let coming = to.filter(|_| k > start + length / 8).map_or(&[][..], |faces| &faces[k - start]);
                [going, coming].concat()
            })
            .collect();
        assert_eq!(open(dir.path(), "made.mp4", &there, SIZE), [], "{inputs}");
    }
}

#[test]
fn a_cut_to_a_similar_picture_ends_covers_and_ids() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let faces = known(dir.path(), "two-faces-tilting.mp4");
    ffmpeg(dir.path(), "-i clip.mp4 -vf hflip=enable='gte(n,24)' -frames:v 48 -c:v libx264 -qp 12 made.mp4");
    video(dir.path(), "made.mp4 --redact solid -o out.mp4 --json run.jsonl");
    let ids = film::faces(&dir.path().join("run.jsonl"));
    let crossing = ids.iter().filter(|(_, frames)| frames.contains_key(&23) && frames.contains_key(&24)).count();
    assert_eq!(crossing, 0, "{ids:?}");
    // Nothing but the faces that are there.
    for (k, covers) in by_frame(&dir.path().join("run.jsonl")).iter().enumerate().skip(12).take(24) {
        let turn = |f: &Rect| if k < 24 { *f } else { Rect::new(SIZE.0 as f32 - f.x - f.w, f.y, f.w, f.h) };
        let there: Vec<Rect> = faces[k].iter().map(turn).collect();
        // The search takes a detail of 16 pixels for a face.
        let covers: Vec<_> = covers.iter().filter(|cover| cover.w > 30.0).collect();
        assert_eq!(covers.len(), 2, "frame {k}: {covers:?}");
        assert!(covers.iter().all(|cover| there.iter().any(|face| cover.iou(face) > 0.4)), "frame {k}: {covers:?}");
    }
}

#[test]
fn no_face_is_open_in_a_dim_stretch_at_any_rate() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let faces = known(dir.path(), "two-faces-tilting.mp4");
    let dim = "eq=brightness=0.42:contrast=0.25:enable='between(mod(n,20),8,11)'";
    for (rate, times) in [(1, 1), (2, 1), (12, 1), (60, 5), (240, 20)] {
        let count = 36 * times;
        let filter = if times == 1 { format!("setpts=N/{rate}/TB") } else { format!("fps={rate}") };
        ffmpeg(
            dir.path(),
            &format!("-i clip.mp4 -frames:v {count} -vf {dim},{filter} -r {rate} -c:v libx264 -qp 12 dim.mp4"),
        );
        let faces: Vec<_> = (0..count).map(|k| faces[k / times].clone()).collect();
        assert_eq!(open(dir.path(), "dim.mp4", &faces, SIZE), [], "{rate} frames/s");
    }
}

#[test]
fn no_face_is_open_where_the_picture_flashes_pauses_or_is_cut() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let faces = known(dir.path(), "two-faces-tilting.mp4");
    let make = |filter: &str, count: usize| {
        ffmpeg(
            dir.path(),
            &format!("-i clip.mp4 -vf {filter} -fps_mode passthrough -frames:v {count} -c:v libx264 -qp 12 made.mp4"),
        );
    };
    // A photographer's flash, and a frame that is nearly dark.
    make("eq=brightness=0.6:enable='eq(mod(n,9),4)',eq=brightness=-0.4:enable='eq(mod(n,9),7)'", 45);
    assert_eq!(open(dir.path(), "made.mp4", &faces[..45], SIZE), [], "flashes");
    // A negative, as an effect.
    make("negate=enable='between(mod(n,16),6,9)'", 45);
    assert_eq!(open(dir.path(), "made.mp4", &faces[..45], SIZE), [], "negatives");
    // Half a minute passes between two frames.
    make("setpts='PTS+gte(N,20)*30/TB'", 40);
    assert_eq!(open(dir.path(), "made.mp4", &faces[..40], SIZE), [], "a pause");
    // Every 13 frames, the scene is another one: a part of the clip, mirrored.
    let mirrored = |k: usize| k / 13 % 2 == 1;
    make("hflip=enable='eq(mod(floor(n/13),2),1)'", 52);
    let turned: Vec<Vec<Rect>> = faces[..52]
        .iter()
        .enumerate()
        .map(|(k, faces)| {
            let turn = |f: &Rect| if mirrored(k) { Rect::new(SIZE.0 as f32 - f.x - f.w, f.y, f.w, f.h) } else { *f };
            faces.iter().map(turn).collect()
        })
        .collect();
    assert_eq!(open(dir.path(), "made.mp4", &turned, SIZE), [], "cuts");
}

#[test]
fn nothing_is_covered_behind_a_cut() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    known(dir.path(), "two-faces-tilting.mp4");
    ffmpeg(
        dir.path(),
        "-i clip.mp4 -f lavfi -i color=c=gray:s=480x270:r=12 -filter_complex \
         [1]trim=0:2,noise=alls=40:all_seed=3,scale=480:270,setsar=1,format=yuv420p,split[a][b];[0]trim=0:2,setpts=PTS-STARTPTS,setsar=1[f];[a][f][b]concat=n=3[v] \
         -map [v] -c:v libx264 -qp 12 cut.mp4",
    );
    video(dir.path(), "cut.mp4 --redact solid -o out.mp4 --json run.jsonl");
    for (i, faces) in by_frame(&dir.path().join("run.jsonl")).iter().enumerate() {
        assert_eq!(!faces.is_empty(), (24..48).contains(&i), "frame {i}: {faces:?}");
    }
}
