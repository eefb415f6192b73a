//! `video` on clips good and bad: every frame comes out, at its time, with the sound; what is written plays.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ran, ffmpeg, ffmpeg_is_here, ffprobe, frames, ours, program, run};

const CLIP: &str = "assets/two-faces-tilting.mp4";
const CLIP_FRAMES: u64 = 112;

struct Clips(tempfile::TempDir);

impl Clips {
    /// `None`, said so, without ffmpeg.
    fn new() -> Option<Self> {
        ffmpeg_is_here().then(|| Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A clip made by ffmpeg.
    fn make(&self, name: &str, arguments: &str) -> PathBuf {
        ffmpeg(self.0.path(), &format!("{arguments} {name}"));
        self.path(name)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        program().arg("video").args(arguments).current_dir(self.0.path()).output().unwrap().into()
    }

    fn is_empty_of_partials(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("partial"))
    }
}

/// When frames are shown, seconds.
fn times(file: &Path) -> Vec<f64> {
    let text = ffprobe(file, "-select_streams v:0 -show_entries packet=pts_time");
    let mut times: Vec<f64> = text.lines().map(|l| l.trim_matches(',').parse().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times
}

#[test]
fn every_frame_and_the_sound_come_out() {
    let Some(clips) = Clips::new() else { return };
    let clip = ours(CLIP);
    let arguments = format!("-i {} -f lavfi -i sine=d=9 -c:v copy -c:a aac -map 0 -map 1", clip.display());
    let sound = clips.make("with sound ü.mp4".replace(' ', "_").as_str(), &arguments);
    let name = sound.file_name().unwrap().to_str().unwrap();
    let ran = clips.run(&[name, "--json", "faces.jsonl", "-o", "out.mp4"]).exits(0);
    for word in ["112 frames", "2 faces", "p50", "p99", "decode", "level1", "detect", "track", "draw", "encode"] {
        assert!(ran.out.contains(word), "no {word} in {}", ran.out);
    }
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
fn all_sound_and_subtitles_are_kept_with_their_languages() {
    let Some(clips) = Clips::new() else { return };
    std::fs::write(clips.path("words.srt"), "1\n00:00:01,000 --> 00:00:02,000\nHello\n").unwrap();
    let inputs = format!("-i {} -f lavfi -i sine=d=9 -f lavfi -i sine=440:d=9 -i words.srt", ours(CLIP).display());
    let streams = "-map 0:v -map 1 -map 2 -map 3 -c:v copy -c:a:0 aac -c:a:1 ac3 -c:s srt";
    let tags =
        "-metadata title=Two -metadata:s:a:0 language=ger -metadata:s:a:1 language=fre -metadata:s:s:0 language=eng";
    clips.make("in.mkv", &format!("{inputs} {streams} {tags}"));
    for out in ["out.mkv", "out.mp4"] {
        clips.run(&["in.mkv", "-o", out, "--redact", "blur"]).exits(0);
        let out = clips.path(out);
        let languages = "-select_streams a -show_entries stream=codec_name:stream_tags=language";
        let sound = ffprobe(&out, languages);
        let sound: Vec<_> = sound.lines().map(|line| line.trim_end_matches(',')).collect();
        assert_eq!(sound, ["aac,ger", "ac3,fre"]);
        assert!(ffprobe(&out, "-select_streams s -show_entries stream_tags=language").contains("eng"));
        assert_eq!(ffprobe(&out, "-show_entries format_tags=title"), "Two");
        // The sound's first packet moves the picture by a part of a frame.
        let (before, after) = (times(&clips.path("in.mkv")), times(&out));
        assert!(before[0] > 0.01 && before.len() == after.len());
        let moved = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved < 2e-3, "{before:?} {after:?}");
    }
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
    clips.run(&["a.mp4", "-o", "./a.mp4"]).exits(1).complains("overwrite");
    clips.run(&["a.mp4", "--json", "a.mp4"]).exits(1).complains("overwrite");
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
    let ran: Ran = Command::new("sh").args(["-c", &script]).current_dir(clips.0.path()).output().unwrap().into();
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
    std::fs::write(disk.0.join("filler"), vec![0; 296 << 10]).unwrap();
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
            .current_dir(clips.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while std::fs::metadata(clips.path("out.jsonl")).map_or(0, |m| m.len()) < 8000
            && start.elapsed() < Duration::from_secs(120)
        {
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
        .current_dir(clips.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let written = || std::fs::metadata(clips.path("out.jsonl")).map_or(0, |m| m.len());
    let start = Instant::now();
    while written() < 8000 && start.elapsed() < Duration::from_secs(120) {
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
