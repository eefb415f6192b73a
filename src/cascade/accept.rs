//! Early yes: a level that is sure of a window takes it for a face, and no later level looks at it or at others on the same face.

use super::Candidate;
use super::faces;
use super::nms::keep_best;
use super::state::State;

/// Takes the windows over the upper `threshold` out of those that a level's filter left, makes them into faces, whose score is
/// `last_score`'s, and drops those left that overlap one of them by more than `overlap`, as the last level's suppression would. `vote`
/// is the global filter's.
pub(super) fn accept(
    state: &mut State,
    threshold: f32,
    (overlap, vote): (f32, f32),
    last_score: impl Fn(&Candidate) -> f32,
) {
    let first = state.accepted.len();
    let sure = state.candidates.partition_point(|c| c.score > threshold);
    let mut faces: Vec<_> = state.candidates.drain(..sure).collect();
    keep_best(&mut faces, |better, c| better.rect.iou(&c.rect) > overlap);
    // Suppression, the last step of every level's filter, left what it chose from there.
    faces::vote(&mut faces, &state.buffers.before, vote);
    for face in &mut faces {
        face.score = last_score(face);
    }
    state.accepted.append(&mut faces);
    let accepted = &state.accepted[first..];
    state.candidates.retain(|c| !accepted.iter().any(|face| face.rect.iou(&c.rect) > overlap));
    if let Some(level) = state.counts.last_mut() {
        level.accepted = accepted.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::LevelCount;
    use crate::geometry::Rect;

    fn candidate(x: f32, score: f32) -> Candidate {
        Candidate { score, ..Candidate::found(Rect::new(x, 0.0, 10.0, 10.0), score) }
    }

    #[test]
    fn windows_over_the_upper_threshold_are_faces_and_take_those_on_the_same_face_with_them() {
        let list = vec![
            candidate(0.0, 8.0),
            candidate(50.0, 7.0),
            candidate(2.0, 6.5),
            candidate(3.0, 2.0),
            candidate(90.0, 1.0),
        ];
        let mut state = State { candidates: list, counts: vec![LevelCount::default()], ..State::default() };
        let accept = |state: &mut State| accept(state, 6.0, (0.45, 0.5), |face| 2.0 * face.score + 1.0);
        accept(&mut state);
        let scores = |list: &[Candidate]| list.iter().map(|c| c.score).collect::<Vec<_>>();
        assert_eq!((scores(&state.accepted), scores(&state.candidates)), (vec![17.0, 15.0], vec![1.0]));
        assert_eq!(state.counts[0].accepted, 2);
        let before = state.accepted.len();
        accept(&mut state);
        assert_eq!((state.accepted.len(), state.counts[0].accepted), (before, 0));
    }
}
