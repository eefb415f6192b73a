//! Runs a chain of operations row by row: every operation keeps only the rows of its input that its kernel covers, and
//! as soon as the last of them is there it makes one more row for the next. So a map of any size passes through the
//! whole chain inside the second cache, a depthwise row meets its pointwise product while it is in the first, and
//! rings that are as wide as the padding asks make padded copies needless.
//!
//! Small windows lie side by side, so that a row is long enough to fill the kernels' tiles.

use super::buffer::Buffer;
use super::compile::{Op, Work};
use super::row::Row;
use super::sliding::{Pool, patches, pool};
use crate::nets::kernels::Isa;

/// Floats that the rings of windows side by side may fill: a quarter of a megabyte, so that beside the weights they
/// stay in a second cache of one.
const RINGS: usize = 1 << 16;
/// Windows side by side at most.
const ABREAST: usize = 12;

/// Maps that lie behind each other, `[n, h, w, c]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) data: &'a [f32],
    pub(super) n: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
}

/// Where the output goes: maps of which each pixel is `step` floats after the one before; `data` begins at the first
/// channel to write.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) step: usize,
}

/// Buffers of chains.
#[derive(Debug, Default)]
pub(super) struct Streams {
    rings: Vec<Buffer>,
    stages: Vec<Stage>,
    offsets: Vec<usize>,
}

/// An operation at work, and the ring that holds its input.
#[derive(Debug, Clone, Copy)]
struct Stage {
    /// Rows of the input.
    h: usize,
    /// Columns and rows of the output.
    out_w: usize,
    out_h: usize,
    /// Rows in the ring; one more, behind them, is all border.
    slots: usize,
    /// Floats in one window's row, border included.
    item: usize,
    /// Floats in the rows of all windows side by side.
    strip: usize,
    /// Rows of output that were made.
    done: usize,
    /// Rows of input that were put into the ring, if nothing but this stage does it.
    fetched: usize,
}

impl Streams {
    /// Runs `ops` over all maps. The dimensions must fit.
    pub(super) fn run(&mut self, isa: Isa, ops: &[Op], source: Maps, target: &mut Target) {
        let items = self.lay_out(ops, &source);
        let Some(&Stage { out_w, out_h, .. }) = self.stages.last() else { return };
        let (read, written) = (source.h * source.w * source.c, out_h * out_w * target.step);
        for first in (0..source.n).step_by(items) {
            for stage in &mut self.stages {
                (stage.done, stage.fetched) = (0, 0);
            }
            let mut chain = Chain {
                isa,
                ops,
                streams: self,
                items: items.min(source.n - first),
                source: Maps { data: &source.data[first * read..], ..source },
                target: Target { data: &mut target.data[first * written..], step: target.step },
            };
            chain.advance(ops.len() - 1, out_h);
        }
    }

    /// Sizes the rings and writes their borders; returns how many windows lie side by side.
    fn lay_out(&mut self, ops: &[Op], source: &Maps) -> usize {
        self.stages.clear();
        let (mut h, mut w) = (source.h, source.w);
        for op in ops {
            let Some((out_h, out_w)) = op.dims((h, w)) else { unreachable!("the engine checks dimensions first") };
            let item = (w + 2 * op.pad) * op.c;
            self.stages.push(Stage { h, out_w, out_h, slots: op.kernel.0, item, strip: 0, done: 0, fetched: 0 });
            (h, w) = (out_h, out_w);
        }
        let floats: usize = self.stages.iter().map(|s| (s.slots + 1) * s.item).sum();
        let items = (RINGS / floats.max(1)).clamp(1, ABREAST).min(source.n.max(1));
        self.rings.resize_with(self.rings.len().max(ops.len()), Buffer::default);
        for ((op, stage), ring) in ops.iter().zip(&mut self.stages).zip(&mut self.rings) {
            stage.strip = items * stage.item;
            let ring = ring.at_least((stage.slots + 1) * stage.strip);
            if op.pad > 0 {
                let (border, side) = (op.border(), op.pad * op.c);
                let (rows, outside) = ring.split_at_mut(stage.slots * stage.strip);
                outside.fill(border);
                for row in rows.chunks_exact_mut(stage.item) {
                    row[..side].fill(border);
                    row[stage.item - side..].fill(border);
                }
            }
        }
        items
    }
}

struct Chain<'a> {
    isa: Isa,
    ops: &'a [Op],
    streams: &'a mut Streams,
    items: usize,
    source: Maps<'a>,
    target: Target<'a>,
}

impl Chain<'_> {
    /// Makes rows of operation `i` until there are `until`.
    fn advance(&mut self, i: usize, until: usize) {
        let op = &self.ops[i];
        while self.streams.stages[i].done < until {
            let Stage { done, h, .. } = self.streams.stages[i];
            let needed = (done * op.stride + op.kernel.0).saturating_sub(op.pad).min(h);
            if i > 0 {
                self.advance(i - 1, needed);
            } else if op.pad > 0 {
                self.fetch(needed);
            }
            self.row(i, done);
            self.streams.stages[i].done += 1;
        }
    }

    /// Copies rows of the source between the first ring's borders.
    fn fetch(&mut self, until: usize) {
        let stage = &mut self.streams.stages[0];
        let Maps { w, c, .. } = self.source;
        let side = self.ops[0].pad * c;
        let ring = self.streams.rings[0].as_mut_slice();
        // Rows that would be overwritten before anyone read them are left out.
        for y in stage.fetched.max(until.saturating_sub(stage.slots))..until {
            for item in 0..self.items {
                let to = (y % stage.slots) * stage.strip + item * stage.item + side;
                let from = (item * stage.h + y) * w * c;
                ring[to..to + w * c].copy_from_slice(&self.source.data[from..from + w * c]);
            }
        }
        stage.fetched = until.max(stage.fetched);
    }

    /// Row `y` of what operation `i` gives.
    fn row(&mut self, i: usize, y: usize) {
        let op = &self.ops[i];
        let Streams { rings, stages, offsets } = &mut *self.streams;
        let stage = &stages[i];
        let (rings, later) = rings.split_at_mut(i + 1);
        let direct = i == 0 && op.pad == 0;
        let (input, input_item) =
            if direct { (self.source.data, self.source.h * stage.item) } else { (rings[i].as_slice(), stage.item) };
        offsets.clear();
        offsets.extend((y * op.stride..y * op.stride + op.kernel.0).map(|y| match y.checked_sub(op.pad) {
            Some(y) if direct => y * stage.item,
            Some(y) if y < stage.h => y % stage.slots * stage.strip,
            _ => stage.slots * stage.strip,
        }));
        let (output, output_item, output_step) = if let Some(next) = stages.get(i + 1) {
            let at = y % next.slots * next.strip + self.ops[i + 1].pad * op.out;
            (&mut later[0].as_mut_slice()[at..], next.item, op.out)
        } else {
            let step = self.target.step;
            (&mut self.target.data[y * stage.out_w * step..], stage.out_h * stage.out_w * step, step)
        };
        let row = Row {
            input,
            rows: offsets,
            input_item,
            input_step: op.stride * op.c,
            output,
            output_item,
            output_step,
            width: stage.out_w,
            items: self.items,
        };
        apply(self.isa, op, row);
    }
}

/// Computes one row of an operation.
fn apply(isa: Isa, op: &Op, row: Row) {
    match &op.work {
        Work::Linear(weights) => weights.run(row, op.kernel.1 * op.c, op.relu),
        Work::Depthwise(taps) => taps.run(row, op.relu),
        Work::Max => pool(isa, row, Pool::Max, op.kernel.1, op.c, op.relu),
        Work::Mean => pool(isa, row, Pool::Mean, op.kernel.1, op.c, op.relu),
        Work::Patches => patches(row, op.kernel.1 * op.c, op.relu),
    }
}
