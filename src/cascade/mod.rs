//! Windows in, calibrated boxes out. No threads here.

pub mod calibration;
pub mod crops;

use std::time::Duration;

use crate::error::Result;
use crate::geometry::{Face, Window};

/// What the cascade is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Side of the smallest face looked for, pixels.
    pub min_face: f32,
    /// Faces with a lower score (0..1) are left out.
    pub threshold: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_face: 20.0, threshold: 0.5 }
    }
}

/// The windows that one stage let through, and what it took.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `find-1`, `calibrate-1`, `filter-1`, `find-2`, … `filter-3` (the global filter).
    pub name: &'static str,
    /// What came out, in pixels of the picture.
    pub windows: Vec<Window>,
    /// Time it took.
    pub elapsed: Duration,
}

/// The cascade.
#[derive(Debug)]
pub struct Cascade {}

impl Cascade {
    /// The weights that ship.
    pub fn shipped(_options: Options) -> Result<Self> {
        Ok(Self {})
    }

    /// Finds the faces of a picture, best first. Any picture is right: an empty one or one smaller than a face has no faces.
    pub fn detect(&self, _picture: &image::RgbImage) -> Result<Vec<Face>> {
        Ok(Vec::new())
    }

    /// As [`Self::detect`], with the windows after every stage.
    pub fn trace(&self, _picture: &image::RgbImage) -> Result<(Vec<Face>, Vec<Stage>)> {
        Ok((Vec::new(), Vec::new()))
    }
}
