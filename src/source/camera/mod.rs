//! A camera. A thread does nothing but take pictures from the driver, and the newest one lies in a mailbox until the
//! pipeline asks: so nobody ever sees a driver's queue of old ones. A camera that is pulled out is waited for.
//!
//! What a camera is stands in [`device`]; [`native`] is the system's own, [`decode`] makes RGB of what it sends.

pub mod decode;
pub mod device;
pub mod native;
#[cfg(test)]
mod tests;

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::RgbImage;

use super::{Source, Stamp};
use crate::error::{Error, Result};
use decode::Decoder;
use device::{Open, Shot};

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
    mailbox: Arc<Mailbox>,
    patience: Patience,
    name: String,
    size: Option<(u32, u32)>,
    rate: Option<f64>,
    /// The bytes of the last picture; changes places with the mailbox's.
    bytes: Vec<u8>,
    decoder: Decoder,
    first: Option<Instant>,
    /// Pictures that could not be decoded.
    broken: u64,
}

/// Between the thread that takes pictures and the one that wants them.
#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<(Shot, Vec<u8>)>,
    /// A buffer to fill next.
    spare: Vec<u8>,
    /// Pictures that lay in the mailbox when the next one came.
    replaced: u64,
    /// Why there are no pictures now.
    lost: Option<String>,
    /// Nobody wants pictures any more.
    closed: bool,
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let mailbox = Arc::new(Mailbox::default());
        let (told, hear) = std::sync::mpsc::sync_channel(1);
        let theirs = Arc::clone(&mailbox);
        // Never joined: a driver may not answer for as long as it likes.
        std::thread::Builder::new()
            .name("camera".into())
            .spawn(move || take_pictures(open, &theirs, patience, &told))
            .map_err(|e| Error::Camera(format!("the camera's thread can't be started: {e}")))?;
        let opened = hear
            .recv_timeout(patience.give_up)
            .unwrap_or_else(|_| Err(format!("does not answer for {} s", patience.give_up.as_secs_f32())));
        let About { name, size, rate } = opened.map_err(|reason| {
            mailbox.state().closed = true;
            Error::Camera(format!("the camera can't be opened: {reason}"))
        })?;
        let (bytes, decoder) = (Vec::new(), Decoder::default());
        Ok(Self { mailbox, patience, name, size, rate, bytes, decoder, first: None, broken: 0 })
    }

    /// Pictures that came damaged and were left out.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// Waits for a picture until `until`, or until the camera says that it is lost, if `hear_of_loss`.
    fn wait(&mut self, until: Instant, hear_of_loss: bool) -> News {
        let mut state = self.mailbox.state();
        loop {
            if let Some((shot, bytes)) = state.newest.take() {
                state.spare = std::mem::replace(&mut self.bytes, bytes);
                return News::Picture(shot);
            }
            if let Some(reason) = state.lost.as_ref().filter(|_| hear_of_loss) {
                return News::Lost(reason.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return News::Nothing;
            }
            state = self.mailbox.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What an open camera says of itself.
struct About {
    name: String,
    size: Option<(u32, u32)>,
    rate: Option<f64>,
}

enum News {
    Picture(Shot),
    Lost(String),
    Nothing,
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
            let reason = match self.wait(begin + patience, missing.is_none()) {
                News::Picture(shot) => match self.decoder.decode(&shot, &mut self.bytes, into) {
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
                },
                News::Lost(reason) => Some(reason),
                News::Nothing => None,
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
        self.mailbox.state().replaced + self.broken
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.mailbox.state().closed = true;
    }
}

/// The thread: takes pictures until nobody wants them any more, and opens the camera anew when it was lost.
fn take_pictures(
    mut open: Open,
    mailbox: &Mailbox,
    patience: Patience,
    told: &SyncSender<std::result::Result<About, String>>,
) {
    let mut device = match guarded(&mut open) {
        Ok(device) => device,
        Err(reason) => return drop(told.send(Err(reason))),
    };
    let _ = told.send(Ok(About { name: device.describe(), size: device.size(), rate: device.rate() }));
    loop {
        let mut bytes = {
            let mut state = mailbox.state();
            if state.closed {
                break;
            }
            std::mem::take(&mut state.spare)
        };
        match guarded(|| device.grab(&mut bytes)) {
            Ok(shot) => {
                let mut state = mailbox.state();
                state.lost = None;
                if let Some((_, unseen)) = state.newest.replace((shot, bytes)) {
                    state.replaced += 1;
                    state.spare = unseen;
                }
                drop(state);
                mailbox.news.notify_one();
            }
            Err(reason) => {
                let lost = |reason: String| {
                    mailbox.state().lost = Some(reason);
                    mailbox.news.notify_one();
                };
                lost(reason);
                // Closed first: most systems open a camera only once.
                let _ = guarded(|| {
                    drop(device);
                    Ok(())
                });
                device = loop {
                    std::thread::sleep(patience.retry);
                    if mailbox.state().closed {
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
    let _ = guarded(|| {
        drop(device);
        Ok(())
    });
}

/// Drivers' libraries panic where cameras misbehave; for us that is a lost camera.
fn guarded<T>(call: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|_| Err("its driver gave up".into()))
}
