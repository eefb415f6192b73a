//! What each step of the cascade leaves of a picture's windows, for people who look into it.

use std::time::{Duration, Instant};

use image::RgbImage;

use super::state::State;
use super::{Candidate, Cascade, Started, Until, windows};
use crate::error::Result;
use crate::geometry::{Face, Rect, Window};
use crate::text::counted;

/// The windows that one step let through, and the time it took.
#[derive(Debug, Clone)]
pub struct StepTrace {
    /// `find-1`, `calibrate-1`, `filter-1`, `find-2`, … `filter-3` (the global filter).
    pub name: &'static str,
    /// What came out, in pixels of the picture.
    pub windows: Vec<Window>,
    /// What this level and those before it took for faces, so that no later level looks at it. Behind the last step these are among
    /// `windows`.
    pub accepted: Vec<Window>,
    /// What a `find` step dropped for its score; empty unless it was asked for ([`Cascade::trace_whole`]), and where a GPU found the
    /// windows.
    pub dropped: Vec<Dropped>,
    /// Time it took. The pyramid's is in `find-1`.
    pub elapsed: Duration,
}

/// A window that was dropped for its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropped {
    /// The window with its score.
    pub window: Window,
    /// Where the net that scored it would have moved it; the window itself if it did not say.
    pub moved: Rect,
}

impl StepTrace {
    /// How many windows came out: `12 windows`, or `12 windows + 3 accepted`.
    pub fn counted(&self) -> String {
        let windows = counted(self.windows.len(), "window");
        if self.accepted.is_empty() { windows } else { format!("{windows} + {} accepted", self.accepted.len()) }
    }
}

impl Cascade {
    /// As [`Self::detect`], with the windows after every step.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn trace(&self, picture: &RgbImage) -> Result<(Vec<Face>, Vec<StepTrace>)> {
        self.traced(picture, None)
    }

    /// As [`Self::trace`], also with the windows that were dropped for their score: every window of level 1.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn trace_whole(&self, picture: &RgbImage) -> Result<(Vec<Face>, Vec<StepTrace>)> {
        self.traced(picture, Some(Vec::new()))
    }

    fn traced(&self, picture: &RgbImage, dropped: Option<Vec<Candidate>>) -> Result<(Vec<Face>, Vec<StepTrace>)> {
        let mut steps = Vec::new();
        let begin = Instant::now();
        let mut started = self.start(picture, self.lend());
        let pyramid = begin.elapsed();
        started.state.dropped = dropped;
        while started.level() < self.levels() {
            self.next_level_traced(&mut started, &mut steps);
        }
        steps[0].elapsed += pyramid;
        let faces = self.faces(&mut started);
        self.give_back(started);
        Ok((faces, steps))
    }

    /// As [`Self::next_level`], with the windows after each of the level's steps.
    pub fn next_level_traced(&self, started: &mut Started, steps: &mut Vec<StepTrace>) {
        let mut begin = Instant::now();
        self.advance(started.level() + 1, &mut [&mut started.state], Until::Faces, |name, states| {
            let elapsed = begin.elapsed();
            let State { candidates, accepted, dropped, .. } = &mut *states[0];
            let dropped = dropped
                .iter_mut()
                .flat_map(|list| list.drain(..))
                .map(|c| Dropped { window: Window { rect: c.rect, score: c.score }, moved: c.moved });
            let (dropped, accepted) = (dropped.collect(), windows(accepted));
            steps.push(StepTrace { name, windows: windows(candidates), accepted, dropped, elapsed });
            begin = Instant::now();
        });
    }
}
