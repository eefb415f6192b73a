//! `live` as users see it: the window on a virtual display, its keys, figures without a window, recordings, and the errors
//! if camera or display is missing.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ran, ffmpeg_is_here, ffprobe, frames, ours, program};
use facecascade::output::draw::FACE;
use facecascade::{Cascade, Options, Rect};
use image::RgbImage;

/// Whether programs (name, package) are installed; prints a line to stderr for each that is not.
fn are_here(programs: &[(&str, &str)]) -> bool {
    programs.iter().all(|(name, package)| {
        let here = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|p| p.join(name).exists());
        if !here {
            eprintln!("skipped: {name} is not installed (apt-get install {package})");
        }
        here
    })
}

/// A virtual display (Xvfb), which ends when dropped.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// Opens a display; `None`, and a line on stderr, without Xvfb or ImageMagick.
    fn open() -> Option<Self> {
        Self::open_with(&[])
    }

    /// As [`Self::open`], with more options of Xvfb.
    fn open_with(options: &[&str]) -> Option<Self> {
        if !are_here(&[("Xvfb", "xvfb"), ("import", "imagemagick")]) {
            return None;
        }
        // Xvfb chooses a free number, and prints it when ready.
        let arguments = ["-displayfd", "1", "-screen", "0", "900x700x24", "-nolisten", "tcp"];
        let mut server = Command::new("Xvfb")
            .args(arguments)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        assert!(!number.trim().is_empty(), "Xvfb started");
        Some(Self { server, name: format!(":{}", number.trim()) })
    }

    /// A command that runs `program` on this display.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.name).env_remove("WAYLAND_DISPLAY");
        command
    }

    /// Starts `live` with these arguments on this display, in the folder `dir`.
    fn live(&self, arguments: &[&str], dir: &Path) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_facecascade"));
        command.arg("live").args(arguments).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// Takes a picture of the display.
    fn picture(&self) -> RgbImage {
        let output = self.command("import").args(["-window", "root", "png:-"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        image::load_from_memory(&output.stdout).unwrap().into_rgb8()
    }

    /// Takes pictures of the display until `is_right` accepts one, and returns it; after 30 seconds, the last one.
    fn picture_when(&self, is_right: impl Fn(&RgbImage) -> bool) -> RgbImage {
        let start = Instant::now();
        loop {
            let picture = self.picture();
            if is_right(&picture) || start.elapsed() > Duration::from_secs(30) {
                return picture;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses a key in the program's window.
    fn press(&self, key: &str) {
        let window = ["search", "--onlyvisible", "--name", "facecascade", "windowfocus", "--sync"];
        // xdotool fails if the window is gone before the key is released, as after `q`.
        let _ = self.command("xdotool").args(window).args(["key", key]).stderr(Stdio::null()).status();
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The running program, which ends when dropped.
struct Running(Option<Child>);

impl Running {
    /// Waits for the end.
    fn ended(mut self) -> Ran {
        self.0.take().unwrap().wait_with_output().unwrap().into()
    }

    /// Sends what Ctrl-C sends.
    fn interrupt(&self) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs `live` without any display, in the folder `dir`.
fn headless(arguments: &[&str], dir: &Path) -> Ran {
    let mut command = program();
    command.arg("live").args(arguments).current_dir(dir).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command.output().unwrap().into()
}

/// Counts pixels of the boxes' colour.
fn green(picture: &RgbImage) -> usize {
    picture.pixels().filter(|p| **p == FACE).count()
}

/// Share (0..1) of the rectangle's four sides that have a line of the boxes' colour nearby.
fn boxed(picture: &RgbImage, r: &Rect) -> f32 {
    let near = (r.w * 0.12) as i64;
    let lit = |x: f32, y: f32, dx: i64, dy: i64| {
        (-near..=near).any(|d| {
            let (x, y) = (x as i64 + d * dx, y as i64 + d * dy);
            let inside = x >= 0 && y >= 0 && x < picture.width().into() && y < picture.height().into();
            inside && *picture.get_pixel(x as u32, y as u32) == FACE
        })
    };
    let shares = (1..10).map(|i| i as f32 / 10.0);
    let hits = shares.flat_map(|t| {
        [
            lit(r.x, r.y + t * r.h, 1, 0),
            lit(r.x + r.w, r.y + t * r.h, 1, 0),
            lit(r.x + t * r.w, r.y, 0, 1),
            lit(r.x + t * r.w, r.y + r.h, 0, 1),
        ]
    });
    hits.filter(|hit| *hit).count() as f32 / 36.0
}

#[test]
fn the_window_shows_boxes_round_the_synthetic_cameras_faces() {
    // Also where no memory can be shared with the display, as over a network.
    for options in [&[][..], &["-extension", "MIT-SHM"]] {
        let Some(display) = Display::open_with(options) else { return };
        boxes_are_seen_on(&display);
    }
}

fn boxes_are_seen_on(display: &Display) {
    let dir = tempfile::tempdir().unwrap();
    let live = display.live(&["--source", "synthetic", "--seconds", "60"], dir.path());
    let cascade = Cascade::shipped(Options { min_face: 60.0, threshold: 0.9, ..Options::default() }).unwrap();
    let boxes_of = |picture: &RgbImage| {
        let faces = cascade.detect(picture).unwrap();
        faces.iter().map(|face| boxed(picture, &face.rect)).collect::<Vec<f32>>()
    };
    // Labels and figures hide parts of boxes and faces for a while, until the faces have moved.
    let right = |picture: &RgbImage| boxes_of(picture).iter().filter(|share| **share > 0.8).count() >= 2;
    let picture = display.picture_when(right);
    assert!(right(&picture), "boxes near faces: {:?}, {} green pixels", boxes_of(&picture), green(&picture));
    live.interrupt();
    let ran = live.ended().exits(0).complains("synthetic camera, 640×480 at 30 frames/s");
    assert!(ran.out.contains("dropped") && ran.out.contains("age p50"), "{}", ran.out);
}

#[test]
fn keys_do_what_help_says() {
    if !are_here(&[("xdotool", "xdotool")]) {
        return;
    }
    let Some(display) = Display::open() else { return };
    let dir = tempfile::tempdir().unwrap();
    let live = display.live(&["--source", "synthetic", "--seconds", "120", "--snap", "here"], dir.path());
    display.picture_when(|p| green(p) > 100);

    // The view of the cascade's steps shows some ground between its panels, the view of the pyramid much more.
    let ground = |p: &RgbImage| p.pixels().filter(|p| p.0 == [22, 24, 28]).count();
    display.press("p");
    assert!(ground(&display.picture_when(|p| ground(p) > 5_000)) > 5_000, "the steps of the cascade");
    display.press("p");
    assert!(ground(&display.picture_when(|p| ground(p) > 50_000)) > 50_000, "the pyramid");
    display.press("p");
    assert!(ground(&display.picture_when(|p| ground(p) < 2_000)) < 2_000, "the picture again");

    display.press("space");
    let still = |wanted: bool| {
        let start = Instant::now();
        loop {
            let first = display.picture();
            std::thread::sleep(Duration::from_millis(400));
            if (first == display.picture()) == wanted || start.elapsed() > Duration::from_secs(20) {
                return first;
            }
        }
    };
    let paused = still(true);
    assert!(paused == display.picture(), "the pause holds the picture");
    display.press("s");
    let saved = dir.path().join("here/live-0001.png");
    display.picture_when(|_| saved.exists());
    let picture = image::open(&saved).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (640, 480));
    assert!(green(&picture) > 100, "with boxes");
    display.press("space");
    assert!(still(false) != display.picture(), "the run goes on");

    // Details are grey on a dark ground; `l` hides them.
    let grey = |p: &RgbImage| p.pixels().filter(|p| p.0 == [170, 178, 186]).count();
    let before = grey(&display.picture_when(|p| grey(p) > 50));
    display.press("l");
    let after = grey(&display.picture_when(|p| grey(p) * 4 < before));
    assert!(after * 4 < before, "details were {before} pixels and are {after}");

    display.press("q");
    live.ended().exits(0);
}

#[test]
fn without_a_window_figures_are_printed_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let ran = headless(&["--source", "synthetic", "--headless", "--seconds", "3.5"], dir.path()).exits(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "synthetic camera, 640×480 at 30 frames/s");
    assert_eq!(lines.iter().filter(|line| line.contains(" fps  age ")).count(), 3, "{}", ran.out);
    for word in ["3 faces", "dropped", "p95", "level1", "output"] {
        assert!(lines[2].contains(word), "no {word} in {}", lines[2]);
    }
    assert!(lines[lines.len() - 1].contains("p99"), "{}", ran.out);
}

#[test]
fn a_missing_display_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let ran = headless(&["--source", "synthetic", "--record", "out.mp4"], dir.path()).exits(1);
    ran.complains("no window").complains("--headless");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left");
}

#[test]
fn a_missing_camera_is_named_with_the_remedy() {
    if Path::new("/dev/video0").exists() {
        return eprintln!("skipped: this machine has a camera");
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = headless(&["--headless", "--seconds", "1"], dir.path()).exits(1);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    ran.complains("no camera").complains("--source FILE").complains("--source synthetic");
    headless(&["--camera", "7", "--headless"], dir.path()).exits(1).complains("no camera");
    let ran = headless(&["--list-cameras"], dir.path()).exits(0);
    assert!(ran.out.is_empty());
}

#[test]
fn a_recording_plays_whether_time_is_up_or_ctrl_c_ends_it() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let arguments = ["--source", "synthetic", "--headless", "--record"];
    headless(&[&arguments[..], &["a.mp4", "--seconds", "3"]].concat(), dir.path()).exits(0).complains("a.mp4");
    let (count, seconds) = about(&file("a.mp4"));
    assert!(count > 10 && (1.5..4.0).contains(&seconds), "{count} frames in {seconds} s");
    assert_eq!(ffprobe(&file("a.mp4"), "-select_streams v -show_entries stream=width,height"), "640,480");

    let mut command = program();
    command.arg("live").args(arguments).arg("b.mkv").current_dir(dir.path()).stdout(Stdio::piped());
    let mut live = Running(Some(command.stderr(Stdio::piped()).spawn().unwrap()));
    // After the second line of figures, two seconds have been recorded.
    let mut out = BufReader::new(live.0.as_mut().unwrap().stdout.take().unwrap());
    for _ in 0..3 {
        out.read_line(&mut String::new()).unwrap();
    }
    live.interrupt();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    live.ended().exits(0).complains("b.mkv");
    assert!(about(&file("b.mkv")).0 > 10);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}

#[test]
fn a_display_that_vanishes_ends_it_with_one_error_and_the_recording_plays() {
    if !ffmpeg_is_here() {
        return;
    }
    let Some(display) = Display::open() else { return };
    let dir = tempfile::tempdir().unwrap();
    let live = display.live(&["--source", "synthetic", "--record", "a.mp4", "--quiet"], dir.path());
    display.picture_when(|p| green(p) > 100);
    std::thread::sleep(Duration::from_millis(500));
    drop(display);
    let gone = Instant::now();
    let ran = live.ended().exits(1).complains("the display is gone");
    assert!(gone.elapsed() < Duration::from_secs(10), "it ends soon: {:?}", gone.elapsed());
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(about(&dir.path().join("a.mp4")).0 > 10);
}

/// Number of frames, and duration in seconds, of a video.
fn about(file: &Path) -> (u64, f64) {
    (frames(file), ffprobe(file, "-show_entries format=duration").parse().unwrap())
}

#[test]
fn files_are_shown_at_their_pace_and_end_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    if ffmpeg_is_here() {
        let clip = ours("assets/three-faces-approaching.mp4");
        let ran = headless(&["--headless", "--source", clip.to_str().unwrap()], dir.path()).exits(0);
        assert!((5..=7).contains(&ran.out.matches(" fps  age ").count()), "6.8 s long: {}", ran.out);
    }
    let picture = ours("assets/astronaut.jpg");
    let arguments = ["--headless", "--seconds", "2.5", "--source", picture.to_str().unwrap()];
    let ran = headless(&arguments, dir.path()).exits(0);
    assert!(ran.out.contains("1 face ") && ran.out.contains("512×512"), "{}", ran.out);
}

#[test]
fn what_can_not_be_shown_or_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.mp4"), "no video").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--headless", "--source", "gone.mp4"], "gone.mp4"),
        (&["--headless", "--source", "text.mp4"], "text.mp4"),
        (&["--headless", "--source", "text.mp4", "--record", "./text.mp4"], "overwrite"),
        (&["--headless", "--source", "synthetic", "--record", "a.webm"], ".mkv"),
        (&["--headless", "--source", "synthetic", "--snap", "text.mp4"], "not a folder"),
    ];
    for (arguments, word) in cases {
        headless(arguments, dir.path()).exits(1).complains(word);
    }
    assert_eq!(std::fs::read(dir.path().join("text.mp4")).unwrap(), b"no video");
    headless(&["--camera", "0", "--source", "synthetic"], dir.path()).exits(2);
    headless(&["--seconds", "0"], dir.path()).exits(2);
}

#[test]
fn nobody_reading_the_figures_ends_it_silently() {
    let mut command = program();
    command.args(["live", "--headless", "--source", "synthetic"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut live = Running(Some(command.spawn().unwrap()));
    drop(live.0.as_mut().unwrap().stdout.take());
    let ran = live.ended().exits(0);
    assert!(ran.err.is_empty(), "{}", ran.err);
}
