//! Early yes: a level that is sure of a window takes it for a face, and no later level looks at it or at others on the same face.

use super::faces;
use super::nms::keep_best;
use super::settings::AcceptSettings;
use super::state::State;

/// Takes the windows over the upper threshold out of those that a level's filter left, makes them into faces, and drops those left
/// that overlap one of them by more than `overlap`, as the last level's suppression would. `vote` is the global filter's.
pub(super) fn accept(state: &mut State, settings: &AcceptSettings, overlap: f32, vote: f32) {
    let first = state.accepted.len();
    let sure = state.candidates.partition_point(|c| c.score > settings.threshold);
    let mut faces: Vec<_> = state.candidates.drain(..sure).collect();
    keep_best(&mut faces, |better, c| better.rect.iou(&c.rect) > overlap);
    // Suppression, the last step of every level's filter, left what it chose from there.
    faces::vote(&mut faces, &state.buffers.before, vote);
    for face in &mut faces {
        face.score = settings.slope * face.score + settings.offset;
    }
    state.accepted.append(&mut faces);
    let accepted = &state.accepted[first..];
    state.candidates.retain(|c| !accepted.iter().any(|face| face.rect.iou(&c.rect) > overlap));
    if let Some(level) = state.counts.last_mut() {
        level.accepted = accepted.len();
    }
}
