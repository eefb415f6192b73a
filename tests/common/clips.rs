//! Clips in a folder of their own, `facecascade video` run on them, and what ffprobe says of the results.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ran, ffmpeg, ffmpeg_is_here, ffprobe, program};

pub const CLIP: &str = "assets/two-faces-tilting.mp4";
pub const CLIP_FRAMES: u64 = 112;

pub struct Clips(tempfile::TempDir);

impl Clips {
    /// `None`, said so, without ffmpeg.
    pub fn new() -> Option<Self> {
        ffmpeg_is_here().then(|| Self(tempfile::tempdir().unwrap()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A clip made by ffmpeg.
    pub fn make(&self, name: &str, arguments: &str) -> PathBuf {
        ffmpeg(self.0.path(), &format!("{arguments} {name}"));
        self.path(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        program().arg("video").args(arguments).current_dir(self.0.path()).output().unwrap().into()
    }

    pub fn is_empty_of_partials(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("partial"))
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Bytes of the records that are being written: they have a temporary name.
    pub fn records_under_way(&self) -> u64 {
        let files = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
        let partial = files.filter(|file| file.file_name().to_string_lossy().contains("partial"));
        let records =
            partial.filter_map(|file| std::fs::read(file.path()).ok()).filter(|b| b.starts_with(b"{\"video\""));
        records.map(|bytes| bytes.len() as u64).max().unwrap_or(0)
    }
}

/// When frames are shown, seconds.
pub fn times(file: &Path) -> Vec<f64> {
    let text = ffprobe(file, "-select_streams v:0 -show_entries packet=pts_time");
    let mut times: Vec<f64> = text.lines().map(|l| l.trim_matches(',').parse().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// When frames are decoded to be shown, seconds, in order; NaN of a frame whose time ffprobe does not know (the last one of a
/// program stream).
pub fn decoded_times(file: &Path) -> Vec<f64> {
    let text = ffprobe(file, "-select_streams V:0 -show_entries frame=best_effort_timestamp_time");
    let times = text.lines().map(|line| line.split(',').next().unwrap()).filter(|time| !time.is_empty());
    times.map(|time| time.parse().unwrap_or(f64::NAN)).collect()
}

/// When the first sound is heard, seconds.
pub fn first_sound(file: &Path) -> f64 {
    let text = ffprobe(file, "-select_streams a:0 -show_entries frame=best_effort_timestamp_time -read_intervals %+#4");
    text.lines().find_map(|l| l.split(',').next().unwrap().parse().ok()).unwrap()
}

/// When ffmpeg decodes frames to be shown, and the first sound, seconds.
pub fn told_by_the_decoder(file: &Path) -> (Vec<f64>, f64) {
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(
            "-map 0:v:0 -map 0:a:0 -c:v rawvideo -c:a pcm_s16le -fps_mode passthrough -enc_time_base:v 1/90000"
                .split(' '),
        )
        .args(["-f", "framecrc", "pipe:1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines = text.lines();
    let (mut base, mut times) = ([0.0; 2], [Vec::new(), Vec::new()]);
    for line in lines {
        let fields: Vec<&str> = line.split([',', ' ', ':']).filter(|field| !field.is_empty()).collect();
        if let ["#tb", track, unit] = fields[..] {
            let (n, d) = unit.split_once('/').unwrap();
            base[track.parse::<usize>().unwrap()] = n.parse::<f64>().unwrap() / d.parse::<f64>().unwrap();
        } else if let [track @ ("0" | "1"), _, pts, ..] = fields[..] {
            let track = usize::from(track == "1");
            times[track].push(pts.parse::<f64>().unwrap() * base[track]);
        }
    }
    let [pictures, sounds] = times;
    (pictures, sounds[0])
}

/// How far the picture of `after` moved against its sound, seconds, at most; both have as many frames.
pub fn drift(before: &Path, after: &Path) -> f64 {
    let (a, b) = (decoded_times(before), decoded_times(after));
    assert_eq!(a.len(), b.len(), "{} {}", before.display(), after.display());
    let (sound_a, sound_b) = (first_sound(before), first_sound(after));
    a.iter().zip(&b).map(|(a, b)| ((b - sound_b) - (a - sound_a)).abs()).fold(0.0, f64::max)
}
