//! Records a live run into a video file. A thread of its own writes, so that neither disk nor encoder delays the window.

use std::path::Path;

use image::{RgbImage, imageops};

use super::video::{VideoOptions, VideoWriter};
use super::writer::Writer;
use crate::error::Result;
use crate::source::video::{Rate, VideoInfo};

/// Most frames that wait for the encoder; frames that come while so many wait are left out.
const WAITING: usize = 8;

/// A recording in progress. Frames keep their capture times.
#[derive(Debug)]
pub struct Recorder {
    writer: Option<Writer<()>>,
    /// Time of the last frame recorded, seconds.
    last: Option<f64>,
    left_out: u64,
}

impl Recorder {
    /// Starts to write `target` (.mp4, .mov or .mkv) with frames of `size` pixels, about `rate` of them a second. Frames
    /// of another size are scaled.
    ///
    /// # Errors
    /// If `target` can't be written, or ffmpeg is not installed.
    pub fn create(target: &Path, size: (u32, u32), rate: f64) -> Result<Self> {
        let rate = Rate { frames: (rate * 1000.0).round().clamp(1.0, 1e6) as u32, seconds: 1000 };
        let info = VideoInfo::of_frames(size, rate);
        let video = VideoWriter::create(target, &info, VideoOptions::default())?;
        let fit = move |frame: &mut RgbImage, ()| {
            // All frames of a video have one size; a camera may change its own.
            if frame.dimensions() != size {
                *frame = imageops::resize(frame, size.0, size.1, imageops::FilterType::Triangle);
            }
        };
        let writer = Some(Writer::start(target, video, WAITING, fit)?);
        Ok(Self { writer, last: None, left_out: 0 })
    }

    /// Records a copy of a frame taken at `seconds`, after `draw` has drawn onto the copy.
    ///
    /// # Errors
    /// If writing failed.
    pub fn frame(&mut self, frame: &RgbImage, seconds: f64, draw: impl FnOnce(&mut RgbImage)) -> Result<()> {
        // Times in a video must grow from frame to frame.
        if self.last.is_some_and(|last| seconds <= last) {
            return Ok(());
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if writer.is_full() {
            self.left_out += 1;
            return Ok(());
        }
        let mut copy = writer.buffer();
        copy.clone_from(frame);
        draw(&mut copy);
        self.last = Some(seconds);
        writer.send(copy, seconds, ())
    }

    /// Number of frames left out because the encoder was too slow.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Finishes the file, and returns how many frames it holds.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn finish(mut self) -> Result<u64> {
        self.end()
    }

    fn end(&mut self) -> Result<u64> {
        self.writer.take().map_or(Ok(0), |writer| Ok(writer.finish(false)?.0))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The recording is kept, whatever ended the run.
        let _ = self.end();
    }
}
