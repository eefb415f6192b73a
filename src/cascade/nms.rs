//! Non-maximum suppression of thousands of windows: a window is compared only with better ones near by and of about its
//! size.

use super::Candidate;

/// Number of windows up to which a plain loop is faster than the grid.
const FEW: usize = 48;
/// IoU below which boxes of very different sizes may meet, so that the grid is no help.
const LEAST_IOU: f32 = 0.1;
const OCTAVES: i32 = 24;
const NONE: u32 = u32::MAX;

/// Non-maximum suppression, with buffers that are kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct NonMaximumSuppression {
    order: Vec<u32>,
    kept: Vec<u32>,
    /// Hash of a grid cell → the window last put there, and from each window to the one put there before it.
    heads: Vec<u32>,
    next: Vec<u32>,
}

impl NonMaximumSuppression {
    /// Selects those of `list` that overlap no better one that stays by more than `iou`. Returns their places, best first
    /// (of equals, the earlier one).
    pub(super) fn select(&mut self, list: &[Candidate], iou: f32) -> &[u32] {
        self.kept.clear();
        self.order.clear();
        self.order.extend(0..list.len() as u32);
        let score = |i: u32| list[i as usize].score;
        self.order.sort_unstable_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
        if list.len() <= FEW || iou < LEAST_IOU {
            self.kept.extend(&self.order);
            keep_best(&mut self.kept, |better, i| list[*better as usize].rect.iou(&list[*i as usize].rect) > iou);
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

/// Drops from `list`, which is sorted best first, all that `overlap` with a better one that stays.
pub(super) fn keep_best<T: Copy>(list: &mut Vec<T>, overlap: impl Fn(&T, &T) -> bool) {
    let mut kept = 0;
    for i in 0..list.len() {
        let candidate = list[i];
        if !list[..kept].iter().any(|better| overlap(better, &candidate)) {
            list[kept] = candidate;
            kept += 1;
        }
    }
    list.truncate(kept);
}

/// The octave o of boxes whose longer side is in 2^o..2^(o+1).
fn octave(side: f32) -> i32 {
    // The exponent of a float of 1 or more.
    (((side.max(1.0).to_bits() >> 23) as i32) - 127).clamp(0, OCTAVES - 1)
}

/// Side of the grid's cells for boxes of octave `o`: not less than the longer side of any of them.
fn cell_side(o: i32) -> f32 {
    (1u32 << (o + 1)) as f32
}

/// The greatest whole number not over v / cell; `floor` is a call where SSE4.1 may be missing.
#[inline(always)]
fn index(v: f32, cell: f32) -> i32 {
    let quotient = v / cell;
    let towards_zero = quotient as i32;
    towards_zero.saturating_sub(i32::from(quotient < towards_zero as f32))
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
    use crate::geometry::Rect;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    fn selected(list: &[Candidate], iou: f32) -> Vec<Candidate> {
        let mut suppression = NonMaximumSuppression::default();
        suppression.select(list, iou).iter().map(|i| list[*i as usize]).collect()
    }

    fn rects() -> impl Strategy<Value = Rect> {
        (-50f32..50.0, -50f32..50.0, 1f32..60.0, 1f32..60.0).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
    }

    proptest! {
        #[test]
        fn what_suppression_keeps_does_not_overlap_and_what_it_drops_does(
            list in prop::collection::vec((rects(), 0f32..1.0), 0..90),
        ) {
            let all: Vec<Candidate> = list.into_iter().map(|(rect, score)| Candidate::found(rect, score)).collect();
            let kept = selected(&all, 0.4);
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[..i] { prop_assert!(a.rect.iou(&b.rect) <= 0.4); }
            }
            for w in &all {
                prop_assert!(kept.contains(w) || kept.iter().any(|k| k.score >= w.score && k.rect.iou(&w.rect) > 0.4));
            }
        }
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
                    Candidate::found(Rect::new(x, y, side, side * ratio), score)
                })
                .collect();
            let iou = [0.0, 0.1, 0.4, 0.5, 0.7, 1.0][round % 6];
            let mut expected = list.clone();
            expected.sort_by(|a, b| b.score.total_cmp(&a.score));
            keep_best(&mut expected, |a, b| a.rect.iou(&b.rect) > iou);
            assert_eq!(selected(&list, iou), expected, "round {round}");
        }
    }
}
