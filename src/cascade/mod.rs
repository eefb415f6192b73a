//! Windows in, calibrated boxes out: a [`proposer`] over the pyramid, then up to two refiners on windows, each finding,
//! calibrating and filtering. No threads here; a picture's [`Work`] can travel from thread to thread between levels.

pub mod calibration;
mod calibrator;
mod colour;
pub mod crops;
mod device;
mod faces;
mod place;
pub mod proposer;
mod refiner;
pub mod settings;
mod shipped;
pub mod smile;
mod suppress;
#[cfg(test)]
mod tests;
mod work;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use image::RgbImage;

use crate::error::{Error, Result};
use crate::geometry::{Face, Rect, Window};
use crate::nets::weights::Weights;
use crate::nets::windows::WindowNet;
use crate::nets::zoo;
use crate::pyramid::Builder;
pub use device::Device;
use proposer::Proposer;
use refiner::Refiner;
pub use settings::CascadeSettings;
pub use shipped::weights as shipped_weights;
use smile::SmileNet;
pub use work::Work;

/// Refiners that a cascade may have.
pub const REFINERS: usize = 2;

const REFINER_STAGES: [[&str; 3]; REFINERS] =
    [["find-2", "calibrate-2", "filter-2"], ["find-3", "calibrate-3", "filter-3"]];

/// What the cascade is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Side of the smallest face looked for, pixels.
    pub min_face: f32,
    /// Faces with a lower score (0..1) are left out.
    pub threshold: f32,
    /// Whether to tell smiles, if the settings name a net for it.
    pub smile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_face: 20.0, threshold: 0.5, smile: true }
    }
}

/// The windows that one stage let through, and what it took.
#[derive(Debug, Clone)]
pub struct StepTrace {
    /// `find-1`, `calibrate-1`, `filter-1`, `find-2`, … `filter-3` (the global filter).
    pub name: &'static str,
    /// What came out, in pixels of the picture.
    pub windows: Vec<Window>,
    /// Time it took. The pyramid's is in `find-1`.
    pub elapsed: Duration,
}

/// What one level did with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LevelCount {
    /// Windows that it looked at: for level 1 cells × sizes.
    pub windows: usize,
    /// Windows that it handed on.
    pub passed: usize,
    /// Multiply-adds, calibration included.
    pub multiply_adds: u64,
}

/// A window on its way, with what each level said of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Candidate {
    rect: Rect,
    /// What it is sorted by.
    score: f32,
    logits: [f32; REFINERS + 1],
}

impl Candidate {
    /// A window of level 1.
    fn found(rect: Rect, logit: f32) -> Self {
        Self { rect, score: logit, logits: [logit, 0.0, 0.0] }
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
    /// The nets that ship, which are built in.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn shipped(options: Options) -> Result<Self> {
        Self::from_parts(CascadeSettings::shipped()?, &shipped::weights, options)
    }

    /// The cascade of a settings file, whose nets' weights lie beside it as `NAME.safetensors`.
    ///
    /// # Errors
    /// If a file is missing, holds a wrong key or does not fit its net, or an option is out of range.
    pub fn load(settings_file: &Path, options: Options) -> Result<Self> {
        let text = std::fs::read_to_string(settings_file).map_err(Error::io(settings_file))?;
        let settings = CascadeSettings::parse(&text, &settings_file.display().to_string())?;
        let folder = settings_file.parent().unwrap_or(Path::new(""));
        let weights = |net: &str| {
            let file = folder.join(format!("{net}.safetensors"));
            let weights = Weights::load(&file)?;
            if let Some(net) = zoo::by_name(net) {
                weights.check(&net, &file.display().to_string())?;
            }
            Ok(weights)
        };
        Self::from_parts(settings, &weights, options)
    }

    /// A cascade of any settings, with `weights` by the net's name: in training, the levels trained so far
    /// ([`CascadeSettings::with_refiners`]).
    ///
    /// # Errors
    /// If a net is unknown, `weights` fails or gives what does not fit the net, or an option is out of range.
    pub fn from_parts(
        settings: CascadeSettings,
        weights: &dyn Fn(&str) -> Result<Weights>,
        options: Options,
    ) -> Result<Self> {
        settings.check()?;
        check(&options)?;
        let load = |name: &str| {
            let net = zoo::by_name(name).ok_or_else(|| {
                Error::Setting(format!("there is no net named {name:?}; there are {}", zoo::NAMES.join(", ")))
            })?;
            WindowNet::new(&net, weights(name)?)
        };
        let proposer = Proposer::new(&settings.proposer, options.min_face, load)?;
        let refiners = settings.refiners.iter().enumerate().map(|(i, r)| Refiner::new(r, i + 1, load));
        let smiles = settings.smile.as_ref().filter(|_| options.smile).map(|s| SmileNet::new(s, load)).transpose()?;
        Ok(Self {
            proposer,
            refiners: refiners.collect::<Result<_>>()?,
            smiles,
            settings,
            options,
            pyramids: Builder::default(),
            pool: Mutex::default(),
        })
    }

    /// Finds the faces of a picture, best first. Any picture is right: an empty one or one smaller than a face has no
    /// faces.
    ///
    /// # Errors
    /// None so far.
    pub fn detect(&self, picture: &RgbImage) -> Result<Vec<Face>> {
        Ok(self.with_work(|work| {
            self.run(picture, work, Until::Faces);
            self.faces(work)
        }))
    }

    /// As [`Self::detect`], with the windows after every stage.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn trace(&self, picture: &RgbImage) -> Result<(Vec<Face>, Vec<StepTrace>)> {
        let mut stages = Vec::new();
        let faces = self.with_work(|work| {
            let begin = Instant::now();
            self.start(picture, work);
            let pyramid = begin.elapsed();
            for level in 1..=self.levels() {
                self.level_traced(level, work, &mut stages);
            }
            stages[0].elapsed += pyramid;
            self.faces(work)
        });
        Ok((faces, stages))
    }

    /// Buffers for pictures that come for hours: grown to what any number of windows needs, so that memory stays as it is.
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        self.refiners.iter().for_each(|refiner| refiner.grow(&mut work));
        if let Some(smiles) = &self.smiles {
            smiles.grow(&mut work.input, &mut work.scratch);
        }
        work
    }

    /// Begins a picture: makes its pyramids in `work`, or waits for those that [`Self::submit`] began. [`Self::level`] 1 to
    /// [`Self::levels`] follow, then [`Self::faces`]; together they are [`Self::detect`], cut so that each part can run
    /// on a thread of its own.
    pub fn start(&self, picture: &RgbImage, work: &mut Work) {
        work.counts.clear();
        work.within = None;
        if work.pending.is_none() {
            self.submit(picture, work);
        }
        let Work { pending, picture: halves, levels, behind, .. } = work;
        self.pyramids.take(pending.take(), picture, &self.plan(), halves, levels, behind);
    }

    /// As [`Self::start`], but the smallest faces, those of up to twice [`Options::min_face`], which cost most, are looked
    /// for only within `regions` (pixels of the picture); larger ones everywhere. A GPU that runs level 1 looks everywhere.
    pub fn start_within(&self, picture: &RgbImage, regions: Vec<Rect>, work: &mut Work) {
        self.start(picture, work);
        work.within = Some(regions);
    }

    /// Level `level` of several pictures: find, calibrate, filter; behind the last one the global filter. Nets see the
    /// windows of all in common batches; what comes out is the same as of one at a time. A level that this cascade lacks
    /// does nothing.
    pub fn level(&self, level: usize, works: &mut [&mut Work]) {
        self.advance(level, works, Until::Faces, |_, _| {});
    }

    /// As [`Self::level`], with the windows after each of its stages.
    pub fn level_traced(&self, level: usize, work: &mut Work, stages: &mut Vec<StepTrace>) {
        let mut begin = Instant::now();
        self.advance(level, &mut [work], Until::Faces, |name, works| {
            let elapsed = begin.elapsed();
            stages.push(StepTrace { name, windows: windows(works[0]), elapsed });
            begin = Instant::now();
        });
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
        Ok(self.with_work(|work| {
            self.run(picture, work, Until::Windows(level));
            windows(work)
        }))
    }

    /// Windows and multiply-adds of each level for a picture.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn counts(&self, picture: &RgbImage) -> Result<Vec<LevelCount>> {
        Ok(self.with_work(|work| {
            self.run(picture, work, Until::Faces);
            work.counts.clone()
        }))
    }

    /// Multiply-adds that every picture of `width` × `height` pixels costs, whatever it shows: level 1's.
    pub fn multiply_adds(&self, width: usize, height: usize) -> u64 {
        self.proposer.multiply_adds(width, height)
    }

    /// How many levels there are.
    pub fn levels(&self) -> usize {
        1 + self.refiners.len()
    }

    /// Whether faces come with a smile: asked for, and the settings name a net for it.
    pub fn tells_smiles(&self) -> bool {
        self.smiles.is_some()
    }

    /// What it was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How it is set.
    pub fn settings(&self) -> &CascadeSettings {
        &self.settings
    }

    fn run(&self, picture: &RgbImage, work: &mut Work, until: Until) {
        self.start(picture, work);
        for level in 1..=until.level(self) {
            self.advance(level, &mut [work], until, |_, _| {});
        }
    }

    /// The article's list: find, calibrate, filter, in each level. `watch` sees what each stage leaves.
    fn advance(
        &self,
        level: usize,
        works: &mut [&mut Work],
        until: Until,
        mut watch: impl FnMut(&'static str, &[&mut Work]),
    ) {
        if works.is_empty() {
            return;
        }
        if level == 1 {
            works.iter_mut().for_each(|work| self.proposer.find(work));
            watch("find-1", works);
            self.proposer.calibrate(works);
            watch("calibrate-1", works);
            for work in works.iter_mut() {
                self.proposer.filter(work);
                self.end_level(1, work, until);
            }
            watch("filter-1", works);
        } else if let Some(refiner) = level.checked_sub(2).and_then(|i| self.refiners.get(i)) {
            let [find, calibrate, filter] = REFINER_STAGES[level - 2];
            refiner.find(works);
            watch(find, works);
            refiner.calibrate(works);
            watch(calibrate, works);
            for work in works.iter_mut() {
                refiner.filter(work);
                self.end_level(level, work, until);
            }
            watch(filter, works);
        }
    }

    /// Behind the last level comes the global filter.
    fn end_level(&self, level: usize, work: &mut Work, until: Until) {
        if until == Until::Faces && level == self.levels() {
            // Suppression, the last step of every level's filter, left what it chose from there.
            faces::merge(&mut work.candidates, &work.filtered, &self.settings.faces);
            work.candidates.retain(|c| self.settings.faces.score(c.score) >= self.options.threshold);
            self.tell_smiles(work);
        }
        work.passed();
    }

    /// The faces, best first, after the last level.
    pub fn faces(&self, work: &Work) -> Vec<Face> {
        let score = |s| self.settings.faces.score(s);
        let told = self.smiles.as_ref().map(|smiles| (smiles.settings(), &work.smiles));
        let smile = |i: usize| told.and_then(|(settings, logits)| Some(settings.probability(*logits.get(i)?)));
        let faces = work.candidates.iter().enumerate();
        faces.map(|(i, c)| Face { rect: c.rect, score: score(c.score), smile: smile(i) }).collect()
    }

    /// Looks at the faces that are left once more, if smiles are wanted.
    fn tell_smiles(&self, work: &mut Work) {
        let Some(smiles) = &self.smiles else { return };
        let Work { picture, candidates, input, scratch, smiles: logits, .. } = work;
        logits.clear();
        smiles.look(picture, candidates.iter().map(|c| c.rect), input, scratch, logits);
    }

    /// Lends buffers from the pool; a thread that finds none free makes its own.
    fn with_work<T>(&self, run: impl FnOnce(&mut Work) -> T) -> T {
        let pool = || self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut work = pool().pop().unwrap_or_default();
        let result = run(&mut work);
        pool().push(work);
        result
    }
}

fn windows(work: &Work) -> Vec<Window> {
    work.candidates.iter().map(|c| Window { rect: c.rect, score: c.score }).collect()
}

fn check(options: &Options) -> Result<()> {
    let Options { min_face, threshold, smile: _ } = options;
    if !(min_face.is_finite() && *min_face >= 8.0) {
        return Err(Error::Setting(format!("the smallest face is {min_face} pixels; it must be at least 8")));
    }
    if !(0.0..=1.0).contains(threshold) {
        return Err(Error::Setting(format!("the threshold is {threshold}; it must lie in 0..1")));
    }
    Ok(())
}
