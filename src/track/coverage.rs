//! Decides which faces are covered in which frames of a file: rather too much than too little.
//!
//! Frames wait for up to [`WINDOW_SECONDS`], so that a face that is found late is covered backwards too. Beside what the search
//! finds at low scores, a second look follows each face by its appearance: backwards from its first sighting, through gaps from
//! both ends, and on after its last. It stops at cuts. In a dissolve, where a face shines through another shot, what looks like
//! it may be something else: there it stays covered where it was seen, too.

use std::collections::{HashMap, VecDeque};

use image::RgbImage;

use super::appearance::Patch;
use super::scene::{Change, Coarse, Shots};
use super::{Basis, Following, GAP_FRAMES, ScoreBySide, Tracked, Tracker};
use crate::geometry::{Face, Rect};

mod walk;

use walk::{Anchor, follow};

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
/// Correlation from which a face is in the same place of two frames that differ otherwise: the camera followed it.
const STAYS: f32 = 0.9;
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
        let picture = ScoreBySide([0.252, 0.236, 0.27, 0.22]);
        Self { picture, start: ScoreBySide([0.34, 0.345, 0.335, 0.27]), go_on: 0.75, sure: 0.5 }
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
    /// Whether a new shot begins here.
    cut: bool,
    coarse: Coarse,
    /// Whether it shows two shots at once.
    mixed: bool,
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
    first_seen: f64,
    last_seen: f64,
    sure: bool,
    anchor: Anchor,
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
    shots: Shots,
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
            shots: Shots::default(),
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
        let (change, coarse) = self.shots.next(&picture);
        let cut = match change {
            Change::None => false,
            Change::Likely => !self.face_stays(&picture),
            Change::Cut => true,
        };
        if cut {
            self.shots.begin();
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
        self.held.push_back(Held { seconds, picture, faces, found, cut, coarse, mixed: false });
        self.find_dissolve();
        for now in seen {
            let life = self.lives.entry(now.id).or_insert(Life {
                first_seen: seconds,
                last_seen: seconds,
                sure: false,
                anchor: Anchor::default(),
            });
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

    /// Whether a face of the newest frame is where it was in `next`.
    fn face_stays(&self, next: &RgbImage) -> bool {
        self.held.back().is_some_and(|before| {
            let sure = |t: &&Tracked| self.lives.get(&t.id).is_some_and(|life| life.sure);
            let mut rects = before.faces.iter().filter(sure).map(|t| t.face.rect);
            rects.any(|rect| Patch::of(&before.picture, &rect).locate(next, &rect).1 >= STAYS)
        })
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
}

/// The box round two.
fn both(a: &Rect, b: &Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = ((a.x + a.w).max(b.x + b.w), (a.y + a.h).max(b.y + b.h));
    Rect::new(x, y, right - x, bottom - y)
}

/// The box with `more` pixels on each side.
fn grown(rect: &Rect, more: f32) -> Rect {
    Rect::new(rect.x - more, rect.y - more, rect.w + 2.0 * more, rect.h + 2.0 * more)
}

/// The box between two, `share` of the way.
pub(super) fn between(a: &Rect, b: &Rect, share: f32) -> Rect {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    Rect::new(mix(a.x, b.x), mix(a.y, b.y), mix(a.w, b.w), mix(a.h, b.h))
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
