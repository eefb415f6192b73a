//! Windows that a level need not look at: on a face that it has just found in a better one.

use super::Candidate;
use super::settings::SkipSettings;
use super::state::State;
use crate::geometry::Rect;

/// Sets aside the windows, which are sorted best first, that overlap a better one that stays.
pub(super) fn set_aside(state: &mut State, settings: &SkipSettings) {
    let State { candidates, waiting, .. } = state;
    waiting.clear();
    let mut kept = 0;
    for i in 0..candidates.len() {
        let window = candidates[i];
        if candidates[..kept].iter().any(|better| overlap(settings, &better.rect, &window.rect)) {
            waiting.push(window);
        } else {
            candidates[kept] = window;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

/// Exchanges the windows that were looked at for those set aside, without those that lie on a face which the others showed.
pub(super) fn exchange(state: &mut State, settings: &SkipSettings) {
    let State { candidates, waiting, .. } = state;
    let shows = |seen: &Candidate, window: &Candidate| {
        seen.score > settings.score && overlap(settings, &seen.moved, &window.rect)
    };
    waiting.retain(|window| !candidates.iter().any(|seen| shows(seen, window)));
    std::mem::swap(candidates, waiting);
}

/// Whether two windows may show the same face.
fn overlap(settings: &SkipSettings, a: &Rect, b: &Rect) -> bool {
    a.overlap_of_smaller(b) > settings.overlap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_wait_for_a_better_one_and_are_dropped_if_it_shows_the_face_they_lie_on() {
        let window = |x: f32| Candidate::found(Rect::new(x, 0.0, 10.0, 10.0), 0.0);
        // Best first: two that stay, one within the first by 6/10, one within the one that waits, one within the second by 6/10.
        let mut state = State { candidates: [0.0, 40.0, 4.0, 9.0, 44.0].map(window).to_vec(), ..State::default() };
        let settings = SkipSettings { overlap: 0.5, score: 5.0 };
        let places = |list: &[Candidate]| list.iter().map(|c| c.rect.x).collect::<Vec<_>>();
        set_aside(&mut state, &settings);
        assert_eq!((places(&state.candidates), places(&state.waiting)), (vec![0.0, 40.0, 9.0], vec![4.0, 44.0]));
        // Both of the better ones are faces, but the second one's box moved away.
        state.candidates.iter_mut().for_each(|c| c.score = 6.0);
        state.candidates[1].moved.x = 34.0;
        state.candidates[2].score = 4.0;
        let seen = state.candidates.clone();
        exchange(&mut state, &settings);
        assert_eq!((places(&state.candidates), &state.waiting), (vec![44.0], &seen));
    }
}
