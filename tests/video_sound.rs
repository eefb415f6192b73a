//! Sound and subtitles never vanish in silence, and never stop the picture.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use common::clips::{CLIP, Clips, times};
use common::{ffmpeg, ffprobe, frames, ours};

const PICTURE: &str = "-f lavfi -i testsrc2=s=96x64:r=10:d=1.5";
const TONE: &str = "-f lavfi -i sine=d=1.5:sample_rate=48000";

/// Codecs of the sound tracks, each of which can be decoded.
fn sound(clips: &Clips, name: &str) -> Vec<String> {
    let file = clips.path(name);
    let codecs = ffprobe(&file, "-select_streams a -show_entries stream=codec_name");
    if !codecs.is_empty() {
        ffmpeg(clips.dir(), &format!("-xerror -i {name} -map 0:a -f null -"));
    }
    codecs.lines().map(|codec| codec.trim_end_matches(',').to_owned()).collect()
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
        clips.run(&["in.mkv", "-o", out, "--redact", "blur", "--keep-metadata"]).exits(0);
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
fn sound_that_the_container_does_not_take_becomes_aac_and_plays() {
    let Some(clips) = Clips::new() else { return };
    for (name, codecs) in [
        ("lpcm.m2ts", "-c:v libx264 -c:a pcm_bluray"),
        ("lpcm.vob", "-c:v mpeg2video -r 25 -c:a pcm_dvd -ac 2 -f vob"),
        ("adpcm.mov", "-c:v libx264 -c:a adpcm_ima_qt -ac 2"),
        ("adpcm.avi", "-c:v mpeg4 -c:a adpcm_ms"),
        ("plain.mkv", "-c:v libx264 -c:a pcm_s16le"),
        ("quad.mov", "-c:v libx264 -c:a pcm_s16le -ac 4"),
        ("free.webm", "-c:v libvpx -deadline realtime -c:a libvorbis -ac 2"),
    ] {
        clips.make(name, &format!("{PICTURE} {TONE} {codecs}"));
        let count = frames(&clips.path(name));
        for out in ["out.mp4", "out.mov", "out.mkv"] {
            clips.run(&[name, "-o", out]).exits(0);
            assert_eq!((sound(&clips, out).len(), frames(&clips.path(out))), (1, count), "{name} to {out}");
        }
    }
}

#[test]
fn a_track_that_ffmpeg_does_not_know_is_named_and_left_out() {
    let Some(clips) = Clips::new() else { return };
    let two = format!("{PICTURE} {TONE} {TONE} -map 0 -map 1 -map 2 -c:v libx264 -c:a:0 aac -c:a:1 pcm_s16be");
    clips.make("in.mov", &two);
    let mut bytes = std::fs::read(clips.path("in.mov")).unwrap();
    let place = bytes.windows(4).position(|four| four == b"twos").unwrap();
    bytes[place..place + 4].copy_from_slice(b"apac");
    std::fs::write(clips.path("in.mov"), bytes).unwrap();
    for out in ["out.mp4", "out.mov", "out.mkv"] {
        clips.run(&["in.mov", "--redact", "blur", "-o", out]).exits(0).complains("sound track 2 (apac)");
        assert_eq!((sound(&clips, out), frames(&clips.path(out))), (vec!["aac".to_owned()], 15));
    }
}

#[test]
fn subtitles_without_a_place_and_second_pictures_are_named() {
    let Some(clips) = Clips::new() else { return };
    std::fs::write(clips.path("words.srt"), "1\n00:00:00,200 --> 00:00:01,000\nHello\n").unwrap();
    clips.make("a.mkv", &format!("{PICTURE} {PICTURE} -i words.srt -map 0 -map 1 -map 2 -c:v libx264 -c:s srt"));
    let ran = clips.run(&["a.mkv", "-o", "out.mov"]).exits(0).complains("2 picture tracks");
    assert!(!ran.err.contains("left out"), "{}", ran.err);
    assert_eq!(ffprobe(&clips.path("out.mov"), "-select_streams s -show_entries stream=codec_name"), "mov_text");
    // Its subtitles call themselves pictures, as those of a Blu-ray are.
    clips.make("b.mkv", &format!("{PICTURE} -i words.srt -map 0 -map 1 -c:v libx264 -c:s srt"));
    let mut bytes = std::fs::read(clips.path("b.mkv")).unwrap();
    let place = bytes.windows(11).position(|name| name == b"S_TEXT/UTF8").unwrap();
    bytes[place..place + 11].copy_from_slice(b"S_HDMV/PGS\0");
    std::fs::write(clips.path("b.mkv"), bytes).unwrap();
    clips.run(&["b.mkv", "-o", "out.mp4"]).exits(0).complains("subtitles 1 (hdmv_pgs_subtitle)");
    assert_eq!(frames(&clips.path("out.mp4")), 15);
}

#[test]
fn sound_can_be_left_out() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", &format!("{PICTURE} {TONE} -c:v libx264 -c:a aac"));
    clips.run(&["a.mp4", "--no-audio", "-o", "out.mp4"]).exits(0);
    assert_eq!((sound(&clips, "out.mp4").len(), frames(&clips.path("out.mp4"))), (0, 15));
}

#[test]
fn of_a_damaged_video_the_sound_is_kept_as_far_as_it_goes() {
    let Some(clips) = Clips::new() else { return };
    // The sound is written well ahead of the picture, and the file is cut.
    let length = "-f lavfi -i testsrc2=s=320x240:r=10:d=6 -f lavfi -i sine=d=6:sample_rate=48000";
    clips.make("whole.mp4", &format!("{length} -c:v libx264 -c:a aac -movflags +faststart"));
    let whole = std::fs::read(clips.path("whole.mp4")).unwrap();
    std::fs::write(clips.path("cut.mp4"), &whole[..whole.len() * 6 / 10]).unwrap();
    clips.run(&["cut.mp4", "-o", "out.mp4"]).exits(1).complains("cut");
    let packets = |name: &str| {
        let text = ffprobe(&clips.path(name), "-select_streams a -show_entries packet=size");
        text.lines().filter(|line| line.trim_matches(',').parse::<u64>().is_ok()).count()
    };
    assert!(packets("cut.mp4") > 50 && packets("out.mp4") + 2 >= packets("cut.mp4"), "{}", packets("out.mp4"));
}
