//! Chooses which frame to make where frames fall due at a fixed rate and are made when they are asked for.

use std::time::{Duration, Instant};

/// A clock of frames. A caller that asks late gets the newest frame that is due; frames before that are counted as
/// dropped.
#[derive(Debug)]
pub(super) struct Pace {
    /// Frames a second, over 0.
    rate: f64,
    /// When the first frame was asked for.
    start: Option<Instant>,
    /// Number of the frame after the last one given.
    next: u64,
    dropped: u64,
}

impl Pace {
    /// A clock of `rate` frames a second (over 0), which starts when the first frame is asked for.
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, start: None, next: 0, dropped: 0 }
    }

    /// Number of frames that nobody asked for in time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of the next frame, at most `last`; `None` after that one.
    pub(super) fn next(&mut self, last: u64) -> Option<u64> {
        let start = *self.start.get_or_insert_with(Instant::now);
        if self.next > last {
            return None;
        }
        let newest = (start.elapsed().as_secs_f64() * self.rate) as u64;
        let frame = newest.clamp(self.next, last);
        self.dropped += frame - self.next;
        self.next = frame + 1;
        Some(frame)
    }

    /// Sleeps until frame `frame` is due, and returns the time at which it was due.
    pub(super) fn wait_for(&self, frame: u64) -> Instant {
        let now = Instant::now();
        let due = self.start.unwrap_or(now) + Duration::from_secs_f64(frame as f64 / self.rate);
        std::thread::sleep(due.saturating_duration_since(now));
        due
    }
}
