//! What `live` does with each frame: shows it, records it, prints figures, obeys keys.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use facecascade::output::figures::Figures;
use facecascade::output::overlay::{self, Canvas};
use facecascade::output::recorder::Recorder;
use facecascade::pipeline::{FrameResult, Output};
use facecascade::pyramid::Pyramid;
use facecascade::track::Tracked;
use facecascade::{Error, Result};
use image::RgbImage;

use super::super::screen::{Key, Screen};
use super::snap::Snapper;

/// How long a notice stays.
const NOTICE: Duration = Duration::from_secs(2);
/// Without a frame for this long, the window says so.
const SILENCE: Duration = Duration::from_secs(1);
/// How often `--headless` prints.
const LINE: Duration = Duration::from_secs(1);
/// How often keys are looked at while paused.
const WAIT: Duration = Duration::from_millis(15);

/// A recording, if there is one; shared with who ends it if the display is lost.
pub(super) type Recording = Arc<Mutex<Option<Recorder>>>;

/// Locks the recording; a poisoned lock is still usable.
pub(super) fn lent(recording: &Recording) -> MutexGuard<'_, Option<Recorder>> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the recording, if there is one; returns how many frames it holds, and how many had no place in it.
pub(super) fn finish(recording: &Recording) -> Result<Option<(u64, u64)>> {
    let Some(recorder) = lent(recording).take() else { return Ok(None) };
    let left_out = recorder.left_out();
    Ok(Some((recorder.finish()?, left_out)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Picture,
    Stages,
    Pyramid,
}

/// The state of a live run.
pub(super) struct Live {
    screen: Screen,
    canvas: Canvas,
    figures: Figures,
    recorder: Recording,
    snap: PathBuf,
    snapper: Option<Snapper>,
    view: View,
    details: bool,
    paused: bool,
    /// Frames taken before are not shown: they waited through a pause.
    resumed: Option<Instant>,
    notice: Option<(String, Instant)>,
    /// The frame that is shown, to be saved.
    shown: RgbImage,
    faces: Vec<Tracked>,
    last: Instant,
    stop: Arc<AtomicBool>,
    start: Instant,
    seconds: Option<Duration>,
    printed: Instant,
}

impl Live {
    pub(super) fn new(screen: Screen, recorder: Recording, snap: PathBuf, stop: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self {
            screen,
            canvas: Canvas::default(),
            figures: Figures::default(),
            recorder,
            snap,
            snapper: None,
            view: View::Picture,
            details: true,
            paused: false,
            resumed: None,
            notice: None,
            shown: RgbImage::new(0, 0),
            faces: Vec::new(),
            last: now,
            stop,
            start: now,
            seconds: None,
            printed: now,
        }
    }

    pub(super) fn stop_after(&mut self, seconds: Option<Duration>) {
        self.seconds = seconds;
    }

    pub(super) fn snap_on_smile(&mut self, snapper: Option<Snapper>) {
        self.snapper = snapper;
    }

    /// What the whole run was like; empty without a frame.
    pub(super) fn summary(&self) -> String {
        self.figures.summary(self.start.elapsed().as_secs_f64())
    }

    /// Whether a frame was taken before a pause ended: it is not shown.
    fn waited_through_a_pause(&self, result: &FrameResult) -> bool {
        self.resumed.is_some_and(|resumed| result.frame.captured < resumed)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.seconds.is_some_and(|seconds| self.start.elapsed() >= seconds)
    }

    /// Draws what is to be seen and shows it.
    fn draw(&mut self, result: &FrameResult) -> Result<()> {
        let Some(size) = self.screen.size() else { return Ok(()) };
        let frame = &result.frame.picture;
        match self.view {
            View::Stages if !result.windows.is_empty() => self.canvas.stages(frame, &result.windows, size),
            View::Pyramid => self.canvas.pyramid(&Pyramid::of(frame, 12), size),
            View::Picture | View::Stages => {
                self.canvas.faces(frame, &result.tracked, size);
                let age = result.frame.captured.elapsed();
                overlay::readout(self.canvas.picture_mut(), &self.figures.snapshot(), age, self.details);
            }
        }
        self.notice = self.notice.take().filter(|(_, since)| since.elapsed() < NOTICE);
        match &self.notice {
            Some((words, _)) => self.say(&words.clone()),
            None => self.screen.show(self.canvas.picture()),
        }
    }

    /// Shows the last picture again, with `words`.
    fn say(&mut self, words: &str) -> Result<()> {
        if self.canvas.picture().width() == 0 {
            return Ok(());
        }
        let mut picture = self.canvas.picture().clone();
        overlay::notice(&mut picture, words);
        self.screen.show(&picture)
    }

    /// Does what keys ask for; whether to go on.
    fn obey(&mut self) -> Result<ControlFlow<()>> {
        for key in self.screen.keys() {
            match key {
                Key::Quit => return Ok(ControlFlow::Break(())),
                Key::Pause => self.paused = !self.paused,
                Key::Latency => self.details = !self.details,
                Key::View => {
                    self.view = match self.view {
                        View::Picture => View::Stages,
                        View::Stages => View::Pyramid,
                        View::Pyramid => View::Picture,
                    };
                }
                Key::Save => {
                    // A picture that can't be saved is no reason to stop.
                    let words = self.save().unwrap_or_else(|e| e.to_string());
                    tracing::info!("{words}");
                    self.notice = Some((words, Instant::now()));
                }
            }
        }
        Ok(if self.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Saves the frame that is shown, with its boxes, under the first free name; says which.
    fn save(&self) -> anyhow::Result<String> {
        anyhow::ensure!(self.shown.width() > 0, "there is no picture yet");
        std::fs::create_dir_all(&self.snap).map_err(Error::io(&self.snap))?;
        let name = |i: u32| self.snap.join(format!("live-{i:04}.png"));
        let free = (1..=9999).map(name).find(|path| !path.exists());
        let path = free.ok_or_else(|| anyhow::anyhow!("{}: is full of pictures", self.snap.display()))?;
        let mut picture = self.shown.clone();
        overlay::tracked(&mut picture, &self.faces);
        super::super::detect::save(&picture, &path)?;
        Ok(format!("saved {}", path.display()))
    }

    /// Saves a picture if a smile has lasted. One that can't be saved is no reason to stop.
    fn snap_smile(&mut self, result: &FrameResult) {
        let Some(snapper) = &mut self.snapper else { return };
        let words = match snapper.frame(&result.frame.picture, &result.tracked, result.frame.time, &self.snap) {
            Ok(None) => return,
            Ok(Some(path)) => format!("saved {}, {:.2} s after the start", path.display(), result.frame.time),
            Err(error) => error.to_string(),
        };
        tracing::info!("{words}");
        self.notice = Some((words, Instant::now()));
    }

    /// Stays until the pause is over, without giving the frame back: so nothing is searched meanwhile.
    fn pause(&mut self) -> Result<ControlFlow<()>> {
        self.notice = None;
        self.say("paused: space goes on")?;
        while self.paused {
            std::thread::sleep(WAIT);
            self.screen.idle();
            if self.obey()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if let Some((words, _)) = self.notice.take() {
                self.say(&words)?;
            }
        }
        self.resumed = Some(Instant::now());
        self.last = Instant::now();
        self.figures.restart();
        Ok(ControlFlow::Continue(()))
    }

    /// The figures, once a second; `Break` if nobody reads them any more.
    fn print(&mut self) -> Result<ControlFlow<()>> {
        if self.screen.size().is_some() || self.printed.elapsed() < LINE {
            return Ok(ControlFlow::Continue(()));
        }
        self.printed += LINE * (self.printed.elapsed().as_secs_f64() / LINE.as_secs_f64()) as u32;
        let line = self.figures.snapshot().line(self.start.elapsed().as_secs_f64());
        match writeln!(std::io::stdout().lock(), "{line}") {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(e) => Err(Error::io("standard output")(e)),
        }
    }
}

impl Output for Live {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        if !self.waited_through_a_pause(result) {
            self.draw(result)?;
            self.last = Instant::now();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn presented(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        if self.waited_through_a_pause(result) {
            return Ok(ControlFlow::Continue(()));
        }
        self.figures.presented(result);
        let mut recorder = lent(&self.recorder);
        if let Some(recording) = recorder.as_mut() {
            let faces = &result.tracked;
            let taken = recording.frame(&result.frame.picture, result.frame.time, |copy| overlay::tracked(copy, faces));
            if taken.is_err() {
                // It has ended; nobody is to end it again.
                *recorder = None;
            }
            taken?;
        }
        drop(recorder);
        self.snap_smile(result);
        if self.screen.size().is_some() {
            // Buffers change places: nothing is copied.
            std::mem::swap(&mut self.shown, &mut result.frame.picture);
            std::mem::swap(&mut self.faces, &mut result.tracked);
        }
        if self.print()?.is_break() || self.obey()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.paused { self.pause() } else { Ok(ControlFlow::Continue(())) }
    }

    fn wants_windows(&self) -> bool {
        self.view == View::Stages
    }

    fn idle(&mut self) -> Result<ControlFlow<()>> {
        self.screen.idle();
        if self.last.elapsed() > SILENCE {
            self.last = Instant::now();
            self.say("waiting for a picture")?;
        }
        if self.print()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.obey()
    }
}
