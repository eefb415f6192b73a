//! Where and how often to search, live: near faces that are followed in every frame, the rest in turns, everywhere once a
//! second; seldom while nobody is there; and never more than a share of a core. Files are always searched everywhere.

use std::time::{Duration, Instant};

use crate::geometry::Rect;
use crate::track::Tracked;

/// Strips that the picture is searched in, one a frame, beside what is near faces.
const TURNS: usize = 4;
/// Everywhere at least this often while faces are followed.
const EVERYWHERE: Duration = Duration::from_secs(1);
/// Without a face for this long, nobody is there.
const NOBODY: Duration = Duration::from_secs(2);
/// Time between searches while nobody is there: a face that comes is found 150 ms later at most.
const SELDOM: Duration = Duration::from_millis(150);
/// A face is looked for within its box, grown by this share of its side on each side.
const NEAR: f32 = 0.6;
/// Searching may be this far ahead of its share of a core.
const SAVINGS: f64 = 0.2;

/// How much searching may cost, live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchBudget {
    /// The share of one core that searching may take, over 0..1; 1 sets no limit.
    pub max_cpu: f64,
}

impl Default for SearchBudget {
    fn default() -> Self {
        Self { max_cpu: 1.0 }
    }
}

/// What to do with a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Search the whole picture.
    Everywhere,
    /// The smallest faces only within these regions (pixels), larger ones everywhere.
    Within(Vec<Rect>),
    /// Do not search: faces that are followed go on as they moved.
    Skip,
}

/// What the plan is made from.
#[derive(Debug)]
pub(super) struct Search {
    budget: SearchBudget,
    faces: Vec<Rect>,
    last_face: Option<Instant>,
    last_search: Option<Instant>,
    last_everywhere: Option<Instant>,
    size: (u32, u32),
    turn: usize,
    /// Seconds of a core that may be used now; negative: used too much.
    credit: f64,
    credited: Option<Instant>,
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
            turn: 0,
            credit: SAVINGS,
            credited: None,
        }
    }

    /// What to do with a picture of `size`, whose smallest faces looked for have sides of `min_face` pixels.
    pub(super) fn plan(&mut self, size: (u32, u32), min_face: f32, now: Instant) -> Plan {
        let share = self.budget.max_cpu;
        if let Some(before) = self.credited.replace(now) {
            self.credit = (self.credit + share * (now - before).as_secs_f64()).min(SAVINGS);
        }
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| now.saturating_duration_since(then));
        if share < 1.0 && self.credit < 0.0 {
            return Plan::Skip;
        }
        let changed = std::mem::replace(&mut self.size, size) != size;
        if self.faces.is_empty() || changed || since(self.last_everywhere) >= EVERYWHERE {
            let nobody = self.faces.is_empty() && self.last_search.is_some() && since(self.last_face) >= NOBODY;
            if nobody && !changed && since(self.last_search) < SELDOM {
                return Plan::Skip;
            }
            // Before the first face, the start counts.
            self.last_face.get_or_insert(now);
            self.last_search = Some(now);
            self.last_everywhere = Some(now);
            return Plan::Everywhere;
        }
        self.last_search = Some(now);
        Plan::Within(self.regions(min_face))
    }

    /// Near small faces, and one strip of the picture.
    fn regions(&mut self, min_face: f32) -> Vec<Rect> {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        self.turn = (self.turn + 1) % TURNS;
        let strip = height / TURNS as f32;
        // A face on the border of two strips is whole in one of them.
        let margin = 2.0 * min_face;
        let mut regions = vec![Rect::new(0.0, strip * self.turn as f32 - margin / 2.0, width, strip + margin)];
        // Larger ones are looked for everywhere anyway.
        for face in self.faces.iter().filter(|f| f.w < 3.0 * min_face) {
            let grow = NEAR * face.w;
            regions.push(Rect::new(face.x - grow, face.y - grow, face.w + 2.0 * grow, face.h + 2.0 * grow));
        }
        join(&mut regions);
        regions
    }

    /// What came of a frame that was searched, and what it cost.
    pub(super) fn learn(&mut self, tracked: &[Tracked], cost: Duration, now: Instant) {
        self.credit -= cost.as_secs_f64();
        self.faces.clear();
        self.faces.extend(tracked.iter().map(|t| t.face.rect));
        if !self.faces.is_empty() {
            self.last_face = Some(now);
        }
    }
}

/// Joins regions where they overlap by much, so that nothing is searched twice.
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
        Tracked { id: 1, face: Face { rect, score: 0.9, smile: None }, smiling: None, basis: Basis::Seen(rect), shown: true }
    }

    /// Plans of `seconds` at 30 frames a second, each search costing `cost` milliseconds.
    fn plans(search: &mut Search, start: Instant, seconds: u64, cost: u64, faces: &[Tracked]) -> Vec<Plan> {
        (0..seconds * 30)
            .map(|i| {
                let now = start + Duration::from_micros(i * 33_333);
                let plan = search.plan(SIZE, 40.0, now);
                if plan != Plan::Skip {
                    search.learn(faces, Duration::from_millis(cost), now);
                }
                plan
            })
            .collect()
    }

    #[test]
    fn nobody_there_is_searched_for_seldom_and_never_for_long_not_at_all() {
        let mut search = Search::new(SearchBudget::default());
        let plans = plans(&mut search, Instant::now(), 10, 2, &[]);
        assert!(plans[..58].iter().all(|p| *p == Plan::Everywhere), "at first every frame");
        let late = &plans[90..];
        let searched = late.iter().filter(|p| **p == Plan::Everywhere).count();
        assert!((late.len() / 6..late.len() / 4).contains(&searched), "{searched} of {}", late.len());
        assert!(late.windows(6).all(|w| w.contains(&Plan::Everywhere)));
    }

    #[test]
    fn with_a_face_every_frame_looks_near_it_and_four_frames_see_all() {
        let mut search = Search::new(SearchBudget::default());
        let plans = plans(&mut search, Instant::now(), 4, 2, &[tracked(300.0)]);
        let everywhere = plans.iter().filter(|p| **p == Plan::Everywhere).count();
        assert!((4..=5).contains(&everywhere), "{everywhere}");
        for four in plans[1..28].windows(4) {
            let mut seen = vec![false; 480];
            for plan in four {
                let Plan::Within(regions) = plan else { panic!("{plan:?}") };
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
            let plans = plans(&mut search, Instant::now(), 60, cost, &[tracked(300.0)]);
            let used = plans.iter().filter(|p| **p != Plan::Skip).count() as f64 * cost as f64 / 60_000.0;
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
