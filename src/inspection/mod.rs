//! Looks into the cascade: what each step did with the windows of a picture, and which step lost a true face. [`Inspection`] holds
//! that of one picture; [`sheet`](Inspection::sheet) draws a panel for each step, [`summary`] adds several pictures up, and [`page`]
//! makes a web page of all. [`fates`] says where faces are lost, [`followed`] how calibration moved the windows on each face.

pub mod fates;
pub mod followed;
pub mod page;
mod sheet;
pub mod summary;

use image::RgbImage;

use crate::cascade::{Cascade, StepTrace};
use crate::dataset::Truth;
use crate::error::Result;
use crate::geometry::Face;
use crate::text::ms;

use fates::{Fate, Reason, Scale};
use followed::Followed;

/// What the cascade did with one picture.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The picture's name, for people.
    pub name: String,
    /// Width and height, pixels.
    pub size: (u32, u32),
    /// Side of the smallest face that was looked for, pixels.
    pub min_face: f32,
    /// The windows after each step.
    pub steps: Vec<StepTrace>,
    /// Under which score each step drops windows; `None` if it drops none for their score.
    pub thresholds: Vec<Option<f32>>,
    /// The faces found, best first.
    pub faces: Vec<Face>,
    /// Each true face and what became of it; empty if none are known.
    pub truth: Vec<(Truth, Fate)>,
    /// How the windows on each face were moved: the faces found, then those lost.
    pub followed: Vec<Followed>,
}

impl Inspection {
    /// Runs the cascade on a picture. `truth`: its true faces, if they are known.
    ///
    /// # Errors
    /// As [`Cascade::detect`].
    pub fn new(cascade: &Cascade, name: String, picture: &RgbImage, truth: &[Truth]) -> Result<Self> {
        let (faces, steps) = if truth.is_empty() { cascade.trace(picture)? } else { cascade.trace_whole(picture)? };
        let options = cascade.options();
        let thresholds = thresholds(cascade, steps.len());
        let last = thresholds.last().copied().flatten().unwrap_or(f32::NEG_INFINITY);
        let scale = Scale { min_face: options.min_face, threshold: options.threshold, last_threshold: last };
        let fates = fates::fates(truth, &faces, &steps, &scale);
        let followed = followed::follow(&faces, truth, &fates, &steps);
        Ok(Self {
            name,
            size: picture.dimensions(),
            min_face: options.min_face,
            thresholds,
            steps,
            faces,
            truth: truth.iter().cloned().zip(fates).collect(),
            followed,
        })
    }

    /// Time of all steps, milliseconds.
    pub fn ms(&self) -> f64 {
        self.steps.iter().map(|step| ms(step.elapsed)).sum()
    }

    /// True faces that count, and those of them that were found.
    pub fn counts(&self) -> (usize, usize) {
        let of = |wanted: fn(&Fate) -> bool| self.truth.iter().filter(|(_, fate)| wanted(fate)).count();
        (of(|fate| *fate != Fate::NotCounted), of(|fate| matches!(fate, Fate::Found(_))))
    }

    /// The true faces that were lost, with what is known of it, in the order of their numbers from 1 on.
    pub fn lost(&self) -> impl Iterator<Item = (&Truth, &fates::Loss)> {
        self.truth.iter().filter_map(|(face, fate)| match fate {
            Fate::Lost(loss) => Some((face, loss)),
            _ => None,
        })
    }

    /// Says where a face was lost, and why: `find-2 · 24×30 at 12,30 · best window -1.20, threshold 0.85`.
    pub fn describe(&self, face: &Truth, loss: &fates::Loss) -> String {
        let r = face.rect;
        let step = self.steps.get(loss.step).map_or("?", |step| step.name);
        let threshold = self.thresholds.get(loss.step).copied().flatten().filter(|_| loss.reason == Reason::Score);
        let score = match (loss.best, threshold) {
            (None, _) => "no window on it".to_owned(),
            (Some(window), Some(threshold)) => format!("best window {:.2}, threshold {threshold:.2}", window.score),
            (Some(window), None) => format!("best window {:.2}", window.score),
        };
        let reason = loss.reason.words();
        format!("{step} · {:.0}×{:.0} at {:.0},{:.0} · {score} · {reason}", r.w, r.h, r.x, r.y)
    }

    /// Draws the article's illustration: a panel for each step, in rows of three, with the true faces in white, each lost one marked
    /// at the step that lost it, and a list of these. With `faces`, below it the window on each face before and after each calibration.
    pub fn sheet(&self, picture: &RgbImage, faces: bool) -> RgbImage {
        sheet::draw(self, picture, faces)
    }
}

/// Each step's threshold, on the scale of its windows' scores: of those that find, and of the last, which cuts faces by their score.
fn thresholds(cascade: &Cascade, steps: usize) -> Vec<Option<f32>> {
    let settings = cascade.settings();
    let levels = std::iter::once(settings.proposer.threshold).chain(settings.refiners.iter().map(|r| r.threshold));
    let mut all: Vec<_> =
        levels.flat_map(|threshold| [Some(threshold).filter(|t| t.is_finite()), None, None]).take(steps).collect();
    if let Some(last) = all.last_mut() {
        *last = Some(settings.faces.logit(cascade.options().threshold));
    }
    all
}
