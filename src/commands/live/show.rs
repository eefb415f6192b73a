//! Shows and records each frame of `live`, prints figures, and does what keys ask for.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use facecascade::output::figures::Figures;
use facecascade::output::overlay::{self, Canvas};
use facecascade::output::recorder::Recorder;
use facecascade::output::redact::Redactor;
use facecascade::pipeline::{FrameResult, Output};
use facecascade::pyramid::Pyramid;
use facecascade::track::Tracked;
use facecascade::track::coverage::Scores;
use facecascade::{Error, Result};
use image::RgbImage;

use super::super::screen::{Key, Screen};
use super::snap::Snapper;

/// A notice is shown for this long.
const NOTICE: Duration = Duration::from_secs(2);
/// If no frame comes for this long, the window says so.
const SILENCE: Duration = Duration::from_secs(1);
/// Time between two lines of `--headless`.
const LINE: Duration = Duration::from_secs(1);
/// Time between two looks at the keys during a pause.
const WAIT: Duration = Duration::from_millis(15);

/// The recording, if there is one. Shared, because a lost display ends it from another place.
pub(super) type Recording = Arc<Mutex<Option<Recorder>>>;

/// Locks the recording; a poisoned lock is still usable.
pub(super) fn locked(recording: &Recording) -> MutexGuard<'_, Option<Recorder>> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finishes the recording, if there is one; returns how many frames it holds, and how many were left out.
pub(super) fn finish(recording: &Recording) -> Result<Option<(u64, u64)>> {
    let Some(recorder) = locked(recording).take() else { return Ok(None) };
    let left_out = recorder.left_out();
    Ok(Some((recorder.finish()?, left_out)))
}

/// What the window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// The frame with its boxes.
    Picture,
    /// The windows after each step of the cascade.
    Steps,
    /// The image pyramid.
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
    /// Whether the times of each stage are shown.
    details: bool,
    paused: bool,
    /// End of the last pause. Frames captured before it have waited through the pause, and are not shown.
    resumed: Option<Instant>,
    notice: Option<(String, Instant)>,
    /// The frame that is shown, without boxes, for the key that saves it.
    shown: RgbImage,
    /// Its faces.
    faces: Vec<Tracked>,
    /// When the last frame, or the notice that none comes, was shown.
    last: Instant,
    stop: Arc<AtomicBool>,
    start: Instant,
    /// The run ends this long after `start`.
    length: Option<Duration>,
    /// When the last line of figures was due.
    printed: Instant,
    cover: Option<Cover>,
}

/// Covers faces, if that was asked for.
struct Cover {
    redactor: Redactor,
    scores: Scores,
    boxes: bool,
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
            length: None,
            printed: now,
            cover: None,
        }
    }

    /// Covers faces in all that is shown, recorded and saved, if there is a `redactor`; draws `boxes` too.
    pub(super) fn cover(&mut self, redactor: Option<Redactor>, scores: Scores, boxes: bool) {
        self.cover = redactor.map(|redactor| Cover { redactor, scores, boxes });
    }

    /// Saves pictures of smiles, if there is a `snapper`.
    pub(super) fn snap_on_smile(&mut self, snapper: Option<Snapper>) {
        self.snapper = snapper;
    }

    /// Ends the run after `length`, if there is one.
    pub(super) fn stop_after(&mut self, length: Option<Duration>) {
        self.length = length;
    }

    /// Writes one line about the whole run; an empty one if no frame was shown.
    pub(super) fn summary(&self) -> String {
        self.figures.summary(self.start.elapsed().as_secs_f64())
    }

    /// Whether a frame was captured before the last pause ended; such a frame is not shown.
    fn waited_through_a_pause(&self, result: &FrameResult) -> bool {
        self.resumed.is_some_and(|resumed| result.frame.captured < resumed)
    }

    /// Whether Ctrl-C was pressed or the time is over.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.length.is_some_and(|length| self.start.elapsed() >= length)
    }

    /// Draws the current view of a frame and shows it.
    fn draw(&mut self, result: &FrameResult) -> Result<()> {
        let Some(size) = self.screen.size() else { return Ok(()) };
        let frame = &result.frame.picture;
        match self.view {
            View::Steps if !result.windows.is_empty() => self.canvas.steps(frame, &result.windows, size),
            View::Pyramid => self.canvas.pyramid(&Pyramid::of(frame, 12), size),
            // A frame that was searched before the view changed brings no windows yet.
            View::Picture | View::Steps => {
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

    /// Shows the last picture again, with a notice of `words`.
    fn say(&mut self, words: &str) -> Result<()> {
        if self.canvas.picture().width() == 0 {
            return Ok(());
        }
        let mut picture = self.canvas.picture().clone();
        overlay::notice(&mut picture, words);
        self.screen.show(&picture)
    }

    /// Does what keys ask for; `Break` ends the run.
    fn obey(&mut self) -> Result<ControlFlow<()>> {
        for key in self.screen.keys() {
            match key {
                Key::Quit => return Ok(ControlFlow::Break(())),
                Key::Pause => self.paused = !self.paused,
                Key::Latency => self.details = !self.details,
                Key::View => {
                    self.view = match self.view {
                        View::Picture => View::Steps,
                        View::Steps => View::Pyramid,
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

    /// Saves the frame that is shown, with its boxes, under the first free name, and returns a notice that names it.
    fn save(&self) -> anyhow::Result<String> {
        anyhow::ensure!(self.shown.width() > 0, "there is no picture yet");
        std::fs::create_dir_all(&self.snap).map_err(Error::io(&self.snap))?;
        let name = |i: u32| self.snap.join(format!("live-{i:04}.png"));
        let free = (1..=9999).map(name).find(|path| !path.exists());
        let path = free
            .ok_or_else(|| anyhow::anyhow!("{}: holds 9999 pictures already; move some away", self.snap.display()))?;
        let mut picture = self.shown.clone();
        overlay::tracked(&mut picture, &self.faces);
        super::super::detect::save(&picture, &path)?;
        Ok(format!("saved {}", path.display()))
    }

    /// Saves a picture if a smile has lasted. A picture that can't be saved is no reason to stop.
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

    /// Waits until the pause is over. The frame is not given back meanwhile, so the pipeline stops searching.
    fn pause(&mut self) -> Result<ControlFlow<()>> {
        self.notice = None;
        self.say("paused; press space to go on")?;
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

    /// Prints the figures if there is no window and a second has passed; `Break` if nobody reads stdout any more.
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
            let mut undrawn = Vec::new();
            // Before anything sees the frame.
            if let Some(Cover { redactor, scores, boxes }) = &mut self.cover {
                result.tracked.retain(|tracked| scores.covers(tracked));
                redactor.cover(&mut result.frame.picture, &result.tracked);
                if !*boxes {
                    undrawn = std::mem::take(&mut result.tracked);
                }
            }
            self.draw(result)?;
            // The figures count covered faces too.
            if !undrawn.is_empty() {
                result.tracked = undrawn;
            }
            self.last = Instant::now();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn presented(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        if self.waited_through_a_pause(result) {
            return Ok(ControlFlow::Continue(()));
        }
        self.figures.presented(result);
        if self.cover.as_ref().is_some_and(|cover| !cover.boxes) {
            result.tracked.clear();
        }
        let mut recorder = locked(&self.recorder);
        if let Some(recording) = recorder.as_mut() {
            let faces = &result.tracked;
            let taken = recording.frame(&result.frame.picture, result.frame.time, |copy| overlay::tracked(copy, faces));
            if taken.is_err() {
                // The recording has failed and is not to be finished again.
                *recorder = None;
            }
            taken?;
        }
        drop(recorder);
        self.snap_smile(result);
        if self.screen.size().is_some() {
            // The buffers are swapped, so nothing is copied.
            std::mem::swap(&mut self.shown, &mut result.frame.picture);
            std::mem::swap(&mut self.faces, &mut result.tracked);
        }
        if self.print()?.is_break() || self.obey()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.paused { self.pause() } else { Ok(ControlFlow::Continue(())) }
    }

    fn wants_windows(&self) -> bool {
        self.view == View::Steps
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
