//! What a picture has while it is in the cascade, in every phase: what the levels look at, the windows that are left, and
//! memory for the steps.

use super::batch::Batch;
use super::crops::Crop;
use super::nms::NonMaximumSuppression;
use super::{Candidate, LevelCount};
use crate::geometry::Rect;
use crate::nets::windows::{Scratch, WindowNet};
use crate::pyramid::Pyramid;

/// What a picture has in every phase.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) picture: Picture,
    /// The windows that are left.
    pub(super) candidates: Vec<Candidate>,
    /// Windows that the level that runs may not have to look at.
    pub(super) waiting: Vec<Candidate>,
    /// Behind the last level: the smile net's logit of each face that it looked at; empty where smiles are not told.
    pub(super) smiles: Vec<Option<f32>>,
    /// Faces already, by a level that was sure of them.
    pub(super) accepted: Vec<Candidate>,
    /// What the step that ran dropped for its score, where a trace asked for it.
    pub(super) dropped: Option<Vec<Candidate>>,
    /// One for each level that ran, or runs.
    pub(super) counts: Vec<LevelCount>,
    pub(super) buffers: Buffers,
}

/// What the levels look at.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The picture and its halves: what crops are taken from.
    pub(super) halves: Pyramid,
    /// Level 1's pyramid.
    pub(super) levels: Pyramid,
    /// The windows that a GPU found behind the pyramid, as it wrote them; empty if the CPU has to find them.
    pub(super) from_gpu: Vec<u32>,
    /// Where level 1 looks in its first pyramid level; everywhere if `None`.
    pub(super) within: Option<Vec<Rect>>,
}

/// Memory for what a step computes. No step reads what another one left here.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) crops: Batch,
    pub(super) scratch: Scratch,
    /// A part of a pyramid level.
    pub(super) part: Vec<u8>,
    /// The windows of several pictures.
    rows: Vec<WindowIndex>,
    /// Places of the windows that a net let through: its cells, or rows of a batch.
    pub(super) chosen: Vec<usize>,
    /// The windows before the last suppression.
    pub(super) before: Vec<Candidate>,
    pub(super) suppression: NonMaximumSuppression,
    /// The windows that a GPU found.
    #[cfg(feature = "gpu")]
    pub(super) found: Vec<crate::nets::gpu::Found>,
}

impl State {
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
        let Self { candidates, buffers: Buffers { before, suppression, .. }, .. } = self;
        std::mem::swap(candidates, before);
        candidates.clear();
        candidates.extend(suppression.select(before, iou).iter().map(|i| before[*i as usize]));
    }
}

/// Index of a window, in one of several pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowIndex {
    picture: usize,
    window: usize,
}

impl WindowIndex {
    /// Returns the window, in one of `pictures`.
    pub(super) fn of<'a>(&self, pictures: &'a mut [&mut State]) -> &'a mut Candidate {
        &mut pictures[self.picture].candidates[self.window]
    }
}

/// Runs `net` on crops of all windows of all pictures, whose sides are `context` sides of the window, and hands `each` batch over: its
/// windows, and the scratch that holds what came out.
pub(super) fn crop_and_run(
    pictures: &mut [&mut State],
    net: &WindowNet,
    context: f32,
    mut each: impl FnMut(&mut [&mut State], &[WindowIndex], &mut Scratch),
) {
    let Some(first) = pictures.first_mut() else { return };
    // Buffers of the first picture serve all.
    let mut buffers = std::mem::take(&mut first.buffers);
    let Buffers { crops, scratch, rows: all, .. } = &mut buffers;
    all.clear();
    for (picture, state) in pictures.iter().enumerate() {
        all.extend((0..state.candidates.len()).map(|window| WindowIndex { picture, window }));
    }
    for rows in all.chunks(net.batch()) {
        let of_row = |row: &WindowIndex| {
            let state = &pictures[row.picture];
            (&state.picture.halves, crop(&state.candidates[row.window].rect, context))
        };
        crops.run(net, rows.iter().map(of_row), scratch);
        each(pictures, rows, scratch);
    }
    pictures[0].buffers = buffers;
}

/// Where a window's crop lies: nets see squares.
fn crop(rect: &Rect, context: f32) -> Crop {
    let square = rect.to_square();
    let (cx, cy) = square.center();
    Crop::upright(cx, cy, square.w * context)
}
