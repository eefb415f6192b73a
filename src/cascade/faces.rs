//! The global filter behind the last level: windows that agree become one face.

use super::Candidate;
use super::nms::keep_best;
use super::settings::FaceSettings;
use crate::geometry::Rect;

/// Merges into faces the windows that non-maximum suppression by `overlap` `kept` (best first) of `all`, and those that levels before
/// `accepted`.
pub(super) fn merge(
    kept: &mut Vec<Candidate>,
    all: &[Candidate],
    accepted: &[Candidate],
    overlap: f32,
    settings: &FaceSettings,
) {
    vote(kept, all, settings.vote);
    if !accepted.is_empty() {
        kept.extend_from_slice(accepted);
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        keep_best(kept, |better, c| better.rect.iou(&c.rect) > overlap);
    }
    soften(kept, settings);
}

/// Soft non-maximum suppression (Bodla et al. 2017): a box that overlaps a better one may be another guess at the same face or a face of
/// its own, and the more they overlap, the more its score falls. One that lies in a better one, and is not such a guess, is dropped.
fn soften(faces: &mut Vec<Candidate>, settings: &FaceSettings) {
    let mut kept = 0;
    while let Some(best) = (kept..faces.len()).reduce(|a, b| if faces[b].score > faces[a].score { b } else { a }) {
        // The others stay in their order, so that equals do.
        faces[kept..=best].rotate_right(1);
        let face = faces[kept].rect;
        kept += 1;
        let mut rest = kept;
        for i in kept..faces.len() {
            let mut other = faces[i];
            let iou = face.iou(&other.rect);
            if iou > settings.soft {
                other.score = settings.logit(settings.score(other.score) * (1.0 - iou));
            } else if face.overlap_of_smaller(&other.rect) > settings.nested {
                continue;
            }
            faces[rest] = other;
            rest += 1;
        }
        faces.truncate(rest);
    }
}

/// Makes each box of `kept` the mean of all boxes in `all` that overlap it by more than `iou`, weighted by probability ×
/// IoU. Its score stays.
pub(super) fn vote(kept: &mut [Candidate], all: &[Candidate], iou: f32) {
    for face in kept {
        let (mut weight, mut sum) = (0.0, [0.0; 4]);
        for other in all {
            let shared = face.rect.iou(&other.rect);
            if shared > iou {
                let r = &other.rect;
                let w = shared / (1.0 + (-other.score).exp());
                weight += w;
                for (sum, v) in sum.iter_mut().zip([r.x, r.y, r.w, r.h]) {
                    *sum += w * v;
                }
            }
        }
        if weight > 0.0 {
            let [x, y, w, h] = sum.map(|s| s / weight);
            face.rect = Rect::new(x, y, w, h);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x: f32, side: f32, score: f32) -> Candidate {
        Candidate::found(Rect::new(x, 0.0, side, side), score)
    }

    #[test]
    fn another_guess_at_a_face_loses_score_and_a_box_within_one_is_dropped() {
        let settings = FaceSettings { vote: 1.0, soft: 0.35, nested: 0.7, slope: 2.0, offset: 1.0 };
        // IoU with the first: 1/2, 1/9 (within it), 0; the third of those overlaps the fourth by 3/5.
        let list = [
            candidate(0.0, 12.0, 3.0),
            candidate(4.0, 12.0, 2.0),
            candidate(1.0, 4.0, 1.0),
            candidate(40.0, 10.0, 0.4),
            candidate(42.5, 10.0, 0.5),
        ];
        let mut faces = list.to_vec();
        merge(&mut faces, &[], &[], 0.7, &settings);
        let expected = [(0.0, list[0].score, 1.0), (4.0, 2.0, 0.5), (42.5, 0.5, 1.0), (40.0, 0.4, 0.4)];
        assert_eq!(faces.len(), expected.len(), "{faces:?}");
        for (x, score, share) in expected {
            let face = faces.iter().find(|f| f.rect.x == x);
            let found = face.map(|f| settings.score(f.score) / settings.score(score));
            assert!(found.is_some_and(|found| (found - share).abs() < 1e-4), "{x}: {found:?} instead of {share}");
        }
        assert!(faces.is_sorted_by(|a, b| a.score >= b.score), "{faces:?}");
    }

    #[test]
    fn without_softening_only_what_lies_in_a_better_one_is_dropped() {
        let settings = FaceSettings { vote: 1.0, ..FaceSettings::default() };
        let list = [candidate(0.0, 12.0, 3.0), candidate(4.0, 12.0, 2.0), candidate(1.0, 4.0, 1.0)];
        let mut faces = list.to_vec();
        merge(&mut faces, &[], &[], 0.7, &settings);
        assert_eq!(faces.iter().map(|f| (f.rect.x, f.score)).collect::<Vec<_>>(), [(0.0, 3.0), (4.0, 2.0)]);
    }

    #[test]
    fn boxes_that_agree_are_averaged_by_probability_and_overlap() {
        let all = [candidate(0.0, 10.0, 20.0), candidate(2.0, 10.0, 0.0), candidate(8.0, 10.0, 20.0)];
        let mut kept = vec![all[0]];
        vote(&mut kept, &all, 0.5);
        // Weights: 1 × 1, and ½ × 8/12 for the second; the third overlaps too little.
        assert!((kept[0].rect.x - 2.0 * (1.0 / 3.0) / (4.0 / 3.0)).abs() < 1e-5, "{:?}", kept[0]);
        assert_eq!((kept[0].score, kept[0].rect.w), (20.0, 10.0));
        let before = kept.clone();
        vote(&mut kept, &all, 1.0);
        assert_eq!(kept, before);
    }

    #[test]
    fn a_box_inside_a_better_one_or_round_it_is_dropped() {
        let mut list = vec![
            candidate(0.0, 20.0, 3.0),
            candidate(2.0, 8.0, 2.0),
            candidate(0.0, 60.0, 1.0),
            candidate(90.0, 8.0, 0.0),
        ];
        merge(&mut list, &[], &[], 1.0, &FaceSettings { nested: 0.7, ..FaceSettings::default() });
        assert_eq!(list.iter().map(|c| c.score).collect::<Vec<_>>(), [3.0, 0.0]);
    }

    #[test]
    fn faces_that_were_accepted_before_join_the_others_best_first_without_doubles() {
        let mut list = vec![candidate(0.0, 10.0, 3.0), candidate(40.0, 10.0, 1.0)];
        let accepted = [candidate(80.0, 10.0, 2.0), candidate(1.0, 10.0, 9.0)];
        let settings = FaceSettings { vote: 1.0, ..FaceSettings::default() };
        merge(&mut list, &[], &accepted, 0.45, &settings);
        assert_eq!(list.iter().map(|c| c.score).collect::<Vec<_>>(), [9.0, 2.0, 1.0]);
    }
}
