//! The pictures that a training run draws from and measures on, each set read when it is first needed.

use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::events::{Event, Events};
use super::pictures::{self, Picture};
use super::plan::{TrainingOptions, trained};
use super::recipe::Recipe;
use super::smile::{self, faces::SmileFace};
use super::validation::{self, SetMeasures, ValidationSet};
use super::windows::Sources;
use crate::cascade::{self, Cascade, CascadeSettings, Precision};
use crate::dataset::{self, Annotated, Split};
use crate::error::{Error, Result};
use crate::eval;
use crate::nets::weights::Weights;

/// Pictures at most that samples to validate on are drawn from.
const HELD_BACK: usize = 400;
/// Height of a face that every net can learn from, pixels.
const CLEAR: f32 = 24.0;

/// The pictures of all sets, each read when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pictures: Vec<Picture>,
    /// Folders whose pictures are not among `pictures`.
    held_back: Vec<String>,
    /// Share of all pictures that those read to learn from are.
    share: f64,
    negatives: Vec<Picture>,
    masked: Vec<Picture>,
    faces: Vec<Picture>,
    portraits: Vec<Picture>,
    /// Faces that smile or not.
    pub(super) smiles: Vec<SmileFace>,
    /// Pictures that samples to validate on are drawn from; `None`: not read yet.
    validation: Option<Vec<Picture>>,
    /// What nets are measured on while they learn.
    sets: Vec<ValidationSet>,
}

impl Data {
    /// Reads whole pictures, with faces (but for those that the recipe holds back) and without.
    pub(super) fn load(
        &mut self,
        recipe: &Recipe,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        if self.share != recipe.share {
            *self = Self {
                share: recipe.share,
                smiles: take(&mut self.smiles),
                validation: self.validation.take(),
                ..Self::default()
            };
        }
        if self.pictures.is_empty() || self.held_back != recipe.held_back {
            // Faces cut from other pictures than before are wanted, too.
            self.faces.clear();
            let mut list = dataset::wider(&settings.data, Split::Train)?;
            list.retain(|picture| !recipe.holds_back(picture));
            recipe.keep_share(&mut list);
            self.pictures = read("wider/train", &list, settings, events)?;
            self.held_back.clone_from(&recipe.held_back);
        }
        if self.negatives.is_empty() {
            let mut list = dataset::negatives(&settings.data)?;
            recipe.keep_share(&mut list);
            self.negatives = read("negatives", &list, settings, events)?;
        }
        Ok(())
    }

    /// Reads `masks/`, if a share `masked` of the samples comes from it.
    pub(super) fn load_masked(
        &mut self,
        recipe: &Recipe,
        masked: f64,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        if self.masked.is_empty() && masked > 0.0 {
            let mut list = dataset::masks(&settings.data, Split::Train)?;
            recipe.keep_share(&mut list);
            self.masked = read("masks", &list, settings, events)?;
            self.masked.iter_mut().for_each(|picture| picture.partly_marked = true);
        }
        Ok(())
    }

    /// Reads single faces.
    pub(super) fn load_faces(
        &mut self,
        recipe: &Recipe,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        if self.faces.is_empty() {
            let mut list = dataset::wider_faces(&settings.data)?;
            list.retain(|crop| !recipe.holds_back(crop));
            recipe.keep_share(&mut list);
            self.faces = read("wider_faces", &list, settings, events)?;
            let mut list = dataset::mtfl(&settings.data, Split::Train)?;
            recipe.keep_share(&mut list);
            self.portraits = read("mtfl/train", &list, settings, events)?;
        }
        Ok(())
    }

    /// Reads faces that smile or not, as the whole cascade trained so far finds them.
    pub(super) fn load_smiles(
        &mut self,
        recipe: &Recipe,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        if !self.smiles.is_empty() {
            return Ok(());
        }
        let cascade_settings = CascadeSettings { smile: None, ..recipe.cascade.settings() };
        let finder = |min_face| {
            let options = cascade::Options {
                min_face,
                threshold: eval::smile::LEAST_SCORE,
                smile: false,
                precision: Precision::F32,
                ..cascade::Options::default()
            };
            Cascade::from_parts(cascade_settings.clone(), &|net| trained(net, settings), options)
        };
        let done = AtomicUsize::new(0);
        let of = smile::faces::count(&settings.data)?;
        self.smiles = watched("finding faces that smile or not", &done, of, events, || {
            smile::faces::load(&settings.data, &finder, settings.threads, &done)
        })?;
        Ok(())
    }

    /// Reads pictures to draw samples from that are not learned from: some of `wider/` val, if there are any.
    pub(crate) fn load_held_back(&mut self, settings: &TrainingOptions<'_>, events: &mut Events<'_>) -> Result<()> {
        if self.validation.is_none() {
            let mut list = dataset::wider_if_any(&settings.data, Split::Val)?;
            let clear = |face: &dataset::Truth| pictures::is_clear(face) && face.rect.h >= CLEAR;
            list.retain(|picture| picture.faces.iter().any(clear));
            let every = list.len().div_ceil(HELD_BACK).max(1);
            let list: Vec<Annotated> = list.into_iter().step_by(every).collect();
            self.validation = Some(read("wider/val", &list, settings, events)?);
        }
        Ok(())
    }

    /// Pictures to draw samples from that are not learned from; `None` without any.
    pub(crate) fn held_back(&self) -> Option<Sources<'_>> {
        let pictures = self.validation.as_deref().filter(|pictures| !pictures.is_empty())?;
        Some(Sources { pictures, ..Sources::default() })
    }

    /// Reads the sets that `recipe` asks to be measured on: those of `masks/` too if a share of the samples is `masked`.
    pub(super) fn load_sets(
        &mut self,
        recipe: &Recipe,
        masked: f64,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        let Some(validation) = recipe.validation else { return Ok(()) };
        let mut held_back = dataset::wider(&settings.data, Split::Train)?;
        held_back.retain(|picture| recipe.holds_back(picture));
        let val = dataset::wider(&settings.data, Split::Val)?;
        let masks = if masked > 0.0 { dataset::masks(&settings.data, Split::Val)? } else { Vec::new() };
        for (name, list) in [("wider/val", val), ("held back", held_back), ("masks", masks)] {
            let list: Vec<Annotated> = list.into_iter().step_by(validation.pictures).collect();
            if !list.is_empty() {
                let (done, of) = (AtomicUsize::new(0), list.len());
                let load = || ValidationSet::load(name, list, settings.threads, &done);
                self.sets.push(watched(&format!("reading {name} to measure on"), &done, of, events, load)?);
            }
        }
        Ok(())
    }

    /// Measures `weights` of the recipe's net, a detector of its own, on all sets.
    pub(super) fn measure(&self, recipe: &Recipe, weights: &Weights, threads: usize) -> Result<Vec<SetMeasures>> {
        let Some(validation) = &recipe.validation else { return Ok(Vec::new()) };
        let weights = |_: &str| Ok(weights.clone());
        let settings = recipe.cascade.settings().with_refiners(0);
        let cascade = Cascade::from_parts(settings, &weights, validation::options(validation))?;
        self.sets.iter().map(|set| set.measure(&cascade, threads)).collect()
    }

    /// All pictures that were read to learn from.
    pub(super) fn sources(&self) -> Sources<'_> {
        let Self { pictures, negatives, faces, portraits, masked, .. } = self;
        Sources { pictures, negatives, faces, portraits, masked }
    }
}

/// Decodes the pictures of a set on all threads and reports progress.
fn read(
    name: &str,
    list: &[dataset::Annotated],
    settings: &TrainingOptions<'_>,
    events: &mut Events<'_>,
) -> Result<Vec<Picture>> {
    let done = AtomicUsize::new(0);
    let progress = |_| {
        done.fetch_add(1, Ordering::Relaxed);
    };
    watched(&format!("reading {name}"), &done, list.len(), events, || {
        pictures::load(list, crate::cascade::crops::SHORTEST, settings.threads, &progress)
    })
}

/// Runs `work` on a thread of its own and reports its progress, `done` of `of` items, ten times a second.
pub(super) fn watched<T: Send>(
    stage: &str,
    done: &AtomicUsize,
    of: usize,
    events: &mut Events<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        while !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(100));
            let done = done.load(Ordering::Relaxed) as u64;
            events.push(&Event::Progress { stage: stage.to_string(), done, of: of as u64 })?;
        }
        thread.join().unwrap_or_else(|_| Err(Error::Backend(format!("{stage}: a thread panicked"))))
    })
}
