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
    // A box is dropped when more than a share of the smaller of the two lies in a better one that stays.
    keep_best(kept, |better, c| better.rect.overlap_of_smaller(&c.rect) > settings.nested);
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
