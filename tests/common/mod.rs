//! Runs the program, and makes files to run it on; shared by the tests of the program.

#![allow(
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses only a part of this module"
)]

pub mod clips;
pub mod film;
pub mod training;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{DynamicImage, ImageFormat, RgbImage};

/// A command that runs the program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_facecascade"))
}

/// What a run printed, and its exit status.
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// Parses stdout as JSON lines.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}; {}", self.err))).collect()
    }

    /// Asserts the exit status; shows all that was printed if it is another.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Asserts that `word` was printed to stderr.
    #[track_caller]
    pub fn complains(self, word: &str) -> Self {
        assert!(self.err.contains(word), "no \"{word}\" in: {}", self.err);
        self
    }
}

/// Runs the program in the crate's folder.
pub fn run<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Ran {
    program().args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the program starts").into()
}

/// Path of a file in this crate's folder.
pub fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Decodes a picture in this crate's folder.
pub fn picture(path: &str) -> RgbImage {
    image::ImageReader::open(ours(path)).unwrap().decode().unwrap().into_rgb8()
}

/// Encodes a picture as a file in memory.
pub fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = picture.into();
    if format == ImageFormat::Jpeg {
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&picture).unwrap();
    } else {
        picture.write_to(&mut bytes, format).unwrap();
    }
    bytes.into_inner()
}

/// Whether ffmpeg is installed; prints a line to stderr if not.
pub fn ffmpeg_is_here() -> bool {
    let here = ["ffmpeg", "ffprobe"].iter().all(|p| Command::new(p).arg("-version").output().is_ok());
    if !here {
        eprintln!("skipped: ffmpeg is not installed (apt-get install ffmpeg)");
    }
    here
}

/// Runs ffmpeg on a line of arguments (no spaces within one) in `dir`.
pub fn ffmpeg(dir: &Path, arguments: &str) {
    let done = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .status()
        .unwrap();
    assert!(done.success(), "ffmpeg {arguments}");
}

/// Runs ffprobe on a file, and returns its answer as plain values without headings.
pub fn ffprobe(file: &Path, arguments: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(arguments.split_whitespace())
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Counts the frames of a video that can be decoded.
pub fn frames(file: &Path) -> u64 {
    let count = ffprobe(file, "-count_frames -select_streams v:0 -show_entries stream=nb_read_frames");
    // Of a stream with programs, it answers twice.
    count.lines().next().unwrap_or("").trim_matches(',').parse().unwrap_or_else(|e| panic!("{count}: {e}"))
}

/// The data folder: the one that the environment variable `FACECASCADE_DATA` names, else `../shared/data` beside the clone. It
/// may be missing.
pub fn data() -> PathBuf {
    std::env::var_os("FACECASCADE_DATA").map_or_else(|| ours("../shared/data"), PathBuf::from)
}
