//! Frames that fall due at a fixed rate, and are made when they are asked for.

use std::time::{Duration, Instant};

/// A clock of frames. Who asks late gets the newest frame that is due; those before it are counted as dropped.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Frames a second; 0: a frame is due whenever one is asked for.
    rate: f64,
    /// When the first frame was asked for.
    start: Option<Instant>,
    next: u64,
    dropped: u64,
}

impl Pace {
    /// `rate` frames a second, from when the first one is asked for.
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Every frame, as fast as it is asked for.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Frames that nobody asked for in time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the next frame, at most `last`; `None` behind that.
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

    /// Sleeps until frame `frame` is due, and returns when that was.
    pub(super) fn wait_for(&self, frame: u64) -> Instant {
        let now = Instant::now();
        let Some(start) = self.start.filter(|_| self.rate > 0.0) else { return now };
        let due = start + Duration::from_secs_f64(frame as f64 / self.rate);
        std::thread::sleep(due.saturating_duration_since(now));
        due
    }
}
