//! Plays files as if they were a camera: a video at its own frame rate, where a slow reader loses frames; a picture again
//! and again.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::input::Input;
use super::pace::Pace;
#[cfg(feature = "camera")]
use super::process::Origin;
use super::square::squared;
#[cfg(feature = "camera")]
use super::video::Frames;
use super::video::{Rate, VideoInfo};
use super::{Source, Stamp, picture};
use crate::error::Result;

/// Frame rate of a still picture, frames a second.
const STILL_RATE: f64 = 30.0;

/// Frame rate of numbered pictures, frames a second.
const SEQUENCE_RATE: Rate = Rate { frames: 25, seconds: 1 };

/// Most frames dropped in a row, so that something is shown even if decoding is slower than the video.
const MOST_SKIPPED: u32 = 100;

/// A video that is later than this does not catch up: its clock is set back.
const TOO_LATE: Duration = Duration::from_secs(1);

/// A video or a picture being played.
pub struct Playback {
    what: What,
}

enum What {
    Video(Video),
    Still { picture: RgbImage, name: String, pace: Pace },
}

/// A video played at the times of its own frames.
struct Video {
    frames: Box<dyn Source>,
    /// Time of a frame that was read and not given yet, seconds; the frame lies in `buffer`.
    ahead: Option<f64>,
    buffer: RgbImage,
    /// When the frame of time 0 was due.
    start: Option<Instant>,
    dropped: u64,
    /// What is stored in a temporary file stays there while it is played.
    _input: Option<Input>,
}

impl Playback {
    /// Plays `path`: a picture, or anything that [`Input::open`] finds, which `stop` ends. Videos are decoded with `threads` threads
    /// (0 = as many as ffmpeg thinks right), and shown in square pixels.
    ///
    /// # Errors
    /// If the file can't be read, is neither a video nor a picture, or is a video and ffmpeg is not installed.
    pub fn open(path: &Path, threads: usize, stop: &AtomicBool) -> Result<Self> {
        let what = if picture::is_named_like_one(path) && path.is_file() {
            What::Still { picture: picture::read(path)?, name: path.display().to_string(), pace: Pace::new(STILL_RATE) }
        } else {
            let input = Input::open(path, stop)?;
            let info = input.info(SEQUENCE_RATE)?;
            let frames = input.frames(&info, threads)?;
            What::Video(Video::new(frames, &info, Some(input)))
        };
        Ok(Self { what })
    }

    /// Plays a video that `origin` names.
    ///
    /// # Errors
    /// If ffmpeg can't be started.
    #[cfg(feature = "camera")]
    pub(super) fn of(origin: &Origin, info: &VideoInfo, threads: usize) -> Result<Box<dyn Source>> {
        let frames = Box::new(Frames::of(origin, info, threads)?);
        Ok(Box::new(Self { what: What::Video(Video::new(frames, info, None)) }))
    }
}

impl Video {
    fn new(frames: Box<dyn Source>, info: &VideoInfo, input: Option<Input>) -> Self {
        let frames = match info.pixel_shape {
            Some(shape) => Box::new(squared(frames, shape, false).0),
            None => frames,
        };
        Self { frames, ahead: None, buffer: RgbImage::default(), start: None, dropped: 0, _input: input }
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let Self { frames, ahead, buffer, start, dropped, .. } = self;
        let Some(mut time) = (match ahead.take() {
            Some(time) => Some(time),
            None => frames.next(buffer)?.map(|stamp| stamp.time),
        }) else {
            return Ok(None);
        };
        std::mem::swap(into, buffer);
        // While the next frame is due as well, this one is late and is dropped.
        let mut skipped = 0;
        while let Some(start) = *start
            && skipped < MOST_SKIPPED
            && let Some(Stamp { time: next, .. }) = frames.next(buffer)?
        {
            if start + Duration::from_secs_f64(next.max(0.0)) > Instant::now() {
                *ahead = Some(next);
                break;
            }
            *dropped += 1;
            skipped += 1;
            time = next;
            std::mem::swap(into, buffer);
        }
        let time_in = Duration::from_secs_f64(time.max(0.0));
        let now = Instant::now();
        // The first frame is due as soon as it was read; so is one that is far too late.
        let in_time = |start: &Instant| now.saturating_duration_since(*start + time_in) < TOO_LATE;
        let start = *start.insert(start.filter(in_time).unwrap_or_else(|| now.checked_sub(time_in).unwrap_or(now)));
        let due = start + time_in;
        std::thread::sleep(due.saturating_duration_since(now));
        Ok(Some(Stamp { captured: due, time }))
    }
}

impl Source for Playback {
    fn describe(&self) -> String {
        match &self.what {
            What::Video(video) => video.frames.describe(),
            What::Still { picture, name, .. } => {
                format!("{name} ({}×{}, at {STILL_RATE} frames/s)", picture.width(), picture.height())
            }
        }
    }

    fn size(&self) -> Option<(u32, u32)> {
        match &self.what {
            What::Video(video) => video.frames.size(),
            What::Still { picture, .. } => Some(picture.dimensions()),
        }
    }

    fn frame_rate(&self) -> Option<f64> {
        match &self.what {
            What::Video(video) => video.frames.frame_rate(),
            What::Still { .. } => Some(STILL_RATE),
        }
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        match &mut self.what {
            What::Video(video) => video.next(into),
            What::Still { picture, pace, .. } => {
                let Some(frame) = pace.next(u64::MAX) else { return Ok(None) };
                into.clone_from(picture);
                Ok(Some(Stamp { captured: pace.wait_for(frame), time: frame as f64 / STILL_RATE }))
            }
        }
    }

    fn dropped(&self) -> u64 {
        match &self.what {
            What::Video(video) => video.dropped,
            What::Still { pace, .. } => pace.dropped(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn ours(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn a_picture_is_shown_again_and_again() {
        let mut playback = Playback::open(&ours("assets/astronaut.jpg"), 1, &AtomicBool::new(false)).unwrap();
        let mut frame = RgbImage::new(0, 0);
        let first = playback.next(&mut frame).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(250));
        let second = playback.next(&mut frame).unwrap().unwrap();
        assert_eq!(frame.dimensions(), (512, 512));
        assert!(second.time - first.time >= 0.2 && playback.dropped() >= 6, "{}", playback.dropped());
        assert!(second.captured >= first.captured + Duration::from_millis(200));
    }

    #[test]
    fn each_frame_of_a_video_is_shown_at_its_time_or_counted_as_dropped() {
        let Ok(mut playback) = Playback::open(&ours("assets/two-faces-tilting.mp4"), 1, &AtomicBool::new(false)) else {
            let mut err = std::io::stderr();
            let _ = std::io::Write::write_all(&mut err, b"skipped: ffmpeg is not installed\n");
            return;
        };
        let mut frame = RgbImage::new(0, 0);
        let begin = Instant::now();
        let mut seen = 0;
        while let Some(stamp) = playback.next(&mut frame).unwrap() {
            seen += 1;
            // The slow reader loses frames.
            if seen == 3 {
                std::thread::sleep(Duration::from_millis(500));
            }
            if stamp.time > 2.0 {
                break;
            }
        }
        assert!(playback.dropped() >= 4, "{} lost", playback.dropped());
        assert!(begin.elapsed() >= Duration::from_millis(1900), "at its own pace: {:?}", begin.elapsed());
        assert!((24..=27).contains(&(seen + playback.dropped())), "{seen} + {} of about 25", playback.dropped());
    }
}
