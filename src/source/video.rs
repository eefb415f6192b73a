//! Video files through ffmpeg as a child process: what a file is ([`probe`]) and its frames, upright, as RGB ([`Frames`]).
//!
//! Two children do the work by hand rather than through a crate: the frames' times, colours and rotation must survive to
//! the writer, and no crate hands on all three.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use image::RgbImage;
use serde::Deserialize;

use super::planes;
use super::process::{Process, command, every_frame_option, file_argument, output, widen};
use crate::error::{Error, Result};

/// Frames a second, as a fraction: 30000/1001 is not 29.97.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Frames …
    pub frames: u32,
    /// … in this many seconds.
    pub seconds: u32,
}

impl Rate {
    /// Frames a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// `30000/1001`; `None` for `0/0`, which means unknown.
    fn parse(text: &str) -> Option<Self> {
        let (frames, seconds) = text.split_once('/')?;
        let rate = Self { frames: frames.parse().ok()?, seconds: seconds.parse().ok()? };
        (rate.frames > 0 && rate.seconds > 0).then_some(rate)
    }
}

/// What a video file is.
#[derive(Debug, Clone)]
pub struct VideoInfo {
    /// Width of a frame, pixels, after rotation.
    pub width: u32,
    /// Height of a frame, pixels, after rotation.
    pub height: u32,
    /// Frames a second: the mean, where it varies.
    pub rate: Rate,
    /// Whether the time between frames varies.
    pub variable: bool,
    /// About how many frames there are; `None` if the file does not say.
    pub frames: Option<u64>,
    /// Duration in seconds; `None` if the file does not say.
    pub duration: Option<f64>,
    /// When the first frame is shown, seconds after the file's start (sound may start earlier).
    pub start: f64,
    /// Codecs of the sound tracks.
    pub audio: Vec<String>,
    /// Codecs of the subtitles.
    pub subtitles: Vec<String>,
    /// Shape of a pixel after rotation, width:height; `None` if square.
    pub pixel_shape: Option<(u32, u32)>,
    /// Colour matrix, primaries and transfer as ffmpeg names them, where the file says.
    pub colour: [Option<String>; 3],
    /// Whether brightness reaches over 0 to 255, as in pictures, and not over 16 to 235.
    pub full_range: bool,
}

impl VideoInfo {
    /// Frames alone, of one size: no sound, no subtitles, nothing that a file would say.
    pub fn of_frames((width, height): (u32, u32), rate: Rate, variable: bool) -> Self {
        Self {
            width,
            height,
            rate,
            variable,
            frames: None,
            duration: None,
            start: 0.0,
            audio: Vec::new(),
            subtitles: Vec::new(),
            pixel_shape: None,
            colour: [None, None, None],
            full_range: false,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Probed {
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Format {
    format_name: String,
    duration: Option<String>,
    start_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stream {
    codec_type: String,
    codec_name: String,
    width: u32,
    height: u32,
    r_frame_rate: String,
    avg_frame_rate: String,
    nb_frames: Option<String>,
    duration: Option<String>,
    start_time: Option<String>,
    sample_aspect_ratio: Option<String>,
    pix_fmt: String,
    color_range: Option<String>,
    color_space: Option<String>,
    color_primaries: Option<String>,
    color_transfer: Option<String>,
    disposition: Disposition,
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SideData {
    rotation: Option<f64>,
}

fn number(text: Option<&String>) -> Option<f64> {
    text.and_then(|t| t.parse::<f64>().ok()).filter(|v| v.is_finite())
}

/// What the video file `path` is.
///
/// # Errors
/// If it is missing, empty, no video, or a picture; if ffmpeg is not installed.
pub fn probe(path: &Path) -> Result<VideoInfo> {
    let fail = |reason: &str| Error::Process(format!("{}: {reason}", path.display()));
    let about = std::fs::metadata(path).map_err(Error::io(path))?;
    if about.is_dir() {
        return Err(fail("is a folder, not a video"));
    }
    if about.is_file() && about.len() == 0 {
        return Err(fail("is empty (0 bytes)"));
    }
    let wanted = ["-show_streams", "-show_format", "-of", "json"].map(OsStr::new);
    let file = file_argument(path);
    let arguments: Vec<&OsStr> = wanted.into_iter().chain([file.as_os_str()]).collect();
    let (json, ended) = output("ffprobe", &arguments)?;
    if !ended.status.success() {
        let hint = if ended.everything().contains("moov atom not found") {
            "is not a video, or is cut or still being written: its index (the moov atom) is missing".to_owned()
        } else {
            let last = ended.reason();
            let last = last.strip_prefix(&format!("{}: ", file.to_string_lossy())).unwrap_or(&last).to_owned();
            format!("is not a video, or is damaged ({last})")
        };
        return Err(fail(&hint));
    }
    let probed: Probed =
        serde_json::from_slice(&json).map_err(|e| fail(&format!("ffprobe's answer can't be read: {e}")))?;
    let format = probed.format.format_name.as_str();
    if format == "tty" {
        return Err(fail("is not a video but text"));
    }
    if format == "image2" || format.ends_with("_pipe") {
        return Err(fail("is a picture, not a video; use `facecascade detect`"));
    }
    let video = probed.streams.iter().find(|s| s.codec_type == "video" && s.disposition.attached_pic == 0);
    let video = video.ok_or_else(|| fail("holds no video, only sound or data"))?;
    if video.width == 0 || video.height == 0 {
        return Err(fail("is cut or damaged: the size of its frames is not known"));
    }
    Ok(describe(video, &probed))
}

fn describe(video: &Stream, probed: &Probed) -> VideoInfo {
    let rotation = video.side_data_list.iter().find_map(|s| s.rotation).unwrap_or(0.0);
    let sideways = (rotation.round() as i64).rem_euclid(180) == 90;
    let turn = |(a, b)| if sideways { (b, a) } else { (a, b) };
    let (width, height) = turn((video.width, video.height));

    let (mean, base) = (Rate::parse(&video.avg_frame_rate), Rate::parse(&video.r_frame_rate));
    let variable = match (mean, base) {
        (Some(mean), Some(base)) => (mean.per_second() / base.per_second() - 1.0).abs() > 1e-3,
        _ => true,
    };
    let rate = mean.or(base).unwrap_or(Rate { frames: 25, seconds: 1 });
    let duration = number(video.duration.as_ref()).or_else(|| number(probed.format.duration.as_ref()));
    let frames = video.nb_frames.as_ref().and_then(|n| n.parse().ok());
    let start =
        number(video.start_time.as_ref()).unwrap_or(0.0) - number(probed.format.start_time.as_ref()).unwrap_or(0.0);
    let codecs = |kind: &str| {
        probed.streams.iter().filter(|s| s.codec_type == kind).map(|s| s.codec_name.clone()).collect::<Vec<_>>()
    };
    let shape = video.sample_aspect_ratio.as_ref().and_then(|t| {
        let (w, h) = t.split_once(':')?;
        let (w, h): (u32, u32) = (w.parse().ok()?, h.parse().ok()?);
        (w > 0 && h > 0 && w != h).then_some(turn((w, h)))
    });
    VideoInfo {
        width,
        height,
        rate,
        variable,
        frames: frames.or_else(|| duration.map(|d| (d * rate.per_second()).round() as u64)),
        duration,
        start: start.max(0.0),
        audio: codecs("audio"),
        subtitles: codecs("subtitle"),
        pixel_shape: shape,
        colour: [&video.color_space, &video.color_primaries, &video.color_transfer].map(Clone::clone),
        full_range: video.pix_fmt.starts_with("yuvj") || video.color_range.as_deref() == Some("pc"),
    }
}

/// The frames of a video, in order, none left out.
#[derive(Debug)]
pub struct Frames {
    path: PathBuf,
    info: VideoInfo,
    process: Process,
    /// A frame as it comes.
    bytes: Vec<u8>,
    /// Times of frames whose rate varies, as ffmpeg names them on stderr.
    times: Receiver<f64>,
    count: u64,
    last_time: f64,
}

impl Frames {
    /// Starts to decode `path`, with `threads` threads (0 = as many as ffmpeg thinks right).
    ///
    /// # Errors
    /// If ffmpeg can't be started.
    pub fn open(path: &Path, info: &VideoInfo, threads: usize) -> Result<Self> {
        // `showinfo` writes each frame's time to stderr; that needs the log level "info".
        let (level, show) = if info.variable { ("level+info", "showinfo=checksum=0,") } else { ("error", "") };
        let mut command = command("ffmpeg", level);
        command.args(["-nostdin", "-nostats", "-threads", &threads.to_string(), "-i"]).arg(file_argument(path));
        // The scale filter does nothing unless frames change their size midway.
        let range = if info.full_range { ":out_range=tv" } else { "" };
        let filters = format!("{show}scale={}:{}{range}", info.width, info.height);
        command.args(["-map", "0:V:0", "-vf", &filters, every_frame_option()?, "passthrough"]);
        command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]).stdout(Stdio::piped());

        let (send, times) = channel();
        let variable = info.variable;
        let process = Process::start("ffmpeg", &mut command, move |line| {
            if !variable {
                return false;
            }
            if let Some(time) = line.split_once(" pts_time:").filter(|_| line.contains("showinfo")) {
                let time = time.1.trim_start().split(' ').next().and_then(|t| t.parse().ok());
                let _ = send.send(time.unwrap_or(f64::NAN));
            }
            !line.contains("[error]") && !line.contains("[fatal]")
        })?;
        process.child.stdout.iter().for_each(widen);
        Ok(Self { path: path.into(), info: info.clone(), process, bytes: Vec::new(), times, count: 0, last_time: 0.0 })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Reads the next frame into `frame` (whose buffer is reused) and gives its time in seconds from the file's start;
    /// `None` after the last one.
    ///
    /// # Errors
    /// If there is no frame at all, or if the file is cut or damaged: what was read before is right.
    pub fn next_into(&mut self, frame: &mut RgbImage) -> Result<Option<f64>> {
        let (width, height) = (self.info.width, self.info.height);
        if frame.dimensions() != (width, height) {
            *frame = RgbImage::new(width, height);
        }
        let Some(stdout) = self.process.child.stdout.as_mut() else { return Ok(None) };
        self.bytes.resize(planes::size((width, height)), 0);
        let buffer = &mut self.bytes[..];
        let mut filled = 0;
        while filled < buffer.len() {
            match stdout.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Process(format!("{}: reading from ffmpeg: {e}", self.path.display()))),
            }
        }
        if filled < buffer.len() {
            return self.end(filled > 0).map(|()| None);
        }
        planes::to_rgb(&self.bytes, planes::matrix(self.info.colour[0].as_deref()), frame)?;
        let time = self.time();
        self.count += 1;
        self.last_time = time;
        Ok(Some(time))
    }

    fn time(&self) -> f64 {
        let by_rate = self.info.start + self.count as f64 / self.info.rate.per_second();
        if !self.info.variable {
            return by_rate;
        }
        // The line is written before the frame is, so this waits for the thread that reads it, not for ffmpeg.
        let told = self.times.recv_timeout(Duration::from_secs(5)).unwrap_or(f64::NAN);
        let time = if told.is_finite() { told } else { by_rate };
        // Times must grow, or the writer would drop the frame.
        if self.count > 0 { time.max(self.last_time + 1e-4) } else { time }
    }

    fn end(&mut self, within_a_frame: bool) -> Result<()> {
        let ended = self.process.wait()?;
        self.process.child.stdout = None;
        let fail = |reason: String| Err(Error::Process(format!("{}: {reason}", self.path.display())));
        if self.count == 0 {
            return fail(format!("no frame could be read ({})", ended.reason()));
        }
        let complaints = ended.everything();
        let fewer = self.info.frames.is_some_and(|expected| self.count + 2 < expected);
        let says_cut = ["partial file", "prematurely", "truncat"].iter().any(|word| complaints.contains(word));
        // Fewer frames alone is no fault: a clip trimmed on a phone still counts those that it hides.
        if within_a_frame || !ended.status.success() || !ended.complaints.is_empty() && (fewer || says_cut) {
            let of = self.info.frames.map_or(String::new(), |n| format!(" of about {n}"));
            return fail(format!("is cut or damaged: {}{of} frames could be read ({})", self.count, ended.reason()));
        }
        if !ended.complaints.is_empty() {
            tracing::warn!("{}: ffmpeg: {complaints}", self.path.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(stream: &str) -> VideoInfo {
        let json = format!(r#"{{"streams":[{{"codec_type":"video",{stream}}}],"format":{{"duration":"2.0"}}}}"#);
        let probed: Probed = serde_json::from_str(&json).unwrap();
        describe(&probed.streams[0], &probed)
    }

    #[test]
    fn a_phone_clip_is_turned_upright() {
        let info = probed(
            r#""width":1920,"height":1080,"r_frame_rate":"30/1","avg_frame_rate":"30/1","sample_aspect_ratio":"4:3","side_data_list":[{"rotation":-90}]"#,
        );
        assert_eq!((info.width, info.height, info.pixel_shape), (1080, 1920, Some((3, 4))));
        assert_eq!((info.frames, info.variable), (Some(60), false));
    }

    #[test]
    fn rates_that_differ_or_are_unknown_are_variable() {
        let mean = r#""width":2,"height":2,"r_frame_rate":"30/1","avg_frame_rate":"270000/9017""#;
        assert!(probed(mean).variable);
        assert!(probed(r#""width":2,"height":2,"r_frame_rate":"15/1","avg_frame_rate":"5/1""#).variable);
        assert!(probed(r#""width":2,"height":2,"r_frame_rate":"0/0","avg_frame_rate":"0/0""#).variable);
        assert_eq!(Rate::parse("30000/1001").map(|r| (r.per_second() * 100.0).round()), Some(2997.0));
    }
}
