//! Encoders of the picture: ffmpeg's own names, one scale of quality for all.

use std::ffi::OsStr;
use std::process::Command;

use super::container::Container;
use super::video::TIME_BASE;
use crate::error::{Error, Result};
use crate::source::process::output;

/// The quality that nobody asked for.
pub const QUALITY: u8 = 20;
/// The worst quality.
pub const WORST: u8 = 51;

/// What the picture is encoded with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoder {
    name: String,
    quality: Option<u8>,
}

impl Default for Encoder {
    /// H.264 on the CPU.
    fn default() -> Self {
        Self { name: "libx264".to_owned(), quality: None }
    }
}

impl Encoder {
    /// An encoder by ffmpeg's name, with a quality from 0 (nothing is lost) to [`WORST`], as x264 counts; `None`: [`QUALITY`].
    ///
    /// # Errors
    /// If `quality` is given for an encoder of which no scale is known.
    pub fn new(name: &str, quality: Option<u8>) -> Result<Self> {
        if quality.is_some() && scale(name, QUALITY).is_none() {
            return Err(Error::Setting(format!("--quality: the encoder {name} has no quality that is known here")));
        }
        Ok(Self { name: name.to_owned(), quality: quality.map(|quality| quality.min(WORST)) })
    }

    /// Encodes a few grey frames, to see whether the encoder is there, runs on this machine and goes into `container`.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(&self, container: Container) -> Result<()> {
        let mut command = Command::new("ffmpeg");
        self.device(&mut command);
        command.args(["-f", "lavfi", "-i", "color=gray:s=320x240:r=25:d=0.2"]);
        self.arguments(&mut command, container, "format=yuv420p");
        // Some take no frames at times of their own.
        command.args(["-enc_time_base", &format!("1/{}", self.most_units().min(TIME_BASE))]);
        if container != Container::Matroska {
            command.args(["-movflags", "frag_keyframe+empty_moov"]);
        }
        command.args(["-f", container.format(), "pipe:1"]);
        let arguments: Vec<&OsStr> = command.get_args().collect();
        let (bytes, ended) = output("ffmpeg", &arguments)?;
        if ended.status.success() && !bytes.is_empty() {
            return Ok(());
        }
        let complaints = ended.everything();
        let reason = if complaints.contains("Unknown encoder") {
            "this ffmpeg has no encoder of that name (`ffmpeg -encoders` lists those that it has)".to_owned()
        } else {
            let of = container.format();
            format!("does not work here or not in .{of} ({complaints}); without --encoder, libx264 is used")
        };
        Err(Error::Setting(format!("--encoder {}: {reason}", self.name)))
    }

    /// Units of a second in which it can be told the frames' times, at most.
    pub(super) fn most_units(&self) -> u32 {
        if self.name == "mpeg4" { u32::from(u16::MAX) } else { 1_000_000 }
    }

    /// Adds what has to stand before the inputs.
    pub(super) fn device(&self, command: &mut Command) {
        if self.name.ends_with("_vaapi") {
            command.args(["-vaapi_device", "/dev/dri/renderD128"]);
        }
    }

    /// Adds the options of the output's picture; `filters` come before the encoder's own.
    pub(super) fn arguments(&self, command: &mut Command, container: Container, filters: &str) {
        let upload = if self.name.ends_with("_vaapi") { ",format=nv12,hwupload" } else { "" };
        command.args(["-vf", &format!("{filters}{upload}"), "-c:v", &self.name]);
        command.args(scale(&self.name, self.quality.unwrap_or(QUALITY)).unwrap_or_default());
        let hevc = self.name == "libx265" || self.name.starts_with("hevc");
        if hevc && container != Container::Matroska {
            // Under its other name, Apple's players do not know it.
            command.args(["-tag:v", "hvc1"]);
        }
    }
}

/// ffmpeg's options for an encoder and a quality from 0 to [`WORST`]; `None` if the encoder has no such options.
fn scale(encoder: &str, quality: u8) -> Option<Vec<String>> {
    let q = quality.to_string();
    // AV1 and VP9 count to 63, and what x264 calls 20 looks like their 30.
    let q63 = (u32::from(quality) * 3 / 2).min(63).to_string();
    let of_100 = (100 - u32::from(quality) * 99 / u32::from(WORST)).to_string();
    let options: &[&str] = match encoder {
        "libx264" | "libx265" => &["-preset", "veryfast", "-crf", &q],
        "libsvtav1" => &["-preset", "8", "-crf", &q63],
        "libaom-av1" => &["-cpu-used", "6", "-row-mt", "1", "-crf", &q63, "-b:v", "0"],
        "libvpx-vp9" => &["-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1", "-crf", &q63, "-b:v", "0"],
        _ => match encoder.rsplit_once('_')?.1 {
            "nvenc" => &["-rc", "vbr", "-cq", &q, "-b:v", "0"],
            "qsv" => &["-global_quality", &q],
            "vaapi" => &["-rc_mode", "CQP", "-qp", &q],
            "amf" => &["-rc", "cqp", "-qp_i", &q, "-qp_p", &q],
            "videotoolbox" => &["-q:v", &of_100],
            _ => return None,
        },
    };
    Some(options.iter().map(|&option| option.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_is_for_encoders_that_have_one() {
        assert!(Encoder::new("h264_nvenc", Some(30)).is_ok() && Encoder::new("h264_v4l2m2m", None).is_ok());
        assert!(Encoder::new("h264_v4l2m2m", Some(30)).is_err() && Encoder::new("mpeg4", Some(3)).is_err());
        let options = |name, quality| scale(name, quality).unwrap().join(" ");
        assert_eq!(options("libx264", QUALITY), "-preset veryfast -crf 20");
        assert!(options("libsvtav1", WORST).ends_with("-crf 63") && options("hevc_videotoolbox", 0).ends_with(" 100"));
    }

    #[test]
    fn an_encoder_is_tried_before_it_is_used() {
        let check = |name: &str| Encoder::new(name, None).unwrap().check(Container::Mp4);
        if check("libx264").is_err() {
            let mut err = std::io::stderr();
            let _ = std::io::Write::write_all(&mut err, b"skipped: ffmpeg is not installed\n");
            return;
        }
        let error = check("h264_nosuchthing").unwrap_err().to_string();
        assert!(error.contains("h264_nosuchthing") && error.contains("ffmpeg -encoders"), "{error}");
        // WebP has no place in MP4.
        assert!(check("libwebp").is_err());
    }
}
