//! Records a live run into a video file: a thread writes, so that neither disk nor encoder ever delays what is shown.

use std::path::Path;

use image::{RgbImage, imageops};

use super::video::VideoWriter;
use super::writer::Writer;
use crate::error::Result;
use crate::source::video::{Rate, VideoInfo};

/// Frames that may wait for the encoder; those that find no place are left out.
const WAITING: usize = 8;

/// A recording under way. Frames keep the times at which they were taken.
#[derive(Debug)]
pub struct Recorder {
    writer: Option<Writer<()>>,
    last: Option<f64>,
    left_out: u64,
}

impl Recorder {
    /// Starts to write `target` (.mp4, .mov or .mkv) with frames of about `rate` a second. The first frame sets the size.
    ///
    /// # Errors
    /// If `target` can't be written, or ffmpeg is not installed.
    pub fn create(target: &Path, size: (u32, u32), rate: f64) -> Result<Self> {
        let rate = Rate { frames: (rate * 1000.0).round().clamp(1.0, 1e6) as u32, seconds: 1000 };
        let info = VideoInfo::of_frames(size, rate, true);
        let video = VideoWriter::create(target, None, &info, 0)?;
        let fit = move |frame: &mut RgbImage, ()| {
            // A video has one size; a camera may change its own.
            if frame.dimensions() != size {
                *frame = imageops::resize(frame, size.0, size.1, imageops::FilterType::Triangle);
            }
        };
        let writer = Some(Writer::start(target, video, WAITING, fit)?);
        Ok(Self { writer, last: None, left_out: 0 })
    }

    /// Records a frame taken at `seconds`, with what `draw` adds to it.
    ///
    /// # Errors
    /// If writing failed.
    pub fn frame(&mut self, frame: &RgbImage, seconds: f64, draw: impl FnOnce(&mut RgbImage)) -> Result<()> {
        // Times must grow, or the video has two pictures at once.
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

    /// Frames that the encoder had no time for.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Ends the file; how many frames it holds.
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
        // What was recorded is kept, whatever ended the run.
        let _ = self.end();
    }
}
