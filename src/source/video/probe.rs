//! What a video file is, as ffprobe tells it.

use std::ffi::OsStr;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::source::process::{Origin, output};

/// Pixels that are wider or higher than this many times their other side are taken for an error in the file.
pub(super) const MOST_SHAPE: f64 = 4.0;

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

/// A sound or subtitle track of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its number among all tracks of the file, from 0.
    pub index: usize,
    /// Its codec as ffmpeg names it, or the file's own four letters where ffmpeg does not know it.
    pub codec: String,
    /// Its language, three letters, where the file says.
    pub language: Option<String>,
    /// Channels of sound; 0 if unknown or no sound.
    pub channels: u32,
    /// Whether ffmpeg knows the codec and, of sound, its rate and channels.
    pub known: bool,
}

/// What a video file is.
#[derive(Debug, Clone)]
pub struct VideoInfo {
    /// The file's name, for messages.
    pub name: String,
    /// Width of a frame, pixels as stored, after rotation.
    pub width: u32,
    /// Height of a frame, pixels as stored, after rotation.
    pub height: u32,
    /// Frames a second as the file's header says: the mean, where it varies. Frames' times come from the decoder alone.
    pub rate: Rate,
    /// About how many frames there are; `None` if the file does not say.
    pub frames: Option<u64>,
    /// Duration in seconds; `None` if the file does not say.
    pub duration: Option<f64>,
    /// The picture track's number among all tracks of the file.
    pub track: usize,
    /// Numbers of further picture tracks, which are not read.
    pub other_pictures: Vec<usize>,
    /// The sound tracks.
    pub sound: Vec<Track>,
    /// The subtitle tracks.
    pub subtitles: Vec<Track>,
    /// Whether the container's times may start again midway, as in a recording that was interrupted.
    pub restarts: bool,
    /// Shape of a pixel after rotation, width:height; `None` if square.
    pub pixel_shape: Option<(u32, u32)>,
    /// Colour matrix, primaries and transfer as ffmpeg names them, where the file says. Of RGB, the matrix that it is decoded to.
    pub colour: [Option<String>; 3],
    /// Whether frames are stored as red, green and blue.
    pub rgb: bool,
    /// Whether brightness reaches over 0 to 255, as in pictures, and not over 16 to 235.
    pub full_range: bool,
    /// Whether frames have transparent parts, which no frame keeps.
    pub transparent: bool,
    /// Whether a frame's odd and even lines were taken one after the other.
    pub interlaced: bool,
}

impl VideoInfo {
    /// Frames alone, of one size: no sound, no subtitles, nothing that a file would say.
    pub fn of_frames((width, height): (u32, u32), rate: Rate) -> Self {
        Self {
            name: String::new(),
            width,
            height,
            rate,
            frames: None,
            duration: None,
            track: 0,
            other_pictures: Vec::new(),
            sound: Vec::new(),
            subtitles: Vec::new(),
            restarts: false,
            pixel_shape: None,
            colour: [Some(matrix_of_rgb(height).to_owned()), None, None],
            rgb: true,
            full_range: false,
            transparent: false,
            interlaced: false,
        }
    }
}

/// The matrix that players assume for pictures of this height, and so the one to turn RGB into.
fn matrix_of_rgb(height: u32) -> &'static str {
    if height >= 720 { "bt709" } else { "smpte170m" }
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
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stream {
    index: usize,
    codec_type: String,
    codec_name: Option<String>,
    codec_tag_string: String,
    width: u32,
    height: u32,
    r_frame_rate: String,
    avg_frame_rate: String,
    nb_frames: Option<String>,
    duration: Option<String>,
    sample_aspect_ratio: Option<String>,
    pix_fmt: String,
    field_order: String,
    color_range: Option<String>,
    color_space: Option<String>,
    color_primaries: Option<String>,
    color_transfer: Option<String>,
    sample_rate: Option<String>,
    channels: Option<u32>,
    disposition: Disposition,
    side_data_list: Vec<SideData>,
    tags: Tags,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
    timed_thumbnails: u8,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SideData {
    rotation: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tags {
    language: Option<String>,
    #[serde(alias = "ALPHA_MODE")]
    alpha_mode: Option<String>,
}

impl Stream {
    fn is_picture(&self) -> bool {
        self.codec_type == "video" && self.disposition.attached_pic == 0 && self.disposition.timed_thumbnails == 0
    }

    fn track(&self) -> Track {
        let name = self.codec_name.clone().filter(|name| name != "none" && name != "unknown");
        let sounds = self.codec_type != "audio"
            || self.channels.is_some_and(|n| n > 0)
                && self.sample_rate.as_deref().and_then(|r| r.parse::<u32>().ok()).is_some_and(|r| r > 0);
        Track {
            index: self.index,
            known: name.is_some() && sounds,
            codec: name.unwrap_or_else(|| self.codec_tag_string.clone()),
            language: self.tags.language.clone().filter(|language| language != "und"),
            channels: self.channels.unwrap_or(0),
        }
    }
}

fn number(text: Option<&String>) -> Option<f64> {
    text.and_then(|t| t.parse::<f64>().ok()).filter(|v| v.is_finite())
}

/// What the video file `path` is.
///
/// # Errors
/// If it is missing, empty, no video, or a picture; if ffmpeg is not installed.
pub fn probe(path: &Path) -> Result<VideoInfo> {
    probe_as(path, &path.display().to_string())
}

/// As [`probe`], with another name for messages.
///
/// # Errors
/// As [`probe`].
pub fn probe_as(path: &Path, name: &str) -> Result<VideoInfo> {
    let fail = |reason: &str| Error::Process(format!("{name}: {reason}"));
    let about = std::fs::metadata(path).map_err(Error::io(name))?;
    if about.is_dir() {
        return Err(fail("is a folder, not a video"));
    }
    if about.is_file() && about.len() == 0 {
        return Err(fail("is empty (0 bytes)"));
    }
    probe_origin(&Origin::file(path), name)
}

/// As [`probe_as`], of a file or an address.
pub(crate) fn probe_origin(origin: &Origin, name: &str) -> Result<VideoInfo> {
    let fail = |reason: &str| Error::Process(format!("{name}: {reason}"));
    let wanted = ["-show_streams", "-show_format", "-of", "json"].map(OsStr::new);
    let arguments: Vec<&OsStr> = wanted.into_iter().chain(origin.arguments()).collect();
    let (json, ended) = output("ffprobe", &arguments)?;
    if !ended.status.success() {
        let hint = if ended.everything().contains("moov atom not found") {
            "is not a video, or is cut or still being written: its index (the moov atom) is missing".to_owned()
        } else {
            let last = ended.reason();
            let last = last.strip_prefix(&format!("{}: ", origin.name())).unwrap_or(&last).to_owned();
            let what = if origin.is_file() { "is not a video, or is damaged" } else { "can't be read" };
            format!("{what} ({last})")
        };
        return Err(fail(&hint));
    }
    let probed: Probed =
        serde_json::from_slice(&json).map_err(|e| fail(&format!("ffprobe's answer can't be read: {e}")))?;
    let format = probed.format.format_name.as_str();
    if format == "tty" {
        return Err(fail("is not a video but text"));
    }
    if format == "webp_pipe" && origin.is_animated_webp() {
        return Err(fail("is an animated WebP, which this machine's ffmpeg can't read; make it a GIF or a video"));
    }
    if format == "image2" || format.ends_with("_pipe") {
        return Err(fail("is a picture, not a video; use `facecascade detect`"));
    }
    let picture = probed.streams.iter().find(|s| s.is_picture());
    let picture = picture.ok_or_else(|| fail("holds no video, only sound or data"))?;
    if picture.width == 0 || picture.height == 0 {
        return Err(fail("is cut or damaged: the size of its frames is not known"));
    }
    Ok(describe(picture, &probed, name))
}

fn describe(video: &Stream, probed: &Probed, name: &str) -> VideoInfo {
    let rotation = video.side_data_list.iter().find_map(|s| s.rotation).unwrap_or(0.0);
    let sideways = (rotation.round() as i64).rem_euclid(180) == 90;
    let turn = |(a, b)| if sideways { (b, a) } else { (a, b) };
    let (width, height) = turn((video.width, video.height));

    let rate = Rate::parse(&video.avg_frame_rate).or_else(|| Rate::parse(&video.r_frame_rate));
    let rate = rate.unwrap_or(Rate { frames: 25, seconds: 1 });
    let duration = number(video.duration.as_ref()).or_else(|| number(probed.format.duration.as_ref()));
    let frames = video.nb_frames.as_ref().and_then(|n| n.parse().ok());
    let tracks =
        |kind: &str| probed.streams.iter().filter(|s| s.codec_type == kind).map(Stream::track).collect::<Vec<_>>();
    let pictures = probed.streams.iter().filter(|s| s.is_picture()).map(|s| s.index);
    let shape = video.sample_aspect_ratio.as_ref().and_then(|t| {
        let (w, h) = t.split_once(':')?;
        let (w, h): (u32, u32) = (w.parse().ok()?, h.parse().ok()?);
        let plausible = w > 0 && h > 0 && f64::from(w.max(h)) <= MOST_SHAPE * f64::from(w.min(h));
        (plausible && w != h).then_some(turn((w, h)))
    });
    let rgb = is_rgb(&video.pix_fmt);
    let matrix = if rgb { Some(matrix_of_rgb(height).to_owned()) } else { video.color_space.clone() };
    VideoInfo {
        name: name.to_owned(),
        width,
        height,
        rate,
        frames: frames.or_else(|| duration.map(|d| (d * rate.per_second()).round() as u64)),
        duration,
        track: video.index,
        other_pictures: pictures.filter(|index| *index != video.index).collect(),
        sound: tracks("audio"),
        subtitles: tracks("subtitle"),
        restarts: ["mpegts", "mpeg", "ogg"].contains(&probed.format.format_name.as_str()),
        pixel_shape: shape,
        colour: [matrix, video.color_primaries.clone(), video.color_transfer.clone()],
        rgb,
        full_range: video.pix_fmt.starts_with("yuvj") || !rgb && video.color_range.as_deref() == Some("pc"),
        transparent: is_transparent(&video.pix_fmt) || video.tags.alpha_mode.as_deref() == Some("1"),
        interlaced: ["tt", "bb", "tb", "bt"].contains(&video.field_order.as_str()),
    }
}

/// Whether ffmpeg's pixel format of this name holds red, green and blue.
fn is_rgb(format: &str) -> bool {
    ["rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2rgb", "x2bgr", "pal8"]
        .iter()
        .any(|rgb| format.starts_with(rgb))
}

/// Whether ffmpeg's pixel format of this name holds transparency.
fn is_transparent(format: &str) -> bool {
    ["yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16"].iter().any(|with| format.starts_with(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(stream: &str) -> VideoInfo {
        let json = format!(r#"{{"streams":[{{"codec_type":"video",{stream}}}],"format":{{"duration":"2.0"}}}}"#);
        let probed: Probed = serde_json::from_str(&json).unwrap();
        describe(&probed.streams[0], &probed, "a.mp4")
    }

    #[test]
    fn a_phone_clip_is_turned_upright() {
        let info = probed(
            r#""width":1920,"height":1080,"r_frame_rate":"30/1","avg_frame_rate":"30/1","sample_aspect_ratio":"4:3","side_data_list":[{"rotation":-90}]"#,
        );
        assert_eq!((info.width, info.height, info.pixel_shape), (1080, 1920, Some((3, 4))));
        assert_eq!(info.frames, Some(60));
    }

    #[test]
    fn rates_are_fractions_and_a_missing_one_is_known() {
        let rate = |rates: &str| probed(&format!(r#""width":2,"height":2,{rates}"#)).rate;
        assert_eq!(
            rate(r#""r_frame_rate":"30/1","avg_frame_rate":"270000/9017""#),
            Rate { frames: 270_000, seconds: 9017 }
        );
        assert_eq!(rate(r#""r_frame_rate":"15/1","avg_frame_rate":"0/0""#), Rate { frames: 15, seconds: 1 });
        assert_eq!(rate(r#""r_frame_rate":"0/0","avg_frame_rate":"0/0""#), Rate { frames: 25, seconds: 1 });
        assert_eq!(Rate::parse("30000/1001").map(|r| (r.per_second() * 100.0).round()), Some(2997.0));
    }

    #[test]
    fn an_absurd_shape_of_pixels_is_an_error_of_the_file() {
        let shape =
            |shape: &str| probed(&format!(r#""width":2,"height":2,"sample_aspect_ratio":"{shape}""#)).pixel_shape;
        assert_eq!((shape("64:45"), shape("1:1"), shape("0:1"), shape("1:100")), (Some((64, 45)), None, None, None));
    }

    #[test]
    fn what_is_stored_as_rgb_gets_the_matrix_that_players_assume() {
        let info = probed(r#""width":1280,"height":720,"pix_fmt":"gbrp","color_space":"gbr""#);
        assert!(info.rgb && !info.transparent && info.colour[0].as_deref() == Some("bt709"));
        let info = probed(r#""width":320,"height":240,"pix_fmt":"argb","color_range":"pc""#);
        assert!(info.rgb && info.transparent && !info.full_range && info.colour[0].as_deref() == Some("smpte170m"));
        let info = probed(r#""width":1280,"height":720,"pix_fmt":"yuv420p","color_range":"pc""#);
        assert!(!info.rgb && info.full_range && info.colour[0].is_none());
    }
}
