//! Frames keep the times that the decoder gives them, and picture and sound stay together, in every container.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;

use common::clips::{CLIP, Clips, decoded_times, drift, first_sound, times, told_by_the_decoder};
use common::{ffmpeg, ffprobe, ours};

/// A small moving picture of 15 frames a second, and a tone.
const SOURCE: &str =
    "-f lavfi -i testsrc2=s=160x120:r=15 -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000 -t 5";
const HALF_A_FRAME: f64 = 0.5 / 15.0;
/// Frames 20 to 40 are lost.
const LOSS: &str = "-vf select='not(between(n,20,40))' -fps_mode vfr";

#[test]
fn frames_of_a_variable_rate_keep_their_times() {
    let Some(clips) = Clips::new() else { return };
    let filter = "-vf setpts='(N+floor(N/3)*2)/15/TB' -vsync vfr -c:v libx264 -t 4";
    let clip = clips.make("vfr.mp4", &format!("-i {} {filter}", ours(CLIP).display()));
    clips.run(&["vfr.mp4", "-o", "out.mp4", "--json", "out.jsonl"]).exits(0);
    let (before, after) = (times(&clip), times(&clips.path("out.mp4")));
    assert!(before.windows(2).any(|w| w[1] - w[0] > 0.1), "the clip is variable: {before:?}");
    assert_eq!(before.len(), after.len());
    for (a, b) in before.iter().zip(&after) {
        assert!((a - b).abs() < 2e-3, "{before:?} {after:?}");
    }
    let records = std::fs::read_to_string(clips.path("out.jsonl")).unwrap();
    for (line, t) in records.lines().skip(1).zip(&before) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!((line["t"].as_f64().unwrap() - t).abs() < 2e-3);
    }
}

#[test]
fn picture_and_sound_stay_together_where_frames_were_lost() {
    let Some(clips) = Clips::new() else { return };
    for (container, codecs) in [
        ("mkv", "-c:v libx264 -c:a aac"),
        ("flv", "-c:v libx264 -bf 0 -c:a aac"),
        ("ts", "-c:v libx264 -bf 0 -c:a aac"),
        ("avi", "-c:v mpeg4 -c:a mp3"),
        ("webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("mp4", "-c:v libx264 -c:a aac"),
        ("mov", "-c:v libx264 -c:a pcm_s16le"),
        ("mpg", "-c:v mpeg2video -r 25 -fps_mode cfr -c:a mp2 -f vob"),
    ] {
        let name = format!("in.{container}");
        let clip = clips.make(&name, &format!("{SOURCE} {LOSS} {codecs}"));
        for out in ["out.mp4", "out.mkv", "out.mov"] {
            clips.run(&[&name, "-o", out]).exits(0);
            let moved = drift(&clip, &clips.path(out));
            assert!(moved < HALF_A_FRAME, "{name} to {out}: {moved} s");
        }
    }
}

#[test]
fn times_before_zero_are_kept() {
    let Some(clips) = Clips::new() else { return };
    clips.make("long.mp4", &format!("{SOURCE} -c:v libx264 -bf 3 -g 30 -c:a aac"));
    // A cut without encoding: the first frames have no times in the file.
    ffmpeg(clips.dir(), "-ss 1.37 -i long.mp4 -t 3 -c copy -avoid_negative_ts disabled in.mkv");
    clips.run(&["in.mkv", "-o", "out.mp4"]).exits(0);
    let (before, sound) = told_by_the_decoder(&clips.path("in.mkv"));
    let (after, sound_after) = (decoded_times(&clips.path("out.mp4")), first_sound(&clips.path("out.mp4")));
    assert_eq!(before.len(), after.len());
    for (a, b) in before.iter().zip(&after) {
        let moved = ((b - sound_after) - (a - sound)).abs();
        assert!(moved < HALF_A_FRAME, "{moved} s at {a} s");
    }
}

#[test]
fn a_long_pause_stays() {
    let Some(clips) = Clips::new() else { return };
    let source =
        "-f lavfi -i testsrc2=s=160x120:r=15:d=5 -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000:d=5";
    let pause = "-vf setpts='PTS+gte(N,30)*40/TB' -af asetpts='PTS+gte(T,2)*40/TB' -fps_mode vfr";
    for (container, codecs) in [("ts", "-c:v libx264 -bf 0 -c:a mp2"), ("mkv", "-c:v libx264 -c:a libopus")] {
        let name = format!("in.{container}");
        let clip = clips.make(&name, &format!("{source} {pause} {codecs}"));
        let before = decoded_times(&clip);
        assert!(before.windows(2).any(|w| w[1] - w[0] > 30.0), "{name} has a pause: {before:?}");
        clips.run(&[&name, "-o", "out.mp4"]).exits(0);
        let moved = drift(&clip, &clips.path("out.mp4"));
        assert!(moved < HALF_A_FRAME, "{name}: {moved} s");
    }
}

#[test]
fn where_two_recordings_were_joined_each_keeps_its_sound() {
    let Some(clips) = Clips::new() else { return };
    // The sound of the first one is longer than its picture.
    let size = "-f lavfi -i testsrc2=s=160x120:r=15:d=2 -f lavfi -i sine=d=2.4:sample_rate=48000";
    clips.make("a.ts", &format!("{size} -c:v libx264 -bf 0 -c:a mp2"));
    clips.make("b.ts", &format!("{size} -c:v libx264 -bf 0 -c:a mp2"));
    let joined = [std::fs::read(clips.path("a.ts")).unwrap(), std::fs::read(clips.path("b.ts")).unwrap()].concat();
    std::fs::write(clips.path("joined.ts"), joined).unwrap();
    clips.run(&["joined.ts", "-o", "out.mp4"]).exits(0);
    let out = clips.path("out.mp4");
    let pictures = decoded_times(&out);
    assert_eq!(pictures.len(), 60);
    let last = |file: &Path| {
        let sounds = ffprobe(file, "-select_streams a:0 -show_entries packet=pts_time");
        let sounds = sounds.lines().filter_map(|l| l.trim_matches(',').parse::<f64>().ok());
        decoded_times(file).pop().unwrap() - sounds.fold(0.0, f64::max)
    };
    let (alone, together) = (last(&clips.path("b.ts")), last(&out));
    assert!((together - alone).abs() < HALF_A_FRAME, "{together} s, alone {alone} s");
}

#[test]
fn a_stream_that_begins_within_a_group_of_pictures_keeps_its_sound() {
    let Some(clips) = Clips::new() else { return };
    clips.make("whole.ts", &format!("{SOURCE} -c:v libx264 -bf 0 -g 30 -c:a mp2"));
    let whole = std::fs::read(clips.path("whole.ts")).unwrap();
    let packets = whole.len() / 188;
    std::fs::write(clips.path("in.ts"), &whole[packets / 3 * 188..]).unwrap();
    clips.run(&["in.ts", "-o", "out.mp4"]).exits(0);
    let (before, after) = (decoded_times(&clips.path("in.ts")), decoded_times(&clips.path("out.mp4")));
    let sounds = [first_sound(&clips.path("in.ts")), first_sound(&clips.path("out.mp4"))];
    // Decoders differ in what they show before the first whole picture.
    assert!(after.len() > 15 && before.len() >= after.len());
    for (a, b) in before.iter().rev().zip(after.iter().rev()) {
        let moved = ((b - sounds[1]) - (a - sounds[0])).abs();
        assert!(moved < HALF_A_FRAME, "{moved} s at {a} s");
    }
}
