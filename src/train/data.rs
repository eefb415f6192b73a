//! The data of a training run: what its recipes ask for, read when it is first needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::events::{Event, Events};
use super::pictures::{self, Picture};
use super::plan::{TrainingOptions, trained};
use super::recipe::Recipe;
use super::smile;
use super::smile::faces::SmileFace;
use super::windows::Sources;
use crate::cascade::{self, Cascade, CascadeSettings};
use crate::dataset::{self, Split};
use crate::error::{Error, Result};
use crate::eval;

/// The pictures of all sets, each read when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) pictures: Vec<Picture>,
    pub(super) negatives: Vec<Picture>,
    faces: Vec<Picture>,
    portraits: Vec<Picture>,
    masked: Vec<Picture>,
    pub(super) smiles: Vec<SmileFace>,
}

impl Data {
    pub(super) fn load(&mut self, settings: &TrainingOptions<'_>, events: &mut Events<'_>) -> Result<()> {
        if self.pictures.is_empty() {
            self.pictures = read("wider/train", &dataset::wider(&settings.data, Split::Train)?, settings, events)?;
            self.negatives = read("negatives", &dataset::negatives(&settings.data)?, settings, events)?;
        }
        Ok(())
    }

    pub(super) fn load_faces(&mut self, settings: &TrainingOptions<'_>, events: &mut Events<'_>) -> Result<()> {
        if self.faces.is_empty() {
            self.faces = read("wider_faces", &dataset::wider_faces(&settings.data)?, settings, events)?;
            self.portraits = read("mtfl/train", &dataset::mtfl(&settings.data, Split::Train)?, settings, events)?;
        }
        Ok(())
    }

    /// Faces that smile or not, found by the whole cascade as trained so far.
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
            let options = cascade::Options { min_face, threshold: eval::smile::LEAST_SCORE, smile: false };
            Cascade::from_parts(cascade_settings.clone(), &|net| trained(net, settings), options)
        };
        let done = AtomicUsize::new(0);
        let of = smile::faces::count(&settings.data)?;
        self.smiles = watched("finding faces that smile or not", &done, of, events, || {
            smile::faces::load(&settings.data, &finder, settings.threads, &done)
        })?;
        Ok(())
    }

    /// Reads `masks/`, if a `share` of the samples comes from it.
    pub(super) fn load_masked(
        &mut self,
        share: f64,
        settings: &TrainingOptions<'_>,
        events: &mut Events<'_>,
    ) -> Result<()> {
        if self.masked.is_empty() && share > 0.0 {
            self.masked = read("masks", &dataset::masks(&settings.data, Split::Train)?, settings, events)?;
            self.masked.iter_mut().for_each(|picture| picture.partly_marked = true);
        }
        Ok(())
    }

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
