//! Files as if they were a camera: a video at its own pace, where who comes late loses frames; a picture again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::video::{self, Frames};
use super::{Source, Stamp, picture};
use crate::error::Result;

/// Frames a second of a still picture.
const STILL_RATE: f64 = 30.0;

/// So many frames in a row are left out at most: where decoding is slower than the video, something is still shown.
const MOST_LEFT_OUT: u32 = 100;

/// A video that is so late goes on from where it is.
const TOO_LATE: Duration = Duration::from_secs(1);

/// A video or a picture that is played.
#[derive(Debug)]
pub struct Playback {
    what: What,
    start: Option<Instant>,
    dropped: u64,
}

#[derive(Debug)]
enum What {
    Video {
        frames: Box<Frames>,
        /// A frame that was read but is not shown yet, and the buffer it lies in.
        ahead: Option<f64>,
        buffer: RgbImage,
    },
    Still {
        picture: RgbImage,
        name: String,
        count: u64,
    },
}

impl Playback {
    /// Plays `path`, a video or a picture; videos are decoded with `threads` threads (0 = as many as ffmpeg thinks right).
    ///
    /// # Errors
    /// If it can't be read, or is neither; if it is a video and ffmpeg is not installed.
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        let what = if picture::is_named_like_one(path) {
            What::Still { picture: picture::read(path)?, name: path.display().to_string(), count: 0 }
        } else {
            let info = video::probe(path)?;
            let frames = Box::new(Frames::open(path, &info, threads)?);
            What::Video { frames, ahead: None, buffer: RgbImage::new(0, 0) }
        };
        Ok(Self { what, start: None, dropped: 0 })
    }
}

impl Source for Playback {
    fn describe(&self) -> String {
        match &self.what {
            What::Video { frames, .. } => frames.describe(),
            What::Still { picture, name, .. } => {
                format!("{name} ({}×{}, at {STILL_RATE} frames/s)", picture.width(), picture.height())
            }
        }
    }

    fn size(&self) -> Option<(u32, u32)> {
        match &self.what {
            What::Video { frames, .. } => frames.size(),
            What::Still { picture, .. } => Some(picture.dimensions()),
        }
    }

    fn frame_rate(&self) -> Option<f64> {
        match &self.what {
            What::Video { frames, .. } => frames.frame_rate(),
            What::Still { .. } => Some(STILL_RATE),
        }
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let time = match &mut self.what {
            What::Still { picture, count, .. } => {
                let now = self.start.map_or(0.0, |start| start.elapsed().as_secs_f64());
                let newest = ((now * STILL_RATE) as u64).max(*count);
                self.dropped += newest - *count;
                *count = newest + 1;
                into.clone_from(picture);
                newest as f64 / STILL_RATE
            }
            What::Video { frames, ahead, buffer } => {
                let Some(mut time) = (match ahead.take() {
                    Some(time) => Some(time),
                    None => frames.next_into(buffer)?,
                }) else {
                    return Ok(None);
                };
                std::mem::swap(into, buffer);
                // As long as the one behind it is due as well, this one is late.
                let mut left_out = 0;
                while let Some(start) = self.start
                    && left_out < MOST_LEFT_OUT
                    && let Some(next) = frames.next_into(buffer)?
                {
                    if start + Duration::from_secs_f64(next.max(0.0)) > Instant::now() {
                        *ahead = Some(next);
                        break;
                    }
                    self.dropped += 1;
                    left_out += 1;
                    time = next;
                    std::mem::swap(into, buffer);
                }
                time
            }
        };
        let time_in = Duration::from_secs_f64(time.max(0.0));
        let now = Instant::now();
        // The first frame is due when it was read; so is one that decoding is far too slow for.
        let in_time = |start: &Instant| now.saturating_duration_since(*start + time_in) < TOO_LATE;
        let start = self.start.filter(in_time).unwrap_or_else(|| now.checked_sub(time_in).unwrap_or(now));
        self.start = Some(start);
        let due = start + time_in;
        std::thread::sleep(due.saturating_duration_since(now));
        Ok(Some(Stamp { captured: due, time }))
    }

    fn dropped(&self) -> u64 {
        self.dropped
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
        let mut playback = Playback::open(&ours("assets/astronaut.jpg"), 1).unwrap();
        let mut frame = RgbImage::new(0, 0);
        let first = playback.next(&mut frame).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(250));
        let second = playback.next(&mut frame).unwrap().unwrap();
        assert_eq!(frame.dimensions(), (512, 512));
        assert!(second.time - first.time >= 0.2 && playback.dropped() >= 6, "{}", playback.dropped());
        assert!(second.captured >= first.captured + Duration::from_millis(200));
    }

    #[test]
    fn each_frame_of_a_video_is_shown_at_its_time_or_counted_as_late() {
        let Ok(mut playback) = Playback::open(&ours("assets/two-faces-tilting.mp4"), 1) else {
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
