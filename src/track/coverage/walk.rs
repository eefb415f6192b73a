//! The second look: faces are followed by their appearance in frames in which the search did not find them.

use std::collections::HashMap;

use image::RgbImage;

use super::super::appearance::Patch;
use super::super::scene::dissolve;
use super::super::{Basis, GAP_FRAMES, SAME_FACE, Tracked};
use super::{ALIKE, Coverage, Held, Life, SURE_SECONDS, VERY_ALIKE, WINDOW_SECONDS, between, both, grown};
use crate::geometry::{Face, Rect};

/// Correlation under which a face has changed so much that a newer patch takes the old one's place.
const PATCH_ALIKE: f32 = 0.85;

/// By how much the cover of a face that is not surely followed grows on each side, sides of the face in a second.
const UNSURE_SPEED: f32 = 0.7;

/// How a face looked when it was last seen to move, and where it was then. It serves while the face stays there: at high frame
/// rates a face moves by less than a step of the search from frame to frame, which would add up unseen; and before a fade the
/// face was brighter.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchor(Option<(Patch, Rect)>);

impl Anchor {
    /// Where the face that is at `rect` in one frame is in the `next`, the correlation there, and whether there is nothing to
    /// compare.
    pub(super) fn locate(&mut self, frame: &RgbImage, next: &RgbImage, rect: &Rect) -> (Rect, f32, bool) {
        let (patch, _) = match self.0.take() {
            Some((patch, place)) if place == *rect => self.0.insert((patch, place)),
            _ => self.0.insert((Patch::of(frame, rect), *rect)),
        };
        let (place, likeness) = patch.locate(next, rect);
        let flat = patch.is_flat();
        if likeness < PATCH_ALIKE {
            self.0 = None;
        }
        (place, likeness, flat)
    }
}

impl Coverage {
    /// Where the newest frame ends a dissolve, or a part of one, notes which frames show both shots. In these, faces of the first
    /// one stay covered, and those of the second one are followed back again, now that it is known where it may begin.
    pub(super) fn find_dissolve(&mut self) {
        let newest = self.held.len() - 1;
        let first = (0..=newest).rev().find(|k| self.held[*k].cut).unwrap_or(0);
        let both: Vec<usize> =
            dissolve(newest + 1 - first, |k| &self.held[first + k].coarse).into_iter().map(|k| first + k).collect();
        let known = both.iter().filter(|k| self.held[**k].mixed).count();
        both.iter().for_each(|k| self.held[*k].mixed = true);
        let mut emerging = Vec::new();
        if known < both.len() {
            for (id, life) in self.lives.iter().filter(|(_, life)| life.sure) {
                let start = self.held.iter().position(|held| held.seconds == life.first_seen && held.has_seen(*id));
                if let Some(start) = start.filter(|k| *k > 0 && (self.held[*k].mixed || self.held[k - 1].mixed)) {
                    emerging.push((*id, start));
                }
            }
        }
        // In an order that does not change from run to run.
        emerging.sort_unstable();
        for (id, start) in &emerging {
            self.held.iter_mut().take(*start).for_each(|held| held.faces.retain(|t| t.id != *id));
        }
        for k in both.iter().copied().filter(|k| *k > 0) {
            let (here, before) = (&self.held[k], &self.held[k - 1]);
            let seen_before = |id: u64| self.lives.get(&id).is_some_and(|life| life.first_seen < here.seconds);
            let fading = before.faces.iter().filter(|t| seen_before(t.id) && !here.has_seen(t.id));
            for old in fading.copied().collect::<Vec<_>>() {
                self.held[k].add(old.id, &old.face, old.face.rect, Basis::Guess);
            }
        }
        self.cover_ends(&both);
        emerging.into_iter().for_each(|(id, start)| self.walk_back(start, 0, id));
    }

    /// Where faces of both shots overlap, one find in between may stand for both, and show but a part of either: there, faces are
    /// covered where they were before these frames and where they are behind them, too.
    fn cover_ends(&mut self, both: &[usize]) {
        let (Some(first), Some(last)) = (both.first(), both.last()) else { return };
        for end in [first.checked_sub(1), Some(last + 1)].into_iter().flatten() {
            let Some(there) = self.held.get(end).map(|held| held.faces.clone()) else { continue };
            for k in both {
                let apart = |t: &&Tracked| {
                    self.held[*k].face(t.id).is_some_and(|now| now.face.rect.iou(&t.face.rect) < SAME_FACE)
                };
                let apart: Vec<Tracked> = there.iter().filter(apart).copied().collect();
                apart.iter().for_each(|t| self.held[*k].add(t.id, &t.face, t.face.rect, Basis::Guess));
            }
        }
    }

    /// Fills the frames between the last two sightings of a face, the second of which is in the newest frame.
    pub(super) fn bridge(&mut self, id: u64) {
        let newest = self.held.len() - 1;
        let Some(last) = (0..newest).rev().find(|k| self.held[*k].has_seen(id)) else { return };
        let (Some(from), Some(to)) = (self.held[last].face(id).copied(), self.held[newest].face(id).copied()) else {
            return;
        };
        for k in last + 1..newest {
            let share = (k - last) as f32 / (newest - last) as f32;
            let rect = between(&from.face.rect, &to.face.rect, share);
            let held = &mut self.held[k];
            held.add(id, &to.face, rect, Basis::Between);
            if let Some(there) = held.faces.iter_mut().find(|t| t.id == id) {
                there.basis = Basis::Between;
            }
        }
        if newest - last > 2 {
            self.walk_back(newest, last + 1, id);
        }
    }

    /// Covers a face in the frames before its first sighting as far back as it may have been there.
    pub(super) fn extend_back(&mut self, id: u64) {
        if let Some(first) = self.held.iter().position(|held| held.face(id).is_some()) {
            self.walk_back(first, 0, id);
        }
    }

    /// Follows a face by its appearance from frame `from` back to frame `to`, and covers it there.
    fn walk_back(&mut self, from: usize, to: usize, id: u64) {
        let Some(start) = self.held[from].face(id).copied() else { return };
        let (mut rect, mut seen, mut face) = (start.face.rect, from, start.face);
        let mut anchor = Anchor::default();
        // Where the face was found last, how it looked there, and whether it was followed from there without doubt.
        let (mut found, mut clear, mut certain) = (rect, None, true);
        // Whether frames of a dissolve lie between: before them, only what was found there counts for long.
        let mut behind = false;
        for k in (to..from).rev() {
            let (here, after) = (&self.held[k], &self.held[k + 1]);
            if after.cut {
                break;
            }
            behind |= after.mixed && !here.mixed;
            let near = seen - k <= GAP_FRAMES as usize || self.held[seen].seconds - here.seconds <= SURE_SECONDS;
            if behind && !near {
                break;
            }
            let near = near || here.mixed;
            let (place, likeness, flat) = if here.mixed {
                // Of the two shots, the neighbouring frame may show the other one more clearly.
                let clear = clear.get_or_insert_with(|| Patch::of(&self.held[seen].picture, &found));
                let (place, likeness) = clear.locate(&here.picture, &rect);
                (place, likeness, clear.is_flat())
            } else {
                anchor.locate(&after.picture, &here.picture, &rect)
            };
            let weak = here.found.iter().filter(|f| place.iou(&f.rect) >= SAME_FACE);
            if let Some(weak) = weak.max_by(|a, b| a.score.total_cmp(&b.score)) {
                (rect, seen, face) = (weak.rect, k, *weak);
                (found, clear, certain) = (rect, None, true);
            } else if likeness >= if near { ALIKE } else { VERY_ALIKE } {
                rect = place;
                // In a dissolve, a part of the other shot may look like the face.
                certain &= likeness >= VERY_ALIKE && !here.mixed;
            } else if near || flat {
                certain = false;
            } else {
                break;
            }
            let (cx, cy) = rect.center();
            let (width, height) = here.picture.dimensions();
            let outside = !(0.0..=width as f32).contains(&cx) || !(0.0..=height as f32).contains(&cy);
            // Where another face was seen that is surely covered, this is the same one under another id.
            let taken = here.faces.iter().any(|t| {
                t.id != id
                    && matches!(t.basis, Basis::Seen(_))
                    && self.lives.get(&t.id).is_some_and(|life| life.sure)
                    && t.face.rect.iou(&rect) > 0.5
            });
            if outside || taken {
                break;
            }
            // A faint face in a dissolve is easily taken for something beside it, and it may have moved.
            let covered = if near && !certain {
                let away = self.held[seen].seconds - here.seconds;
                let away = if (0.0..SURE_SECONDS).contains(&away) { away } else { SURE_SECONDS };
                grown(&both(&rect, &found), UNSURE_SPEED * away as f32 * found.w.max(found.h))
            } else {
                rect
            };
            self.held[k].add(id, &face, covered, Basis::Guess);
        }
    }
}

/// Moves the faces that were not found in this frame to where their appearance is, and goes on with those that the tracker
/// gave up while they look as before.
pub(super) fn follow(
    before: &Held,
    picture: &RgbImage,
    seconds: f64,
    faces: &mut Vec<Tracked>,
    lives: &mut HashMap<u64, Life>,
) {
    for old in &before.faces {
        let now = faces.iter_mut().find(|t| t.id == old.id);
        if now.as_ref().is_some_and(|t| t.basis != Basis::Guess) {
            continue;
        }
        let Some(life) = lives.get_mut(&old.id) else { continue };
        let (place, likeness, flat) = life.anchor.locate(&before.picture, picture, &old.face.rect);
        match now {
            Some(now) if likeness >= ALIKE => now.face.rect = place,
            Some(_) => {}
            None => {
                let recent = life.sure && seconds - life.last_seen <= WINDOW_SECONDS;
                // It may have been found again under another id.
                let found = faces.iter().any(|t| t.basis != Basis::Guess && t.face.rect.iou(&place) > 0.5);
                if recent && !found && (likeness >= VERY_ALIKE || flat) {
                    faces.push(Tracked { face: Face { rect: place, ..old.face }, basis: Basis::Guess, ..*old });
                }
            }
        }
    }
}
