//! Non-maximum suppression of thousands of windows: the same answer as a plain loop over all pairs, but a
//! window is compared only with better ones near by and of about its size.

use super::Candidate;

/// Windows below which a plain loop is faster than the grid.
const FEW: usize = 48;
/// IoU below which boxes of very different sizes may meet, so that the grid is no help.
const LEAST_IOU: f32 = 0.1;
const OCTAVES: i32 = 24;
const NONE: u32 = u32::MAX;

/// Buffers, kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Suppressor {
    order: Vec<u32>,
    kept: Vec<u32>,
    /// Hash of a grid cell → the window last put there, and from each window to the one put there before it.
    heads: Vec<u32>,
    next: Vec<u32>,
}

impl Suppressor {
    /// Which of `list` stay, best first (ties: the earlier one): those that overlap no better one that stays by more than
    /// `iou`.
    pub(super) fn select(&mut self, list: &[Candidate], iou: f32) -> &[u32] {
        self.kept.clear();
        self.order.clear();
        self.order.extend(0..list.len() as u32);
        let score = |i: u32| list[i as usize].score;
        self.order.sort_unstable_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
        if list.len() <= FEW || iou < LEAST_IOU {
            for &i in &self.order {
                let rect = &list[i as usize].rect;
                if !self.kept.iter().any(|k| list[*k as usize].rect.iou(rect) > iou) {
                    self.kept.push(i);
                }
            }
        } else {
            self.select_by_grid(list, iou);
        }
        &self.kept
    }

    fn select_by_grid(&mut self, list: &[Candidate], iou: f32) {
        let size = (list.len() * 2).next_power_of_two();
        self.heads.clear();
        self.heads.resize(size, NONE);
        self.next.clear();
        self.next.resize(list.len(), NONE);
        // The IoU of two boxes is at most the ratio of their widths, and of their heights.
        let reach = (-iou.log2()).ceil() as i32;
        'windows: for &i in &self.order {
            let rect = &list[i as usize].rect;
            let own = octave(rect.w.max(rect.h));
            for o in (own - reach).max(0)..=(own + reach).min(OCTAVES - 1) {
                // Boxes that meet have their centres within half of both sides.
                let cell = cell_side(o);
                let (cx, cy) = rect.center();
                let (far_x, far_y) = ((rect.w + cell) / 2.0, (rect.h + cell) / 2.0);
                for y in index(cy - far_y, cell)..=index(cy + far_y, cell) {
                    for x in index(cx - far_x, cell)..=index(cx + far_x, cell) {
                        let mut k = self.heads[hash(o, x, y) & (size - 1)];
                        while k != NONE {
                            if list[k as usize].rect.iou(rect) > iou {
                                continue 'windows;
                            }
                            k = self.next[k as usize];
                        }
                    }
                }
            }
            self.kept.push(i);
            let (cx, cy) = rect.center();
            let head = &mut self.heads[hash(own, index(cx, cell_side(own)), index(cy, cell_side(own))) & (size - 1)];
            self.next[i as usize] = std::mem::replace(head, i);
        }
    }
}

/// Boxes whose longer side is in 2^o..2^(o+1).
fn octave(side: f32) -> i32 {
    (side.max(1.0).log2() as i32).clamp(0, OCTAVES - 1)
}

/// Not less than the longer side of any box of octave `o`.
fn cell_side(o: i32) -> f32 {
    (1u32 << (o + 1)) as f32
}

fn index(v: f32, cell: f32) -> i32 {
    (v / cell).floor() as i32
}

fn hash(o: i32, x: i32, y: i32) -> usize {
    let h = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ (o as u32).wrapping_mul(0xC2B2_AE3D);
    (h ^ (h >> 15)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Rect, Window};
    use rand::{Rng, SeedableRng};

    /// The plain loop: best first (ties: the earlier one), a window is dropped if it overlaps a better one that was kept.
    fn plain_loop(windows: &mut Vec<Window>, iou: f32) {
        windows.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Window> = Vec::new();
        for window in windows.drain(..) {
            if kept.iter().all(|better| better.rect.iou(&window.rect) <= iou) {
                kept.push(window);
            }
        }
        *windows = kept;
    }

    #[test]
    fn the_grid_selects_what_the_plain_loop_selects() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        for round in 0..300 {
            let n = rng.random_range(0..500);
            let list: Vec<Candidate> = (0..n)
                .map(|_| {
                    let side = 2f32.powf(rng.random_range(-2.0..9.0));
                    let ratio = rng.random_range(0.5f32..2.0);
                    let (x, y) = (rng.random_range(-100.0..400.0), rng.random_range(-100.0..300.0));
                    // Coarse scores, so that there are ties.
                    let score = (rng.random_range(-5.0f32..5.0) * 4.0).round();
                    Candidate { rect: Rect::new(x, y, side, side * ratio), score, ..Default::default() }
                })
                .collect();
            let iou = [0.0, 0.1, 0.4, 0.5, 0.7, 1.0][round % 6];
            let mut expected: Vec<Window> = list.iter().map(|c| Window { rect: c.rect, score: c.score }).collect();
            let all = expected.clone();
            plain_loop(&mut expected, iou);
            let better = |kept: &Window, w: &Window| kept.score >= w.score && kept.rect.iou(&w.rect) > iou;
            assert!(all.iter().all(|w| expected.contains(w) || expected.iter().any(|kept| better(kept, w))));
            let mut suppressor = Suppressor::default();
            let kept: Vec<Window> = (suppressor.select(&list, iou).iter())
                .map(|i| Window { rect: list[*i as usize].rect, score: list[*i as usize].score })
                .collect();
            assert_eq!(kept, expected, "round {round}");
        }
    }
}
