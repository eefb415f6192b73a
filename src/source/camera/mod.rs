//! A camera. A thread does nothing but take pictures from the driver, and the newest one lies in a mailbox until the
//! pipeline asks for it: so the driver's queue of old pictures is never seen. A camera that is unplugged is retried.
//!
//! What a camera is stands in [`device`]; [`native`] is the system's own, [`decode`] makes RGB of what it sends.

pub mod decode;
pub mod device;
pub mod native;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::mailbox::{Closed, Keep, Mailbox};
use super::{Source, Stamp};
use crate::error::{Error, Result};
use decode::Decoder;
use device::{CameraDevice, Open, Shot};

/// How long a camera is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Without a picture for so long, it is said to be missing.
    pub stall: Duration,
    /// How often it is opened anew.
    pub retry: Duration,
    /// After so long without a picture it is given up.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (stall, retry) = (Duration::from_secs(2), Duration::from_millis(300));
        Self { stall, retry, give_up: Duration::from_secs(10) }
    }
}

/// A camera that runs.
#[derive(Debug)]
pub struct Camera {
    inbox: Arc<Inbox>,
    patience: Patience,
    name: String,
    size: Option<(u32, u32)>,
    rate: Option<f64>,
    decoder: Decoder,
    first: Option<Instant>,
    /// Pictures that could not be decoded.
    broken: u64,
}

/// Between the thread that takes pictures and the one that wants them: pictures with their bytes, and why there are none.
type Inbox = Mailbox<(Shot, Vec<u8>), String>;

impl Camera {
    /// The system's camera `index` (`None`: the first one that can be opened).
    ///
    /// # Errors
    /// If there is none, or if it can't be opened: with the reason and the remedy.
    pub fn open(index: Option<u32>) -> Result<Self> {
        Self::start(native::opener(index)?, Patience::default())
    }

    /// A camera that `open` opens, at first and after it was lost.
    ///
    /// # Errors
    /// If it can't be opened now.
    pub fn start(open: Open, patience: Patience) -> Result<Self> {
        let inbox = Arc::new(Inbox::new(Keep::Newest));
        let (told, hear) = std::sync::mpsc::sync_channel(1);
        let theirs = Arc::clone(&inbox);
        // Never joined: a driver may not answer for as long as it likes.
        std::thread::Builder::new()
            .name("camera".into())
            .spawn(move || take_pictures(open, &theirs, patience, &told))
            .map_err(|e| Error::Camera(format!("the camera's thread can't be started: {e}")))?;
        let opened = hear
            .recv_timeout(patience.give_up)
            .unwrap_or_else(|_| Err(format!("does not answer for {} s", patience.give_up.as_secs_f32())));
        let About { name, size, rate } = opened.map_err(|reason| {
            inbox.close();
            Error::Camera(format!("the camera can't be opened: {reason}"))
        })?;
        Ok(Self { inbox, patience, name, size, rate, decoder: Decoder::default(), first: None, broken: 0 })
    }

    /// Pictures that came damaged and were left out.
    pub fn broken(&self) -> u64 {
        self.broken
    }
}

/// What an open camera says of itself.
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
        let give_up = self.patience.give_up;
        // Why there is no picture, once the user was told.
        let mut missing: Option<String> = None;
        let mut damaged = None;
        loop {
            let patience = if missing.is_some() { give_up } else { self.patience.stall };
            let reason = match self.inbox.take(Some(begin + patience)) {
                Ok(Some((shot, mut bytes))) => {
                    let decoded = self.decoder.decode(&shot, &mut bytes, into);
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
                            if begin.elapsed() < patience {
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
                tracing::warn!("{}: the camera is missing ({reason}); waiting up to {seconds} s for it", self.name);
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

/// The thread: takes pictures until nobody wants them any more, and opens the camera anew when it was lost.
fn take_pictures(
    mut open: Open,
    inbox: &Inbox,
    patience: Patience,
    told: &SyncSender<std::result::Result<About, String>>,
) {
    let mut device = match guarded(&mut open) {
        Ok(device) => device,
        Err(reason) => return drop(told.send(Err(reason))),
    };
    let _ = told.send(Ok(About { name: device.describe(), size: device.size(), rate: device.rate() }));
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
                // Closed first: most systems open a camera only once.
                close(device);
                device = loop {
                    std::thread::sleep(patience.retry);
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

/// Drivers' libraries panic where cameras misbehave; for us that is a lost camera.
fn guarded<T>(call: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|_| Err("its driver gave up".into()))
}
