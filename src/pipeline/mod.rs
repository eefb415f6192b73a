//! Who runs where and when: capture → pyramid → level 1 → level 2 → level 3 → track → output, on threads joined by bounded
//! channels. What each stage does stands in `stages`, which thread does it in `threads`; how frames wait for each other
//! in `channels`; how much of a live frame is searched in `search`. What is computed is the cascade's business, never this
//! module's.

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
use crate::track::Tracked;
pub use search::SearchBudget;
use stages::Stages;

/// What happens to a frame, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading from the source.
    Capture,
    /// The image at many sizes.
    Pyramid,
    /// The cascade's proposer.
    Level1,
    /// The first refiner.
    Level2,
    /// The second refiner and the global filter.
    Level3,
    /// Following faces.
    Track,
    /// Showing or writing: the caller's function, on the caller's thread.
    Output,
}

/// Frames of a file whose windows go onto a GPU together, at most, and those that all threads together may have.
const BATCH_FOR_GPU: usize = 8;
const FRAMES_FOR_GPU: usize = 32;

/// How many stages there are.
pub const STAGES: usize = 7;

impl Default for PipelineOptions {
    /// A file's, on all cores.
    fn default() -> Self {
        Self {
            policy: Policy::File { batch: 2 },
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            track: true,
            search: None,
            stop: Arc::default(),
            slow: None,
        }
    }
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; STAGES] =
        [Self::Capture, Self::Pyramid, Self::Level1, Self::Level2, Self::Level3, Self::Track, Self::Output];

    /// `capture`, `pyramid`, `level1`, …
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
}

/// What to do when frames come faster than they can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Always the newest frame, with at most so many on their way; late ones are dropped at the source.
    Live {
        /// Frames between the source and the output's end; 2 lets one be shown while the next is searched.
        in_flight: usize,
    },
    /// Every frame, in order: the source waits.
    File {
        /// Frames whose windows go through the nets together, at least 1. Two are almost as good as many: a net's weights
        /// stay in the cache as well. Where the cascade is on a GPU, up to 8 go together.
        batch: usize,
    },
}

/// How the pipeline runs.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// See [`Policy`].
    pub policy: Policy,
    /// Cores to fit the threads to; at least 1. Where the cascade is on a GPU there are two threads more, which wait for it.
    pub threads: usize,
    /// Follow faces; without, [`FrameResult::tracked`] stays empty.
    pub track: bool,
    /// Search only where and when it is worth it, which needs `track`; `None`: every frame, everywhere.
    pub search: Option<SearchBudget>,
    /// Set from outside (Ctrl-C) to end after the frames on their way.
    pub stop: Arc<AtomicBool>,
    /// For measurements: level 1 sleeps for so long, after its work, with each frame that is searched. It takes time then, but
    /// no core.
    pub slow: Option<Duration>,
}

/// What one stage took for one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTime {
    /// Doing it. Of the capture: from [`Frame::captured`] until the frame was there.
    pub work: Duration,
    /// Waiting for it since the stage before was done.
    pub wait: Duration,
}

/// A frame with all that was found.
#[derive(Debug, Clone)]
pub struct FrameResult {
    /// The frame. Its buffer is used again after the output returns (take it, if you want to keep it).
    pub frame: Frame,
    /// The faces of this frame alone, best first.
    pub faces: Vec<Face>,
    /// The faces that are followed.
    pub tracked: Vec<Tracked>,
    /// Whether this frame was searched at all (live only: see `search`).
    pub searched: bool,
    /// By [`Stage`]; the output's own is known in [`Output::presented`].
    pub stages: [StageTime; STAGES],
    /// Windows that entered each level.
    pub counts: [usize; 3],
    /// Windows after each step of the cascade, if the output wanted them ([`Output::wants_windows`]).
    pub windows: Vec<cascade::StepTrace>,
    /// Frames dropped so far, at the source and by the policy.
    pub dropped: u64,
    /// From capture until [`Output::frame`] had returned: the sum of all works and waits. Zero before.
    pub latency: Duration,
}

impl FrameResult {
    /// A frame that nothing is known of.
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

    /// What searching took, without waiting: pyramid and levels.
    pub fn search(&self) -> Duration {
        self.stages[Stage::Pyramid as usize..=Stage::Level3 as usize].iter().map(|stage| stage.work).sum()
    }
}

/// Where frames go. Runs on the caller's thread: windows need the main one.
pub trait Output {
    /// Shows or writes a frame; `Break` ends the run.
    ///
    /// # Errors
    /// Ends the run.
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>>;

    /// Called after [`Self::frame`], when the output's time and the latency are known too; what is done here counts in
    /// neither. `Break` ends the run.
    ///
    /// # Errors
    /// Ends the run.
    fn presented(&mut self, _result: &mut FrameResult) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    /// Whether frames that begin from now on are to bring [`FrameResult::windows`]; they are searched everywhere then.
    fn wants_windows(&self) -> bool {
        false
    }

    /// Called every 20 ms while no frame comes, so that a window stays alive.
    ///
    /// # Errors
    /// Ends the run.
    fn idle(&mut self) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

impl<F: FnMut(&mut FrameResult) -> Result<ControlFlow<()>>> Output for F {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        self(result)
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Frames that came out.
    pub frames: u64,
    /// Frames dropped, at the source and by the policy.
    pub dropped: u64,
    /// From the first frame's capture to the end.
    pub elapsed: Duration,
}

/// Runs frames of `source` through `cascade` to `output`, until the source ends, the output breaks or
/// [`PipelineOptions::stop`] is set.
///
/// # Errors
/// The first error of any stage, or its panic, as an error that names the stage; all threads have ended then, except one
/// that waits for a source that does not answer. If it is the source's, the frames before it have come out.
pub fn run(
    source: Box<dyn Source>,
    cascade: &Cascade,
    options: &PipelineOptions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let options = &suited(options, cascade);
    let stages = Stages::new(cascade, options);
    threads::run(source, &|stage| stages.function(stage), stages.ahead(), options, output)
}

/// Options that keep cores and GPU busy at once. Threads that wait for the GPU need no core, so there are as many more:
/// while one waits for its batch, the GPU already has the next one, and every core still makes pyramids and runs level 1.
/// And a GPU wants more windows at once than a few frames of a file have; but with many threads, the frames on their way
/// would fill the memory.
fn suited(options: &PipelineOptions, cascade: &Cascade) -> PipelineOptions {
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
