//! Carries frames from thread to thread: from the source through a mailbox to the first group of stages, from group to
//! group through channels, and back into order where several threads worked on frames. A failure travels as a message in
//! the place of its frame, so that it needs no channel of its own, and no thread waits for a frame that never comes.

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

/// What threads send each other: a frame, or the failure that ends the run.
pub(super) type Message = std::result::Result<Box<Job>, Failure>;

/// An error in the place of a frame. A thread that receives one sends it on and ends.
#[derive(Debug)]
pub(super) struct Failure {
    /// Number of the frame.
    pub(super) number: u64,
    /// The error, which names the stage.
    pub(super) error: Error,
}

/// Runs a part of `stage`; turns its error or its panic into an error that names the stage.
pub(super) fn guarded<T>(stage: Stage, run: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(run).map_err(|error| Error::Stage { stage: stage.name(), source: Box::new(error) })
}

/// A frame as it comes from the source, and the time from its capture until it was there.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) frame: Frame,
    pub(super) work: Duration,
}

/// From the source's thread to the first stage.
pub(super) type Inbox = Mailbox<Captured, Failure>;

/// The capture stage, on a thread of its own: puts frames of `source` into `inbox` until the source ends or the inbox is
/// closed. Sets `dropped` to the number of frames that the source has dropped.
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

/// Where a thread gets its frames.
pub(super) enum Input {
    /// From the source, one for each credit.
    Entry(Entry),
    /// From one thread; several threads may share the channel.
    Channel(Receiver<Message>),
    /// From several threads; frames are put back into order by their number.
    Ordered {
        input: Receiver<Message>,
        /// Number of the frame that comes next.
        next: u64,
        /// Frames that came before their turn, by number.
        early: BTreeMap<u64, Message>,
    },
}

/// The entry into the pipeline. A frame enters only with a credit, a [`Job`] that no other frame uses.
pub(super) struct Entry {
    /// Jobs that no frame uses.
    free: Receiver<Box<Job>>,
    inbox: Arc<Inbox>,
    /// A credit taken while no frame was there, kept for the next frame.
    credit: Option<Box<Job>>,
}

impl Input {
    /// Returns the next frame if it is there already, to be worked on together with others. Frames that are put into order
    /// are taken singly, so for these it returns `None`.
    pub(super) fn next_if_there(&mut self) -> Option<Message> {
        match self {
            Self::Entry(entry) => entry.next(Some(Instant::now())),
            Self::Channel(input) => input.try_recv().ok(),
            Self::Ordered { .. } => None,
        }
    }

    /// Waits for the next frame; returns `None` at the end.
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
    /// An entry for frames of `inbox`, with a credit for each job in `free`.
    pub(super) fn new(free: Receiver<Box<Job>>, inbox: Arc<Inbox>) -> Self {
        Self { free, inbox, credit: None }
    }

    /// Waits for a credit first and then for a frame, so that the frame is the newest one when it enters. Returns `None`
    /// at the end, or if credit or frame are not there at `until`.
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
