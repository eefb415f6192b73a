//! Cameras and other streams in the network, read through ffmpeg: `rtsp://…`, `udp://…`, `http://…`. One that is lost is opened again.

use std::time::{Duration, Instant};

use image::RgbImage;

use super::device::{CameraDevice, Coding, Shot};
use super::{Camera, Timeouts};
use crate::error::Result;
use crate::source::Source;
use crate::source::input::without_password;
use crate::source::playback::Playback;
use crate::source::process::Origin;
use crate::source::square::squared;
use crate::source::video::{Frames, VideoInfo, probe_origin};

/// A stream needs a while to begin: players wait for a picture that stands for itself.
const TIMEOUTS: Timeouts =
    Timeouts { stall: Duration::from_secs(5), retry: Duration::from_secs(1), give_up: Duration::from_secs(30) };

/// A stream whose frames come when they come.
struct Stream {
    frames: Frames,
    picture: RgbImage,
}

impl CameraDevice for Stream {
    fn describe(&self) -> String {
        self.frames.describe()
    }

    fn size(&self) -> Option<(u32, u32)> {
        self.frames.size()
    }

    fn rate(&self) -> Option<f64> {
        self.frames.frame_rate()
    }

    fn grab(&mut self, bytes: &mut Vec<u8>) -> std::result::Result<Shot, String> {
        match self.frames.next_into(&mut self.picture) {
            Ok(Some(_)) => {}
            Ok(None) => return Err("it ended".into()),
            Err(e) => return Err(e.to_string()),
        }
        bytes.clone_from(self.picture.as_raw());
        let (width, height) = self.picture.dimensions();
        Ok(Shot { width, height, coding: Coding::Rgb, captured: Instant::now() })
    }
}

/// Opens an address: what has an end is played as a file is, all else as from a camera. Decodes with `threads` threads (0 = as
/// many as ffmpeg thinks right).
///
/// # Errors
/// If nothing answers there, or it is no video; if ffmpeg is not installed.
pub fn open(address: &str, threads: usize) -> Result<Box<dyn Source>> {
    let (origin, name) = (Origin::live(address), without_password(address));
    let hidden = |e: crate::Error| crate::Error::Process(e.to_string().replace(address, &name));
    let info = probe_origin(&origin, &name).map_err(hidden)?;
    if info.duration.is_some() {
        return Playback::of(&origin, &info, threads);
    }
    let shape = info.pixel_shape;
    let camera: Box<dyn Source> = Box::new(Camera::start(opener(origin, info, threads), TIMEOUTS)?);
    Ok(match shape {
        Some(shape) => Box::new(squared(camera, shape, false).0),
        None => camera,
    })
}

/// Opens the stream, again and again.
fn opener(origin: Origin, info: VideoInfo, threads: usize) -> super::device::Open {
    Box::new(move || {
        let frames = Frames::of(&origin, &info, threads).map_err(|e| e.to_string())?;
        Ok(Box::new(Stream { frames, picture: RgbImage::default() }))
    })
}
