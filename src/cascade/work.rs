//! What a frame needs while it is in the cascade: its pyramids, its windows, and buffers that are kept for the next one.

use super::crops::{self, Crop};
use super::suppress::Suppressor;
use super::{Candidate, LevelCount};
use crate::geometry::Rect;
use crate::nets::spec::{Net, Output, multiply_adds_of};
use crate::nets::windows::{Scratch, WindowNet};
use crate::pyramid::{Pending, Pyramid};

/// Buffers of one picture on its way through the levels. Everything grows to what the largest picture needed and is then
/// used again.
#[derive(Debug, Default)]
pub struct Work {
    /// The picture and its halves: what crops are taken from.
    pub(super) picture: Pyramid,
    /// The proposer's pyramid.
    pub(super) levels: Pyramid,
    /// The pyramids while a GPU builds them.
    pub(super) pending: Option<Pending>,
    /// The windows of level 1 as a GPU found them; empty if the CPU has to.
    pub(super) behind: Vec<u32>,
    /// The same as a list.
    #[cfg(feature = "gpu")]
    pub(super) found: Vec<crate::nets::gpu::Found>,
    /// Where the proposer looks in its first level; everywhere if `None`.
    pub(super) within: Option<Vec<Rect>>,
    /// A part of a level.
    pub(super) part: Vec<u8>,
    /// The windows that are still in the race.
    pub(super) candidates: Vec<Candidate>,
    /// What the last net's own calibration head said of them, in the same order.
    pub(super) codes: Vec<f32>,
    /// Where each pyramid level's candidates end.
    pub(super) ends: Vec<usize>,
    pub(super) filtered: Vec<Candidate>,
    /// The smile net's logit of each face that is left behind the last level.
    pub(super) smiles: Vec<f32>,
    pub(super) rows: Vec<usize>,
    windows: Vec<Row>,
    /// How many candidates the level that runs has kept so far.
    pub(super) kept: usize,
    pub(super) input: Vec<f32>,
    pub(super) scratch: Scratch,
    pub(super) suppressor: Suppressor,
    /// One for each level that ran.
    pub(super) counts: Vec<LevelCount>,
}

impl Work {
    /// Windows and multiply-adds of each level that ran so far.
    pub fn counts(&self) -> &[LevelCount] {
        &self.counts
    }

    /// Adds to the count of the level that runs.
    pub(super) fn count(&mut self, multiply_adds: u64) {
        if let Some(level) = self.counts.last_mut() {
            level.multiply_adds += multiply_adds;
        }
    }

    /// Notes how many windows the level that ran hands on.
    pub(super) fn passed(&mut self) {
        if let Some(level) = self.counts.last_mut() {
            level.passed = self.candidates.len();
        }
    }

    /// Leaves the best of windows that overlap by more than `iou`, best first.
    pub(super) fn suppress(&mut self, iou: f32) {
        self.filtered.clear();
        let kept = self.suppressor.select(&self.candidates, iou);
        self.filtered.extend(kept.iter().map(|i| self.candidates[*i as usize]));
        std::mem::swap(&mut self.candidates, &mut self.filtered);
    }
}

/// A window of one of several pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The picture's place among them.
    pub(super) picture: usize,
    /// The window's place among its candidates.
    pub(super) window: usize,
}

/// Runs `net` on crops of all windows of all pictures, and hands `each` batch over: its windows, and the scratch that
/// holds what came out. A picture's list of windows may be changed up to its last one in the batch.
pub(super) fn crop_and_run(
    works: &mut [&mut Work],
    net: &WindowNet,
    mut each: impl FnMut(&mut [&mut Work], &[Row], &mut Scratch),
) {
    let Some(first) = works.first_mut() else { return };
    // Buffers of the first picture serve all.
    let (mut input, mut scratch) = (std::mem::take(&mut first.input), std::mem::take(&mut first.scratch));
    let mut all = std::mem::take(&mut first.windows);
    all.clear();
    for (picture, work) in works.iter().enumerate() {
        all.extend((0..work.candidates.len()).map(|window| Row { picture, window }));
    }
    let side = net.net().side;
    for rows in all.chunks(net.batch()) {
        input.resize(rows.len() * side * side * 3, 0.0);
        for (row, out) in rows.iter().zip(input.chunks_exact_mut(side * side * 3)) {
            let work = &works[row.picture];
            crops::sample(&work.picture, 0, &placement(&work.candidates[row.window].rect), side, out);
        }
        net.run(&input, rows.len(), &mut scratch);
        each(works, rows, &mut scratch);
    }
    let first = &mut works[0];
    (first.input, first.scratch, first.windows) = (input, scratch, all);
}

/// Where the window's crop lies: nets see squares.
pub(super) fn placement(rect: &Rect) -> Crop {
    let square = rect.to_square();
    let (cx, cy) = square.center();
    Crop::upright(cx, cy, square.w)
}

/// Multiply-adds of `net` on one window: the trunk.
pub(super) fn trunk_cost(net: &Net) -> u64 {
    multiply_adds_of(&net.trunk, net.window())
}

/// Multiply-adds of one of `net`'s heads on one window.
pub(super) fn head_cost(net: &Net, output: Output) -> u64 {
    let features = net.trunk_dims(net.side, net.side);
    net.head(output).zip(features).map_or(0, |(head, d)| multiply_adds_of(&head.layers, d))
}

/// The face logit of one window: a single number, or face minus background of two.
pub(super) fn face_logit(outputs: &[f32]) -> f32 {
    match outputs {
        [background, face] => face - background,
        [face, ..] => *face,
        [] => f32::NEG_INFINITY,
    }
}
