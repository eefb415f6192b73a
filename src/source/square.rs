//! Frames in square pixels, for the search: where pixels are stored squeezed, a player stretches them, and so must whoever looks
//! for faces. What is drawn into and written stays as it is stored ([`Stored`]).

use crossbeam_channel::{Receiver, Sender, unbounded};
use image::RgbImage;

use super::{Source, Stamp};
use crate::error::Result;
use crate::pyramid::cpu::Resizer;

/// A source whose frames are stretched so that their pixels are square; never made smaller.
pub struct Squared {
    source: Box<dyn Source>,
    /// Width and height of a stored pixel.
    shape: (u32, u32),
    stored: RgbImage,
    kept: Option<Sender<RgbImage>>,
    spare: Receiver<RgbImage>,
    resizer: Resizer,
}

/// The frames of a [`Squared`] as they are stored, in its order.
#[derive(Debug)]
pub struct Stored {
    frames: Receiver<RgbImage>,
    spare: Sender<RgbImage>,
    stretch: (f64, f64),
}

/// Width and height of a frame of `size` stored pixels once they are square; `shape`: width:height of a stored pixel, `None` if square.
pub fn square_size((width, height): (u32, u32), shape: Option<(u32, u32)>) -> (u32, u32) {
    let (w, h) = shape.map_or((1.0, 1.0), stretch);
    let side = |side: u32, by: f64| (f64::from(side) * by).round() as u32;
    (side(width, w), side(height, h))
}

/// Width and height of a stored pixel, its smaller side 1.
fn stretch((w, h): (u32, u32)) -> (f64, f64) {
    let ratio = f64::from(w.max(1)) / f64::from(h.max(1));
    (ratio.max(1.0), (1.0 / ratio).max(1.0))
}

/// Stretches the frames of `source`, whose pixels are `shape` (width:height). Where `keep`, each stored frame waits to be taken
/// from what is returned beside.
pub fn squared(source: Box<dyn Source>, shape: (u32, u32), keep: bool) -> (Squared, Stored) {
    let (send, frames) = unbounded();
    let (give_back, spare) = unbounded();
    let squared = Squared {
        source,
        shape,
        stored: RgbImage::default(),
        kept: keep.then_some(send),
        spare,
        resizer: Resizer::default(),
    };
    (squared, Stored { frames, spare: give_back, stretch: stretch(shape) })
}

impl Stored {
    /// Width and height of a stored pixel, its smaller side 1: a box in square pixels is divided by them.
    pub fn stretch(&self) -> (f64, f64) {
        self.stretch
    }

    /// The stored frame of the next frame that came out of the search; its buffer is to be used again.
    pub fn next(&self, used: RgbImage) -> Option<RgbImage> {
        let _ = self.spare.send(used);
        self.frames.try_recv().ok()
    }
}

impl Source for Squared {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn size(&self) -> Option<(u32, u32)> {
        self.source.size().map(|size| square_size(size, Some(self.shape)))
    }

    fn frame_rate(&self) -> Option<f64> {
        self.source.frame_rate()
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let Some(stamp) = self.source.next(&mut self.stored)? else { return Ok(None) };
        let (width, height) = square_size(self.stored.dimensions(), Some(self.shape));
        if into.dimensions() != (width, height) {
            *into = RgbImage::new(width, height);
        }
        let from = (self.stored.width() as usize, self.stored.height() as usize, self.stored.as_raw().as_slice());
        self.resizer.resize(from, (width as usize, height as usize, into));
        if let Some(kept) = &self.kept {
            let spare = self.spare.try_recv().unwrap_or_default();
            let _ = kept.send(std::mem::replace(&mut self.stored, spare));
        }
        Ok(Some(stamp))
    }

    fn dropped(&self) -> u64 {
        self.source.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use std::time::Instant;

    /// Frames of 8 × 6 whose left half is light, numbered by their green.
    struct Halves(u8);

    impl Source for Halves {
        fn describe(&self) -> String {
            String::new()
        }
        fn frame_rate(&self) -> Option<f64> {
            None
        }
        fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
            *into = RgbImage::from_fn(8, 6, |x, _| Rgb([if x < 4 { 200 } else { 0 }, self.0, 0]));
            self.0 += 1;
            Ok(Some(Stamp { captured: Instant::now(), time: 0.0 }))
        }
    }

    #[test]
    fn frames_are_stretched_to_what_a_player_shows_and_kept_as_they_are() {
        for (shape, size) in [((2, 1), (16, 6)), ((64, 45), (11, 6)), ((2, 3), (8, 9))] {
            let (mut source, stored) = squared(Box::new(Halves(0)), shape, true);
            let mut frame = RgbImage::default();
            for number in 0..5 {
                source.next(&mut frame).unwrap();
                assert_eq!(frame.dimensions(), size);
                assert_eq!(frame.get_pixel(0, 0).0, [200, number, 0]);
                assert_eq!(frame.get_pixel(size.0 - 1, size.1 - 1).0, [0, number, 0]);
            }
            for number in 0..5 {
                let kept = stored.next(RgbImage::default()).unwrap();
                assert_eq!((kept.dimensions(), kept.get_pixel(3, 0).0), ((8, 6), [200, number, 0]));
            }
            assert!(stored.next(RgbImage::default()).is_none());
        }
    }
}
