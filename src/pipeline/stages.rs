//! What each stage does with a frame. Capture and output are the source's and the caller's.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::search::{Plan, Search};
use super::{FrameResult, PipelineOptions, Policy, STAGES, Stage, StageTime};
use crate::cascade::{Cascade, Work};
use crate::error::Result;
use crate::frame::Frame;
use crate::track::Tracker;

/// A frame on its way, with what the cascade needs for it. There are as many as may be in flight: having one is the
/// credit that lets a frame in.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) result: FrameResult,
    /// When the stage before was done.
    pub(super) since: Instant,
    /// The thread may take the next frames before it goes on with those it has, and begin with them: a GPU then makes their
    /// pyramids meanwhile. Not where a plan might leave the frame out; and never live, where a frame that is taken early is
    /// an old one.
    pub(super) ahead: bool,
    work: Work,
    /// Whether its buffers have grown, which happens when it is first needed.
    grown: bool,
    traced: bool,
}

impl Job {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let frame = Frame { number: 0, captured: now, time: 0.0, picture: image::RgbImage::new(0, 0) };
        let result = FrameResult {
            frame,
            faces: Vec::new(),
            tracked: Vec::new(),
            searched: false,
            stages: [StageTime::default(); STAGES],
            counts: [0; 3],
            windows: Vec::new(),
            dropped: 0,
        };
        Self { result, since: now, ahead: false, work: Work::default(), grown: false, traced: false }
    }
}

/// What is done in one stage with frames that are worked on together: one, or of a file a few in a row.
pub(super) type Step<'a> = Box<dyn FnMut(&mut [Box<Job>]) -> Result<()> + Send + 'a>;

/// What the stages share.
#[derive(Debug)]
pub(super) struct Stages<'a> {
    cascade: &'a Cascade,
    options: &'a PipelineOptions,
    search: Option<Mutex<Search>>,
}

impl<'a> Stages<'a> {
    pub(super) fn new(cascade: &'a Cascade, options: &'a PipelineOptions) -> Self {
        // Where nobody follows faces, there is nothing to plan by.
        let search = options.search.filter(|_| options.track).map(|s| Mutex::new(Search::new(s)));
        Self { cascade, options, search }
    }

    /// What `stage` does; that of the capture only with frames that a thread takes ahead ([`Job::ahead`]). Those of the
    /// cascade know nothing of other frames, so several threads may each have one.
    pub(super) fn step(&'a self, stage: Stage) -> Step<'a> {
        match stage {
            Stage::Capture => Box::new(|jobs| jobs.iter_mut().try_for_each(|job| self.begin(job))),
            Stage::Output => Box::new(|_| Ok(())),
            Stage::Pyramid => Box::new(|jobs| jobs.iter_mut().try_for_each(|job| self.pyramid(job))),
            Stage::Level1 => Box::new(|jobs| self.level(1, jobs)),
            Stage::Level2 => Box::new(|jobs| self.level(2, jobs)),
            Stage::Level3 => Box::new(|jobs| self.level(3, jobs)),
            Stage::Track => {
                let mut tracker = Tracker::default();
                Box::new(move |jobs| jobs.iter_mut().try_for_each(|job| self.track(&mut tracker, job)))
            }
        }
    }

    fn grow(&self, job: &mut Job) {
        if !std::mem::replace(&mut job.grown, true) {
            job.work = self.cascade.work();
        }
    }

    /// Has a GPU begin with the pyramids.
    #[expect(clippy::unnecessary_wraps, reason = "all stages look alike")]
    fn begin(&self, job: &mut Job) -> Result<()> {
        self.grow(job);
        self.cascade.submit(&job.result.frame.picture, &mut job.work);
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "all stages look alike")]
    fn pyramid(&self, job: &mut Job) -> Result<()> {
        self.grow(job);
        let picture = &job.result.frame.picture;
        job.traced = self.options.windows.load(Ordering::Relaxed);
        job.result.windows.clear();
        job.result.faces.clear();
        let plan = match self.search().filter(|_| !job.traced) {
            Some(mut search) => search.plan(picture.dimensions(), self.cascade.options().min_face, Instant::now()),
            None => Plan::Everywhere,
        };
        job.result.searched = plan != Plan::Skip;
        let planned = matches!(self.options.policy, Policy::Live { .. }) || self.search.is_some();
        job.ahead = !planned && self.cascade.pyramids().is_elsewhere();
        match plan {
            Plan::Everywhere => self.cascade.start(picture, &mut job.work),
            Plan::Within(regions) => self.cascade.start_within(picture, regions, &mut job.work),
            Plan::Skip => {}
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "all stages look alike")]
    fn level(&self, level: usize, jobs: &mut [Box<Job>]) -> Result<()> {
        let mut together = Vec::with_capacity(jobs.len());
        for job in jobs.iter_mut().map(Box::as_mut).filter(|job| job.result.searched) {
            if job.traced {
                self.cascade.level_traced(level, &mut job.work, &mut job.result.windows);
            } else {
                together.push(&mut job.work);
            }
        }
        if let Some(time) = self.options.slow.filter(|_| level == 1) {
            std::thread::sleep(time * together.len() as u32);
        }
        self.cascade.level(level, &mut together);
        if level == self.cascade.levels() {
            for job in jobs.iter_mut().filter(|job| job.result.searched) {
                job.result.faces = self.cascade.faces(&job.work);
            }
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "all stages look alike")]
    fn track(&self, tracker: &mut Tracker, job: &mut Job) -> Result<()> {
        let result = &mut job.result;
        result.counts = [0; 3];
        if result.searched {
            for (to, level) in result.counts.iter_mut().zip(job.work.counts()) {
                *to = level.windows;
            }
        }
        if !self.options.track {
            return Ok(());
        }
        let time = result.frame.time;
        result.tracked = if result.searched { tracker.update(&result.faces, time) } else { tracker.skip(time) };
        if let Some(mut search) = self.search().filter(|_| result.searched) {
            search.learn(&result.tracked, result.search(), Instant::now());
        }
        Ok(())
    }

    fn search(&self) -> Option<MutexGuard<'_, Search>> {
        self.search.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
