//! What a written video tells beside picture and sound.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use common::clips::Clips;
use common::{ffprobe, frames};

const PICTURE: &str = "-f lavfi -i testsrc2=s=96x64:r=10:d=1 -f lavfi -i sine=d=1";
const TAGS: &str = "-metadata location=+48.1371+011.5754/ -metadata title=Private -metadata artist=Somebody \
                    -metadata comment=serial123 -metadata creation_time=2022-01-01T15:13:30Z -metadata:s:a:0 language=ger \
                    -metadata:s:a:0 handler_name=Phone -metadata:s:v:0 handler_name=Phone -metadata:s:v:0 timecode=01:02:03:04";
const CHAPTERS: &str = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=Kitchen\n";

/// All that ffprobe says in tags, of file, tracks and chapters.
fn told(clips: &Clips, name: &str) -> String {
    ffprobe(&clips.path(name), "-of default=nw=1 -show_entries format_tags:stream_tags:chapter_tags:stream=codec_type")
}

#[test]
fn a_redacted_video_tells_nothing_of_place_time_device_or_title() {
    let Some(clips) = Clips::new() else { return };
    std::fs::write(clips.path("chapters.txt"), CHAPTERS).unwrap();
    let input = |name: &str, more: &str| {
        let chapters = "-i chapters.txt -map 0 -map 1 -map_chapters 2";
        clips.make(name, &format!("{PICTURE} {chapters} -c:v libx264 -c:a aac {TAGS} {more}"));
    };
    input("in.mp4", "");
    input("in.mkv", "");
    let apple = "-metadata com.apple.quicktime.model=iPhone -metadata com.apple.quicktime.location.ISO6709=+48.1371/";
    input("in.mov", &format!("{apple} -movflags use_metadata_tags"));
    assert!(told(&clips, "in.mov").contains("iPhone") && told(&clips, "in.mp4").contains("Kitchen"));
    for name in ["in.mp4", "in.mov", "in.mkv"] {
        for out in ["out.mp4", "out.mov", "out.mkv"] {
            clips.run(&[name, "--redact", "blur", "-o", out]).exits(0);
            let text = told(&clips, out);
            for word in
                ["48.1371", "Private", "Somebody", "serial", "2022", "Phone", "Kitchen", "01:02", "iPhone", "data"]
            {
                assert!(!text.contains(word), "{name} to {out}: {word} in {text}");
            }
            assert!(text.contains("ger"), "{name} to {out}: {text}");
            assert_eq!(frames(&clips.path(out)), 10);
        }
    }
    clips.run(&["in.mp4", "--redact", "blur", "--keep-metadata", "-o", "kept.mp4"]).exits(0);
    clips.run(&["in.mp4", "-o", "boxes.mp4"]).exits(0);
    for name in ["kept.mp4", "boxes.mp4"] {
        let text = told(&clips, name);
        assert!(["Private", "Somebody", "Kitchen"].iter().all(|word| text.contains(word)), "{name}: {text}");
    }
    clips.run(&["in.mp4", "--keep-metadata", "-o", "x.mp4"]).exits(2);
}

#[test]
fn an_embedded_picture_is_no_part_of_a_redacted_video() {
    let Some(clips) = Clips::new() else { return };
    clips.make("cover.png", "-f lavfi -i testsrc2=s=64x64:d=0.04 -frames:v 1");
    clips.make("in.mp4", &format!("{PICTURE} -i cover.png -map 0 -map 1 -map 2 -c:v:0 libx264 -c:v:1 png -c:a aac -disposition:v:1 attached_pic"));
    assert!(ffprobe(&clips.path("in.mp4"), "-show_entries stream=codec_name").contains("png"));
    for out in ["out.mp4", "out.mkv"] {
        clips.run(&["in.mp4", "--redact", "solid", "-o", out]).exits(0);
        assert!(!ffprobe(&clips.path(out), "-show_entries stream=codec_name").contains("png"));
    }
}
