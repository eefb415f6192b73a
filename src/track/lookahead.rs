//! Follows faces where frames may wait: what is learnt later is told to the frames before. A face shows from the first
//! frame that it was seen in, a gap is filled between its two ends, and predictions that nothing confirmed are not shown.

use std::collections::VecDeque;

use super::coverage::between;
use super::{Basis, GAP_FRAMES, GAP_SECONDS, Tracked, Tracker};
use crate::geometry::Face;

/// Frames until a face shows.
const TO_SHOW: usize = 3;
/// Frames that are held back: the longest gap, and what it takes until a face shows. More where the longest gap, by time, has
/// more frames …
pub const AHEAD: usize = GAP_FRAMES as usize + TO_SHOW;
/// … but no more than these, so that memory stays within bounds: the longest gap at 360 frames a second.
pub const MOST_AHEAD: usize = 64;
/// Frames before the first sighting in which a face may already have been there: it turned, or came nearer.
const BEFORE: usize = 2;

/// A tracker that is [`AHEAD`] frames ahead of what it gives, or more at over 30 frames a second.
#[derive(Debug, Default)]
pub struct Lookahead {
    tracker: Tracker,
    held: VecDeque<Vec<Tracked>>,
    times: VecDeque<f64>,
}

impl Lookahead {
    /// Takes the faces of the next frame, shown at `time` seconds, and gives what is followed in the oldest frame if nothing
    /// that comes can change it any more.
    pub fn push(&mut self, faces: &[Face], time: f64) -> Option<Vec<Tracked>> {
        let now = self.tracker.update(faces, time);
        for tracked in &now {
            self.tell(tracked);
        }
        self.held.push_back(now);
        self.times.push_back(time);
        let known = self.times.get(TO_SHOW).is_some_and(|then| time - then >= GAP_SECONDS - 1e-3 || time.is_nan());
        if self.held.len() > AHEAD && (known || self.held.len() > MOST_AHEAD) { self.flush() } else { None }
    }

    /// After the last frame: what is followed in the frames held back, oldest first, one a call.
    pub fn flush(&mut self) -> Option<Vec<Tracked>> {
        let mut oldest = self.held.pop_front()?;
        self.times.pop_front();
        for tracked in &mut oldest {
            tracked.shown &= tracked.basis != Basis::Guess;
        }
        Some(oldest)
    }

    /// Changes the frames held back by what the newest one says of a face.
    fn tell(&mut self, now: &Tracked) {
        let place = |frame: &Vec<Tracked>| frame.iter().position(|t| t.id == now.id);
        if let Basis::Seen(_) = now.basis {
            let seen = |frame: &Vec<Tracked>| place(frame).filter(|i| matches!(frame[*i].basis, Basis::Seen(_)));
            match self.held.iter().rposition(|frame| seen(frame).is_some()) {
                Some(last) => {
                    let from = place(&self.held[last]).map_or(now.face.rect, |i| self.held[last][i].face.rect);
                    let steps = (self.held.len() - last) as f32;
                    for (k, frame) in self.held.iter_mut().enumerate().skip(last + 1) {
                        if let Some(i) = place(frame) {
                            frame[i].basis = Basis::Between;
                            frame[i].face.rect = between(&from, &now.face.rect, (k - last) as f32 / steps);
                        }
                    }
                }
                None if self.held.iter().all(|frame| place(frame).is_none()) => {
                    for frame in self.held.iter_mut().rev().take(BEFORE) {
                        frame.push(Tracked { basis: Basis::Guess, shown: false, ..*now });
                    }
                }
                None => {}
            }
        }
        if now.shown {
            for frame in &mut self.held {
                if let Some(i) = place(frame) {
                    frame[i].shown = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    fn follow(found: &[Option<f32>]) -> Vec<Vec<Tracked>> {
        let mut ahead = Lookahead::default();
        let mut all = Vec::new();
        for (i, x) in found.iter().enumerate() {
            let faces: Vec<Face> =
                x.iter().map(|x| Face { rect: Rect::new(*x, 0.0, 50.0, 50.0), score: 0.9, smile: None }).collect();
            all.extend(ahead.push(&faces, i as f64 / 30.0));
            assert_eq!(all.len(), (i + 1).saturating_sub(AHEAD), "frames are held back by no more than needed");
        }
        all.extend(std::iter::from_fn(|| ahead.flush()));
        all
    }

    #[test]
    fn a_face_shows_from_its_first_frame_through_gaps_to_its_last() {
        let mut found = vec![None; 40];
        for i in (5..12).chain(17..20).chain(21..25) {
            found[i] = Some(2.0 * i as f32);
        }
        let all = follow(&found);
        assert_eq!(all.len(), found.len());
        for (i, frame) in all.iter().enumerate() {
            let shown: Vec<_> = frame.iter().filter(|t| t.shown).collect();
            assert_eq!(shown.len(), usize::from((5..25).contains(&i)), "frame {i}: {frame:?}");
            for t in shown {
                assert!(t.id == 1 && (t.face.rect.x - 2.0 * i as f32).abs() < 4.0, "frame {i}: {t:?}");
                assert_eq!(matches!(t.basis, Basis::Seen(_)), found[i].is_some());
            }
        }
        assert!(all[3..5].iter().chain(&all[25..30]).all(|f| f[0].basis == Basis::Guess && !f[0].shown));
    }

    #[test]
    fn what_was_seen_once_is_never_shown_but_stays_in_the_list() {
        let mut found = vec![None; 20];
        found[10] = Some(0.0);
        let all = follow(&found);
        assert!(all.iter().flatten().all(|t| !t.shown));
        assert!(matches!(all[10][0].basis, Basis::Seen(_)));
    }
}
