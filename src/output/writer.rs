//! A thread that draws into frames and writes them to a video file, so that the encoder's work and the pipe's waiting are
//! not the caller's.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use image::RgbImage;

use super::times::Times;
use super::video::VideoWriter;
use crate::error::{Error, Result};

/// A frame on its way: the picture, its time in seconds, what is to be drawn.
type Item<T> = (RgbImage, f64, T);

/// A video file that a thread writes; `T` is what it needs to know to draw into a frame.
#[derive(Debug)]
pub struct Writer<T> {
    target: PathBuf,
    frames: Option<Sender<Item<T>>>,
    /// Buffers that were written and can be used again.
    used: Receiver<RgbImage>,
    thread: Option<JoinHandle<Result<Written>>>,
}

/// What the thread leaves behind.
#[derive(Debug)]
struct Written {
    video: VideoWriter,
    times: WriteTimes,
}

/// What writing took, frame by frame.
#[derive(Debug, Clone, Default)]
pub struct WriteTimes {
    /// Drawing.
    pub draw: Times,
    /// Turning colours into the encoder's, and waiting for it to take the frame.
    pub encode: Times,
}

impl<T: Send + 'static> Writer<T> {
    /// Starts to write to `video`, which becomes `target`. `waiting` frames may wait; `draw` is called for each, on the
    /// thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        target: &Path,
        mut video: VideoWriter,
        waiting: usize,
        mut draw: impl FnMut(&mut RgbImage, T) + Send + 'static,
    ) -> Result<Self> {
        let (frames, receive) = bounded::<Item<T>>(waiting);
        let (give_back, used) = bounded(waiting + 1);
        let write = move || {
            let mut times = WriteTimes::default();
            for (mut frame, seconds, marks) in receive {
                let begin = Instant::now();
                draw(&mut frame, marks);
                let drawn = Instant::now();
                video.write(&frame, seconds)?;
                times.draw.note(drawn - begin);
                times.encode.note(drawn.elapsed());
                let _ = give_back.try_send(frame);
            }
            Ok(Written { video, times })
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(write)
            .map_err(|e| Error::Process(format!("{}: no thread can be started to write it: {e}", target.display())))?;
        Ok(Self { target: target.to_owned(), frames: Some(frames), used, thread: Some(thread) })
    }

    /// Whether [`Self::send`] would wait.
    pub fn is_full(&self) -> bool {
        self.frames.as_ref().is_some_and(Sender::is_full)
    }

    /// A picture whose buffer can be used again.
    pub fn buffer(&self) -> RgbImage {
        self.used.try_recv().unwrap_or_default()
    }

    /// Hands a frame on, shown `seconds` after the start, as soon as there is a place for it.
    ///
    /// # Errors
    /// If writing failed; told once.
    pub fn send(&mut self, frame: RgbImage, seconds: f64, marks: T) -> Result<()> {
        let gone = self.frames.as_ref().is_some_and(|frames| frames.send((frame, seconds, marks)).is_err());
        if gone { self.join().map(|_| ()) } else { Ok(()) }
    }

    /// Ends the file: `early` if frames are missing at its end, so that sound ends with the picture. Gives how many frames it
    /// holds (without any there is no file: it would not play) and what writing took.
    ///
    /// # Errors
    /// If it could not be written, unless [`Self::send`] told.
    pub fn finish(mut self, early: bool) -> Result<(u64, WriteTimes)> {
        let Some(Written { video, times }) = self.join()? else { return Ok((0, WriteTimes::default())) };
        let count = video.count();
        match count {
            0 => {}
            _ if early => video.finish_early()?,
            _ => video.finish()?,
        }
        Ok((count, times))
    }

    fn join(&mut self) -> Result<Option<Written>> {
        self.frames = None;
        let Some(thread) = self.thread.take() else { return Ok(None) };
        let gone =
            || Error::Process(format!("{}: could not be written: a fault of facecascade", self.target.display()));
        thread.join().unwrap_or_else(|_| Err(gone())).map(Some)
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        // A file that was never finished is gone before anyone looks.
        self.frames = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::video::VideoOptions;
    use crate::source::video::{Rate, VideoInfo};

    #[test]
    fn a_panic_while_drawing_becomes_one_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.mp4");
        let info = VideoInfo::of_frames((64, 48), Rate { frames: 25, seconds: 1 });
        let Ok(video) = VideoWriter::create(&target, &info, VideoOptions::default()) else {
            let mut err = std::io::stderr();
            let _ = std::io::Write::write_all(&mut err, b"skipped: ffmpeg is not installed\n");
            return;
        };
        let draw = |_: &mut RgbImage, number: u64| assert!(number < 3, "a fault");
        let mut writer = Writer::start(&target, video, 2, draw).unwrap();
        let errors: Vec<_> = (0..50)
            .filter_map(|i| writer.send(RgbImage::new(64, 48), i as f64 / 25.0, i).err())
            .map(|error| error.to_string())
            .collect();
        assert!(errors.len() == 1 && errors[0].contains("a.mp4"), "{errors:?}");
        assert_eq!(writer.finish(true).unwrap().0, 0);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
