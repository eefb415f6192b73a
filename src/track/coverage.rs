//! Decides which faces are covered in which frames of a file: rather too much than too little.
//!
//! Frames wait for up to [`WINDOW_SECONDS`], so that a face that is found late is covered backwards too. Beside what the search
//! finds at low scores, a second look follows each face by its appearance: backwards from its first sighting, through gaps from
//! both ends, and on after its last. It stops at cuts.

use std::collections::{HashMap, VecDeque};

use image::RgbImage;

use super::appearance::{Patch, Scene};
use super::{Basis, Following, GAP_FRAMES, ScoreBySide, Tracked, Tracker, fit};
use crate::geometry::{Face, Rect};

/// The smallest face looked for in low pictures, pixels.
const SMALLEST_FACE: f32 = 12.0;
/// Seconds that frames wait, and so the longest time that a face is followed back before it was found.
pub const WINDOW_SECONDS: f64 = 3.0;
/// Bytes of pictures that may wait: 130 frames of 1920×1080, 32 of 3840×2160. Never fewer than [`LEAST_HELD`] frames wait.
pub const WINDOW_BYTES: usize = 768 << 20;
/// Frames that wait however large they are: the longest gap in frames and what confirms a face.
pub const LEAST_HELD: usize = GAP_FRAMES as usize + 3;
/// Seconds before its first sighting, and after its last, in which a face is covered whatever the picture shows there.
const SURE_SECONDS: f64 = 1.0;
/// Correlation with the frame next to it from which a face counts as followed.
const ALIKE: f32 = 0.5;
/// The same beyond [`SURE_SECONDS`].
const VERY_ALIKE: f32 = 0.75;
/// Correlation under which a face has changed so much that a newer patch takes the old one's place.
const PATCH_ALIKE: f32 = 0.85;
/// Frames this far apart, seconds, show a face only once where it would be seen twice at common rates.
const FAR_APART: f64 = 0.25;

/// Scores (0..1) from which faces are covered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Of a face in a picture.
    pub picture: ScoreBySide,
    /// Of a face in a film that was not there before; it is covered once seen a second time. Higher than a picture's: what is
    /// followed is covered in frames with lower scores too, and a false alarm for seconds.
    pub start: ScoreBySide,
    /// Share of these scores that is enough for a face that goes on.
    pub go_on: f32,
    /// Score of a face that is covered although seen only once.
    pub sure: f32,
}

impl Default for Scores {
    /// Chosen by leaks on wider/val and on the clips in `assets/` (`facecascade eval --redaction`).
    fn default() -> Self {
        let picture = ScoreBySide([0.23, 0.15, 0.07, 0.05]);
        Self { picture, start: ScoreBySide([0.25, 0.2, 0.2, 0.2]), go_on: 0.25, sure: 0.5 }
    }
}

impl Scores {
    /// The same score for all.
    pub fn all(score: f32) -> Self {
        Self { picture: ScoreBySide::all(score), start: ScoreBySide::all(score), go_on: 1.0, sure: score.max(0.5) }
    }

    /// How a tracker follows faces to cover them.
    pub fn following(&self) -> Following {
        Following::to_cover(self.start, self.go_on)
    }

    /// Whether a face that is followed is covered at once, without waiting for what comes: live.
    pub fn covers(&self, tracked: &Tracked) -> bool {
        tracked.shown || tracked.face.score >= self.sure
    }

    /// The lowest score that is of use.
    pub fn lowest(&self) -> f32 {
        self.picture.lowest().min(self.start.lowest() * self.go_on)
    }
}

/// The side of the smallest face looked for in frames or pictures of `height` pixels, to cover faces, pixels: 1/50 of the height, or
/// up to a sixth less, since it is 12 times a whole power of the fourth root of 2: few cascades then serve pictures of any size.
pub fn smallest_face(height: u32) -> f32 {
    let side = (height as f32 / 50.0).max(SMALLEST_FACE);
    SMALLEST_FACE * 2f32.powf(((side / SMALLEST_FACE).log2() * 4.0).floor() / 4.0)
}

/// A frame for which all is known.
#[derive(Debug)]
pub struct Known {
    /// When it is shown, seconds from the start.
    pub seconds: f64,
    /// The picture.
    pub picture: RgbImage,
    /// What is to be covered; all are marked as shown.
    pub faces: Vec<Tracked>,
}

#[derive(Debug)]
struct Held {
    seconds: f64,
    picture: RgbImage,
    faces: Vec<Tracked>,
    /// Faces of any score that the search found.
    found: Vec<Face>,
    /// Whether a new scene begins here.
    cut: bool,
}

impl Held {
    fn face(&self, id: u64) -> Option<&Tracked> {
        self.faces.iter().find(|t| t.id == id)
    }

    fn has_seen(&self, id: u64) -> bool {
        self.face(id).is_some_and(|t| matches!(t.basis, Basis::Seen(_)))
    }

    /// Covers `rect` too.
    fn add(&mut self, id: u64, face: &Face, rect: Rect, basis: Basis) {
        match self.faces.iter_mut().find(|t| t.id == id) {
            Some(there) => there.face.rect = both(&there.face.rect, &rect),
            None => self.faces.push(Tracked { id, face: Face { rect, ..*face }, smiling: None, basis, shown: false }),
        }
    }
}

/// What is known of a face over all its frames.
#[derive(Debug, Clone)]
struct Life {
    last_seen: f64,
    sure: bool,
    anchor: Anchor,
}

/// How a face looked when it was last seen to move, and where it was then. It serves while the face stays there: at high frame
/// rates a face moves by less than a step of the search from frame to frame, which would add up unseen; and before a fade the
/// face was brighter.
#[derive(Debug, Clone, Default)]
struct Anchor(Option<(Patch, Rect)>);

impl Anchor {
    /// Where the face that is at `rect` in one frame is in the `next`, the correlation there, and whether there is nothing to
    /// compare.
    fn locate(&mut self, frame: &RgbImage, next: &RgbImage, rect: &Rect) -> (Rect, f32, bool) {
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

/// Takes frames with what was found in them, and gives them back once it is known what to cover.
#[derive(Debug)]
pub struct Coverage {
    scores: Scores,
    tracker: Tracker,
    held: VecDeque<Held>,
    bytes: usize,
    most_bytes: usize,
    lives: HashMap<u64, Life>,
    scene: Option<Scene>,
    ended: bool,
}

impl Coverage {
    /// Covers faces from `scores` on. What is searched with should find faces from `scores.lowest()` on.
    pub fn new(scores: Scores) -> Self {
        Self {
            scores,
            tracker: Tracker::new(scores.following()),
            held: VecDeque::new(),
            bytes: 0,
            most_bytes: WINDOW_BYTES,
            lives: HashMap::new(),
            scene: None,
            ended: false,
        }
    }

    /// Lets pictures of `most_bytes` wait instead of [`WINDOW_BYTES`]: less where the caller keeps frames beside.
    pub fn holding(mut self, most_bytes: usize) -> Self {
        self.most_bytes = most_bytes;
        self
    }

    /// Takes the next frame, shown `seconds` after the start, and the faces found in it. [`Self::ready`] must be asked
    /// before the next one.
    pub fn push(&mut self, picture: RgbImage, seconds: f64, found: &[Face]) {
        let scene = Scene::of(&picture);
        let cut = self.scene.as_ref().is_some_and(|before| scene.is_cut_from(before));
        self.scene = Some(scene);
        if cut {
            self.end_scene();
        }
        let found: Vec<Face> =
            found.iter().filter(|face| self.scores.start.takes(face, self.scores.go_on)).copied().collect();
        let mut faces = self.tracker.update(&found, seconds);
        if let Some(before) = self.held.back().filter(|_| !cut) {
            follow(before, &picture, seconds, &mut faces, &mut self.lives);
        }
        let apart = self.held.back().is_none_or(|before| seconds - before.seconds > FAR_APART);
        self.bytes += picture.as_raw().len();
        let seen: Vec<Tracked> = faces.iter().filter(|t| matches!(t.basis, Basis::Seen(_))).copied().collect();
        self.held.push_back(Held { seconds, picture, faces, found, cut });
        for now in seen {
            let life =
                self.lives.entry(now.id).or_insert(Life { last_seen: seconds, sure: false, anchor: Anchor::default() });
            life.last_seen = seconds;
            let sure = now.shown || apart || now.face.score >= self.scores.sure;
            let new = sure && !life.sure;
            life.sure |= sure;
            self.bridge(now.id);
            if new {
                self.extend_back(now.id);
            }
        }
    }

    /// The oldest frame, if it waited long enough.
    pub fn ready(&mut self) -> Option<Known> {
        let waited = self.held.back()?.seconds - self.held.front()?.seconds;
        let enough = waited > WINDOW_SECONDS || waited.is_nan() || self.bytes > self.most_bytes;
        if self.held.len() > LEAST_HELD && enough { self.release() } else { None }
    }

    /// After the last frame: the frames that still wait, oldest first, one a call.
    pub fn flush(&mut self) -> Option<Known> {
        if !std::mem::replace(&mut self.ended, true) {
            self.end_scene();
        }
        self.release()
    }

    fn release(&mut self) -> Option<Known> {
        let newest = self.held.back()?.seconds;
        let Held { seconds, picture, mut faces, .. } = self.held.pop_front()?;
        self.bytes -= picture.as_raw().len();
        // Large pictures go before a second sighting can have come.
        let early = !self.ended && newest - seconds < SURE_SECONDS;
        faces.retain(|t| early || self.lives.get(&t.id).is_some_and(|life| life.sure));
        faces.iter_mut().for_each(|t| t.shown = true);
        self.lives
            .retain(|_, life| life.last_seen >= seconds - WINDOW_SECONDS - SURE_SECONDS || life.last_seen.is_nan());
        Some(Known { seconds, picture, faces })
    }

    /// At a cut or the end: a face that was first seen in the last frame had no chance to be seen again.
    fn end_scene(&mut self) {
        self.tracker.forget();
        let Some(last) = self.held.back() else { return };
        let ids: Vec<u64> = last.faces.iter().filter(|t| last.has_seen(t.id)).map(|t| t.id).collect();
        for id in ids {
            if let Some(life) = self.lives.get_mut(&id)
                && !std::mem::replace(&mut life.sure, true)
            {
                self.extend_back(id);
            }
        }
    }

    /// Fills the frames between the last two sightings of a face, the second of which is in the newest frame.
    fn bridge(&mut self, id: u64) {
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
    fn extend_back(&mut self, id: u64) {
        if let Some(first) = self.held.iter().position(|held| held.face(id).is_some()) {
            self.walk_back(first, 0, id);
        }
    }

    /// Follows a face by its appearance from frame `from` back to frame `to`, and covers it there.
    fn walk_back(&mut self, from: usize, to: usize, id: u64) {
        let Some(start) = self.held[from].face(id).copied() else { return };
        let (mut rect, mut seen, mut face) = (start.face.rect, from, start.face);
        let mut anchor = Anchor::default();
        // Where the face was found last, and whether it was followed from there without doubt.
        let (mut found, mut certain) = (rect, true);
        for k in (to..from).rev() {
            if self.held[k + 1].cut {
                break;
            }
            let (place, likeness, flat) = anchor.locate(&self.held[k + 1].picture, &self.held[k].picture, &rect);
            let near =
                seen - k <= GAP_FRAMES as usize || self.held[seen].seconds - self.held[k].seconds <= SURE_SECONDS;
            let here = &self.held[k];
            let weak = here.found.iter().filter(|f| fit(&place, &f.rect).is_some());
            if let Some(weak) = weak.max_by(|a, b| a.score.total_cmp(&b.score)) {
                (rect, seen, face) = (weak.rect, k, *weak);
                (found, certain) = (rect, true);
            } else if likeness >= if near { ALIKE } else { VERY_ALIKE } {
                rect = place;
                certain &= likeness >= VERY_ALIKE;
            } else if !near && !flat {
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
            // A faint face in a dissolve is easily taken for something beside it.
            let covered = if near && !certain { both(&rect, &found) } else { rect };
            self.held[k].add(id, &face, covered, Basis::Guess);
        }
    }
}

/// Moves the faces that were not found in this frame to where their appearance is, and goes on with those that the tracker
/// gave up while they look as before.
fn follow(before: &Held, picture: &RgbImage, seconds: f64, faces: &mut Vec<Tracked>, lives: &mut HashMap<u64, Life>) {
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

/// The box round two.
fn both(a: &Rect, b: &Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = ((a.x + a.w).max(b.x + b.w), (a.y + a.h).max(b.y + b.h));
    Rect::new(x, y, right - x, bottom - y)
}

/// The box between two, `share` of the way.
pub(super) fn between(a: &Rect, b: &Rect, share: f32) -> Rect {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    Rect::new(mix(a.x, b.x), mix(a.y, b.y), mix(a.w, b.w), mix(a.h, b.h))
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
