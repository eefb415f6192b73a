//! Follows faces through the cascade: the window on each face before and after the calibration of each level.

use super::fates::{Fate, on_face, overlap};
use crate::cascade::StepTrace;
use crate::dataset::Truth;
use crate::geometry::{Face, Rect, Window};

/// A face with the windows on it, level by level.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Which face it is.
    pub subject: Subject,
    /// Where it is: the true face if one is known, else the box that was found.
    pub rect: Rect,
    /// The box that was found; `None` for a face that was lost.
    pub found: Option<Face>,
    /// One for each level.
    pub levels: Vec<AtLevel>,
}

/// Which face is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A face found, by its number from 0.
    Found(usize),
    /// A true face that was lost, by its number from 0 among those.
    Lost(usize),
}

/// What a level did with the window on a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AtLevel {
    /// No window on the face came through the level's net.
    Nothing,
    /// A level before had taken the window for a face already.
    Accepted,
    /// The best window was moved.
    Moved {
        /// As it was found.
        before: Window,
        /// As calibration left it.
        after: Window,
    },
}

impl Subject {
    /// The face's name for people: `face 3`, `lost 1`.
    pub fn name(self) -> String {
        match self {
            Self::Found(i) => format!("face {}", i + 1),
            Self::Lost(i) => format!("lost {}", i + 1),
        }
    }
}

impl Followed {
    /// IoU of a window with the face, or with the square round it if that is greater, 0..1.
    pub fn overlap(&self, window: &Window) -> f32 {
        overlap(&window.rect, &self.rect)
    }
}

/// Follows the faces found, then the true ones that were lost.
pub fn follow(faces: &[Face], truth: &[Truth], fates: &[Fate], steps: &[StepTrace]) -> Vec<Followed> {
    let mut all = Vec::new();
    for (i, face) in faces.iter().enumerate() {
        let true_face = truth.iter().zip(fates).find(|(_, fate)| **fate == Fate::Found(i)).map(|(t, _)| t.rect);
        // The windows are those that became the box, even where it is a little off the true face.
        let levels = levels(&face.rect, steps);
        let rect = true_face.unwrap_or(face.rect);
        all.push(Followed { subject: Subject::Found(i), rect, found: Some(*face), levels });
    }
    let lost = truth.iter().zip(fates).filter(|(_, fate)| matches!(fate, Fate::Lost(_)));
    all.extend(lost.enumerate().map(|(i, (t, _))| Followed {
        subject: Subject::Lost(i),
        rect: t.rect,
        found: None,
        levels: levels(&t.rect, steps),
    }));
    all
}

fn levels(face: &Rect, steps: &[StepTrace]) -> Vec<AtLevel> {
    let begins = (0..steps.len()).filter(|&step| steps[step].name.starts_with("find") && step + 1 < steps.len());
    let level = |find: usize| {
        let best = on_face(steps, find, face).max_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let moved = best.and_then(|(i, before)| Some((*before, *steps[find + 1].windows.get(i)?)));
        match moved {
            Some((before, after)) => AtLevel::Moved { before, after },
            None if steps[find].accepted.iter().any(|w| overlap(&w.rect, face) >= 0.5) => AtLevel::Accepted,
            None => AtLevel::Nothing,
        }
    };
    begins.map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn window(x: f32, side: f32, score: f32) -> Window {
        Window { rect: Rect::new(x, 0.0, side, side), score }
    }

    fn step(name: &'static str, windows: Vec<Window>, accepted: Vec<Window>) -> StepTrace {
        StepTrace { name, windows, accepted, dropped: Vec::new(), elapsed: Duration::ZERO }
    }

    #[test]
    fn the_best_window_on_a_face_is_shown_with_where_calibration_moved_it() {
        let far = window(300.0, 40.0, 9.0);
        let steps = [
            step("find-1", vec![far, window(12.0, 44.0, 1.0), window(8.0, 44.0, 2.0)], vec![]),
            step("calibrate-1", vec![far, window(1.0, 40.0, 1.0), window(0.0, 41.0, 2.0)], vec![]),
            step("filter-1", vec![far], vec![window(0.0, 41.0, 2.0)]),
            step("find-2", vec![far], vec![window(0.0, 41.0, 2.0)]),
            step("calibrate-2", vec![far], vec![window(0.0, 41.0, 2.0)]),
            step("filter-2", vec![far], vec![]),
        ];
        let face = Face { rect: Rect::new(0.0, 0.0, 40.0, 40.0), score: 0.9, smile: None };
        let lost = Truth { rect: Rect::new(600.0, 0.0, 40.0, 40.0), ..Truth::default() };
        let fate = Fate::Lost(crate::inspection::fates::Loss {
            step: 0,
            best: None,
            reason: crate::inspection::fates::Reason::NoWindow,
        });
        let all = follow(&[face], &[lost], &[fate], &steps);
        assert_eq!(all.iter().map(|f| f.subject.name()).collect::<Vec<_>>(), ["face 1", "lost 1"]);
        let moved = AtLevel::Moved { before: window(8.0, 44.0, 2.0), after: window(0.0, 41.0, 2.0) };
        assert_eq!(all[0].levels, [moved, AtLevel::Accepted]);
        assert_eq!(all[1].levels, [AtLevel::Nothing; 2]);
    }

    #[test]
    fn a_cell_is_followed_to_where_its_net_sees_the_face() {
        let steps = [
            step("find-1", vec![window(16.0, 8.0, 3.0)], vec![]),
            step("calibrate-1", vec![window(1.0, 39.0, 3.0)], vec![]),
        ];
        let face = Face { rect: Rect::new(0.0, 0.0, 40.0, 40.0), score: 0.9, smile: None };
        let all = follow(&[face], &[], &[], &steps);
        assert!(matches!(all[0].levels[0], AtLevel::Moved { before, .. } if before.rect.w == 8.0));
    }
}
