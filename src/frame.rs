//! A picture on its way through the pipeline: with its number, and when it was taken.

use std::time::Instant;

use image::RgbImage;

/// One frame of a source.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Counted from 0 at the source: frames that are dropped there leave gaps.
    pub number: u64,
    /// When it was taken; age is counted from here.
    pub captured: Instant,
    /// Seconds from the source's start.
    pub time: f64,
    /// The picture, upright.
    pub picture: RgbImage,
}
