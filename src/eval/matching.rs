//! Decides which detections are right: WIDER's protocol for boxes, FDDB's discrete score for ellipses.

use super::assignment::{WeightMatrix, maximum_weight};
use super::detections::{Box64, Detection, exact, intersection, iou};
use super::ellipses::Region;
use crate::dataset::Truth;

/// What a detection is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// A hit: the detection found the face of this index.
    Hit(usize),
    /// A false alarm: on no face, or on one that a surer detection has found.
    FalseAlarm,
    /// Not counted: on a face that does not count, or too small.
    Ignored,
}

/// Returns whether a face counts: at least `least_height` pixels high and not marked invalid. Other faces are ignored.
pub(crate) fn counts(face: &Truth, least_height: f64) -> bool {
    !face.invalid && f64::from(face.rect.h) >= least_height
}

/// Labels the detections of one picture, which come best first, after WIDER's protocol. A detection takes the counted face of
/// highest IoU that no detection has taken, if that IoU is ≥ 0.5. Otherwise it is ignored if its IoU with an ignored face is
/// ≥ 0.5, if half of it lies in an invalid box, or if it is lower than `least_height` pixels (COCO's rule for sizes out of
/// range). Otherwise it is a false alarm.
pub(crate) fn wider(faces: &[Truth], detections: &[Detection], least_height: f64) -> Vec<Label> {
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

/// How the counts change when the threshold falls to `score`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountChange {
    /// The threshold.
    pub score: f64,
    /// Hits gained (FDDB: possibly lost).
    pub hits: i64,
    /// False alarms gained (FDDB: possibly lost).
    pub false_alarms: i64,
}

/// Returns the change of the counts that each detection makes, ignored ones left out.
pub(crate) fn count_changes<'a>(
    detections: &'a [Detection],
    labels: &'a [Label],
) -> impl Iterator<Item = CountChange> + 'a {
    detections.iter().zip(labels).filter_map(|(detection, label)| match label {
        Label::Hit(_) => Some(CountChange { score: detection.score, hits: 1, false_alarms: 0 }),
        Label::FalseAlarm => Some(CountChange { score: detection.score, hits: 0, false_alarms: 1 }),
        Label::Ignored => None,
    })
}

/// Computes FDDB's discrete score of one picture (Jain & Learned-Miller 2010). At each distinct score, the detections so far
/// (best first) are assigned to the ellipses, one to one, so that the sum of overlaps is greatest. Pairs that overlap by more
/// than 0.5 are hits, all other detections false alarms. A further detection may change the whole assignment, so it is computed
/// anew each time.
pub(crate) fn fddb(regions: &[Region], detections: &[Detection]) -> Vec<CountChange> {
    debug_assert!(detections.is_sorted_by(|a, b| a.score >= b.score), "detections must come best first");
    let overlaps = WeightMatrix::from_fn(regions.len(), detections.len(), |i, j| regions[i].iou(&detections[j].rect));
    let mut changes = Vec::new();
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
            let weights =
                WeightMatrix::from_fn(touched.len(), touching.len(), |i, j| overlaps.at(touched[i], touching[j]));
            hits_now = maximum_weight(&weights).iter().filter(|&&(i, j)| weights.at(i, j) > 0.5).count() as i64;
        }
        let false_alarms_now = end as i64 - hits_now;
        changes.push(CountChange { score, hits: hits_now - hits, false_alarms: false_alarms_now - false_alarms });
        (hits, false_alarms, start) = (hits_now, false_alarms_now, end);
    }
    changes
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
        assert_eq!(fddb(&[], &found), [CountChange { score: 0.5, hits: 0, false_alarms: 2 }]);
    }
}
