//! Runs a chain of operations row by row: every operation keeps only the rows of its input that its kernel covers, and
//! as soon as these are there it makes one more row for the next operation. So a map of any size passes through the
//! whole chain inside the second cache, a depthwise row meets its pointwise product while it is in the first, and
//! rings that are as wide as the padding asks make padded copies needless.
//!
//! Small windows lie side by side, so that a row is long enough to fill the kernels' tiles.

use crate::nets::input::normalise;
use crate::nets::kernels::aligned::Aligned;
use crate::nets::kernels::lanes::{Kernel, Lanes};
use crate::nets::kernels::row::Row;
use crate::nets::kernels::sum::add_doubled;
use crate::nets::kernels::{Isa, RowKernel};

/// An operation with its kernel.
pub(super) type Op = crate::nets::lower::Op<RowKernel>;

/// Floats that the rings of windows side by side may fill: half a megabyte, so that beside the weights they stay in a
/// second cache of one.
const RINGS: usize = 1 << 17;
/// Windows side by side at most: eight rows of three pixels, the smallest map of the shipped nets, are two whole tiles.
const ABREAST: usize = 8;

/// The values of a map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    Floats(&'a [f32]),
    /// A picture, which is normalised, (v − 127.5) / 128, as its rows are read.
    Bytes(&'a [u8]),
    /// A map and a coarser one, which are added as their rows are read.
    Sum(Sum<'a>),
}

/// A map and one of half its size, which counts at twice its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum<'a> {
    pub(super) fine: &'a [f32],
    pub(super) coarse: &'a [f32],
    /// Rows and floats in a row of the coarser map.
    pub(super) coarse_rows: (usize, usize),
}

impl<'a> Data<'a> {
    /// From map `first` on, of maps of `len` values.
    fn from(self, first: usize, len: usize) -> Self {
        match self {
            Self::Floats(data) => Self::Floats(&data[first * len..]),
            Self::Bytes(data) => Self::Bytes(&data[first * len..]),
            Self::Sum(Sum { fine, coarse, coarse_rows: (h, row) }) => {
                Self::Sum(Sum { fine: &fine[first * len..], coarse: &coarse[first * h * row..], coarse_rows: (h, row) })
            }
        }
    }
}

/// Maps that lie behind each other, `[n, h, w, c]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) data: Data<'a>,
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
    rings: Vec<Aligned>,
    states: Vec<State>,
    offsets: Vec<usize>,
}

/// An operation at work, and the ring that holds its input.
#[derive(Debug, Clone, Copy)]
struct State {
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
    /// Rows of output made so far.
    done: usize,
    /// Rows of input copied into the ring so far.
    fetched: usize,
}

impl Streams {
    /// Runs `ops` over all maps. The dimensions must fit.
    pub(super) fn run(&mut self, isa: Isa, ops: &[Op], source: Maps, target: &mut Target) {
        let items = self.lay_out(ops, &source);
        let Some(&State { out_w, out_h, .. }) = self.states.last() else { return };
        let (read, written) = (source.h * source.w * source.c, out_h * out_w * target.step);
        for first in (0..source.n).step_by(items) {
            for state in &mut self.states {
                (state.done, state.fetched) = (0, 0);
            }
            let mut chain = Chain {
                isa,
                ops,
                streams: self,
                items: items.min(source.n - first),
                direct: ops[0].pad == 0 && matches!(source.data, Data::Floats(_)),
                source: Maps { data: source.data.from(first, read), ..source },
                target: Target { data: &mut target.data[first * written..], step: target.step },
            };
            chain.advance(ops.len() - 1, out_h);
        }
    }

    /// Sizes the rings and writes their borders; returns how many windows lie side by side.
    fn lay_out(&mut self, ops: &[Op], source: &Maps) -> usize {
        self.states.clear();
        let (mut h, mut w) = (source.h, source.w);
        for op in ops {
            let Some((out_h, out_w)) = op.dims((h, w)) else { unreachable!("the engine checks dimensions first") };
            let item = (w + 2 * op.pad) * op.input.c;
            self.states.push(State { h, out_w, out_h, slots: op.kernel.0, item, strip: 0, done: 0, fetched: 0 });
            (h, w) = (out_h, out_w);
        }
        let floats: usize = self.states.iter().map(|s| (s.slots + 1) * s.item).sum();
        let items = (RINGS / floats.max(1)).clamp(1, ABREAST).min(source.n.max(1));
        self.rings.resize_with(self.rings.len().max(ops.len()), Aligned::default);
        for ((op, state), ring) in ops.iter().zip(&mut self.states).zip(&mut self.rings) {
            state.strip = items * state.item;
            let ring = ring.at_least((state.slots + 1) * state.strip);
            if op.pad > 0 {
                let (border, side) = (op.border(), op.pad * op.input.c);
                let (rows, outside) = ring.split_at_mut(state.slots * state.strip);
                outside.fill(border);
                for row in rows.chunks_exact_mut(state.item) {
                    row[..side].fill(border);
                    row[state.item - side..].fill(border);
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
    /// Whether the first operation reads the source where it is: floats, and no border.
    direct: bool,
    target: Target<'a>,
}

impl Chain<'_> {
    /// Makes rows of operation `i` until there are `until`.
    fn advance(&mut self, i: usize, until: usize) {
        let op = &self.ops[i];
        while self.streams.states[i].done < until {
            let State { done, h, .. } = self.streams.states[i];
            let needed = (done * op.stride + op.kernel.0).saturating_sub(op.pad).min(h);
            if i > 0 {
                self.advance(i - 1, needed);
            } else if !self.direct {
                self.fetch(needed);
            }
            self.row(i, done);
            self.streams.states[i].done += 1;
        }
    }

    /// Copies rows of the source between the first ring's borders.
    fn fetch(&mut self, until: usize) {
        let state = &mut self.streams.states[0];
        let Maps { w, c, .. } = self.source;
        let side = self.ops[0].pad * c;
        let ring = self.streams.rings[0].as_mut_slice();
        // Rows that would be overwritten before anyone read them are left out.
        for y in state.fetched.max(until.saturating_sub(state.slots))..until {
            for item in 0..self.items {
                let to = (y % state.slots) * state.strip + item * state.item + side;
                let from = (item * state.h + y) * w * c;
                let to = &mut ring[to..to + w * c];
                match self.source.data {
                    Data::Floats(data) => to.copy_from_slice(&data[from..from + w * c]),
                    Data::Bytes(data) => self.isa.run(Normalise { from: &data[from..from + w * c], to }),
                    Data::Sum(Sum { fine, coarse, coarse_rows: (h, row) }) => {
                        let coarse = &coarse[(item * h + (y / 2).min(h - 1)) * row..][..row];
                        add_doubled(self.isa, &fine[from..from + w * c], coarse, c, to);
                    }
                }
            }
        }
        state.fetched = until.max(state.fetched);
    }

    /// Row `y` of what operation `i` gives.
    fn row(&mut self, i: usize, y: usize) {
        let op = &self.ops[i];
        let Streams { rings, states, offsets } = &mut *self.streams;
        let state = &states[i];
        let (rings, later) = rings.split_at_mut(i + 1);
        let (direct, input, input_item) = match self.source.data {
            Data::Floats(data) if i == 0 && self.direct => (true, data, self.source.h * state.item),
            _ => (false, rings[i].as_slice(), state.item),
        };
        offsets.clear();
        offsets.extend((y * op.stride..y * op.stride + op.kernel.0).map(|y| match y.checked_sub(op.pad) {
            Some(y) if direct => y * state.item,
            Some(y) if y < state.h => y % state.slots * state.strip,
            _ => state.slots * state.strip,
        }));
        let (output, output_item, output_step) = if let Some(next) = states.get(i + 1) {
            let at = y % next.slots * next.strip + self.ops[i + 1].pad * op.output.c;
            (&mut later[0].as_mut_slice()[at..], next.item, op.output.c)
        } else {
            let step = self.target.step;
            (&mut self.target.data[y * state.out_w * step..], state.out_h * state.out_w * step, step)
        };
        let row = Row {
            input,
            rows: offsets,
            input_item,
            input_step: op.stride * op.input.c,
            output,
            output_item,
            output_step,
            width: state.out_w,
            items: self.items,
        };
        op.arrays.run(self.isa, row, op.kernel.1 * op.input.c, op.input.c, op.relu);
    }
}

/// Turns a row of bytes into the nets' input, (v − 127.5) / 128.
struct Normalise<'a> {
    from: &'a [u8],
    to: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        self.to.iter_mut().zip(self.from).for_each(|(to, v)| *to = normalise(*v));
    }
}
