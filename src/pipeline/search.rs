//! Decides how much of each live frame is searched. While faces are followed: near small faces in every frame, one strip
//! of the picture in turns, and everywhere once a second. While nobody is there: everywhere, but seldom. Searching never
//! uses more than its share of a core. Files are always searched everywhere.

use std::time::{Duration, Instant};

use crate::geometry::Rect;
use crate::track::Tracked;

/// Number of strips of the picture; one of them is searched in each frame, in turns.
const STRIPS: usize = 4;
/// While faces are followed, the whole picture is searched at least this often.
const EVERYWHERE: Duration = Duration::from_secs(1);
/// After this time without a face, nobody is there.
const NOBODY: Duration = Duration::from_secs(2);
/// Time between searches while nobody is there. A face that comes is found at most 150 ms later.
const SELDOM: Duration = Duration::from_millis(150);
/// A face is searched within its box, enlarged on each side by this share of its width.
const NEAR: f32 = 0.6;
/// Size of the token bucket, seconds of a core: searching may be this far ahead of its share.
const BUCKET: f64 = 0.2;

/// Limit on the processor time of searches in live frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchBudget {
    /// Share of one core that searching may use, over 0 up to 1; 1 sets no limit.
    pub max_cpu: f64,
}

impl Default for SearchBudget {
    fn default() -> Self {
        Self { max_cpu: 1.0 }
    }
}

/// How much of a frame to search.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scope {
    /// Search the whole picture.
    Everywhere,
    /// Search for small faces only within these regions (pixels), for larger ones everywhere.
    Within(Vec<Rect>),
    /// Do not search; the tracker predicts faces from earlier frames.
    Skip,
}

/// Decides on the scope of each frame, from what was found in the frames before.
#[derive(Debug)]
pub(super) struct Search {
    budget: SearchBudget,
    /// Boxes of the faces that are followed, pixels.
    faces: Vec<Rect>,
    /// When a face was last seen; before the first one, when the first search was.
    last_face: Option<Instant>,
    last_search: Option<Instant>,
    last_everywhere: Option<Instant>,
    /// Size of the last picture, pixels.
    size: (u32, u32),
    /// Strip searched last, from 0.
    strip: usize,
    /// Token bucket that limits processor time: seconds of a core that may be used now; negative if too many were used.
    tokens: f64,
    /// When tokens were last added.
    refilled: Option<Instant>,
}

impl Search {
    pub(super) fn new(budget: SearchBudget) -> Self {
        Self {
            budget,
            faces: Vec::new(),
            last_face: None,
            last_search: None,
            last_everywhere: None,
            size: (0, 0),
            strip: 0,
            tokens: BUCKET,
            refilled: None,
        }
    }

    /// Decides how much to search of a picture of `size` (width, height in pixels); the smallest faces looked for have
    /// sides of `min_face` pixels.
    pub(super) fn scope(&mut self, size: (u32, u32), min_face: f32, now: Instant) -> Scope {
        let share = self.budget.max_cpu;
        if let Some(before) = self.refilled.replace(now) {
            self.tokens = (self.tokens + share * (now - before).as_secs_f64()).min(BUCKET);
        }
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| now.saturating_duration_since(then));
        if share < 1.0 && self.tokens < 0.0 {
            return Scope::Skip;
        }
        let changed = std::mem::replace(&mut self.size, size) != size;
        if self.faces.is_empty() || changed || since(self.last_everywhere) >= EVERYWHERE {
            let nobody = self.faces.is_empty() && self.last_search.is_some() && since(self.last_face) >= NOBODY;
            if nobody && !changed && since(self.last_search) < SELDOM {
                return Scope::Skip;
            }
            // Until a face is seen, the first search counts as one: nobody is there only after two seconds.
            self.last_face.get_or_insert(now);
            self.last_search = Some(now);
            self.last_everywhere = Some(now);
            return Scope::Everywhere;
        }
        self.last_search = Some(now);
        Scope::Within(self.regions(min_face))
    }

    /// Returns the regions to search: near small faces, and the next strip of the picture.
    fn regions(&mut self, min_face: f32) -> Vec<Rect> {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        self.strip = (self.strip + 1) % STRIPS;
        let strip = height / STRIPS as f32;
        // Strips overlap, so that a face on the border of two is whole in one of them.
        let margin = 2.0 * min_face;
        let mut regions = vec![Rect::new(0.0, strip * self.strip as f32 - margin / 2.0, width, strip + margin)];
        // Larger faces are searched everywhere in any case.
        for face in self.faces.iter().filter(|f| f.w < 3.0 * min_face) {
            let grow = NEAR * face.w;
            regions.push(Rect::new(face.x - grow, face.y - grow, face.w + 2.0 * grow, face.h + 2.0 * grow));
        }
        join(&mut regions);
        regions
    }

    /// Notes the faces that are followed after a frame was searched, and the processor time of the search.
    pub(super) fn learn(&mut self, tracked: &[Tracked], cost: Duration, now: Instant) {
        self.tokens -= cost.as_secs_f64();
        self.faces.clear();
        self.faces.extend(tracked.iter().map(|t| t.face.rect));
        if !self.faces.is_empty() {
            self.last_face = Some(now);
        }
    }
}

/// Joins regions of which one covers more than half of the other, so that little is searched twice.
fn join(regions: &mut Vec<Rect>) {
    let mut i = 0;
    while i < regions.len() {
        let a = regions[i];
        let partner = (i + 1..regions.len()).find(|j| a.overlap_of_smaller(&regions[*j]) > 0.5);
        if let Some(j) = partner {
            let b = regions.swap_remove(j);
            let (x, y) = (a.x.min(b.x), a.y.min(b.y));
            let (right, bottom) = ((a.x + a.w).max(b.x + b.w), (a.y + a.h).max(b.y + b.h));
            regions[i] = Rect::new(x, y, right - x, bottom - y);
            i = 0;
        } else {
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Face;
    use crate::track::Basis;

    const SIZE: (u32, u32) = (640, 480);

    fn tracked(x: f32) -> Tracked {
        let rect = Rect::new(x, 200.0, 50.0, 50.0);
        Tracked {
            id: 1,
            face: Face { rect, score: 0.9, smile: None },
            smiling: None,
            basis: Basis::Seen(rect),
            shown: true,
        }
    }

    /// Returns the scopes of the frames of `seconds` at 30 frames a second, where each search costs `cost` milliseconds.
    fn scopes(search: &mut Search, start: Instant, seconds: u64, cost: u64, faces: &[Tracked]) -> Vec<Scope> {
        (0..seconds * 30)
            .map(|i| {
                let now = start + Duration::from_micros(i * 33_333);
                let scope = search.scope(SIZE, 40.0, now);
                if scope != Scope::Skip {
                    search.learn(faces, Duration::from_millis(cost), now);
                }
                scope
            })
            .collect()
    }

    #[test]
    fn while_nobody_is_there_searches_are_seldom_but_regular() {
        let mut search = Search::new(SearchBudget::default());
        let scopes = scopes(&mut search, Instant::now(), 10, 2, &[]);
        assert!(scopes[..58].iter().all(|p| *p == Scope::Everywhere), "every frame at first");
        let late = &scopes[90..];
        let searched = late.iter().filter(|p| **p == Scope::Everywhere).count();
        assert!((late.len() / 6..late.len() / 4).contains(&searched), "{searched} of {}", late.len());
        assert!(late.windows(6).all(|w| w.contains(&Scope::Everywhere)));
    }

    #[test]
    fn with_a_face_every_frame_looks_near_it_and_four_frames_see_all() {
        let mut search = Search::new(SearchBudget::default());
        let scopes = scopes(&mut search, Instant::now(), 4, 2, &[tracked(300.0)]);
        let everywhere = scopes.iter().filter(|p| **p == Scope::Everywhere).count();
        assert!((4..=5).contains(&everywhere), "{everywhere}");
        for four in scopes[1..28].windows(4) {
            let mut seen = vec![false; 480];
            for scope in four {
                let Scope::Within(regions) = scope else { panic!("{scope:?}") };
                let near =
                    regions.iter().any(|r| r.x <= 275.0 && r.x + r.w >= 375.0 && r.y <= 175.0 && r.y + r.h >= 275.0);
                assert!(near, "{regions:?}");
                for r in regions.iter().filter(|r| r.w >= 640.0) {
                    seen[r.y.max(0.0) as usize..((r.y + r.h) as usize).min(480)].fill(true);
                }
            }
            assert!(seen.iter().all(|s| *s));
        }
    }

    #[test]
    fn searching_takes_no_more_than_its_share_of_a_core() {
        for (cost, share) in [(20, 0.1), (5, 0.05), (100, 0.5)] {
            let mut search = Search::new(SearchBudget { max_cpu: share });
            let scopes = scopes(&mut search, Instant::now(), 60, cost, &[tracked(300.0)]);
            let used = scopes.iter().filter(|p| **p != Scope::Skip).count() as f64 * cost as f64 / 60_000.0;
            assert!(used < share * 1.1 + 0.005 && used > share * 0.6, "{used} of {share}");
        }
    }

    #[test]
    fn regions_that_overlap_are_searched_once() {
        let mut list =
            vec![Rect::new(0.0, 0.0, 10.0, 10.0), Rect::new(50.0, 0.0, 10.0, 10.0), Rect::new(2.0, 2.0, 10.0, 10.0)];
        join(&mut list);
        assert_eq!(list, [Rect::new(0.0, 0.0, 12.0, 12.0), Rect::new(50.0, 0.0, 10.0, 10.0)]);
    }
}
