//! How frames get from thread to thread: in at the source through a mailbox, then from group to group of stages, and back
//! into order where several threads worked on them. A failure travels as a message in the place of its frame, so that it
//! needs no channel of its own and no thread waits for a frame that never comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use image::RgbImage;

use super::Stage;
use super::stages::Job;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::parallel::caught;
use crate::source::Source;
use crate::source::mailbox::Mailbox;

/// What threads hand on.
pub(super) type Message = std::result::Result<Box<Job>, Failure>;

/// What happened instead of a frame. Whoever receives a failure hands it on and ends.
#[derive(Debug)]
pub(super) struct Failure {
    /// The frame's number.
    pub(super) number: u64,
    /// Names the stage.
    pub(super) error: Error,
}

/// Runs a part of `stage`; its error, or its panic, becomes an error that names the stage.
pub(super) fn guarded<T>(stage: Stage, run: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(run).map_err(|error| Error::Stage { stage: stage.name(), source: Box::new(error) })
}

/// A frame as it comes from the source, and how long that took.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) frame: Frame,
    pub(super) work: Duration,
}

/// Between the source's thread and the first stage.
pub(super) type Inbox = Mailbox<Captured, Failure>;

/// The first stage, on a thread of its own: puts frames of `source` into `inbox` until the source ends or the inbox is
/// closed. Sets `dropped` to how many frames the source has lost.
pub(super) fn capture(mut source: Box<dyn Source>, inbox: &Inbox, dropped: &AtomicU64) {
    let mut used: Option<Captured> = None;
    for number in 0.. {
        let mut picture = used.take().map_or_else(RgbImage::default, |used| used.frame.picture);
        let stamp = match guarded(Stage::Capture, || source.next(&mut picture)) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => break,
            Err(error) => {
                inbox.fail(Failure { number, error });
                break;
            }
        };
        dropped.store(source.dropped(), Ordering::Relaxed);
        let frame = Frame { number, captured: stamp.captured, time: stamp.time, picture };
        match inbox.put(Captured { frame, work: stamp.captured.elapsed() }) {
            Ok(buffer) => used = buffer,
            Err(_) => break,
        }
    }
    inbox.close();
}

/// Where a thread gets frames from.
pub(super) enum Input {
    /// From the source, as soon as there is a credit.
    Entry(Entry),
    /// From one thread, or shared with others.
    Channel(Receiver<Message>),
    /// From several threads, to be put into order.
    Ordered { input: Receiver<Message>, next: u64, early: BTreeMap<u64, Message> },
}

/// Where frames get their credit: a job that is free.
pub(super) struct Entry {
    free: Receiver<Box<Job>>,
    inbox: Arc<Inbox>,
    /// A credit that no frame was there for.
    credit: Option<Box<Job>>,
}

impl Input {
    /// The next frame, if it is there already. Where frames have to be put into order, one is as good as several.
    pub(super) fn next_if_there(&mut self) -> Option<Message> {
        match self {
            Self::Entry(entry) => entry.next(Some(Instant::now())),
            Self::Channel(input) => input.try_recv().ok(),
            Self::Ordered { .. } => None,
        }
    }

    /// Waits for the next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Message> {
        match self {
            Self::Entry(entry) => entry.next(None),
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
    pub(super) fn new(free: Receiver<Box<Job>>, inbox: Arc<Inbox>) -> Self {
        Self { free, inbox, credit: None }
    }

    /// Waits for a credit, then for a frame: so the frame is the newest when it enters. `None` at the end, or if either is
    /// not there at `until`.
    fn next(&mut self, until: Option<Instant>) -> Option<Message> {
        let credit = self.credit.take();
        let mut job =
            credit.or_else(|| if until.is_some() { self.free.try_recv().ok() } else { self.free.recv().ok() })?;
        match self.inbox.take(until) {
            Ok(Some(captured)) => {
                self.inbox.give_back(job.enter(captured));
                Some(Ok(job))
            }
            Ok(None) => {
                self.credit = Some(job);
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }
}
