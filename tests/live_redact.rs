//! `live --redact`: what is recorded shows no face, also in frames that are not searched.

mod common;

use common::film::{decoded, solid};
use common::{Ran, ffmpeg_is_here, ours, program};
use facecascade::Rect;

#[test]
fn no_recorded_frame_shows_a_face_also_where_few_frames_are_searched() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for limit in ["100", "5"] {
        let source = ours("assets/astronaut.jpg");
        let ran: Ran = program()
            .args(["live", "--headless", "--seconds", "4", "--redact", "solid", "--max-cpu", limit, "--source"])
            .arg(source)
            .args(["--record", "out.mp4"])
            .current_dir(dir.path())
            .output()
            .unwrap()
            .into();
        ran.exits(0);
        let frames = decoded(&dir.path().join("out.mp4"), (512, 512));
        let face = Rect::new(183.0, 75.0, 76.0, 105.0);
        assert!(!frames.is_empty());
        for (i, frame) in frames.iter().enumerate() {
            assert!(solid(frame, &face) > 0.98, "at {limit} %: frame {i} of {}", frames.len());
        }
    }
}
