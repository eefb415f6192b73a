//! Reads pictures from wherever they come: picture files and folders of them ([`picture`]), video files through ffmpeg as
//! a child process ([`video`]; pipes and addresses too: [`input`]), pictures as a film ([`sequence`]), a camera (`camera`),
//! a synthetic camera ([`synthetic`]). All of them give upright 8-bit RGB, so no other module knows formats. A [`Source`]
//! gives frames one after the other; [`playback`] plays files as if they were a camera; [`square`] stretches frames whose
//! pixels are not square. A live source gives its newest frame: `mailbox` keeps the newest one that a thread has taken,
//! `pace` chooses the newest one that is due.

use std::time::Instant;

use image::RgbImage;

use crate::error::Result;

#[cfg(feature = "camera")]
pub mod camera;
mod foreign;
mod heif;
pub mod holdings;
mod ifd;
pub mod input;
pub(crate) mod jpeg;
pub(crate) mod mailbox;
pub mod original;
mod pace;
pub mod picture;
pub(crate) mod planes;
pub mod playback;
pub(crate) mod process;
pub mod sequence;
pub mod square;
pub mod synthetic;
pub mod video;

/// When a frame was captured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// When the frame was captured, by the clock. Of a file that is read as fast as possible: when reading the frame
    /// began.
    pub captured: Instant,
    /// Time of the frame in the source, seconds from its start.
    pub time: f64,
}

/// Gives frames one after the other: a camera, a video, a list of pictures.
pub trait Source: Send {
    /// Describes the source in a few words: name, size, rate, format.
    fn describe(&self) -> String;

    /// Width and height of a frame, pixels, where they are known before the first one.
    fn size(&self) -> Option<(u32, u32)> {
        None
    }

    /// Frames a second, where known.
    fn frame_rate(&self) -> Option<f64>;

    /// Waits for the next frame and writes it into `into`, whose buffer is used again; returns `None` at the end. Frames
    /// may differ in size.
    ///
    /// # Errors
    /// If the source fails. After an error the source is not asked again.
    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>>;

    /// Number of frames that the source itself has dropped so far, which [`Self::next`] never gave.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Gives the frames of a video file as fast as they can be read.
impl Source for video::Frames {
    fn describe(&self) -> String {
        let info = self.info();
        let rate = info.rate.per_second();
        format!("{} ({}×{}, {rate:.2} fps)", info.name, info.width, info.height)
    }

    fn size(&self) -> Option<(u32, u32)> {
        Some((self.info().width, self.info().height))
    }

    fn frame_rate(&self) -> Option<f64> {
        Some(self.info().rate.per_second())
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let captured = Instant::now();
        Ok(self.next_into(into)?.map(|time| Stamp { captured, time }))
    }
}
