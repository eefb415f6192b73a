//! `video` on clips good and bad: every frame comes out, at its time, with the sound; what is written plays.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::clips::{CLIP, CLIP_FRAMES, Clips};
use common::{Ran, ffprobe, frames, ours, program, run};

#[test]
fn every_frame_and_the_sound_come_out() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours(CLIP);
    let arguments = format!("-i {} -f lavfi -i sine=d=9 -c:v copy -c:a aac -map 0 -map 1", clip.display());
    let sound = clips.make("with sound ü.mp4".replace(' ', "_").as_str(), &arguments);
    let name = sound.file_name().unwrap().to_str().unwrap();
    let ran = clips.run(&[name, "--json", "faces.jsonl", "-o", "out.mp4"]).exits(0);
    for word in
        ["112 frames", "2 faces", "p50", "p99", "decode", "level1", "level3", "detect", "track", "draw", "encode"]
    {
        assert!(ran.out.contains(word), "no {word} in {}", ran.out);
    }
    let three = ours("models/octave/cascade.toml");
    let of_three = clips.run(&[name, "--json", "3.jsonl", "--cascade", three.to_str().unwrap()]).exits(0);
    assert!(of_three.out.contains("level3"), "{}", of_three.out);
    let of_two = clips.run(&[name, "--json", "2.jsonl", "--model", "fast"]).exits(0);
    assert!(!of_two.out.contains("level3"), "a level that the cascade has not: {}", of_two.out);
    assert_eq!(frames(&clips.path("out.mp4")), CLIP_FRAMES);
    let audio = "-select_streams a -show_entries packet=size,pts";
    assert_eq!(ffprobe(&sound, audio), ffprobe(&clips.path("out.mp4"), audio), "sound is copied");

    let records = std::fs::read_to_string(clips.path("faces.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = records.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((lines[0]["video"].as_str(), lines[0]["fps"].as_f64()), (Some(name), Some(12.0)));
    assert_eq!((lines[0]["width"].as_u64(), lines[0]["height"].as_u64()), (Some(480), Some(270)));
    assert_eq!(lines.len() as u64, CLIP_FRAMES + 1);
    for (i, line) in lines[1..].iter().enumerate() {
        assert_eq!(line["frame"].as_u64(), Some(i as u64));
        assert!((line["t"].as_f64().unwrap() - i as f64 / 12.0).abs() < 1e-5);
        assert!(line["faces"].is_array());
    }
    assert!(clips.is_empty_of_partials());
}

#[test]
fn without_names_the_clip_goes_beside_the_input_and_records_alone_write_no_clip() {
    let Some(clips) = Clips::new() else { return };
    std::fs::create_dir(clips.path("sub")).unwrap();
    std::fs::copy(ours(CLIP), clips.path("sub/a.mp4")).unwrap();
    clips.run(&["sub/a.mp4", "--json", "a.jsonl"]).exits(0);
    assert!(!clips.path("sub/a-faces.mp4").exists());
    clips.run(&["sub/a.mp4"]).exits(0);
    assert_eq!(frames(&clips.path("sub/a-faces.mp4")), CLIP_FRAMES);
}

#[test]
fn faces_have_ids_that_stay_unless_they_are_not_followed() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours(CLIP);
    let ids = |arguments: &[&str]| -> Vec<Vec<Option<u64>>> {
        clips.run(&[&[clip.to_str().unwrap(), "--json", "a.jsonl"], arguments].concat()).exits(0);
        let text = std::fs::read_to_string(clips.path("a.jsonl")).unwrap();
        let lines = text.lines().skip(1).map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.map(|l| l["faces"].as_array().unwrap().iter().map(|f| f["id"].as_u64()).collect()).collect()
    };
    let followed = ids(&[]);
    assert!(followed.iter().all(|frame| {
        let mut ids: Vec<_> = frame.iter().map(|id| id.unwrap()).collect();
        ids.sort_unstable();
        ids == [1, 2]
    }));
    let found = ids(&["--no-track"]);
    assert!(found.len() as u64 == CLIP_FRAMES && found.iter().flatten().count() > 200);
    assert!(found.iter().flatten().all(Option::is_none));
    clips.run(&["a.mp4", "--no-track", "--redact", "blur"]).exits(2);
    clips.run(&["a.mp4", "--boxes"]).exits(2);
}

#[test]
fn of_many_videos_each_is_done_and_one_that_fails_is_named() {
    let Some(clips) = Clips::new() else { return };
    for name in ["a.mp4", "c.mp4"] {
        clips.make(name, &format!("-i {} -t 1 -c:v libx264", ours(CLIP).display()));
    }
    std::fs::create_dir(clips.path("out")).unwrap();
    clips.run(&["a.mp4", "c.mp4", "-o", "both.mp4"]).exits(2).complains("folder");
    clips.run(&["a.mp4", "c.mp4", "--json", "none/"]).exits(2).complains("folder");
    let all = ["a.mp4", "gone.mp4", "c.mp4"];
    let ran = clips.run(&[&all[..], &["-o", "out", "--json", "out"]].concat()).exits(1);
    let ran = ran.complains("gone.mp4").complains("1 of 3 videos");
    assert!(ran.out.contains("a-faces.mp4") && ran.out.contains("c-faces.jsonl"), "{}", ran.out);
    for name in ["a", "c"] {
        assert_eq!(frames(&clips.path(&format!("out/{name}-faces.mp4"))), 12);
        let records = std::fs::read_to_string(clips.path(&format!("out/{name}-faces.jsonl"))).unwrap();
        assert_eq!(records.lines().count(), 13);
    }
    clips.run(&["a.mp4", "c.mp4", "--redact", "solid"]).exits(0);
    assert!(clips.path("a-redacted.mp4").exists() && clips.path("c-redacted.mp4").exists());
}

#[test]
fn odd_sizes_rotation_and_other_sound_are_kept() {
    let Some(clips) = Clips::new() else { return };
    let source = "-f lavfi -i testsrc=s=321x241:r=30000/1001:d=1 -f lavfi -i sine=d=1 -pix_fmt yuv444p -c:a pcm_s16le";
    clips.make("odd.mkv", source);
    clips.run(&["odd.mkv", "-o", "odd.mp4"]).exits(0);
    let size = ffprobe(&clips.path("odd.mp4"), "-select_streams v -show_entries stream=width,height,r_frame_rate");
    assert_eq!(size, "322,242,30000/1001");
    assert_eq!(frames(&clips.path("odd.mp4")), frames(&clips.path("odd.mkv")));
    // MP4 has no place for plain samples.
    assert_eq!(ffprobe(&clips.path("odd.mp4"), "-select_streams a -show_entries stream=codec_name"), "aac");

    clips.make("turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", ours(CLIP).display()));
    let turned = ffprobe(&clips.path("turned.mp4"), "-select_streams v -show_entries stream_side_data=rotation");
    if !turned.contains("90") {
        return eprintln!("skipped: this ffmpeg does not write rotation");
    }
    clips.run(&["turned.mp4", "-o", "upright.mp4"]).exits(0);
    assert_eq!(ffprobe(&clips.path("upright.mp4"), "-select_streams v -show_entries stream=width,height"), "270,480");
}

#[test]
fn what_is_no_video_is_named_and_leaves_nothing() {
    let Some(clips) = Clips::new() else { return };
    let whole = std::fs::read(ours(CLIP)).unwrap();
    std::fs::write(clips.path("empty.mp4"), "").unwrap();
    std::fs::write(clips.path("text.mp4"), "no video").unwrap();
    std::fs::write(clips.path("noise.mkv"), whole.iter().rev().copied().collect::<Vec<_>>()).unwrap();
    std::fs::copy(ours("assets/astronaut.jpg"), clips.path("a.jpg")).unwrap();
    clips.make("sound.mp3", "-f lavfi -i sine=d=1");
    let cases = [
        ("empty.mp4", "0 bytes"),
        ("text.mp4", "not a video"),
        ("noise.mkv", "not a video"),
        ("a.jpg", "picture"),
        ("sound.mp3", "no video"),
        ("gone.mp4", "No such file"),
        (".", "folder"),
    ];
    for (name, word) in cases {
        clips.run(&[name, "-o", "out.mp4"]).exits(1).complains(word).complains(name);
        assert!(!clips.path("out.mp4").exists() && clips.is_empty_of_partials());
    }
}

#[test]
fn of_a_cut_video_what_is_there_is_written_and_the_rest_is_named() {
    let Some(clips) = Clips::new() else { return };
    clips.make("whole.mp4", &format!("-i {} -c copy -movflags +faststart", ours(CLIP).display()));
    let whole = std::fs::read(clips.path("whole.mp4")).unwrap();
    std::fs::write(clips.path("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    clips.run(&["cut.mp4", "-o", "out.mp4"]).exits(1).complains("cut").complains("of about 112");
    assert!((5..CLIP_FRAMES).contains(&frames(&clips.path("out.mp4"))));
}

#[test]
fn the_input_is_never_overwritten_and_bad_targets_are_named() {
    let Some(clips) = Clips::new() else { return };
    std::fs::copy(ours(CLIP), clips.path("a.mp4")).unwrap();
    let before = std::fs::read(clips.path("a.mp4")).unwrap();
    clips.run(&["a.mp4", "-o", "./a.mp4"]).exits(2).complains("overwrite");
    clips.run(&["a.mp4", "--json", "a.mp4"]).exits(2).complains("overwrite");
    clips.run(&["a.mp4", "-o", "a.webm"]).exits(1).complains(".mkv");
    clips.run(&["a.mp4", "-o", "no/such/folder.mp4"]).exits(1).complains("no/such/folder.mp4");
    assert_eq!(std::fs::read(clips.path("a.mp4")).unwrap(), before);
}

#[test]
fn a_missing_ffmpeg_names_the_remedy() {
    let ran: Ran =
        program().arg("video").arg(ours(CLIP)).args(["-o", "x.mp4"]).env("PATH", "").output().unwrap().into();
    ran.exits(1).complains("apt-get install ffmpeg");
}

/// A limit on the size of files stands for a full disk, which a test can't have.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_video() {
    let Some(clips) = Clips::new() else { return };
    let program = env!("CARGO_BIN_EXE_facecascade");
    let script = format!("trap '' XFSZ; ulimit -f 40; exec '{program}' video '{}' -o out.mp4", ours(CLIP).display());
    let ran: Ran = Command::new("sh").args(["-c", &script]).current_dir(clips.dir()).output().unwrap().into();
    ran.exits(1).complains("out.mp4");
    assert!(!clips.path("out.mp4").exists() && clips.is_empty_of_partials());
}

/// A small file system of its own, ended when dropped.
#[cfg(target_os = "linux")]
struct Disk(PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_one_error_and_what_was_written_plays() {
    let Some(clips) = Clips::new() else { return };
    let disk = Disk(clips.path("small"));
    std::fs::create_dir(&disk.0).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).arg(&disk.0).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        return eprintln!("skipped: mounting a small disk is not permitted");
    }
    let clip = ours(CLIP);
    let ran = clips.run(&[clip.to_str().unwrap(), "-o", "small/out.mp4"]).exits(1).complains("the disk is full");
    assert_eq!(ran.err.trim().lines().count(), 1, "{}", ran.err);
    let told = ran.err.split("the first ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(told.parse::<u64>().unwrap() > 10, "{}", ran.err);
    assert_eq!(frames(&disk.0.join("out.mp4")).to_string(), told, "as many as it says, and they play");
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 1, "nothing else is left");
    std::fs::remove_file(disk.0.join("out.mp4")).unwrap();
    // The records have no place, the video has.
    std::fs::write(disk.0.join("filler"), vec![0; 292 << 10]).unwrap();
    clips.run(&[clip.to_str().unwrap(), "-o", "out.mp4", "--json", "small/out.jsonl"]).exits(1).complains("out.jsonl");
    assert!(frames(&clips.path("out.mp4")) > 50);
}

#[cfg(unix)]
#[test]
fn a_video_that_is_removed_or_cut_meanwhile_ends_in_a_clip_that_plays() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours("assets/signing-hands-near-face.mp4");
    for cut in [false, true] {
        clips.make("in.mp4", &format!("-stream_loop 8 -i {} -c copy -movflags +faststart", clip.display()));
        let child = program()
            .args(["video", "in.mp4", "-o", "out.mp4", "--json", "out.jsonl"])
            .current_dir(clips.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while clips.records_under_way() < 8000 && start.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if cut {
            let half = std::fs::metadata(clips.path("in.mp4")).unwrap().len() / 2;
            std::fs::File::options().write(true).open(clips.path("in.mp4")).unwrap().set_len(half).unwrap();
        } else {
            std::fs::remove_file(clips.path("in.mp4")).unwrap();
        }
        let ran: Ran = child.wait_with_output().unwrap().into();
        let written = frames(&clips.path("out.mp4"));
        if cut {
            let ran = ran.exits(1).complains("in.mp4").complains("cut");
            assert_eq!(ran.err.trim().lines().count(), 1, "{}", ran.err);
            assert!((50..2150).contains(&written), "{written}");
        } else {
            // Who has a file open keeps it.
            ran.exits(0);
            assert_eq!(written, 9 * 239);
        }
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_clip_that_plays() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours("assets/signing-hands-near-face.mp4");
    let arguments =
        format!("-stream_loop 40 -i {} -f lavfi -i sine=d=300 -map 0 -map 1 -c:v copy -c:a aac", clip.display());
    clips.make("long.mp4", &arguments);
    let child = program()
        .args(["video", "long.mp4", "-o", "out.mp4", "--json", "out.jsonl"])
        .current_dir(clips.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while clips.records_under_way() < 8000 && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran: Ran = child.wait_with_output().unwrap().into();
    ran.exits(1).complains("stopped after");
    let records = std::fs::read_to_string(clips.path("out.jsonl")).unwrap();
    let count = records.lines().count() as u64 - 1;
    assert!(records.ends_with("}\n") && count < 9000);
    assert_eq!(frames(&clips.path("out.mp4")), count);
    let duration: f64 = ffprobe(&clips.path("out.mp4"), "-show_entries format=duration").parse().unwrap();
    assert!((duration - count as f64 / 30.0).abs() < 0.5, "sound ends with the picture: {duration} s, {count} frames");
    assert!(clips.is_empty_of_partials());
}

#[test]
fn video_help_names_its_defaults() {
    let ran = run(["video", "--help"]).exits(0);
    assert!(ran.out.contains("[default: 40"), "{}", ran.out);
}

#[test]
fn results_never_touch_another_file_whatever_its_name() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", "-f lavfi -i testsrc2=s=96x64:r=10:d=0.5");
    std::fs::copy(clips.path("a.mp4"), clips.path("movie.mp4.partial")).unwrap();
    let before = std::fs::read(clips.path("a.mp4")).unwrap();
    // The input has the name that a temporary file once had.
    clips.run(&["movie.mp4.partial", "-o", "movie.mp4", "--json", "movie.jsonl"]).exits(0);
    assert_eq!(std::fs::read(clips.path("movie.mp4.partial")).unwrap(), before);
    assert_eq!(frames(&clips.path("movie.mp4")), 5);
    for (output, json) in [("new.mp4", "./new.mp4"), ("b.mp4", "./movie.mp4.partial"), ("movie.mp4.partial", "b.jsonl")]
    {
        clips.run(&["movie.mp4.partial", "-o", output, "--json", json]).exits(2);
    }
    assert_eq!(std::fs::read(clips.path("movie.mp4.partial")).unwrap(), before);
    assert!(!clips.path("new.mp4").exists() && !clips.path("b.mp4").exists());
}

#[test]
fn names_may_be_as_long_as_the_file_system_allows() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", "-f lavfi -i testsrc2=s=96x64:r=10:d=0.5");
    let long = "x".repeat(251) + ".mp4";
    clips.run(&["a.mp4", "-o", &long]).exits(0);
    assert_eq!(frames(&clips.path(&long)), 5);
    let wide = "ä".repeat(120) + ".mp4";
    std::fs::copy(clips.path("a.mp4"), clips.path(&wide)).unwrap();
    clips.run(&[&wide, "--redact", "blur"]).exits(0);
    assert_eq!(frames(&clips.path(&("ä".repeat(120) + "-redacted.mp4"))), 5);
}

#[cfg(unix)]
#[test]
fn two_runs_with_one_target_leave_the_whole_file_of_one() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", "-f lavfi -i testsrc2=s=96x64:r=10:d=3");
    clips.make("b.mp4", "-f lavfi -i testsrc2=s=96x64:r=10:d=2");
    let start = |name: &str| {
        let mut command = program();
        command.args(["video", name, "-o", "same.mp4"]).current_dir(clips.dir()).stdout(Stdio::null()).spawn().unwrap()
    };
    for mut child in [start("a.mp4"), start("b.mp4")] {
        assert!(child.wait().unwrap().success());
    }
    assert!([30, 20].contains(&frames(&clips.path("same.mp4"))) && clips.is_empty_of_partials());
}
