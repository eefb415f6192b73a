//! Runs frames through stages on threads: capture → pyramid → level 1 → level 2 → level 3 → track → output. `stages` says
//! what each stage does with a frame, `threads` which thread does it, `channels` how frames wait and get from thread to
//! thread, `search` how much of a live frame is searched. What is computed is defined by the cascade alone; this module
//! decides where and when.

mod channels;
mod search;
mod stages;
mod threads;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cascade::{self, Cascade};
use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::Face;
use crate::source::Source;
use crate::track::{Following, Tracked};
pub use search::SearchBudget;
use stages::Stages;

/// A stage of the pipeline. Each frame goes through all of them, in this order, but for levels that the cascade has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reads the frame from the source.
    Capture,
    /// Builds the image pyramid.
    Pyramid,
    /// Runs level 1 of the cascade, the proposer.
    Level1,
    /// Runs level 2, a refiner.
    Level2,
    /// Runs level 3, a refiner, where the cascade has one.
    Level3,
    /// Follows faces from frame to frame.
    Track,
    /// Shows or writes the frame: the caller's function, on the caller's thread.
    Output,
}

/// Most frames of a file whose windows go through the nets on a GPU together.
const BATCH_FOR_GPU: usize = 8;
/// Most frames that all threads together work on for a GPU.
const FRAMES_FOR_GPU: usize = 32;

/// Number of stages.
pub const STAGES: usize = 7;

impl Default for PipelineOptions {
    /// Options for a file, on all cores.
    fn default() -> Self {
        Self {
            policy: Policy::File { batch: 2 },
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            track: true,
            following: Following::default(),
            search: None,
            stop: Arc::default(),
            slow: None,
        }
    }
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; STAGES] =
        [Self::Capture, Self::Pyramid, Self::Level1, Self::Level2, Self::Level3, Self::Track, Self::Output];

    /// Name of the stage, as in JSON and on screen: `capture`, `pyramid`, `level1`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Pyramid => "pyramid",
            Self::Level1 => "level1",
            Self::Level2 => "level2",
            Self::Level3 => "level3",
            Self::Track => "track",
            Self::Output => "output",
        }
    }

    /// Which level of the cascade it runs, from 1 on; `None`: another part of the work.
    pub fn level(self) -> Option<usize> {
        matches!(self, Self::Level1 | Self::Level2 | Self::Level3).then(|| self as usize - Self::Pyramid as usize)
    }
}

/// What to do if frames come faster than they can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newest frame is searched next; frames that have to wait are dropped at the entry.
    Live {
        /// Most frames in the pipeline at once, at least 1; with 2, one is shown while the next is searched.
        in_flight: usize,
    },
    /// Every frame is searched, in order; the source waits.
    File {
        /// Frames whose windows go through the nets together, at least 1. Two are almost as fast as many, as a net's
        /// weights stay in the cache already. If refiners run on a GPU, up to 8 go together.
        batch: usize,
    },
}

/// How the pipeline runs.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// What to do if frames come faster than they can be searched.
    pub policy: Policy,
    /// Cores to use, at least 1. If refiners run on a GPU, there are two more threads, which wait for it.
    pub threads: usize,
    /// Whether to follow faces; if not, [`FrameResult::tracked`] stays empty.
    pub track: bool,
    /// How faces are followed.
    pub following: Following,
    /// Search only a part of most frames, and not every frame; needs `track`. `None`: search every frame everywhere.
    pub search: Option<SearchBudget>,
    /// Set by the caller (Ctrl-C) to end the run after the frames that are in the pipeline.
    pub stop: Arc<AtomicBool>,
    /// For measurements: after its work on each frame that is searched, level 1 sleeps for this long. Sleeping takes time,
    /// but uses no core.
    pub slow: Option<Duration>,
}

/// Time that one stage took for one frame; zero where it did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTime {
    /// Work on the frame. For the capture: from [`Frame::captured`] until the program had the frame.
    pub work: Duration,
    /// Waiting of the frame between the end of the stage before and the work of this one.
    pub wait: Duration,
}

impl StageTime {
    /// Whether the stage ran at all.
    pub fn ran(&self) -> bool {
        *self != Self::default()
    }
}

/// A frame with all that was found in it.
#[derive(Debug, Clone)]
pub struct FrameResult {
    /// The frame. The buffer of its picture is used again after [`Output::presented`] (take it out to keep the picture).
    pub frame: Frame,
    /// The faces detected in this frame, best first.
    pub faces: Vec<Face>,
    /// The faces that are followed, with ids.
    pub tracked: Vec<Tracked>,
    /// Whether the frame was searched at all. Only with a [`SearchBudget`] some frames are not.
    pub searched: bool,
    /// Times by [`Stage`]. That of the output itself is known in [`Output::presented`].
    pub stages: [StageTime; STAGES],
    /// Number of windows that entered each level.
    pub counts: [usize; 3],
    /// Windows after each step of the cascade, if [`Output::wants_windows`] asked for them.
    pub windows: Vec<cascade::StepTrace>,
    /// Number of frames dropped so far, at the source and by the policy.
    pub dropped: u64,
    /// From capture until [`Output::frame`] returned: the sum of work and waiting in all stages. Zero before that.
    pub latency: Duration,
}

impl FrameResult {
    /// A frame of which nothing is known yet.
    pub(crate) fn of(frame: Frame) -> Self {
        Self {
            frame,
            faces: Vec::new(),
            tracked: Vec::new(),
            searched: false,
            stages: [StageTime::default(); STAGES],
            counts: [0; 3],
            windows: Vec::new(),
            dropped: 0,
            latency: Duration::ZERO,
        }
    }

    /// Work of pyramid and levels on the frame, without waiting.
    pub fn search_time(&self) -> Duration {
        self.stages[Stage::Pyramid as usize..=Stage::Level3 as usize].iter().map(|stage| stage.work).sum()
    }
}

/// Receives frames, in order. Called on the caller's thread, because windows need the program's main thread.
pub trait Output {
    /// Shows or writes a frame; `Break` ends the run.
    ///
    /// # Errors
    /// If the frame can't be shown or written, which ends the run.
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>>;

    /// Called after [`Self::frame`], when the output's time and the latency are known; what is done here counts in
    /// neither. `Break` ends the run.
    ///
    /// # Errors
    /// Any error ends the run.
    fn presented(&mut self, _result: &mut FrameResult) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    /// Whether frames that enter from now on are to bring [`FrameResult::windows`]. Such frames are searched everywhere.
    fn wants_windows(&self) -> bool {
        false
    }

    /// Called every 20 ms while no frame comes, to handle a window's events. `Break` ends the run.
    ///
    /// # Errors
    /// Any error ends the run.
    fn idle(&mut self) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

impl<F: FnMut(&mut FrameResult) -> Result<ControlFlow<()>>> Output for F {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        self(result)
    }
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Number of frames that came out.
    pub frames: u64,
    /// Number of frames dropped, at the source and by the policy.
    pub dropped: u64,
    /// From the capture of the first frame to the end of the last.
    pub elapsed: Duration,
}

/// Runs frames of `source` through `cascade` to `output`, until the source ends, the output breaks or
/// [`PipelineOptions::stop`] is set.
///
/// # Errors
/// The first error or panic of any stage, as an error that names the stage. All threads have ended when this returns, except the
/// source's, if the source does not answer. If the source failed, the frames before the failure have come out.
pub fn run(
    source: Box<dyn Source>,
    cascade: &Cascade,
    options: &PipelineOptions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let options = &adapted(options, cascade);
    let stages = Stages::new(cascade, options);
    threads::run(source, cascade.levels(), &|stage| stages.function(stage), stages.ahead(), options, output)
}

/// Adapts `options` so that a GPU that runs refiners and all cores are busy at the same time. Threads that wait for the
/// GPU need no core, so there are more threads: while one waits for its batch, the GPU has the next one, and every core
/// still builds pyramids and runs level 1. A GPU also needs more windows at once than two frames of a file have; the
/// number of frames of all threads together is limited, for they take memory.
fn adapted(options: &PipelineOptions, cascade: &Cascade) -> PipelineOptions {
    let mut options = options.clone();
    let more = cascade.waiting_threads();
    if more > 0 {
        options.threads += more;
        if let Policy::File { batch } = &mut options.policy {
            *batch = (*batch).max((FRAMES_FOR_GPU / options.threads).min(BATCH_FOR_GPU));
        }
    }
    options
}

#[cfg(test)]
mod tests;
