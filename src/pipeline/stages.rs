//! Says what each stage does with a frame, in a function for each stage. Capture is done by the source, output by the
//! caller.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::RgbImage;

use super::channels::Captured;
use super::search::{Scope, Search};
use super::{FrameResult, PipelineOptions, Policy, Stage};
use crate::cascade::{Cascade, Started, Submitted, Work};
use crate::error::Result;
use crate::frame::Frame;
use crate::track::Tracker;

/// A frame in the pipeline, with the cascade's data for it. There are as many jobs as frames may be in flight: a free job
/// is the credit with which a frame enters.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) result: FrameResult,
    /// Whether the output wants the windows after each step of the cascade.
    pub(super) traced: bool,
    /// When the last stage that is done ended.
    since: Instant,
    phase: Phase,
    /// Whether the cascade's buffers have been allocated, which is done for the job's first frame.
    allocated: bool,
}

/// How far the cascade is with a frame.
#[derive(Debug)]
enum Phase {
    /// The cascade has not begun with the frame.
    Idle(Work),
    /// A GPU may be building the pyramids.
    Submitted(Submitted),
    /// The cascade has started with the frame; some levels may have run.
    Started(Started),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Idle(Work::default())
    }
}

impl From<Phase> for Submitted {
    /// Keeps the pyramids that a GPU has begun to build; drops the results of the frame before.
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Idle(work) => work.into(),
            Phase::Submitted(submitted) => submitted,
            Phase::Started(started) => Work::from(started).into(),
        }
    }
}

impl Job {
    /// A job without a frame.
    pub(super) fn new(traced: bool) -> Self {
        let now = Instant::now();
        let frame = Frame { number: 0, captured: now, time: 0.0, picture: RgbImage::default() };
        Self { result: FrameResult::of(frame), traced, since: now, phase: Phase::default(), allocated: false }
    }

    /// Starts with a new frame; returns the old one, whose buffer is free.
    pub(super) fn enter(&mut self, captured: Captured) -> Captured {
        let Captured { frame, work } = captured;
        self.since = frame.captured.checked_add(work).unwrap_or_else(Instant::now);
        let old = std::mem::replace(&mut self.result, FrameResult::of(frame));
        self.result.stages[Stage::Capture as usize].work = work;
        Captured { frame: old.frame, work }
    }

    /// Notes that `stage` ended `now` and worked for `work`; the rest of the time since the stage before was waiting.
    pub(super) fn note(&mut self, stage: Stage, work: Duration, now: Instant) {
        let time = &mut self.result.stages[stage as usize];
        time.wait += now.saturating_duration_since(self.since).saturating_sub(work);
        time.work += work;
        self.since = now;
    }
}

/// A stage's function. It works on one frame, or on a few frames of a file in a row.
pub(super) type StageFn<'a> = Box<dyn FnMut(&mut [Box<Job>]) -> Result<()> + Send + 'a>;

/// Makes a stage's function of one that works on a single frame and cannot fail.
fn each<'a>(mut stage: impl FnMut(&mut Job) + Send + 'a) -> StageFn<'a> {
    Box::new(move |jobs| {
        jobs.iter_mut().for_each(|job| stage(job));
        Ok(())
    })
}

/// Makes a stage's function of one that works on frames together and cannot fail.
fn together<'a>(mut stage: impl FnMut(&mut [Box<Job>]) + Send + 'a) -> StageFn<'a> {
    Box::new(move |jobs| {
        stage(jobs);
        Ok(())
    })
}

/// What the stages of one run share.
#[derive(Debug)]
pub(super) struct Stages<'a> {
    cascade: &'a Cascade,
    options: &'a PipelineOptions,
    search: Option<Mutex<Search>>,
}

impl<'a> Stages<'a> {
    pub(super) fn new(cascade: &'a Cascade, options: &'a PipelineOptions) -> Self {
        // What to search is decided by the faces that are followed, so it needs tracking.
        let search = options.search.filter(|_| options.track).map(|s| Mutex::new(Search::new(s)));
        Self { cascade, options, search }
    }

    /// Makes the function of `stage` for one thread. The cascade's stages look at one frame only, so several threads may
    /// each have one.
    pub(super) fn function(&'a self, stage: Stage) -> StageFn<'a> {
        match stage {
            // Capture is done by the source, output by the caller.
            Stage::Capture | Stage::Output => each(|_| {}),
            Stage::Pyramid => each(|job| self.pyramid(job)),
            Stage::Level1 | Stage::Level2 | Stage::Level3 => together(move |jobs| self.level(stage, jobs)),
            Stage::Track => {
                let mut tracker = Tracker::new(self.options.following);
                each(move |job| self.track(&mut tracker, job))
            }
        }
    }

    /// Returns what is done with a frame ahead of the first stage: if a GPU builds pyramids, it starts to build this one.
    /// `None` for live frames, which would be older if they were taken early, and where frames may be left unsearched.
    pub(super) fn ahead(&'a self) -> Option<StageFn<'a>> {
        let all = matches!(self.options.policy, Policy::File { .. }) && self.search.is_none();
        all.then(|| each(|job| self.submit(job)))
    }

    /// Allocates the cascade's buffers, if this is the job's first frame.
    fn allocate(&self, job: &mut Job) {
        if !std::mem::replace(&mut job.allocated, true) {
            job.phase = Phase::Idle(self.cascade.work());
        }
    }

    /// Lets a GPU start to build the pyramid.
    fn submit(&self, job: &mut Job) {
        self.allocate(job);
        let work = Submitted::from(std::mem::take(&mut job.phase)).into();
        job.phase = Phase::Submitted(self.cascade.submit(&job.result.frame.picture, work));
    }

    /// Decides how much to search, and builds the pyramid.
    fn pyramid(&self, job: &mut Job) {
        self.allocate(job);
        let picture = &job.result.frame.picture;
        let scope = match self.search().filter(|_| !job.traced) {
            Some(mut search) => search.scope(picture.dimensions(), self.cascade.options().min_face, Instant::now()),
            None => Scope::Everywhere,
        };
        job.result.searched = scope != Scope::Skip;
        if job.result.searched {
            let started = self.cascade.start(picture, std::mem::take(&mut job.phase));
            job.phase =
                Phase::Started(if let Scope::Within(regions) = scope { started.within(regions) } else { started });
        }
    }

    /// Runs a level of the cascade on all frames together; after the last one, takes the faces.
    fn level(&self, stage: Stage, jobs: &mut [Box<Job>]) {
        let mut together = Vec::with_capacity(jobs.len());
        for job in jobs.iter_mut().map(Box::as_mut).filter(|job| job.result.searched) {
            let Phase::Started(started) = &mut job.phase else { continue };
            if job.traced {
                self.cascade.next_level_traced(started, &mut job.result.windows);
            } else {
                together.push(started);
            }
        }
        if let Some(time) = self.options.slow.filter(|_| stage == Stage::Level1) {
            std::thread::sleep(time * together.len() as u32);
        }
        self.cascade.next_level(&mut together);
        if stage.level() == Some(self.cascade.levels()) {
            for job in jobs.iter_mut().filter(|job| job.result.searched) {
                if let Phase::Started(started) = &mut job.phase {
                    job.result.faces = self.cascade.faces(started);
                }
            }
        }
    }

    /// Follows the faces, and learns from them what to search next.
    fn track(&self, tracker: &mut Tracker, job: &mut Job) {
        let result = &mut job.result;
        if let (Phase::Started(started), true) = (&job.phase, result.searched) {
            for (to, level) in result.counts.iter_mut().zip(started.counts()) {
                *to = level.windows;
            }
        }
        if !self.options.track {
            return;
        }
        let time = result.frame.time;
        result.tracked = if result.searched { tracker.update(&result.faces, time) } else { tracker.skip(time) };
        if let Some(mut search) = self.search().filter(|_| result.searched) {
            search.learn(&result.tracked, result.search_time(), Instant::now());
        }
    }

    /// Locks the state of the search, if frames are searched in part; a poisoned lock is still usable.
    fn search(&self) -> Option<MutexGuard<'_, Search>> {
        self.search.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
