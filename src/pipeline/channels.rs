//! How frames get from thread to thread: in at the source by one of two policies, and back into order where several
//! threads worked on them. A failure travels as a message in the place of its frame, so that it needs no channel of its
//! own and none waits for a frame that never comes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use image::RgbImage;

use super::stages::Job;
use super::{STAGES, Stage, StageTime};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::source::Source;

/// What the threads hand on.
pub(super) type Message = std::result::Result<Box<Job>, Failure>;

/// What happened instead of a frame. Whoever gets it hands it on and ends.
#[derive(Debug)]
pub(super) struct Failure {
    /// The frame's number.
    pub(super) number: u64,
    /// Names the stage.
    pub(super) error: Error,
}

/// What `run` gives; its error or its panic becomes an error that names `stage`.
pub(super) fn guarded<T>(stage: Stage, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        Err(Error::Backend(format!("a fault of facecascade: {}", text.unwrap_or("panic"))))
    });
    result.map_err(|error| Error::Stage { stage: stage.name(), source: Box::new(error) })
}

/// A frame as it comes from the source, and how long that took.
pub(super) type Captured = std::result::Result<(Frame, Duration), Failure>;

/// What the capturing thread and the others tell each other. It may outlive the run, if its source does not answer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Nobody needs frames any more.
    pub(super) ended: AtomicBool,
    /// Frames dropped so far.
    pub(super) dropped: AtomicU64,
}

/// The first stage: hands frames on until the source ends.
pub(super) struct Capture {
    pub(super) output: Sender<Captured>,
    /// Live, the other end of `output`, to take late frames out again; else the source waits.
    pub(super) late: Option<Receiver<Captured>>,
    /// Buffers to use again.
    pub(super) spare: Receiver<RgbImage>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Capture {
    pub(super) fn run(self, mut source: Box<dyn Source>) {
        let mut dropped = 0;
        let mut buffer = None;
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) || self.shared.ended.load(Ordering::Relaxed) {
                return;
            }
            let mut picture =
                buffer.take().or_else(|| self.spare.try_recv().ok()).unwrap_or_else(|| RgbImage::new(0, 0));
            let stamp = match guarded(Stage::Capture, || source.next(&mut picture)) {
                Ok(Some(stamp)) => stamp,
                Ok(None) => return,
                Err(error) => {
                    let Self { output, late, .. } = self;
                    // Else this would wait for itself.
                    drop(late);
                    let _ = output.send(Err(Failure { number, error }));
                    return;
                }
            };
            let frame = Frame { number, captured: stamp.captured, time: stamp.time, picture };
            let captured = Ok((frame, stamp.captured.elapsed()));
            match &self.late {
                None => {
                    if self.output.send(captured).is_err() {
                        return;
                    }
                }
                Some(late) => {
                    let mut newest = captured;
                    while let Err(TrySendError::Full(back)) = self.output.try_send(newest) {
                        newest = back;
                        if let Ok(Ok((late, _))) = late.try_recv() {
                            dropped += 1;
                            buffer = Some(late.picture);
                        }
                    }
                }
            }
            self.shared.dropped.store(dropped + source.dropped(), Ordering::Relaxed);
        }
    }
}

/// Where a thread gets frames from.
pub(super) enum Input {
    /// From the source, as soon as there is a credit.
    Entry(Entry),
    /// From one thread.
    Channel(Receiver<Message>),
    /// From several threads, to be put into order.
    Ordered { input: Receiver<Message>, next: u64, early: BTreeMap<u64, Message> },
}

/// Where frames get their credit.
pub(super) struct Entry {
    pub(super) free: Receiver<Box<Job>>,
    pub(super) frames: Receiver<Captured>,
    /// Closed when the run is to end, even if the source does not answer.
    pub(super) quit: Receiver<()>,
    pub(super) spare: Sender<RgbImage>,
    /// One that no frame was there for.
    pub(super) credit: Option<Box<Job>>,
}

impl Input {
    /// The next frame, if it is there already.
    pub(super) fn next_if_there(&mut self) -> Option<Message> {
        match self {
            Self::Entry(entry) => entry.next_if_there(),
            // Only the entry's threads take several.
            Self::Channel(_) | Self::Ordered { .. } => None,
        }
    }

    /// Waits for the next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Message> {
        match self {
            Self::Entry(entry) => entry.next(),
            Self::Channel(input) => input.recv().ok(),
            Self::Ordered { input, next, early } => loop {
                if let Some(message) = early.remove(next) {
                    *next += 1;
                    return Some(message);
                }
                let message = input.recv().ok()?;
                let number = match &message {
                    Ok(job) => job.result.frame.number,
                    Err(failure) => failure.number,
                };
                early.insert(number, message);
            },
        }
    }
}

impl Entry {
    fn next(&mut self) -> Option<Message> {
        // First the credit, then the frame: it is the newest then.
        let job = self.credit.take().or_else(|| self.free.recv().ok())?;
        let captured = select! {
            recv(self.frames) -> captured => captured.ok()?,
            recv(self.quit) -> _ => self.frames.try_recv().ok()?,
        };
        Some(self.enter(job, captured))
    }

    fn next_if_there(&mut self) -> Option<Message> {
        let job = self.credit.take().or_else(|| self.free.try_recv().ok())?;
        if let Ok(captured) = self.frames.try_recv() {
            return Some(self.enter(job, captured));
        }
        self.credit = Some(job);
        None
    }

    /// The frame takes its credit.
    fn enter(&self, mut job: Box<Job>, captured: Captured) -> Message {
        captured.map(|(frame, work)| {
            let used = std::mem::replace(&mut job.result.frame, frame).picture;
            let _ = self.spare.try_send(used);
            job.result.stages = [StageTime::default(); STAGES];
            job.result.stages[Stage::Capture as usize].work = work;
            job.result.tracked.clear();
            job.since = job.result.frame.captured.checked_add(work).unwrap_or_else(Instant::now);
            job
        })
    }
}
