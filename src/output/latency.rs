//! Measures a live run: from each frame's capture to its being shown, work and waiting of every stage apart, drops, and what
//! the program uses meanwhile.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::machine::Usage;
pub use super::times::Percentiles;
use super::times::{Times, at_share, rounded};
use crate::pipeline::{FrameResult, STAGES, Stage};
use crate::text::ms;

/// How often memory, threads and files are noted.
const MINUTE: Duration = Duration::from_secs(60);
/// How often they are looked at, so that they are known of a run that ends early.
const SECOND: Duration = Duration::from_secs(1);
/// A frame that is due when the time is over is not counted, to this much.
const SLACK: Duration = Duration::from_millis(1);

/// Collects times, frame by frame.
#[derive(Debug)]
pub struct Meter {
    warm_up: u64,
    length: Duration,
    seen: u64,
    /// Capture of the first frame that counts.
    start: Option<Instant>,
    /// Drops up to the last frame.
    dropped: u64,
    latency: Times,
    stages: [(Times, Times); STAGES],
    shown: Vec<Shown>,
    searched: u64,
    /// Every minute, from the first frame that counts.
    usage: Vec<Usage>,
    newest: Option<Usage>,
}

/// A frame of the time line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// When it was captured, seconds since the first frame that counts.
    pub time: f32,
    /// How old it was when it was shown, milliseconds.
    pub latency: f32,
    /// Frames dropped between the one before and this.
    pub dropped: u32,
}

impl Meter {
    /// Measures for `length`, after `warm_up` frames that do not count.
    pub fn new(warm_up: u64, length: Duration) -> Self {
        Self {
            warm_up,
            length,
            seen: 0,
            start: None,
            dropped: 0,
            latency: Times::default(),
            stages: std::array::from_fn(|_| Default::default()),
            shown: Vec::new(),
            searched: 0,
            usage: Vec::new(),
            newest: None,
        }
    }

    /// Takes down a frame that was shown; `false` if the time is over: the frame does not count then.
    pub fn presented(&mut self, result: &FrameResult) -> bool {
        let (captured, dropped) = (result.frame.captured, result.dropped);
        self.seen += 1;
        if self.seen <= self.warm_up {
            self.dropped = dropped;
            return true;
        }
        if self.start.is_none() {
            self.start = Some(captured);
            let usage = Usage::now();
            self.usage.push(usage);
            self.newest = Some(usage);
        }
        if self.elapsed(captured) + SLACK >= self.length {
            self.look(true);
            return false;
        }
        self.latency.note(result.latency);
        for (sums, time) in self.stages.iter_mut().zip(&result.stages) {
            sums.0.note(time.work);
            sums.1.note(time.wait);
        }
        self.searched += u64::from(result.searched);
        self.shown.push(Shown {
            time: self.elapsed(captured).as_secs_f32(),
            latency: ms(result.latency) as f32,
            dropped: dropped.saturating_sub(self.dropped) as u32,
        });
        self.dropped = dropped;
        self.look(false);
        true
    }

    fn elapsed(&self, captured: Instant) -> Duration {
        self.start.map_or(Duration::ZERO, |start| captured.saturating_duration_since(start))
    }

    /// Looks at memory, threads and files, if it is time to.
    fn look(&mut self, at_once: bool) {
        let (Some(first), Some(newest)) = (self.usage.first(), self.newest) else { return };
        if !at_once && newest.at.elapsed() < SECOND {
            return;
        }
        let now = Usage::now();
        if now.at.saturating_duration_since(first.at) >= MINUTE * self.usage.len() as u32 {
            self.usage.push(now);
        }
        self.newest = Some(now);
    }

    /// Whether the warm-up is over.
    pub fn is_measuring(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Frame by frame.
    pub fn into_shown(self) -> Vec<Shown> {
        self.shown
    }

    /// What was measured; `None` if no frame counted.
    pub fn report(&self) -> Option<Report> {
        let (first, last) = (self.shown.first()?, self.shown.last()?);
        let mut usage = self.usage.clone();
        // The end counts, if it is not that of a minute.
        if let (Some(newest), Some(noted)) = (self.newest, usage.last())
            && newest.at.saturating_duration_since(noted.at) >= SECOND / 2
        {
            usage.push(newest);
        }
        let list = |get: fn(&Usage) -> Option<u64>| usage.iter().filter_map(get).collect::<Vec<_>>();
        let span = f64::from(last.time - first.time);
        let begin = self.usage.first();
        Some(Report {
            frames: self.shown.len() as u64,
            dropped: self.shown.iter().map(|s| u64::from(s.dropped)).sum(),
            // n frames have n − 1 distances between them.
            fps: if span > 0.0 { rounded((self.shown.len() - 1) as f64 / span) } else { 0.0 },
            seconds: rounded(span),
            warm_up_frames: self.warm_up,
            searched: self.searched,
            latency_ms: self.latency.percentiles(),
            stages: Stage::ALL
                .iter()
                .zip(&self.stages)
                .map(|(stage, (work, wait))| {
                    (stage.name(), StageReport { work_ms: work.percentiles(), wait_ms: wait.percentiles() })
                })
                .collect(),
            drift: Drift::of(&self.shown),
            cpu_percent: begin.and_then(|begin| self.newest?.percent_since(begin)).map(rounded),
            others_cpu_percent: begin.and_then(|begin| self.newest?.others_since(begin)).map(rounded),
            memory_mb: list(|u| u.memory).iter().map(|bytes| rounded(*bytes as f64 / 1e6)).collect(),
            threads: list(|u| u.threads),
            fds: list(|u| u.files),
        })
    }
}

/// What one stage took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageReport {
    /// Doing it. Of the capture: how much later than its capture time a frame was there.
    pub work_ms: Percentiles,
    /// Waiting for it since the stage before was done.
    pub wait_ms: Percentiles,
}

/// Whether frames grow older while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// A minute, or half of a shorter run.
    pub span_seconds: f64,
    /// 95th percentile of the latency in the first such span, milliseconds.
    pub first_p95_ms: f64,
    /// In the last one.
    pub last_p95_ms: f64,
}

impl Drift {
    fn of(shown: &[Shown]) -> Option<Self> {
        let end = shown.last()?.time;
        let span = (end / 2.0).min(MINUTE.as_secs_f32());
        let p95 = |keep: &dyn Fn(f32) -> bool| {
            let mut list: Vec<f32> = shown.iter().filter(|s| keep(s.time)).map(|s| s.latency).collect();
            list.sort_unstable_by(f32::total_cmp);
            at_share(&list, 0.95).map(|ms| rounded(f64::from(ms)))
        };
        Some(Self {
            span_seconds: rounded(f64::from(span)),
            first_p95_ms: p95(&|time| time <= span)?,
            last_p95_ms: p95(&|time| time >= end - span)?,
        })
    }
}

/// What was measured. As JSON, it is what `bench --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Frames that were shown.
    pub frames: u64,
    /// Frames dropped meanwhile, at the source and by the policy.
    pub dropped: u64,
    /// Frames a second.
    pub fps: f64,
    /// From the first frame's capture to the last one's.
    pub seconds: f64,
    /// Frames before, that do not count.
    pub warm_up_frames: u64,
    /// Frames that were searched; in the others faces were only moved on.
    pub searched: u64,
    /// From capture to being shown.
    pub latency_ms: Percentiles,
    /// By stage, in order. A frame's latency is the sum of all its works and waits.
    #[serde(serialize_with = "in_order")]
    pub stages: Vec<(&'static str, StageReport)>,
    /// Absent without two frames.
    pub drift: Option<Drift>,
    /// What the program used, percent of one core.
    pub cpu_percent: Option<f64>,
    /// What all other programs used meanwhile, percent of one core.
    pub others_cpu_percent: Option<f64>,
    /// Resident memory in millions of bytes: at the start, after each minute, at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory_mb: Vec<f64>,
    /// Threads, at the same moments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<u64>,
    /// Open file descriptors, at the same moments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fds: Vec<u64>,
}

fn in_order<S: Serializer>(stages: &[(&'static str, StageReport)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stages.iter().copied())
}

#[cfg(test)]
pub(in crate::output) mod tests;
