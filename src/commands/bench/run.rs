//! Draws and shows each frame of `bench` as `live` does, and measures.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use facecascade::output::figures::Figures;
use facecascade::output::latency::{FrameLatency, Meter, Report};
use facecascade::output::overlay::{self, Canvas};
use facecascade::pipeline::{self, FrameResult, Output, PipelineOptions};
use facecascade::source::Source;
use facecascade::{Cascade, Result};

use super::super::screen::{Key, Screen};

/// A measurement ends at the latest this long after its time, even if its source gives no more frames.
const GRACE: Duration = Duration::from_secs(2);

/// Runs measurements one after the other in the same window.
pub(super) struct Bench<'a> {
    cascade: &'a Cascade,
    screen: Screen,
    /// Size of the pictures drawn where there is no window, pixels.
    size: (u32, u32),
    canvas: Canvas,
    /// Whether the user has pressed the key that quits.
    quit: bool,
}

impl<'a> Bench<'a> {
    pub(super) fn new(cascade: &'a Cascade, screen: Screen, size: (u32, u32)) -> Self {
        Self { cascade, screen, size, canvas: Canvas::default(), quit: false }
    }

    /// Whether the user has asked to stop, by a key or by Ctrl-C.
    pub(super) fn is_stopped(&self, options: &PipelineOptions) -> bool {
        self.quit || options.stop.load(Ordering::Relaxed)
    }

    /// Measures `source` for `length`, after `warm_up` frames that do not count.
    ///
    /// # Errors
    /// If the pipeline fails, or if the source ends before a frame counts.
    pub(super) fn measure(
        &mut self,
        source: Box<dyn Source>,
        options: &PipelineOptions,
        warm_up: u64,
        length: Duration,
    ) -> anyhow::Result<(Report, Vec<FrameLatency>)> {
        let about = source.describe();
        let meter = Meter::new(warm_up, length);
        let mut run = Run { bench: self, meter, figures: Figures::default(), length, counted: None };
        let summary = pipeline::run(source, run.bench.cascade, options, &mut run)?;
        let Some(report) = run.meter.report() else {
            anyhow::bail!(
                "{about}: ended after {} frames; the first {warm_up} are not measured, so there is nothing to tell",
                summary.frames
            );
        };
        Ok((report, run.meter.into_frames()))
    }
}

/// One measurement.
struct Run<'b, 'a> {
    bench: &'b mut Bench<'a>,
    meter: Meter,
    figures: Figures,
    length: Duration,
    /// When the first frame that counts was shown.
    counted: Option<Instant>,
}

impl Run<'_, '_> {
    /// Does what keys ask for; `Break` ends the run.
    fn obey(&mut self) -> ControlFlow<()> {
        if self.bench.screen.keys().contains(&Key::Quit) {
            self.bench.quit = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Output for Run<'_, '_> {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        let Bench { screen, canvas, size, .. } = &mut *self.bench;
        canvas.faces(&result.frame.picture, &result.tracked, screen.size().unwrap_or(*size));
        let age = result.frame.captured.elapsed();
        overlay::readout(canvas.picture_mut(), &self.figures.snapshot(), age, true);
        screen.show(canvas.picture())?;
        Ok(ControlFlow::Continue(()))
    }

    fn presented(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        if !self.meter.presented(result) {
            return Ok(ControlFlow::Break(()));
        }
        self.figures.presented(result);
        if self.meter.is_measuring() {
            self.counted.get_or_insert_with(Instant::now);
        }
        Ok(self.obey())
    }

    fn idle(&mut self) -> Result<ControlFlow<()>> {
        self.bench.screen.idle();
        let is_late = |since: Instant| since.elapsed() > self.length + GRACE;
        if self.counted.is_some_and(is_late) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(self.obey())
    }
}
