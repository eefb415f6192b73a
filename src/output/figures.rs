//! Computes the figures that a live run shows: frame rate, age, drops, and the times of each stage, over the last second.
//! The age of a frame is its latency: the time from its capture until it is shown.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::times::{Times, at_share};
use crate::pipeline::{FrameResult, STAGES, Stage, StageTime};
use crate::text::{counted, ms};

/// Figures are computed over frames shown within this time.
const WINDOW: Duration = Duration::from_secs(1);

/// Collects figures, frame by frame. Memory does not grow with the run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Frames shown in the last second.
    recent: VecDeque<Recent>,
    /// Ages of all frames since the start.
    ages: Times,
    frames: u64,
    dropped: u64,
    faces: usize,
    searched: bool,
}

/// A frame shown in the last second.
#[derive(Debug, Clone, Copy)]
struct Recent {
    /// When the frame was shown.
    at: Instant,
    age: Duration,
    stages: [StageTime; STAGES],
}

/// Figures of the last second, and counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Snapshot {
    /// Frames shown a second.
    pub rate: f64,
    /// Median age.
    pub age: Duration,
    /// 95th percentile of the age.
    pub age_p95: Duration,
    /// Largest age.
    pub age_max: Duration,
    /// Frames shown since the start.
    pub frames: u64,
    /// Frames dropped since the start, at the source and by the policy.
    pub dropped: u64,
    /// Faces shown in the last frame.
    pub faces: usize,
    /// Whether the last frame was searched.
    pub searched: bool,
    /// Mean work and wait of each stage, by [`Stage`].
    pub stages: [StageTime; STAGES],
}

impl Figures {
    /// Notes a frame that was shown.
    pub fn presented(&mut self, result: &FrameResult) {
        let (age, stages) = (result.latency, result.stages);
        let at = result.frame.captured + age;
        while self.recent.front().is_some_and(|old| at.saturating_duration_since(old.at) > WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { at, age, stages });
        self.ages.note(age);
        self.frames += 1;
        self.dropped = result.dropped;
        self.faces = result.tracked.iter().filter(|t| t.shown).count();
        self.searched = result.searched;
    }

    /// Forgets the frames of the last second, for the time after a pause.
    pub fn restart(&mut self) {
        self.recent.clear();
    }

    /// Writes one line about the whole run, which took `seconds`; an empty one if no frame was shown.
    pub fn summary(&self, seconds: f64) -> String {
        if self.frames == 0 {
            return String::new();
        }
        let at = |share: f64| self.ages.ms(share);
        format!(
            "{} frames, {} dropped, {seconds:.1} s, {:.1} fps; age p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1} ms",
            self.frames,
            self.dropped,
            self.frames as f64 / seconds.max(1e-9),
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0)
        )
    }

    /// Computes the figures of the last second.
    pub fn snapshot(&self) -> Snapshot {
        let n = self.recent.len();
        let mut ages: Vec<Duration> = self.recent.iter().map(|s| s.age).collect();
        ages.sort_unstable();
        let span = match (self.recent.front(), self.recent.back()) {
            (Some(first), Some(last)) => last.at.saturating_duration_since(first.at).as_secs_f64(),
            _ => 0.0,
        };
        let mean = |time: fn(&StageTime) -> Duration, stage: usize| {
            self.recent.iter().map(|s| time(&s.stages[stage])).sum::<Duration>() / n.max(1) as u32
        };
        Snapshot {
            // Between n frames lie n − 1 intervals.
            rate: if span > 0.0 { (n - 1) as f64 / span } else { 0.0 },
            age: at_share(&ages, 0.5).unwrap_or_default(),
            age_p95: at_share(&ages, 0.95).unwrap_or_default(),
            age_max: ages.last().copied().unwrap_or_default(),
            frames: self.frames,
            dropped: self.dropped,
            faces: self.faces,
            searched: self.searched,
            stages: std::array::from_fn(|i| StageTime { work: mean(|t| t.work, i), wait: mean(|t| t.wait, i) }),
        }
    }
}

impl Snapshot {
    /// The stages that took any time, with it: a cascade of two levels has no third.
    pub fn ran(&self) -> impl Iterator<Item = (Stage, StageTime)> {
        Stage::ALL.into_iter().zip(self.stages).filter(|(_, time)| time.ran())
    }

    /// Writes one line, as `live --headless` prints it once a second, `seconds` after the start.
    pub fn line(&self, seconds: f64) -> String {
        let stages: Vec<String> =
            self.ran().map(|(stage, time)| format!("{} {:.1}", stage.name(), ms(time.work))).collect();
        format!(
            "{seconds:6.1} s  {:5.1} fps  age {:.1} ms (p95 {:.1}, max {:.1})  {} dropped  {}  {} ms",
            self.rate,
            ms(self.age),
            ms(self.age_p95),
            ms(self.age_max),
            self.dropped,
            counted(self.faces, "face"),
            stages.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use image::RgbImage;

    fn frame_result(captured: Instant, dropped: u64) -> FrameResult {
        let frame = Frame { number: 0, captured, time: 0.0, picture: RgbImage::new(1, 1) };
        let mut result = FrameResult { searched: true, dropped, ..FrameResult::of(frame) };
        result.stages[Stage::Level1 as usize].work = Duration::from_millis(4);
        result
    }

    #[test]
    fn only_the_last_second_counts_and_ages_are_of_frames_that_were_shown() {
        let start = Instant::now();
        let ms_ = Duration::from_millis;
        let mut figures = Figures::default();
        // Two seconds at 20 frames a second; frames of the first second have an age of 500 ms.
        for i in 0..41u64 {
            let at = start + ms_(50 * i);
            let age = if i < 20 { 500 } else { i - 20 };
            let mut result = frame_result(start, 3);
            result.frame.captured = at.checked_sub(ms_(age)).unwrap_or(start);
            result.latency = at - result.frame.captured;
            result.stages[Stage::Output as usize].work = ms_(2);
            figures.presented(&result);
        }
        let snapshot = figures.snapshot();
        assert!((snapshot.rate - 20.0).abs() < 1e-6, "{}", snapshot.rate);
        assert_eq!((snapshot.age, snapshot.age_p95, snapshot.age_max), (ms_(10), ms_(19), ms_(20)));
        assert_eq!((snapshot.frames, snapshot.dropped), (41, 3));
        assert_eq!(snapshot.stages[Stage::Level1 as usize].work, ms_(4));
        assert_eq!(snapshot.stages[Stage::Output as usize].work, ms_(2));
        // Percentiles are exact to a thousandth.
        assert_eq!(
            figures.summary(2.0),
            "41 frames, 3 dropped, 2.0 s, 20.5 fps; age p50 20.0, p95 500.0, p99 500.0, max 500.0 ms"
        );
        let line = snapshot.line(2.0);
        for word in ["20.0 fps", "age 10.0 ms", "3 dropped", "0 faces", "level1 4.0"] {
            assert!(line.contains(word), "no {word} in {line}");
        }
    }

    #[test]
    fn figures_of_nothing_are_zeros() {
        let mut figures = Figures::default();
        assert_eq!(figures.snapshot(), Snapshot::default());
        figures.presented(&frame_result(Instant::now(), 0));
        assert_eq!(figures.snapshot().rate, 0.0);
    }
}
