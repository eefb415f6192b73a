//! Measures how well faces are followed, on the synthetic camera, whose true faces are known.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use facecascade::pipeline::{self, FrameResult, PipelineOptions, Policy, SearchBudget};
use facecascade::source::Source;
use facecascade::source::synthetic::{Scene, SceneSettings, Synthetic};
use facecascade::text::ms;
use facecascade::track::Tracker;
use facecascade::{Cascade, Rect, Result};
use image::RgbImage;

/// Standard deviation of the camera's noise in all measurements, grey levels: that of a webcam indoors.
const NOISE: f32 = 4.0;
/// Frames that are measured.
const FRAMES: u64 = 300;
/// Frames before them, in which tracks settle.
const SETTLING: u64 = 30;
/// Seconds without a face before one enters: long enough for searches to become rare.
const ENTERS: f64 = 3.0;

/// The results.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Following {
    /// Jitter of detected boxes: root mean square of a box's changes (x, y, width, height) from frame to frame while the
    /// face stands still, percent of the face's height.
    pub(super) jitter_found: f64,
    /// Jitter of the boxes that are shown, smoothed by tracking.
    pub(super) jitter_shown: f64,
    /// Lag of the boxes behind moving faces, frames.
    pub(super) lag_frames: f64,
    /// Share of all faces in all frames that have no box, percent.
    pub(super) missing: f64,
    /// From the capture of the first frame with a face until its box is shown, milliseconds; every frame is searched.
    pub(super) first_box_ms: f64,
    /// The same after a time without faces, in which searches have become rare.
    pub(super) first_box_after_nobody_ms: f64,
}

/// Measures on a still and on a moving scene, and how long first boxes take.
///
/// # Errors
/// If the cascade or the pipeline fails.
pub(super) fn measure(cascade: &Cascade, threads: usize) -> Result<Following> {
    let still = Run::over(cascade, SceneSettings { speed: 0.0, noise: NOISE, ..Default::default() })?;
    let moving = Run::over(cascade, SceneSettings { noise: NOISE, ..Default::default() })?;
    Ok(Following {
        jitter_found: still.jitter(|seen| seen.found),
        jitter_shown: still.jitter(|seen| seen.shown),
        lag_frames: moving.lag(),
        missing: moving.missing(),
        first_box_ms: ms(first_box(cascade, threads, 0.0)?),
        first_box_after_nobody_ms: ms(first_box(cascade, threads, ENTERS)?),
    })
}

/// A face in one frame: the true box, the detected one and the one shown, pixels.
#[derive(Debug, Clone, Copy)]
struct Seen {
    truth: Rect,
    found: Option<Rect>,
    shown: Option<Rect>,
}

/// The boxes of each face, frame by frame.
struct Run(Vec<Vec<Seen>>);

impl Run {
    /// Detects and tracks on the scene's frames.
    fn over(cascade: &Cascade, settings: SceneSettings) -> Result<Self> {
        let scene = Scene::new(&settings)?;
        let mut tracker = Tracker::default();
        let mut frame = RgbImage::new(0, 0);
        let mut faces: Vec<Vec<Seen>> = Vec::new();
        for number in 0..SETTLING + FRAMES {
            scene.draw(number, &mut frame);
            let found: Vec<_> = cascade.detect(&frame)?;
            let tracked = tracker.update(&found, number as f64 / scene.rate());
            if number < SETTLING {
                continue;
            }
            let truths = scene.truth(number);
            faces.resize(truths.len(), Vec::new());
            for (face, truth) in faces.iter_mut().zip(truths) {
                let found = nearest(found.iter().map(|f| f.rect), &truth);
                let shown = nearest(tracked.iter().filter(|t| t.shown).map(|t| t.face.rect), &truth);
                face.push(Seen { truth, found, shown });
            }
        }
        Ok(Self(faces))
    }

    /// Jitter of the boxes that `of` selects, percent of the face's height.
    fn jitter(&self, of: impl Fn(&Seen) -> Option<Rect>) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for pair in self.0.iter().flat_map(|face| face.windows(2)) {
            if let (Some(a), Some(b)) = (of(&pair[0]), of(&pair[1])) {
                let steps = [b.x - a.x, b.y - a.y, b.w - a.w, b.h - a.h].map(|v| f64::from(v / pair[1].truth.h));
                sum += steps.iter().map(|s| s * s).sum::<f64>();
                count += steps.len();
            }
        }
        100.0 * (sum / f64::from(count.max(1) as u32)).sqrt()
    }

    /// Lag in frames: the part of the boxes' error along the faces' motion, divided by the motion of a frame. A constant
    /// offset does not count.
    fn lag(&self) -> f64 {
        let (mut along, mut squares) = (0.0, 0.0);
        for face in &self.0 {
            let points: Vec<_> = face.iter().filter_map(|s| Some((s.truth.center(), s.shown?.center()))).collect();
            let errors: Vec<_> = points.iter().map(|((x, y), (sx, sy))| (x - sx, y - sy)).collect();
            let n = errors.len().max(1) as f32;
            let mean = (errors.iter().map(|e| e.0).sum::<f32>() / n, errors.iter().map(|e| e.1).sum::<f32>() / n);
            for (pair, e) in points.windows(2).zip(&errors[1.min(errors.len())..]) {
                let v = (pair[1].0.0 - pair[0].0.0, pair[1].0.1 - pair[0].0.1);
                along += f64::from((e.0 - mean.0) * v.0 + (e.1 - mean.1) * v.1);
                squares += f64::from(v.0 * v.0 + v.1 * v.1);
            }
        }
        along / f64::max(squares, 1e-9)
    }

    /// Share of all faces in all frames that have no box, percent.
    fn missing(&self) -> f64 {
        let all: usize = self.0.iter().map(Vec::len).sum();
        let missing = self.0.iter().flatten().filter(|seen| seen.shown.is_none()).count();
        100.0 * missing as f64 / all.max(1) as f64
    }
}

/// Returns the box with the largest IoU with `truth`, if it is over 0.3.
fn nearest(boxes: impl Iterator<Item = Rect>, truth: &Rect) -> Option<Rect> {
    boxes.filter(|b| b.iou(truth) > 0.3).max_by(|a, b| a.iou(truth).total_cmp(&b.iou(truth)))
}

/// Measures the time from the capture of the first frame with a face, `enter` seconds after the start, until a box round
/// it is shown.
fn first_box(cascade: &Cascade, threads: usize, enter: f64) -> Result<Duration> {
    let scene = SceneSettings { faces: 1, enter, noise: NOISE, ..Default::default() };
    let truth = Scene::new(&scene)?;
    let source: Box<dyn Source> = Box::new(Synthetic::new(Scene::new(&scene)?, Some(enter + 5.0)));
    let options = PipelineOptions {
        policy: Policy::Live { in_flight: 2 },
        threads,
        search: Some(SearchBudget::default()),
        ..PipelineOptions::default()
    };
    let mut first = None;
    let mut output = |result: &mut FrameResult| {
        let there = truth.truth(truth.frame_at(result.frame.time));
        let hit = |t: &Rect| result.tracked.iter().any(|f| f.shown && f.face.rect.iou(t) > 0.3);
        if there.iter().any(hit) {
            // The first frame with the face was captured this much earlier.
            let since = Duration::from_secs_f64((result.frame.time - enter).max(0.0));
            first = Some(result.frame.captured.elapsed() + since);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    };
    let begin = Instant::now();
    pipeline::run(source, cascade, &options, &mut output)?;
    Ok(first.unwrap_or_else(|| begin.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use facecascade::Options;

    #[test]
    fn boxes_of_the_shipped_cascade_are_steady_prompt_and_seldom_missing() {
        let cascade = Cascade::shipped(Options { min_face: 40.0, ..Options::default() }).unwrap();
        let f = measure(&cascade, 2).unwrap();
        assert!(f.jitter_shown < 0.6 * f.jitter_found && f.jitter_found > 0.0, "{f:?}");
        assert!(f.jitter_shown < 1.0, "people see a jitter of a hundredth of a face: {f:?}");
        assert!(f.lag_frames.abs() < 1.0 && f.missing < 5.0, "{f:?}");
        // A face that is never found would take five seconds.
        assert!(f.first_box_ms < 3000.0 && f.first_box_after_nobody_ms < 3000.0, "{f:?}");
    }

    #[test]
    fn lag_is_measured_in_frames_and_a_constant_offset_is_none() {
        let at = |x: f32| Rect::new(x, 0.0, 50.0, 50.0);
        let swing = |i: f32| 100.0 + 80.0 * (i / 15.0).sin();
        let seen = |i: u32, behind: f32, off: f32| {
            let i = i as f32;
            let shown = Some(at(swing(i - behind) + off));
            Seen { truth: at(swing(i)), found: None, shown }
        };
        for behind in [0.0, 1.0, 2.5] {
            let run = Run(vec![(0..400).map(|i| seen(i, behind, 7.0)).collect()]);
            assert!((run.lag() - f64::from(behind)).abs() < 0.15, "{behind}: {}", run.lag());
        }
    }
}
