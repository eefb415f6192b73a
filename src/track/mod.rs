//! Follows faces from frame to frame: stable ids, boxes that neither jitter nor lag (`motion`), gaps bridged. Where frames
//! may wait a little, as in a file, faces are followed in both directions ([`lookahead`]), and to cover them with a second
//! look at frames in which they were not found ([`coverage`]).

use crate::geometry::{Face, Rect};
use crate::smile::SmileTrack;

mod appearance;
pub mod coverage;
pub mod lookahead;
mod motion;
mod scene;

use motion::Motion;

/// Overlap (IoU) from which two boxes of one frame, or of a face followed, are of the same face.
const SAME_FACE: f32 = 0.45;
/// Frames that a face may be unseen for before it is given up, at any rate …
pub const GAP_FRAMES: u32 = 5;
/// … and seconds: the longer of the two counts. Five frames at 30 a second.
pub const GAP_SECONDS: f64 = 1.0 / 6.0;
/// Seconds that a face may be unseen for where frames between were not searched.
const UNSEARCHED_SECONDS: f64 = 0.8;
/// A face and a prediction belong together from this IoU on …
const LEAST_IOU: f32 = 0.2;
/// … or where their centres are nearer than this, in sides of the box, and their sizes alike.
const NEAR: f32 = 0.7;
const ALIKE: f32 = 1.7;

/// Where a box comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// The search found this in the frame; the box is its smoothed version.
    Seen(Rect),
    /// Not seen in this frame, but in one before and one after it: in between. Only [`lookahead`] knows.
    Between,
    /// Not seen in this frame: where its motion, or its next sighting, says it may be.
    Guess,
}

/// A face that is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Its number, from 1; never given twice.
    pub id: u64,
    /// Where it is, smoothed, and its smile, smoothed as well; the score is that of the last frame that it was seen in.
    pub face: Face,
    /// Whether it smiles, without flicker; `None` where smiles are not told.
    pub smiling: Option<bool>,
    /// What the box is based on.
    pub basis: Basis,
    /// Whether to show it: it was seen in two of three frames.
    pub shown: bool,
}

/// Least scores (0..1) by the longer side of a face's box, pixels: the smaller a face, the more other things look like it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreBySide(pub [f32; 4]);

impl ScoreBySide {
    /// Sides, pixels, from which the second, third and fourth score count.
    pub const SIDES: [f32; 3] = [20.0, 40.0, 80.0];

    /// The same score for all sides.
    pub const fn all(score: f32) -> Self {
        Self([score; 4])
    }

    /// Whether `face` has at least the score of its side, times `share`.
    pub fn takes(&self, face: &Face, share: f32) -> bool {
        let side = face.rect.w.max(face.rect.h);
        let class = Self::SIDES.iter().filter(|least| side >= **least).count();
        face.score >= self.0[class] * share
    }

    /// The lowest of all.
    pub fn lowest(&self) -> f32 {
        self.0.iter().copied().fold(1.0, f32::min)
    }
}

/// How faces are followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Following {
    /// A face is given up when unseen for more than [`GAP_FRAMES`] frames and more than so many seconds.
    pub gap_seconds: f64,
    /// Faces with a lower score (0..1) begin no track; they only go on with one.
    pub start: ScoreBySide,
    /// Share of these scores that is enough to go on with a track.
    pub go_on: f32,
    /// Whether every track has the whole gap to be seen again, also one that was seen in a single frame, and frames that are
    /// not searched end none: for covers, where a face that is lost is worse than one too many.
    pub keep: bool,
}

impl Default for Following {
    /// For boxes that are shown.
    fn default() -> Self {
        Self { gap_seconds: GAP_SECONDS, start: ScoreBySide::all(0.0), go_on: 0.0, keep: false }
    }
}

impl Following {
    /// For covers: a face stays covered for a second after it was last seen.
    pub const fn to_cover(start: ScoreBySide, go_on: f32) -> Self {
        Self { gap_seconds: 1.0, start, go_on, keep: true }
    }
}

/// A face on its way.
#[derive(Debug)]
struct Track {
    id: u64,
    motion: Motion,
    face: Face,
    smile: Option<SmileTrack>,
    /// Whether it was seen in the last frames; the last one is the lowest bit.
    history: u8,
    shown: bool,
    /// Searched frames since the last sighting.
    unseen: u32,
    /// Whether frames since the last sighting were not searched.
    unsearched: bool,
    last_seen: f64,
}

/// The faces that are not another guess at a better one.
fn one_of_each(faces: &[Face]) -> Vec<Face> {
    let better = |a: &Face, b: &Face| a.score > b.score && a.rect.iou(&b.rect) >= SAME_FACE;
    faces.iter().filter(|face| !faces.iter().any(|other| better(other, face))).copied().collect()
}

/// Follows faces; each frame is told to it once, in order.
#[derive(Debug, Default)]
pub struct Tracker {
    following: Following,
    tracks: Vec<Track>,
    ids: u64,
    time: f64,
}

impl Tracker {
    /// A tracker that follows as `following` says.
    pub fn new(following: Following) -> Self {
        Self { following, ..Self::default() }
    }

    /// Gives up all faces: the picture has changed.
    pub fn forget(&mut self) {
        self.tracks.clear();
    }

    /// Takes the faces of the next frame, `time` seconds from the start, and gives all that are followed, oldest first.
    /// Of two faces that overlap as much as two guesses at one do, only the better one counts.
    pub fn update(&mut self, faces: &[Face], time: f64) -> Vec<Tracked> {
        let faces = &one_of_each(faces);
        self.advance(time);
        let partner = self.assign(faces);
        let mut basis = vec![Basis::Guess; self.tracks.len()];
        for (i, track) in self.tracks.iter_mut().enumerate() {
            track.history <<= 1;
            track.unseen += 1;
            if let Some(face) = partner.iter().position(|p| *p == Some(i)).map(|f| &faces[f]) {
                track.see(face, time, &self.following);
                basis[i] = Basis::Seen(face.rect);
            }
        }
        let start = self.following.start;
        for (face, _) in
            faces.iter().zip(&partner).filter(|(face, partner)| partner.is_none() && start.takes(face, 1.0))
        {
            self.ids += 1;
            self.tracks.push(Track::new(self.ids, face, time));
            basis.push(Basis::Seen(face.rect));
        }
        let mut basis = basis.into_iter();
        let following = self.following;
        let mut all = Vec::with_capacity(self.tracks.len());
        self.tracks.retain(|track| {
            let basis = basis.next().unwrap_or(Basis::Guess);
            let lost = track.is_lost(time, &following);
            if !lost {
                all.push(track.told(basis));
            }
            !lost
        });
        all
    }

    /// A frame that was not searched: gives where the faces should be.
    pub fn skip(&mut self, time: f64) -> Vec<Tracked> {
        self.advance(time);
        self.tracks.iter_mut().for_each(|t| t.unsearched = true);
        let following = self.following;
        self.tracks.retain(|t| !t.is_lost(time, &following));
        self.tracks.iter().map(|t| t.told(Basis::Guess)).collect()
    }

    /// Moves all faces to `time`.
    fn advance(&mut self, time: f64) {
        // Times of pictures and of broken files may stand still.
        let step = if time > self.time { time - self.time } else { 1.0 / 30.0 };
        self.time = time;
        for track in &mut self.tracks {
            track.face.rect = track.motion.predict(step.min(1.0) as f32, track.unseen > 0);
        }
    }

    /// For each face the track that it belongs to: the best pairs by score × overlap first.
    fn assign(&self, faces: &[Face]) -> Vec<Option<usize>> {
        let mut pairs = Vec::new();
        let Following { start, go_on, .. } = self.following;
        for (f, face) in faces.iter().enumerate().filter(|(_, face)| start.takes(face, go_on)) {
            for (t, track) in self.tracks.iter().enumerate() {
                if let Some(fit) = fit(&track.face.rect, &face.rect) {
                    pairs.push((fit * face.score.max(0.05), f, t));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut partner = vec![None; faces.len()];
        for (_, f, t) in pairs {
            if partner[f].is_none() && !partner.contains(&Some(t)) {
                partner[f] = Some(t);
            }
        }
        partner
    }
}

impl Track {
    fn new(id: u64, face: &Face, time: f64) -> Self {
        let motion = Motion::new(&face.rect);
        let smile = face.smile.map(|smile| SmileTrack::new(smile, time));
        Self { id, motion, face: *face, smile, history: 1, shown: false, unseen: 0, unsearched: false, last_seen: time }
    }

    /// Notes a sighting. The track shows once it was seen in two of three frames; if all are kept, once it was seen a second
    /// time by a score that could start it.
    fn see(&mut self, face: &Face, time: f64, following: &Following) {
        let rect = self.motion.correct(&face.rect);
        if let Some(smile) = face.smile {
            match &mut self.smile {
                Some(track) => track.see(smile, time),
                None => self.smile = Some(SmileTrack::new(smile, time)),
            }
        }
        let smile = self.smile.map(|smile| smile.probability());
        self.face = Face { rect, smile, ..*face };
        self.history |= 1;
        let again = following.keep && following.start.takes(face, 1.0);
        self.shown |= again || (self.history & 0b111).count_ones() >= 2;
        self.unseen = 0;
        self.unsearched = false;
        self.last_seen = time;
    }

    /// What is told of it.
    fn told(&self, basis: Basis) -> Tracked {
        let smiling = self.smile.map(|smile| smile.is_smiling());
        Tracked { id: self.id, face: self.face, smiling, basis, shown: self.shown }
    }

    /// Whether the face is given up. A track that was never shown has two frames to be seen again, unless all are kept.
    fn is_lost(&self, time: f64, following: &Following) -> bool {
        let seconds = time - self.last_seen;
        let (frames, most) = if self.shown || following.keep { (GAP_FRAMES, following.gap_seconds) } else { (1, 0.0) };
        let unsearched = self.unsearched && !following.keep && seconds > UNSEARCHED_SECONDS;
        (self.unseen > frames && seconds > most) || unsearched
    }
}

/// How well a face found fits where one should be, over 0..1; `None` if it does not.
fn fit(expected: &Rect, found: &Rect) -> Option<f32> {
    let iou = expected.iou(found);
    if iou >= LEAST_IOU {
        return Some(iou);
    }
    // A quick movement: no overlap, but no other face near either, or that one fits better.
    let side = expected.w.max(found.w);
    let ((ax, ay), (bx, by)) = (expected.center(), found.center());
    let distance = (ax - bx).hypot(ay - by) / side;
    let alike = expected.w.max(found.w) / expected.w.min(found.w).max(1e-3) < ALIKE;
    (distance < NEAR && alike).then_some(LEAST_IOU * (1.0 - distance))
}

#[cfg(test)]
mod tests;
