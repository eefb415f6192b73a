//! Says what became of each true face: found, or lost by which step.

use crate::cascade::StepTrace;
use crate::dataset::Truth;
use crate::eval::by_label::{found_faces, is_counted};
use crate::eval::detections::{Detection, exact, sort};
use crate::geometry::{Face, Rect, Window};

/// A window is on a face from this IoU on.
const ON_FACE: f32 = 0.5;

/// What counts: as in `facecascade eval --by`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// True faces lower than this, pixels, do not count.
    pub min_face: f32,
    /// Least score of a face, 0..1.
    pub threshold: f32,
    /// The same as the score of a window behind the last step.
    pub last_threshold: f32,
}

/// What became of a true face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It counts neither way: too small, or marked invalid.
    NotCounted,
    /// It was found, by the face with this number.
    Found(usize),
    /// It was lost.
    Lost(Loss),
}

/// How a face was lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Number of the step behind which no window is on it any more; the last step if a window is, but not as this face.
    pub step: usize,
    /// The best of the windows on it that the step was given (`find`: that it looked at), with the score that it had there.
    pub best: Option<Window>,
    /// Why.
    pub reason: Reason,
}

/// Why a face was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No window lies on it.
    NoWindow,
    /// The windows on it had too low a score.
    Score,
    /// Calibration moved the windows off it.
    Moved,
    /// Windows that overlap, of a neighbour mostly, took the place of those on it.
    Suppressed,
    /// A face lies there, but too far off, or it counts as a neighbour's.
    Misplaced,
}

impl Reason {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoWindow => "never seen",
            Self::Score => "score too low",
            Self::Moved => "moved off by calibration",
            Self::Suppressed => "suppressed by a better window",
            Self::Misplaced => "found too far off, or as a neighbour",
        }
    }
}

/// Whether a window lies on a face: nets on squares see the square round it, others the face itself.
pub(super) fn is_on(window: &Rect, face: &Rect) -> bool {
    overlap(window, face) >= ON_FACE
}

/// The IoU of a window with a face, or with the square round it if that is greater.
pub(super) fn overlap(window: &Rect, face: &Rect) -> f32 {
    window.iou(face).max(window.iou(&face.to_square()))
}

/// What became of each of `truth`, where the cascade found `faces` and its steps left `steps` ([`crate::Cascade::trace_whole`]).
pub fn fates(truth: &[Truth], faces: &[Face], steps: &[StepTrace], scale: &Scale) -> Vec<Fate> {
    let mut detections: Vec<Detection> = faces.iter().map(Detection::from).collect();
    sort(&mut detections);
    let least = f64::from(scale.min_face);
    let found = found_faces(truth, &detections, f64::from(scale.threshold), least).found;
    let fate = |(face, found): (&Truth, bool)| match () {
        () if !is_counted(face, least) => Fate::NotCounted,
        () if found => Fate::Found(finder(&face.rect, faces)),
        () => Fate::Lost(loss(&face.rect, steps, scale.last_threshold)),
    };
    truth.iter().zip(found).map(fate).collect()
}

/// The number of the face found that overlaps `truth` most.
fn finder(truth: &Rect, faces: &[Face]) -> usize {
    let overlap = |face: &Face| crate::eval::detections::iou(&exact(truth), &exact(&face.rect));
    (0..faces.len()).max_by(|&a, &b| overlap(&faces[a]).total_cmp(&overlap(&faces[b]))).unwrap_or(0)
}

/// The windows on a face behind a step, each with its number among [`StepTrace::windows`]. Behind `find`, those that calibration
/// moves onto it count too: a cell's window says little of where its net sees a face.
pub(super) fn on_face<'a>(
    steps: &'a [StepTrace],
    step: usize,
    face: &'a Rect,
) -> impl Iterator<Item = (usize, &'a Window)> {
    let windows = &steps[step].windows;
    // Calibration keeps the number and the order of windows.
    let moved = steps
        .get(step + 1)
        .filter(|next| steps[step].name.starts_with("find") && next.windows.len() == windows.len())
        .map(|next| &next.windows);
    windows
        .iter()
        .enumerate()
        .filter(move |(i, w)| is_on(&w.rect, face) || moved.is_some_and(|moved| is_on(&moved[*i].rect, face)))
}

/// The best window on a face behind a step, of those that go on and those that are accepted.
fn best_behind(steps: &[StepTrace], step: usize, face: &Rect) -> Option<Window> {
    let accepted = steps[step].accepted.iter().filter(|w| is_on(&w.rect, face));
    on_face(steps, step, face).map(|(_, w)| w).chain(accepted).copied().max_by(|a, b| a.score.total_cmp(&b.score))
}

/// Which step lost a face.
fn loss(face: &Rect, steps: &[StepTrace], last_threshold: f32) -> Loss {
    let Some(end) = steps.len().checked_sub(1) else {
        return Loss { step: 0, best: None, reason: Reason::NoWindow };
    };
    let Some(seen) = (0..=end).rev().find(|&step| best_behind(steps, step, face).is_some()) else {
        let best = best_dropped(&steps[0], face);
        return Loss { step: 0, best, reason: if best.is_some() { Reason::Score } else { Reason::NoWindow } };
    };
    let step = (seen + 1).min(end);
    let before = best_behind(steps, seen, face);
    let (best, reason) = match steps[step].name {
        _ if seen == end => (before, Reason::Misplaced),
        // What a level need not look at is dropped without a score.
        name if name.starts_with("find") => match best_dropped(&steps[step], face) {
            None => (before, Reason::Suppressed),
            best => (best, Reason::Score),
        },
        name if name.starts_with("calibrate") => (before, Reason::Moved),
        // Behind the last filter faces are cut by their score.
        _ if step == end && before.is_some_and(|w| w.score < last_threshold) => (before, Reason::Score),
        _ => (before, Reason::Suppressed),
    };
    Loss { step, best, reason }
}

/// The best window on a face of those that a step dropped.
fn best_dropped(step: &StepTrace, face: &Rect) -> Option<Window> {
    let on = step.dropped.iter().filter(|d| is_on(&d.window.rect, face) || is_on(&d.moved, face));
    on.map(|d| d.window).max_by(|a, b| a.score.total_cmp(&b.score))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::Dropped;
    use std::time::Duration;

    fn window(x: f32, score: f32) -> Window {
        Window { rect: Rect::new(x, 0.0, 40.0, 40.0), score }
    }

    fn step(name: &'static str, windows: &[Window]) -> StepTrace {
        let (accepted, dropped, elapsed) = (Vec::new(), Vec::new(), Duration::ZERO);
        StepTrace { name, windows: windows.to_vec(), accepted, dropped, elapsed }
    }

    fn truth(x: f32) -> Truth {
        Truth { rect: Rect::new(x, 0.0, 40.0, 40.0), ..Truth::default() }
    }

    const SCALE: Scale = Scale { min_face: 20.0, threshold: 0.5, last_threshold: 1.0 };

    /// What becomes of a face at 0 in a cascade of one level.
    fn fate(steps: &[StepTrace], faces: &[Face]) -> Fate {
        fates(&[truth(0.0)], faces, steps, &SCALE)[0]
    }

    #[test]
    fn a_face_is_lost_by_the_first_step_behind_which_no_window_is_on_it() {
        let (on, off) = (window(2.0, 1.5), window(200.0, 3.0));
        let lost = |steps: &[StepTrace]| match fate(steps, &[]) {
            Fate::Lost(loss) => (loss.step, loss.reason, loss.best.map(|w| w.score)),
            other => panic!("{other:?}"),
        };
        let [find, calibrate] = ["find-1", "calibrate-1"].map(|name| step(name, &[on, off]));
        let filter = |windows: &[Window]| step("filter-1", windows);
        let never = [step("find-1", &[off]), step("calibrate-1", &[off]), filter(&[off])];
        assert_eq!(lost(&never), (0, Reason::NoWindow, None));
        let mut scored = never.clone();
        scored[0].dropped = [-2.0, -1.0].map(|score| Dropped { window: window(1.0, score), moved: on.rect }).to_vec();
        assert_eq!(lost(&scored), (0, Reason::Score, Some(-1.0)));
        // A cell's small window counts by where the net sees the face.
        scored[0].dropped[1].window.rect = Rect::new(10.0, 10.0, 8.0, 8.0);
        assert_eq!(lost(&scored), (0, Reason::Score, Some(-1.0)));
        let moved = [find.clone(), step("calibrate-1", &[window(90.0, 1.5), off]), filter(&[off])];
        assert_eq!(lost(&moved), (1, Reason::Moved, Some(1.5)));
        let better = [find.clone(), calibrate.clone(), filter(&[window(25.0, 2.0)])];
        assert_eq!(lost(&better), (2, Reason::Suppressed, Some(1.5)));
        let mut skipped = [find.clone(), calibrate.clone(), filter(&[on]), step("find-2", &[])];
        assert_eq!(lost(&skipped), (3, Reason::Suppressed, Some(1.5)));
        skipped[3].dropped = vec![Dropped { window: window(1.0, -3.0), moved: on.rect }];
        assert_eq!(lost(&skipped), (3, Reason::Score, Some(-3.0)));
        let weak = [step("find-1", &[window(2.0, 0.9)]), step("calibrate-1", &[window(2.0, 0.9)]), filter(&[off])];
        assert_eq!(lost(&weak), (2, Reason::Score, Some(0.9)));
        assert_eq!(lost(&[find, calibrate, filter(&[on])]), (2, Reason::Misplaced, Some(1.5)));
    }

    #[test]
    fn windows_that_a_level_accepted_are_still_on_their_faces_in_the_levels_behind_it() {
        let mut steps: Vec<_> = ["find-1", "calibrate-1", "filter-1", "find-2"].map(|name| step(name, &[])).to_vec();
        steps[0].windows = vec![window(0.0, 9.0)];
        steps[1].windows = vec![window(0.0, 9.0)];
        steps[2].accepted = vec![window(0.0, 9.0)];
        steps[3].accepted = vec![window(0.0, 9.0)];
        let Fate::Lost(loss) = fate(&steps, &[]) else { panic!("nothing was found") };
        assert_eq!((loss.step, loss.reason), (3, Reason::Misplaced));
    }

    #[test]
    fn found_small_and_invalid_faces_are_not_lost() {
        let face = Face { rect: Rect::new(1.0, 0.0, 40.0, 40.0), score: 0.9, smile: None };
        let other = Face { rect: Rect::new(300.0, 0.0, 40.0, 40.0), ..face };
        assert_eq!(fate(&[step("find-1", &[])], &[other, face]), Fate::Found(1));
        let small = Truth { rect: Rect::new(0.0, 0.0, 12.0, 12.0), ..Truth::default() };
        let invalid = Truth { invalid: true, ..truth(0.0) };
        assert_eq!(fates(&[small, invalid], &[], &[], &SCALE), [Fate::NotCounted; 2]);
    }
}
