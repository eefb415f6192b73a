//! A picture on its way through the cascade, with a type for each phase: with [`Work`] nothing has begun; a GPU may be
//! building the pyramids of what is [`Submitted`]; what is [`Started`] has them, and goes through level after level. Each
//! phase is handed over for the next one, and can go to another thread in between.

use image::RgbImage;

use super::state::{Picture, State};
use super::{Cascade, LevelCount, Until};
use crate::geometry::{Face, Rect};
use crate::pyramid::Pending;

/// Buffers for a picture. They grow to what the largest picture needed and serve picture after picture: every later phase
/// turns back into this.
#[derive(Debug, Default)]
pub struct Work {
    pub(super) state: State,
}

/// A picture whose pyramids a GPU is building, where one builds pyramids.
#[derive(Debug)]
pub struct Submitted {
    pub(super) state: State,
    pub(super) pending: Option<Pending>,
}

/// A picture with its pyramids and, once level 1 has run, the windows that are left.
#[derive(Debug)]
pub struct Started {
    pub(super) state: State,
}

impl Started {
    /// Limits level 1's search for the smallest faces, those of up to twice [`super::Options::min_face`], which cost most, to
    /// `regions` (pixels of the picture); larger ones are looked for everywhere. A GPU that runs level 1 looks everywhere.
    #[must_use]
    pub fn within(mut self, regions: Vec<Rect>) -> Self {
        self.state.picture.within = Some(regions);
        self
    }

    /// Number of the last level that ran; 0 before the first.
    pub fn level(&self) -> usize {
        self.state.counts.len()
    }

    /// Windows and multiply-adds of each level that ran.
    pub fn counts(&self) -> &[LevelCount] {
        &self.state.counts
    }
}

impl From<Work> for Submitted {
    fn from(Work { state }: Work) -> Self {
        Self { state, pending: None }
    }
}

macro_rules! buffers_of {
    ($($phase:ty),+) => {$(
        impl From<$phase> for Work {
            fn from(phase: $phase) -> Self {
                Self { state: phase.state }
            }
        }
    )+};
}

buffers_of!(Submitted, Started);

impl Cascade {
    /// Buffers for pictures that come for hours: grown to what any number of windows needs, so that memory stays as it is.
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        self.refiners.iter().for_each(|refiner| refiner.grow(&mut work.state.buffers));
        if let Some(smiles) = &self.smiles {
            smiles.grow(&mut work.state.buffers);
        }
        work
    }

    /// Where a GPU builds pyramids: has it begin with those of `picture` and returns at once. [`Self::start`] follows, with
    /// the same picture.
    pub fn submit(&self, picture: &RgbImage, work: Work) -> Submitted {
        Submitted { pending: self.pyramids.submit(picture, &self.plan()), state: work.state }
    }

    /// Starts a picture, given as [`Work`] or [`Submitted`]: builds its pyramids, or waits for them. Then
    /// [`Self::next_level`] runs level after level, and [`Self::faces`] has what they found; together they are
    /// [`Self::detect`], cut so that each part can run on a thread of its own.
    pub fn start(&self, picture: &RgbImage, submitted: impl Into<Submitted>) -> Started {
        let Submitted { mut state, pending } = submitted.into();
        let plan = self.plan();
        let pending = pending.or_else(|| self.pyramids.submit(picture, &plan));
        let Picture { halves, levels, from_gpu, within } = &mut state.picture;
        *within = None;
        self.pyramids.take(pending, picture, &plan, halves, levels, from_gpu);
        state.candidates.clear();
        state.smiles.clear();
        state.accepted.clear();
        state.dropped = None;
        state.counts.clear();
        Started { state }
    }

    /// Runs each picture's next level: find, calibrate, filter; behind the last one the global filter, and then nothing.
    /// Nets see the windows of all neighbours in `pictures` that are equally far in common batches; what comes out is the
    /// same as of one picture at a time.
    pub fn next_level(&self, pictures: &mut [&mut Started]) {
        for together in pictures.chunk_by_mut(|a, b| a.level() == b.level()) {
            let level = together[0].level() + 1;
            let mut states: Vec<_> = together.iter_mut().map(|started| &mut started.state).collect();
            self.advance(level, &mut states, Until::Faces, |_, _| {});
        }
    }

    /// The faces, best first. Runs the levels that are left, if there are any.
    pub fn faces(&self, started: &mut Started) -> Vec<Face> {
        while started.level() < self.levels() {
            self.next_level(&mut [&mut *started]);
        }
        let score = |s| self.settings.faces.score(s);
        let State { candidates, smiles, .. } = &started.state;
        let smile = |i: usize| Some(self.smiles.as_ref()?.settings().probability((*smiles.get(i)?)?));
        let faces = candidates.iter().enumerate();
        faces.map(|(i, c)| Face { rect: c.rect, score: score(c.score), smile: smile(i) }).collect()
    }
}
