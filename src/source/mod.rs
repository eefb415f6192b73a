//! Where pictures come from: picture files and folders of them ([`picture`]), and video files through ffmpeg as a child
//! process ([`video`]), a camera (`camera`), or a synthetic one ([`synthetic`]). Everything is turned into upright 8-bit RGB
//! here, so that no other room knows formats. What gives frames one after the other is a [`Source`]; [`playback`] plays
//! files as if they were a camera. Of all live sources the newest frame counts: one that a thread takes lies in a
//! `mailbox`, one that is made when it is asked for is chosen by `pace`. Boxes that people drew for a picture are read by [`truth`].

use std::time::Instant;

use image::RgbImage;

use crate::error::Result;

#[cfg(feature = "camera")]
pub mod camera;
pub(crate) mod mailbox;
mod pace;
pub mod picture;
pub(crate) mod planes;
pub mod playback;
pub(crate) mod process;
pub mod synthetic;
pub mod truth;
pub mod video;

/// When a frame was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// By the clock: for a camera when the frame was there, for a file when reading it began.
    pub captured: Instant,
    /// Seconds from the source's start.
    pub time: f64,
}

/// What gives frames one after the other: a camera, a video, a list of pictures.
pub trait Source: Send {
    /// What was chosen, in a few words: size, rate, format.
    fn describe(&self) -> String;

    /// Width and height of a frame, pixels, where they are known before the first one.
    fn size(&self) -> Option<(u32, u32)> {
        None
    }

    /// Frames a second, where it is known.
    fn frame_rate(&self) -> Option<f64>;

    /// Waits for the next frame and writes it into `into`, whose buffer is used again; `None` at the end. Sizes may differ
    /// from frame to frame.
    ///
    /// # Errors
    /// If the source fails; it is not asked again then.
    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>>;

    /// Frames that were lost at the source itself so far, before [`Self::next`] could give them.
    fn dropped(&self) -> u64 {
        0
    }
}

/// A video file, as fast as it can be read.
impl Source for video::Frames {
    fn describe(&self) -> String {
        let info = self.info();
        let rate = info.rate.per_second();
        format!("{} ({}×{}, {rate:.2} fps)", self.path().display(), info.width, info.height)
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
