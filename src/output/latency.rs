//! Measures a live run: the latency of each frame (from its capture until it is shown), split into work and waiting of
//! every pipeline stage; dropped frames; and the processor time, memory, threads and files that the program uses.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::machine::Usage;
pub use super::times::Percentiles;
use super::times::{Times, at_share, rounded};
use crate::pipeline::{FrameResult, STAGES, Stage};
use crate::text::ms;

/// Memory, threads and files are reported once a minute.
const MINUTE: Duration = Duration::from_secs(60);
/// Memory, threads and files are read once a second, so that a report can end with values of the end of the run.
const SECOND: Duration = Duration::from_secs(1);
/// A frame captured less than this before the end counts as after it: clocks are not exact, and 10 s at 30 frames a second
/// are 300 frames.
const SLACK: Duration = Duration::from_millis(1);

/// Collects the times of a run, frame by frame.
#[derive(Debug)]
pub struct Meter {
    /// Frames at the beginning that do not count.
    warm_up: u64,
    length: Duration,
    /// Frames shown so far, warm-up included.
    seen: u64,
    /// Capture time of the first frame that counts.
    start: Option<Instant>,
    /// Frames dropped before the last frame was shown, warm-up included.
    dropped: u64,
    latency: Times,
    /// Work and wait, by [`Stage`].
    stages: [(Times, Times); STAGES],
    frames: Vec<FrameLatency>,
    searched: u64,
    /// One a minute, the first with the first frame that counts.
    usage: Vec<Usage>,
    /// Read within the last second.
    newest: Option<Usage>,
}

/// The latency of one frame, for the plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameLatency {
    /// Capture time of the frame, seconds since that of the first frame that counts.
    pub time: f32,
    /// From capture until the frame was shown, milliseconds.
    pub latency: f32,
    /// Frames dropped between the frame shown before and this one.
    pub dropped: u32,
}

impl Meter {
    /// Measures for `length` of capture time, after `warm_up` frames that do not count.
    pub fn new(warm_up: u64, length: Duration) -> Self {
        Self {
            warm_up,
            length,
            seen: 0,
            start: None,
            dropped: 0,
            latency: Times::default(),
            stages: std::array::from_fn(|_| Default::default()),
            frames: Vec::new(),
            searched: 0,
            usage: Vec::new(),
            newest: None,
        }
    }

    /// Notes a frame that was shown. Returns `false` if the time is over: then the frame does not count.
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
            self.read_usage(true);
            return false;
        }
        self.latency.note(result.latency);
        for (sums, time) in self.stages.iter_mut().zip(&result.stages) {
            sums.0.note(time.work);
            sums.1.note(time.wait);
        }
        self.searched += u64::from(result.searched);
        self.frames.push(FrameLatency {
            time: self.elapsed(captured).as_secs_f32(),
            latency: ms(result.latency) as f32,
            dropped: dropped.saturating_sub(self.dropped) as u32,
        });
        self.dropped = dropped;
        self.read_usage(false);
        true
    }

    /// From the capture of the first frame that counts to `captured`.
    fn elapsed(&self, captured: Instant) -> Duration {
        self.start.map_or(Duration::ZERO, |start| captured.saturating_duration_since(start))
    }

    /// Reads memory, threads and files, if the last values are a second old or if asked to do so `at_once`.
    fn read_usage(&mut self, at_once: bool) {
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
        !self.frames.is_empty()
    }

    /// Returns the latency of each frame that counts, in order.
    pub fn into_frames(self) -> Vec<FrameLatency> {
        self.frames
    }

    /// Reports what was measured; `None` if no frame counted.
    pub fn report(&self) -> Option<Report> {
        let (first, last) = (self.frames.first()?, self.frames.last()?);
        let mut usage = self.usage.clone();
        // The list ends with values of the end of the run.
        if let (Some(newest), Some(noted)) = (self.newest, usage.last())
            && newest.at.saturating_duration_since(noted.at) >= SECOND / 2
        {
            usage.push(newest);
        }
        let list = |get: fn(&Usage) -> Option<u64>| usage.iter().filter_map(get).collect::<Vec<_>>();
        let span = f64::from(last.time - first.time);
        let begin = self.usage.first();
        Some(Report {
            frames: self.frames.len() as u64,
            dropped: self.frames.iter().map(|s| u64::from(s.dropped)).sum(),
            // Between n frames lie n − 1 intervals.
            fps: if span > 0.0 { rounded((self.frames.len() - 1) as f64 / span) } else { 0.0 },
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
            drift: Drift::of(&self.frames),
            cpu_percent: begin.and_then(|begin| self.newest?.percent_since(begin)).map(rounded),
            others_cpu_percent: begin.and_then(|begin| self.newest?.others_since(begin)).map(rounded),
            memory_mb: list(|u| u.memory).iter().map(|bytes| rounded(*bytes as f64 / 1e6)).collect(),
            threads: list(|u| u.threads),
            fds: list(|u| u.files),
        })
    }
}

/// Times of one stage of the pipeline, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageReport {
    /// Work on a frame. For the capture: from the frame's capture time until the program had the frame.
    pub work_ms: Percentiles,
    /// Waiting of a frame between the end of the stage before and the work of this one.
    pub wait_ms: Percentiles,
}

/// Whether the latency grows during the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Length of the two spans that are compared, seconds: a minute, or half of a run shorter than two minutes.
    pub span_seconds: f64,
    /// 95th percentile of the latency in the first span, milliseconds.
    pub first_p95_ms: f64,
    /// 95th percentile of the latency in the last span, milliseconds.
    pub last_p95_ms: f64,
}

impl Drift {
    fn of(frames: &[FrameLatency]) -> Option<Self> {
        let end = frames.last()?.time;
        let span = (end / 2.0).min(MINUTE.as_secs_f32());
        let p95 = |keep: &dyn Fn(f32) -> bool| {
            let mut list: Vec<f32> = frames.iter().filter(|s| keep(s.time)).map(|s| s.latency).collect();
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

/// The result of a measurement; `bench --json` prints it as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Frames that were shown and count.
    pub frames: u64,
    /// Frames dropped between them, at the source and by the policy.
    pub dropped: u64,
    /// Frames shown a second.
    pub fps: f64,
    /// From the capture of the first frame that counts to that of the last, seconds.
    pub seconds: f64,
    /// Frames at the beginning that do not count.
    pub warm_up_frames: u64,
    /// Frames that were searched; in the others faces were predicted from earlier frames.
    pub searched: u64,
    /// Latency: from capture until a frame was shown, milliseconds.
    pub latency_ms: Percentiles,
    /// Times of each stage, in order. A frame's latency is the sum of its work and waiting in all stages.
    #[serde(serialize_with = "in_order")]
    pub stages: Vec<(&'static str, StageReport)>,
    /// How the latency changed during the run.
    pub drift: Option<Drift>,
    /// Processor time that the program used, percent of one core.
    pub cpu_percent: Option<f64>,
    /// Processor time that all other programs used meanwhile, percent of one core.
    pub others_cpu_percent: Option<f64>,
    /// Resident memory, millions of bytes: at the start, after each minute, at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory_mb: Vec<f64>,
    /// Number of threads, at the same moments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<u64>,
    /// Number of open file descriptors, at the same moments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fds: Vec<u64>,
}

/// Writes the stages as a JSON object whose keys keep the stages' order.
fn in_order<S: Serializer>(stages: &[(&'static str, StageReport)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stages.iter().copied())
}

#[cfg(test)]
pub(in crate::output) mod tests;
