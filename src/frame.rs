//! A [`Frame`]: a picture of a source with its number and capture time.

use std::time::Instant;

use image::RgbImage;

/// One frame of a source.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Number of the frame, from 0 in the order in which the source gave frames. Frames dropped after that leave gaps.
    pub number: u64,
    /// When the frame was captured; latency is counted from here.
    pub captured: Instant,
    /// Time of the frame in the source, seconds from its start.
    pub time: f64,
    /// The picture, upright.
    pub picture: RgbImage,
}
