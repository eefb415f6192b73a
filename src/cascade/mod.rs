//! Windows in, calibrated boxes out: a proposer over the pyramid, then up to two refiners on windows, each finding,
//! calibrating and filtering. No threads here; a picture can go from thread to thread between levels ([`work`]).

mod accept;
pub(crate) mod batch;
pub(crate) mod calibration;
mod calibrator;
mod colour;
pub(crate) mod crops;
mod faces;
mod load;
mod nms;
pub mod placement;
mod proposer;
mod refiner;
pub(crate) mod settings;
mod shipped;
mod skip;
pub(crate) mod smile;
mod state;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod work;

use std::sync::{Mutex, MutexGuard, PoisonError};

use image::RgbImage;

use crate::error::{Error, Result};
use crate::geometry::{Face, Rect, Window};
use crate::nets::int8::quantised::Quantised;
use crate::nets::windows::WindowNet;
use crate::pyramid::{Builder, Plan};
pub use placement::{Placement, Precision};
use proposer::Proposer;
use refiner::Refiner;
use settings::AcceptSettings;
pub use settings::CascadeSettings;
pub use shipped::{Model, weights as shipped_weights};
use smile::SmileNet;
use state::State;
pub use trace::{Dropped, StepTrace};
pub use work::{Started, Submitted, Work};

/// Refiners that a cascade may have.
pub const REFINERS: usize = 2;

const REFINER_STEPS: [[&str; 3]; REFINERS] =
    [["find-2", "calibrate-2", "filter-2"], ["find-3", "calibrate-3", "filter-3"]];

/// What to look for in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which of the cascades that ship, for [`Cascade::shipped`].
    pub model: Model,
    /// Side of the smallest face looked for, pixels.
    pub min_face: f32,
    /// Faces with a lower score (0..1) are left out.
    pub threshold: f32,
    /// Whether to tell smiles, if the settings name a net for it.
    pub smile: bool,
    /// The numbers that nets compute with on the CPU.
    pub precision: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: Model::Base, min_face: 20.0, threshold: 0.5, smile: true, precision: Precision::Auto }
    }
}

/// What one level did with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LevelCount {
    /// Windows that the level looked at: for level 1 cells × sizes.
    pub windows: usize,
    /// Windows that the level handed on.
    pub passed: usize,
    /// Windows that the level took for faces at once.
    pub accepted: usize,
    /// Multiply-adds, calibration included.
    pub multiply_adds: u64,
}

/// A window inside the cascade, with all that the levels said of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Candidate {
    rect: Rect,
    /// Where the net that saw it last would move it.
    moved: Rect,
    /// What it is sorted by.
    score: f32,
    logits: [f32; REFINERS + 1],
    /// Number of the pyramid level that it was found in.
    pyramid_level: usize,
}

impl Candidate {
    /// A window of level 1.
    fn found(rect: Rect, logit: f32) -> Self {
        Self { rect, moved: rect, score: logit, logits: [logit, 0.0, 0.0], pyramid_level: 0 }
    }
}

/// How far a picture goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Through all levels and the global filter.
    Faces,
    /// Through this many levels.
    Windows(usize),
}

impl Until {
    fn level(self, cascade: &Cascade) -> usize {
        match self {
            Self::Faces => cascade.levels(),
            Self::Windows(level) => level,
        }
    }
}

/// The cascade. It never changes and can be shared by threads; buffers are pooled inside.
#[derive(Debug)]
pub struct Cascade {
    proposer: Proposer,
    refiners: Vec<Refiner>,
    smiles: Option<SmileNet>,
    settings: CascadeSettings,
    options: Options,
    pyramids: Builder,
    pool: Mutex<Vec<Work>>,
}

impl Cascade {
    /// Finds the faces of a picture, best first. Any picture is right: an empty one or one smaller than a face has no
    /// faces.
    ///
    /// # Errors
    /// None so far.
    pub fn detect(&self, picture: &RgbImage) -> Result<Vec<Face>> {
        let mut done = self.run(picture, Until::Faces);
        let faces = self.faces(&mut done);
        self.give_back(done);
        Ok(faces)
    }

    /// The windows that level `level` hands on, best first: after 1 those that enter level 2. Behind the last level
    /// they are not yet merged into faces nor cut by their score. For mining.
    ///
    /// # Errors
    /// If there is no such level.
    pub fn windows_after(&self, picture: &RgbImage, level: usize) -> Result<Vec<Window>> {
        if level == 0 || level > self.levels() {
            return Err(Error::Setting(format!("there is no level {level}; this cascade has 1 to {}", self.levels())));
        }
        let done = self.run(picture, Until::Windows(level));
        let windows = windows(&done.state.candidates);
        self.give_back(done);
        Ok(windows)
    }

    /// Windows and multiply-adds of each level for a picture.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn counts(&self, picture: &RgbImage) -> Result<Vec<LevelCount>> {
        let done = self.run(picture, Until::Faces);
        let counts = done.counts().to_vec();
        self.give_back(done);
        Ok(counts)
    }

    /// Multiply-adds that every picture of `width` × `height` pixels costs, whatever it shows: level 1's.
    pub fn multiply_adds(&self, width: usize, height: usize) -> u64 {
        self.proposer.multiply_adds(width, height)
    }

    /// The same cascade, whose nets note from here on what their operations give, so that [`Self::quantise`] can choose scales.
    pub fn observing(mut self) -> Self {
        self.nets().for_each(WindowNet::observe);
        self
    }

    /// The nets' weights in 8 bits, by name, made from what the nets gave on the pictures since [`Self::observing`].
    ///
    /// # Errors
    /// If a net saw nothing.
    pub fn quantise(&mut self) -> Result<Vec<(&'static str, Quantised)>> {
        self.nets().map(|net| Ok((net.net().name, net.quantise()?))).collect()
    }

    /// The same cascade, whose nets on windows run on `windows` at once on the CPU, not on the number that is best.
    #[cfg(feature = "train")]
    pub(crate) fn with_batches(mut self, windows: usize) -> Self {
        self.nets().for_each(|net| net.set_batch(windows));
        self
    }

    fn nets(&mut self) -> impl Iterator<Item = &mut WindowNet> {
        let levels = self.proposer.nets().chain(self.refiners.iter_mut().flat_map(Refiner::window_nets));
        levels.chain(self.smiles.iter_mut().map(SmileNet::window_net))
    }

    /// Number of levels, 1 to 3.
    pub fn levels(&self) -> usize {
        1 + self.refiners.len()
    }

    /// Whether faces come with a probability of a smile: the options ask for it, and the settings name a net for it.
    pub fn tells_smiles(&self) -> bool {
        self.smiles.is_some()
    }

    /// The options that this cascade was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The settings that this cascade was made with.
    pub fn settings(&self) -> &CascadeSettings {
        &self.settings
    }

    /// Which pyramids a picture needs.
    pub fn plan(&self) -> Plan {
        self.proposer.plan()
    }

    fn run(&self, picture: &RgbImage, until: Until) -> Started {
        let mut started = self.start(picture, self.lend());
        for level in 1..=until.level(self) {
            self.advance(level, &mut [&mut started.state], until, |_, _| {});
        }
        started
    }

    /// The article's list: find, calibrate, filter, in each level. `watch` sees what each step leaves.
    fn advance(
        &self,
        level: usize,
        pictures: &mut [&mut State],
        until: Until,
        mut watch: impl FnMut(&'static str, &mut [&mut State]),
    ) {
        if pictures.is_empty() {
            return;
        }
        if level == 1 {
            pictures.iter_mut().for_each(|state| self.proposer.find(state));
            watch("find-1", pictures);
            self.proposer.calibrate(pictures);
            watch("calibrate-1", pictures);
            for state in pictures.iter_mut() {
                self.proposer.filter(state);
                self.end_level(1, state, until);
            }
            watch("filter-1", pictures);
        } else if let Some(refiner) = level.checked_sub(2).and_then(|i| self.refiners.get(i)) {
            let [find, calibrate, filter] = REFINER_STEPS[level - 2];
            refiner.find(pictures, self.accept(level, until), until == Until::Faces);
            watch(find, pictures);
            refiner.calibrate(pictures);
            watch(calibrate, pictures);
            for state in pictures.iter_mut() {
                refiner.filter(state);
                self.end_level(level, state, until);
            }
            watch(filter, pictures);
        }
    }

    /// Behind the last level comes the global filter.
    fn end_level(&self, level: usize, state: &mut State, until: Until) {
        if let (Some(settings), Some(last)) = (self.accept(level, until), self.refiners.last()) {
            let suppression = (self.last_overlap(), self.settings.faces.vote);
            accept::accept(state, settings.threshold, suppression, |w| last.score_with(w, level, settings.logit));
        }
        if until == Until::Faces && level == self.levels() {
            // Suppression, the last step of every level's filter, left what it chose from there.
            let overlap = self.last_overlap();
            let State { candidates, accepted, buffers, .. } = &mut *state;
            faces::merge(candidates, &buffers.before, accepted, overlap, &self.settings.faces);
            accepted.clear();
            state.candidates.retain(|c| self.settings.faces.score(c.score) >= self.options.threshold);
            if let Some(smiles) = &self.smiles {
                smiles.look_at(state);
            }
        }
        state.passed();
    }

    /// When a level takes a window for a face at once: in detection, before the last level, and if its net runs in 8 bits.
    fn accept(&self, level: usize, until: Until) -> Option<&AcceptSettings> {
        if until != Until::Faces || level >= self.levels() {
            return None;
        }
        match level {
            1 => self.settings.proposer.accept.as_ref().filter(|_| self.proposer.is_int8()),
            _ => self.settings.refiners[level - 2].accept.as_ref().filter(|_| self.refiners[level - 2].is_int8()),
        }
    }

    /// The last level's IoU of suppression.
    fn last_overlap(&self) -> f32 {
        self.settings.refiners.last().map_or(self.settings.proposer.overlap, |refiner| refiner.overlap)
    }

    /// Lends buffers from the pool; where none is free, there are new ones.
    fn lend(&self) -> Work {
        self.pool().pop().unwrap_or_default()
    }

    fn give_back(&self, work: impl Into<Work>) {
        self.pool().push(work.into());
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Work>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn windows(candidates: &[Candidate]) -> Vec<Window> {
    candidates.iter().map(|c| Window { rect: c.rect, score: c.score }).collect()
}
