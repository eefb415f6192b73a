//! Measures a net that is a detector of its own while it learns: average precision on pictures that it does not learn from.

use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;

use crate::cascade::{Cascade, Options, Precision};
use crate::dataset::Annotated;
use crate::error::{Error, Result};
use crate::eval::{Detection, report};
use crate::parallel;

/// Least score of the faces that are measured.
const LEAST_SCORE: f32 = 0.02;

/// When and how a net is measured during training: average precision of a net that is a detector of its own, loss and accuracy of all.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationSettings {
    /// Steps from one measurement to the next.
    pub every: usize,
    /// Every how many-th picture of each set.
    #[serde(default = "one")]
    pub pictures: usize,
    /// Side of the smallest face looked for, pixels.
    #[serde(default = "default_face")]
    pub min_face: f32,
    /// Samples that loss and accuracy are computed on, a multiple of 64.
    #[serde(default = "default_samples")]
    pub samples: usize,
}

fn one() -> usize {
    1
}

fn default_face() -> f32 {
    20.0
}

/// Samples of a recipe that says nothing of validation, too.
pub(crate) fn default_samples() -> usize {
    512
}

/// The measures of one set of pictures.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SetMeasures {
    /// Name of the set.
    pub set: String,
    /// Average precision for faces at least 20 pixels high.
    pub ap_h20: f64,
    /// Average precision for faces at least 40 pixels high.
    pub ap_h40: f64,
    /// Share of the faces at least 20 pixels high that are found at any score.
    pub recall_h20: f64,
}

/// Decoded pictures to measure on.
#[derive(Debug)]
pub(crate) struct ValidationSet {
    name: String,
    list: Vec<Annotated>,
    pictures: Vec<RgbImage>,
}

impl ValidationSet {
    /// Decodes `list` on `threads` threads.
    ///
    /// # Errors
    /// If a picture can't be read.
    pub(crate) fn load(name: &str, list: Vec<Annotated>, threads: usize, done: &AtomicUsize) -> Result<Self> {
        let mut pictures = Vec::with_capacity(list.len());
        let read = |item: &Annotated| crate::source::picture::read(&item.image);
        parallel::in_order(&list, threads, read, |picture: Result<RgbImage>| {
            pictures.push(picture?);
            done.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Error>(())
        })?;
        Ok(Self { name: name.into(), list, pictures })
    }

    /// The pictures.
    pub(crate) fn pictures(&self) -> &[RgbImage] {
        &self.pictures
    }

    /// Measures `cascade`.
    ///
    /// # Errors
    /// If detection fails.
    pub(crate) fn measure(&self, cascade: &Cascade, threads: usize) -> Result<SetMeasures> {
        let mut found: Vec<Vec<Detection>> = Vec::with_capacity(self.pictures.len());
        parallel::in_order(
            &self.pictures,
            threads,
            |picture| cascade.detect(picture),
            |faces| {
                found.push(faces?.iter().map(Detection::from).collect());
                Ok::<_, Error>(())
            },
        )?;
        let report = report::wider(&self.list, &found, false);
        let curve = |name: &str| report.curves.iter().find(|c| c.name == name).map(|c| &c.curve);
        let ap = |name: &str| curve(name).map_or(0.0, |c| c.average_precision());
        Ok(SetMeasures {
            set: self.name.clone(),
            ap_h20: ap("h20"),
            ap_h40: ap("h40"),
            recall_h20: curve("h20").map_or(0.0, |c| c.final_recall()),
        })
    }
}

/// Options of the cascade that is measured.
pub(crate) fn options(settings: &ValidationSettings) -> Options {
    Options {
        min_face: settings.min_face,
        threshold: LEAST_SCORE,
        smile: false,
        precision: Precision::F32,
        ..Options::default()
    }
}
