//! A synthetic camera: faces of two portraits move over a changing background at an exact frame rate, and their true boxes
//! are known. Tests and measurements use it, and people without a camera. [`Scene`] says what is seen, `portrait`,
//! `ground` and `noise` draw it, and [`Synthetic`] is the camera that shows it.

mod ground;
mod noise;
mod portrait;
mod scene;

use image::RgbImage;

use super::pace::Pace;
use super::{Source, Stamp};
use crate::error::Result;
pub use scene::{Scene, SceneSettings};

/// Random numbers by SplitMix64; written here, so that scenes never change with a crate's version.
struct Random(u64);

impl Random {
    /// Returns the next number in 0..1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A camera that shows a [`Scene`] in real time. As with a real camera, a reader that asks late gets the newest frame, and
/// the frames before are dropped.
#[derive(Debug)]
pub struct Synthetic {
    scene: Scene,
    /// Number of frames; `None`: the camera never ends.
    length: Option<u64>,
    pace: Pace,
}

impl Synthetic {
    /// A camera that shows `scene` for `seconds`; with `None`, forever.
    pub fn new(scene: Scene, seconds: Option<f64>) -> Self {
        let length = seconds.map(|s| (s * scene.rate()).round().max(1.0) as u64);
        let pace = Pace::new(scene.rate());
        Self { scene, length, pace }
    }
}

impl Source for Synthetic {
    fn describe(&self) -> String {
        let (width, height) = self.scene.size();
        format!("synthetic camera, {width}×{height} at {} frames/s", self.scene.rate())
    }

    fn size(&self) -> Option<(u32, u32)> {
        Some(self.scene.size())
    }

    fn frame_rate(&self) -> Option<f64> {
        Some(self.scene.rate())
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let last = self.length.map_or(u64::MAX, |length| length - 1);
        let Some(frame) = self.pace.next(last) else { return Ok(None) };
        // The frame is drawn before it is due, so that drawing does not count as latency: a real camera's picture is
        // complete when it is captured.
        self.scene.draw(frame, into);
        let captured = self.pace.wait_for(frame);
        Ok(Some(Stamp { captured, time: self.scene.seconds(frame) }))
    }

    fn dropped(&self) -> u64 {
        self.pace.dropped()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_slow_reader_loses_frames_and_gets_the_newest() {
        let settings = SceneSettings { width: 160, height: 120, rate: 200.0, faces: 0, ..Default::default() };
        let mut camera = Synthetic::new(Scene::new(&settings).unwrap(), Some(0.5));
        let mut frame = RgbImage::new(0, 0);
        let first = camera.next(&mut frame).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let asked = Instant::now();
        let second = camera.next(&mut frame).unwrap().unwrap();
        assert!(second.time >= 0.1 - 1e-9, "{}", second.time);
        assert!(asked.saturating_duration_since(second.captured) < Duration::from_millis(6), "it is the newest");
        assert_eq!(camera.dropped(), (second.time * 200.0).round() as u64 - 1);
        let since = second.captured - first.captured;
        assert!((since.as_secs_f64() - (second.time - first.time)).abs() < 1e-6, "the clock is exact");

        let mut seen = 2;
        while camera.next(&mut frame).unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen + camera.dropped(), 100, "each frame was seen or counted as lost");
    }

    #[test]
    fn frames_come_once_in_order_up_to_the_last() {
        let settings = SceneSettings { width: 160, height: 120, rate: 100.0, faces: 0, ..Default::default() };
        let mut camera = Synthetic::new(Scene::new(&settings).unwrap(), Some(0.3));
        let mut frame = RgbImage::new(0, 0);
        let mut due = 0;
        while let Some(stamp) = camera.next(&mut frame).unwrap() {
            let number = (stamp.time * 100.0).round() as u64;
            assert!(number >= due, "frame {number} after {}", due.saturating_sub(1));
            due = number + 1;
        }
        assert_eq!(due, 30, "the last frame is shown, however late");
    }
}
