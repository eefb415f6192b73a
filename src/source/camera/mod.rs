//! Gives frames from a camera. A thread of its own takes pictures from the driver and keeps the newest one in a mailbox,
//! so that the pipeline never gets an old picture from the driver's queue. If the camera is unplugged, it is retried for
//! 10 seconds.
//!
//! [`device`] defines what a camera is, [`native`] opens the system's cameras, [`network`] those that have an address, `decode`
//! converts pictures to RGB.

mod decode;
pub(crate) mod device;
pub mod native;
pub mod network;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::mailbox::{Closed, Keep, Mailbox};
use super::{Source, Stamp};
use crate::error::{Error, Result};
use device::{CameraDevice, Open, Shot};

/// How long to wait for a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A warning is logged if no picture comes for this long.
    pub stall: Duration,
    /// Time between two tries to open a lost camera.
    pub retry: Duration,
    /// The source fails if no picture comes for this long.
    pub give_up: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let (stall, retry) = (Duration::from_secs(2), Duration::from_millis(300));
        Self { stall, retry, give_up: Duration::from_secs(10) }
    }
}

/// An open camera, as a source of frames.
#[derive(Debug)]
pub struct Camera {
    inbox: Arc<Inbox>,
    timeouts: Timeouts,
    name: String,
    size: Option<(u32, u32)>,
    rate: Option<f64>,
    /// Capture time of the first picture.
    first: Option<Instant>,
    /// Number of pictures that could not be decoded.
    broken: u64,
}

/// From the thread that takes pictures to the one that decodes them: the newest picture, or the reason why there is none.
type Inbox = Mailbox<(Shot, Vec<u8>), String>;

impl Camera {
    /// Opens the system's camera number `index`; with `None`, the first one that can be opened.
    ///
    /// # Errors
    /// If there is no such camera, or it can't be opened: with the reason and the remedy.
    pub fn open(index: Option<u32>) -> Result<Self> {
        Self::start(native::opener(index)?, Timeouts::default())
    }

    /// Starts a camera that `open` opens, now and again after it was lost.
    ///
    /// # Errors
    /// If the camera can't be opened now.
    pub fn start(open: Open, timeouts: Timeouts) -> Result<Self> {
        let inbox = Arc::new(Inbox::new(Keep::Newest));
        let (send_about, about) = std::sync::mpsc::sync_channel(1);
        let threads_inbox = Arc::clone(&inbox);
        // The thread is never joined, because a driver may hang for any time.
        std::thread::Builder::new()
            .name("camera".into())
            .spawn(move || take_pictures(open, &threads_inbox, timeouts, &send_about))
            .map_err(|e| Error::Camera(format!("the camera's thread can't be started: {e}")))?;
        let opened = about
            .recv_timeout(timeouts.give_up)
            .unwrap_or_else(|_| Err(format!("it has not answered for {} s", timeouts.give_up.as_secs_f32())));
        let About { name, size, rate } = opened.map_err(|reason| {
            inbox.close();
            Error::Camera(format!("the camera can't be opened: {reason}"))
        })?;
        Ok(Self { inbox, timeouts, name, size, rate, first: None, broken: 0 })
    }

    /// Number of damaged pictures, which were left out.
    pub fn broken(&self) -> u64 {
        self.broken
    }
}

/// Name, size and rate of an open camera.
struct About {
    name: String,
    size: Option<(u32, u32)>,
    rate: Option<f64>,
}

impl Source for Camera {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    fn frame_rate(&self) -> Option<f64> {
        self.rate
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let begin = Instant::now();
        let give_up = self.timeouts.give_up;
        // The reason why there is no picture, once it has been logged.
        let mut missing: Option<String> = None;
        let mut damaged = None;
        loop {
            let timeout = if missing.is_some() { give_up } else { self.timeouts.stall };
            let reason = match self.inbox.take(Some(begin + timeout)) {
                Ok(Some((shot, mut bytes))) => {
                    let decoded = decode::decode(&shot, &mut bytes, into);
                    self.inbox.give_back((shot, bytes));
                    match decoded {
                        Ok(()) => {
                            if missing.is_some() {
                                tracing::warn!("{}: the camera is back", self.name);
                            }
                            let first = *self.first.get_or_insert(shot.captured);
                            let time = shot.captured.saturating_duration_since(first).as_secs_f64();
                            return Ok(Some(Stamp { captured: shot.captured, time }));
                        }
                        Err(reason) => {
                            self.broken += 1;
                            tracing::debug!("{}: a picture is damaged and left out: {reason}", self.name);
                            damaged = Some(format!("it sends only damaged pictures: {reason}"));
                            if begin.elapsed() < timeout {
                                continue;
                            }
                            None
                        }
                    }
                }
                Ok(None) => None,
                Err(lost) => Some(lost),
            };
            let reason = reason.or(damaged.take()).unwrap_or_else(|| "it sends no pictures".into());
            if begin.elapsed() >= give_up {
                let reason = missing.unwrap_or(reason);
                let seconds = give_up.as_secs_f32();
                return Err(Error::Camera(format!(
                    "{}: the camera was lost ({reason}) and did not come back within {seconds} s",
                    self.name
                )));
            }
            if missing.is_none() {
                let seconds = give_up.as_secs_f32();
                tracing::warn!(
                    "{}: the camera sends nothing ({reason}); it is retried for up to {seconds} s",
                    self.name
                );
                missing = Some(reason);
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.inbox.replaced() + self.broken
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// The camera's thread: sends the camera's description to `about`, then takes pictures until `inbox` is closed, and opens
/// the camera again when it was lost.
fn take_pictures(
    mut open: Open,
    inbox: &Inbox,
    timeouts: Timeouts,
    about: &SyncSender<std::result::Result<About, String>>,
) {
    let mut device = match guarded(&mut open) {
        Ok(device) => device,
        Err(reason) => return drop(about.send(Err(reason))),
    };
    let _ = about.send(Ok(About { name: device.describe(), size: device.size(), rate: device.rate() }));
    let close = |device| {
        let _ = guarded(|| {
            drop::<Box<dyn CameraDevice>>(device);
            Ok(())
        });
    };
    let mut bytes = Vec::new();
    loop {
        match guarded(|| device.grab(&mut bytes)) {
            Ok(shot) => match inbox.put((shot, std::mem::take(&mut bytes))) {
                Ok(used) => bytes = used.map_or_else(Vec::new, |(_, bytes)| bytes),
                Err(Closed) => return close(device),
            },
            Err(reason) => {
                inbox.fail(reason);
                // The lost camera is closed first, because most systems open a camera only once.
                close(device);
                device = loop {
                    std::thread::sleep(timeouts.retry);
                    if inbox.is_closed() {
                        return;
                    }
                    match guarded(&mut open) {
                        Ok(device) => break device,
                        Err(reason) => tracing::debug!("the camera can't be opened: {reason}"),
                    }
                };
            }
        }
    }
}

/// Calls into a driver's library, which may panic if a camera misbehaves. A panic counts as a lost camera.
fn guarded<T>(call: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|_| Err("its driver crashed".into()))
}
