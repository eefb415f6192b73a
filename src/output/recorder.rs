//! Records a live run into a video file: a thread writes, so that neither disk nor encoder ever delays what is shown.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use image::{RgbImage, imageops};

use super::video::VideoWriter;
use crate::error::{Error, Result};
use crate::source::video::{Rate, VideoInfo};

/// Frames that may wait for the encoder; those that find no place are left out.
const WAITING: usize = 8;

/// A recording under way. Frames keep the times at which they were taken.
#[derive(Debug)]
pub struct Recorder {
    target: PathBuf,
    frames: Option<Sender<(RgbImage, f64)>>,
    /// Buffers that were written and can be used again.
    used: Receiver<RgbImage>,
    writer: Option<JoinHandle<Result<u64>>>,
    last: Option<f64>,
    left_out: u64,
}

impl Recorder {
    /// Starts to write `target` (.mp4, .mov or .mkv) with frames of about `rate` a second. The first frame sets the size.
    ///
    /// # Errors
    /// If `target` can't be written, or ffmpeg is not installed.
    pub fn create(target: &Path, size: (u32, u32), rate: f64) -> Result<Self> {
        let info = VideoInfo {
            width: size.0,
            height: size.1,
            rate: Rate { frames: (rate * 1000.0).round().clamp(1.0, 1e6) as u32, seconds: 1000 },
            variable: true,
            frames: None,
            duration: None,
            start: 0.0,
            audio: Vec::new(),
            subtitles: Vec::new(),
            pixel_shape: None,
            colour: [None, None, None],
        };
        let mut video = VideoWriter::create(target, None, &info, 0)?;
        let (frames, receive) = bounded::<(RgbImage, f64)>(WAITING);
        let (give_back, used) = bounded(WAITING + 1);
        let write = move || {
            let mut count = 0;
            for (frame, seconds) in receive {
                if frame.dimensions() == size {
                    video.write(&frame, seconds)?;
                } else {
                    // A video has one size; a camera may change its own.
                    let frame = imageops::resize(&frame, size.0, size.1, imageops::FilterType::Triangle);
                    video.write(&frame, seconds)?;
                }
                count += 1;
                let _ = give_back.try_send(frame);
            }
            // A video without a frame does not play; dropped, it leaves nothing.
            if count > 0 {
                video.finish()?;
            }
            Ok(count)
        };
        let writer = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(write)
            .map_err(|e| Error::Process(format!("{}: the recorder can't be started: {e}", target.display())))?;
        let target = target.to_owned();
        Ok(Self { target, frames: Some(frames), used, writer: Some(writer), last: None, left_out: 0 })
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
        let Some(frames) = &self.frames else { return Ok(()) };
        if frames.is_full() {
            self.left_out += 1;
            return Ok(());
        }
        let mut copy = self.used.try_recv().unwrap_or_default();
        copy.clone_from(frame);
        draw(&mut copy);
        match frames.try_send((copy, seconds)) {
            Ok(()) => self.last = Some(seconds),
            Err(TrySendError::Full(_)) => self.left_out += 1,
            Err(TrySendError::Disconnected(_)) => {
                self.end()?;
            }
        }
        Ok(())
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
        self.frames = None;
        let Some(writer) = self.writer.take() else { return Ok(0) };
        let gone = || Error::Process(format!("{}: the recorder gave up", self.target.display()));
        writer.join().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // What was recorded is kept, whatever ended the run.
        let _ = self.end();
    }
}
