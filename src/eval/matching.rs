//! Which detections are right: WIDER's protocol for boxes and FDDB's discrete score for ellipses.

use super::assignment::{Weights, maximum_weight};
use super::detections::{Box64, Detection, exact, intersection, iou};
use super::ellipses::Region;
use crate::dataset::Truth;

/// What a detection counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// It found the face of this index.
    Hit(usize),
    /// It found nothing, or a face that a surer one had already taken.
    FalseAlarm,
    /// Neither: a face that does not count, or a box too small to.
    Ignored,
}

/// Whether a face counts at a least height: high enough and not marked invalid. Faces that don't are ignored.
pub fn counts(face: &Truth, least_height: f64) -> bool {
    !face.invalid && f64::from(face.rect.h) >= least_height
}

/// Labels of one picture's detections, best first, after WIDER's protocol. Each takes the free counted face of highest
/// IoU if that is ≥ 0.5. Else it is ignored if it overlaps an ignored face by ≥ 0.5, lies with half of itself in an
/// invalid box, or is lower than `least_height` pixels (COCO's rule for sizes out of range). Else it is a false alarm.
pub fn wider(faces: &[Truth], detections: &[Detection], least_height: f64) -> Vec<Label> {
    debug_assert!(detections.is_sorted_by(|a, b| a.score >= b.score), "detections must come best first");
    let boxes: Vec<Box64> = faces.iter().map(|f| exact(&f.rect)).collect();
    let counted: Vec<bool> = faces.iter().map(|f| counts(f, least_height)).collect();
    let mut free = counted.clone();
    let mut label = |detection: &Detection| {
        let rect = &detection.rect;
        let mut best: Option<(usize, f64)> = None;
        for (i, face) in boxes.iter().enumerate().filter(|&(i, _)| free[i]) {
            let overlap = iou(face, rect);
            if best.is_none_or(|(_, most)| overlap > most) {
                best = Some((i, overlap));
            }
        }
        if let Some((i, overlap)) = best
            && overlap >= 0.5
        {
            free[i] = false;
            return Label::Hit(i);
        }
        let half = 0.5 * rect[2] * rect[3];
        let excused = boxes.iter().enumerate().any(|(i, face)| {
            (!counted[i] && iou(face, rect) >= 0.5) || (faces[i].invalid && intersection(face, rect) >= half)
        });
        if excused || rect[3] < least_height { Label::Ignored } else { Label::FalseAlarm }
    };
    detections.iter().map(&mut label).collect()
}

/// A change of the counts when the threshold falls to `score`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The threshold.
    pub score: f64,
    /// Faces found more (FDDB: possibly fewer).
    pub hits: i64,
    /// False alarms more.
    pub false_alarms: i64,
}

/// The steps of labelled detections: one a detection that is not ignored.
pub fn steps<'a>(detections: &'a [Detection], labels: &'a [Label]) -> impl Iterator<Item = Step> + 'a {
    detections.iter().zip(labels).filter_map(|(detection, label)| match label {
        Label::Hit(_) => Some(Step { score: detection.score, hits: 1, false_alarms: 0 }),
        Label::FalseAlarm => Some(Step { score: detection.score, hits: 0, false_alarms: 1 }),
        Label::Ignored => None,
    })
}

/// FDDB's discrete score of one picture (Jain & Learned-Miller 2010): at each threshold, the one-to-one assignment of
/// the detections (best first) to the ellipses that maximises the sum of overlaps; pairs that overlap by more than 0.5
/// are hits, all other detections false alarms. It is found anew at each distinct score, for it may change.
pub fn fddb(regions: &[Region], detections: &[Detection]) -> Vec<Step> {
    debug_assert!(detections.is_sorted_by(|a, b| a.score >= b.score), "detections must come best first");
    let overlaps = Weights::from_fn(regions.len(), detections.len(), |i, j| regions[i].iou(&detections[j].rect));
    let mut steps = Vec::new();
    let mut touching: Vec<usize> = Vec::new();
    let (mut hits, mut false_alarms, mut start) = (0, 0, 0);
    while start < detections.len() {
        let score = detections[start].score;
        let end = start + detections[start..].iter().take_while(|d| d.score == score).count();
        let before = touching.len();
        touching.extend((start..end).filter(|&j| (0..regions.len()).any(|i| overlaps.at(i, j) > 0.0)));
        let mut hits_now = hits;
        if touching.len() > before {
            let touched: Vec<usize> =
                (0..regions.len()).filter(|&i| touching.iter().any(|&j| overlaps.at(i, j) > 0.0)).collect();
            let weights = Weights::from_fn(touched.len(), touching.len(), |i, j| overlaps.at(touched[i], touching[j]));
            hits_now = maximum_weight(&weights).iter().filter(|&&(i, j)| weights.at(i, j) > 0.5).count() as i64;
        }
        let false_alarms_now = end as i64 - hits_now;
        steps.push(Step { score, hits: hits_now - hits, false_alarms: false_alarms_now - false_alarms });
        (hits, false_alarms, start) = (hits_now, false_alarms_now, end);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Ellipse;
    use crate::geometry::Rect;

    fn detections<const N: usize>(list: [[f64; 5]; N]) -> Vec<Detection> {
        list.iter().map(|&[x, y, w, h, score]| Detection { rect: [x, y, w, h], score }).collect()
    }

    /// The case of evaluate.py's self-test.
    #[test]
    fn doubles_are_false_alarms_and_small_or_invalid_faces_are_ignored() {
        let face = |x, y, side, invalid| Truth { rect: Rect::new(x, y, side, side), invalid, ..Truth::default() };
        let faces = [face(10.0, 10.0, 40.0, false), face(100.0, 10.0, 10.0, false), face(10.0, 100.0, 40.0, true)];
        let found = detections([
            [10.0, 10.0, 40.0, 40.0, 0.9],
            [12.0, 10.0, 40.0, 40.0, 0.8],
            [100.0, 10.0, 10.0, 10.0, 0.7],
            [10.0, 100.0, 40.0, 40.0, 0.6],
            [200.0, 200.0, 50.0, 50.0, 0.5],
            [200.0, 10.0, 10.0, 10.0, 0.4],
        ]);
        use Label::{FalseAlarm, Hit, Ignored};
        assert_eq!(wider(&faces, &found, 20.0), [Hit(0), FalseAlarm, Ignored, Ignored, FalseAlarm, Ignored]);
        assert_eq!(faces.iter().filter(|f| counts(f, 20.0)).count(), 1);
    }

    #[test]
    fn a_box_takes_the_face_it_overlaps_most() {
        let face = |x| Truth { rect: Rect::new(x, 0.0, 40.0, 40.0), ..Truth::default() };
        let found = detections([[11.0, 0.0, 40.0, 40.0, 0.9], [1.0, 0.0, 40.0, 40.0, 0.8]]);
        assert_eq!(wider(&[face(0.0), face(12.0)], &found, 20.0), [Label::Hit(1), Label::Hit(0)]);
    }

    #[test]
    fn half_of_a_box_in_an_invalid_one_excuses_it() {
        let faces = [Truth { rect: Rect::new(0.0, 0.0, 200.0, 200.0), invalid: true, ..Truth::default() }];
        let found = detections([[180.0, 20.0, 40.0, 40.0, 0.9], [181.0, 20.0, 40.0, 40.0, 0.8]]);
        assert_eq!(wider(&faces, &found, 20.0), [Label::Ignored, Label::FalseAlarm]);
    }

    /// The case of evaluate.py's self-test.
    #[test]
    fn one_ellipse_is_found_once() {
        let ellipse = Ellipse { major: 30.0, minor: 20.0, angle: std::f64::consts::FRAC_PI_2, cx: 50.0, cy: 50.0 };
        let found =
            detections([[30.0, 20.0, 40.0, 60.0, 0.9], [31.0, 21.0, 40.0, 60.0, 0.8], [150.0, 150.0, 20.0, 20.0, 0.7]]);
        let changes: Vec<(i64, i64)> =
            fddb(&[Region::new(&ellipse, 200, 200)], &found).iter().map(|s| (s.hits, s.false_alarms)).collect();
        assert_eq!(changes, [(1, 0), (0, 1), (0, 1)]);
    }

    #[test]
    fn detections_of_equal_score_enter_together() {
        let found = detections([[0.0, 0.0, 9.0, 9.0, 0.5], [50.0, 50.0, 9.0, 9.0, 0.5]]);
        assert_eq!(fddb(&[], &found), [Step { score: 0.5, hits: 0, false_alarms: 2 }]);
    }
}
