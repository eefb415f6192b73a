//! Runs a chain of operations row by row, as the engine for floats does (`nets/cpu/stream.rs` tells why): every operation keeps
//! only the rows of its input that its kernel covers. Here a depthwise convolution's ring keeps its rows side by side, in groups of four
//! bytes, and whoever makes a row writes it there in its place.

use super::kernels::{Isa, Output, Row, SLOTS, add_doubled, insert, nearest};
use super::prepare::{Kernel, Prepared, PreparedSum, floor_of_reals};
use crate::nets::kernels::aligned::Aligned;

/// An operation with its kernel.
pub(super) type Op = crate::nets::lower::Op<Prepared>;

/// Bytes that the rings of windows side by side may fill.
const RINGS: usize = 1 << 18;
/// Windows side by side at most: eight rows of three pixels, the smallest map of the shipped nets, are two whole tiles.
const ABREAST: usize = 8;
/// Bytes that a kernel may read behind a row's last pixel.
const BEHIND: usize = 64;

/// The values of a map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    Bytes(&'a [u8]),
    /// A normalised picture, (v − 127.5) / 128, which becomes the nearest bytes as its rows are read.
    Floats(&'a [f32]),
    /// A map and a coarser one, which are added as their rows are read.
    Sum(Sum<'a>),
}

/// A map and one of half its size, which counts at twice its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum<'a> {
    pub(super) fine: &'a [u8],
    pub(super) coarse: &'a [u8],
    /// Rows and bytes in a row of the coarser map.
    pub(super) coarse_rows: (usize, usize),
    pub(super) by: &'a PreparedSum,
}

impl<'a> Data<'a> {
    /// From map `first` on, of maps of `len` values.
    fn from(self, first: usize, len: usize) -> Self {
        match self {
            Self::Floats(data) => Self::Floats(&data[first * len..]),
            Self::Bytes(data) => Self::Bytes(&data[first * len..]),
            Self::Sum(sum) => {
                let (h, row) = sum.coarse_rows;
                Self::Sum(Sum { fine: &sum.fine[first * len..], coarse: &sum.coarse[first * h * row..], ..sum })
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
    /// Values in a pixel: channels, filled up to whole vectors but for a picture.
    pub(super) c: usize,
}

/// Where the output goes: maps of which each pixel is `step` values after the one before; `data` begins at the first
/// channel to write.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) data: Values<'a>,
    pub(super) step: usize,
}

/// Values to write.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Bytes(&'a mut [u8]),
    Reals(&'a mut [f32]),
}

impl Values<'_> {
    /// From `start` on, as a kernel writes them; real numbers are not less than `floor`.
    pub(super) fn output(&mut self, start: usize, floor: f32) -> Output<'_> {
        match self {
            Self::Bytes(data) => Output::Bytes(&mut data[start..]),
            Self::Reals(data) => Output::Reals(&mut data[start..], floor),
        }
    }

    /// From `start` on.
    pub(super) fn from(&mut self, start: usize) -> Values<'_> {
        match self {
            Self::Bytes(data) => Values::Bytes(&mut data[start..]),
            Self::Reals(data) => Values::Reals(&mut data[start..]),
        }
    }
}

/// Buffers of chains.
#[derive(Debug, Default)]
pub(super) struct Streams {
    rings: Vec<Aligned>,
    states: Vec<State>,
    offsets: Vec<usize>,
    line: Vec<u8>,
}

/// An operation at work, and the ring that holds its input. What is counted in values counts bytes, or groups of four in the ring of
/// a depthwise convolution.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Rows of the input.
    h: usize,
    /// Columns and rows of the output.
    out_w: usize,
    out_h: usize,
    /// Rows in the ring; one more, behind them, is all border. 0 where the rows lie side by side.
    slots: usize,
    /// Values in one window's row, border included.
    item: usize,
    /// Values in the rows of all windows side by side.
    strip: usize,
    /// Rows of output made so far.
    done: usize,
    /// Rows of input copied into the ring so far.
    fetched: usize,
}

impl State {
    /// Bytes of the ring for each window.
    fn bytes(&self) -> usize {
        if self.slots == 0 { self.item * SLOTS } else { (self.slots + 1) * self.item }
    }
}

impl Streams {
    /// Runs `ops` over all maps. The dimensions must fit.
    pub(super) fn run(&mut self, isa: Isa, ops: &[Op], source: Maps, target: &mut Target) {
        let items = self.lay_out(ops, &source);
        let Some(&State { out_w, out_h, .. }) = self.states.last() else { return };
        let (read, written) = (source.h * source.w * source.c, out_h * out_w * target.step);
        let first_op = &ops[0].arrays;
        for first in (0..source.n).step_by(items) {
            for state in &mut self.states {
                (state.done, state.fetched) = (0, 0);
            }
            // Rows of whole vectors can be read where they are; nothing behind them is read.
            let direct =
                ops[0].pad == 0 && !first_op.is_picture() && !first_op.in_quads() && source.c == first_op.input;
            let mut chain = Chain {
                isa,
                ops,
                streams: self,
                items: items.min(source.n - first),
                direct: direct && matches!(source.data, Data::Bytes(_)),
                source: Maps { data: source.data.from(first, read), ..source },
                target: Target { data: target.data.from(first * written), step: target.step },
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
            let item = (w + 2 * op.pad) * op.arrays.input;
            let slots = if op.arrays.in_quads() { 0 } else { op.kernel.0 };
            self.states.push(State { h, out_w, out_h, slots, item, strip: 0, done: 0, fetched: 0 });
            (h, w) = (out_h, out_w);
        }
        let bytes: usize = self.states.iter().map(State::bytes).sum();
        let items = (RINGS / bytes.max(1)).clamp(1, ABREAST).min(source.n.max(1));
        self.rings.resize_with(self.rings.len().max(ops.len()), Aligned::default);
        for ((op, state), ring) in ops.iter().zip(&mut self.states).zip(&mut self.rings) {
            state.strip = items * state.item;
            let ring = ring.at_least((items * state.bytes() + BEHIND).div_ceil(4));
            if op.pad > 0 {
                border(op, state, items, ring);
            }
        }
        items
    }
}

/// Writes the border of an operation's ring: left, right and, where rows do not lie side by side, the row outside.
fn border(op: &Op, state: &State, items: usize, ring: &mut [f32]) {
    let (pattern, side) = (op.arrays.border.as_slice(), op.pad * op.arrays.input);
    let right = state.item - side;
    if state.slots == 0 {
        let quads: &mut [u32] = bytemuck::cast_slice_mut(ring);
        let write = |pixel: &mut [u32]| {
            pixel.iter_mut().zip(pattern).for_each(|(quad, v)| *quad = u32::from_le_bytes([*v; 4]));
        };
        for row in quads[..state.strip].chunks_exact_mut(state.item) {
            row[..side].chunks_exact_mut(pattern.len()).for_each(write);
            row[right..].chunks_exact_mut(pattern.len()).for_each(write);
        }
        return;
    }
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(ring);
    let write = |pixel: &mut [u8]| pixel.copy_from_slice(pattern);
    let (rows, outside) = bytes[..items * state.bytes()].split_at_mut(state.slots * state.strip);
    for row in rows.chunks_exact_mut(state.item) {
        row[..side].chunks_exact_mut(pattern.len()).for_each(write);
        row[right..].chunks_exact_mut(pattern.len()).for_each(write);
    }
    outside.chunks_exact_mut(pattern.len()).for_each(write);
}

struct Chain<'a> {
    isa: Isa,
    ops: &'a [Op],
    streams: &'a mut Streams,
    items: usize,
    source: Maps<'a>,
    /// Whether the first operation reads the source where it is.
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
        let Streams { rings, states, line, .. } = &mut *self.streams;
        let (op, state) = (&self.ops[0], &mut states[0]);
        let Maps { w, c, .. } = self.source;
        let pixel = op.arrays.input;
        let slots = if state.slots == 0 { SLOTS } else { state.slots };
        // Rows that would be overwritten before anyone read them are left out.
        for y in state.fetched.max(until.saturating_sub(slots))..until {
            for item in 0..self.items {
                let from = (item * state.h + y) * w * c;
                let at = item * state.item + op.pad * pixel;
                if let (Data::Bytes(data), true, true) = (self.source.data, pixel == c, state.slots > 0) {
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(rings[0].as_mut_slice());
                    bytes[y % state.slots * state.strip + at..][..w * c].copy_from_slice(&data[from..from + w * c]);
                    continue;
                }
                line.clear();
                match self.source.data {
                    Data::Bytes(data) => line.extend_from_slice(&data[from..from + w * c]),
                    Data::Floats(data) => {
                        line.resize(w * c, 0);
                        nearest(self.isa, &data[from..from + w * c], line);
                    }
                    Data::Sum(Sum {
                        fine,
                        coarse,
                        coarse_rows: (h, row),
                        by: PreparedSum { fine: a, coarse: b, offset },
                    }) => {
                        let coarse = &coarse[(item * h + (y / 2).min(h - 1)) * row..][..row];
                        line.resize(w * c, 0);
                        add_doubled(self.isa, (&fine[from..from + w * c], a), (coarse, b), offset, line);
                    }
                }
                if pixel > c {
                    spread(line, c, pixel);
                }
                if state.slots == 0 {
                    let quads: &mut [u32] = bytemuck::cast_slice_mut(rings[0].as_mut_slice());
                    insert(&mut quads[at..at + w * pixel], ((y + op.pad) % SLOTS) as u32, line);
                } else {
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(rings[0].as_mut_slice());
                    bytes[y % state.slots * state.strip + at..][..w * pixel].copy_from_slice(line);
                }
            }
        }
        state.fetched = until.max(state.fetched);
    }

    /// Row `y` of what operation `i` gives.
    fn row(&mut self, i: usize, y: usize) {
        let op = &self.ops[i];
        let Streams { rings, states, offsets, .. } = &mut *self.streams;
        let state = &states[i];
        let (rings, later) = rings.split_at_mut(i + 1);
        let ring = rings[i].as_mut_slice();
        let direct = match self.source.data {
            Data::Bytes(data) if i == 0 && self.direct => Some(data),
            _ => None,
        };
        offsets.clear();
        if state.slots == 0 {
            offsets.push(0);
            outside(op, state, y, bytemuck::cast_slice_mut(ring));
        } else {
            offsets.extend((y * op.stride..y * op.stride + op.kernel.0).map(|y| match y.checked_sub(op.pad) {
                Some(y) if direct.is_some() => y * state.item,
                Some(y) if y < state.h => y % state.slots * state.strip,
                _ => state.slots * state.strip,
            }));
        }
        let (output, output_item, output_step) = if let Some(next) = states.get(i + 1) {
            let (ring, pad, pixel) = (later[0].as_mut_slice(), self.ops[i + 1].pad, op.arrays.output);
            let output = if next.slots == 0 {
                let quads: &mut [u32] = bytemuck::cast_slice_mut(ring);
                Output::Quads(&mut quads[pad * pixel..], ((y + pad) % SLOTS) as u32)
            } else {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(ring);
                Output::Bytes(&mut bytes[y % next.slots * next.strip + pad * pixel..])
            };
            (output, next.item, pixel)
        } else {
            let step = self.target.step;
            let output = self.target.data.output(y * state.out_w * step, floor_of_reals(op.relu));
            (output, state.out_h * state.out_w * step, step)
        };
        let row = Row {
            rows: offsets,
            input_item: if direct.is_some() { self.source.h * state.item } else { state.item },
            input_step: op.stride * op.arrays.input,
            output,
            output_item,
            output_step,
            width: state.out_w,
            items: self.items,
        };
        let input = direct.unwrap_or(bytemuck::cast_slice(ring));
        match &op.arrays.kernel {
            Kernel::Linear(packed) => packed.run(input, row),
            Kernel::Depthwise(taps) => taps.run(bytemuck::cast_slice(ring), row, y * op.stride % SLOTS),
            Kernel::Plain(plain) => {
                let size = (op.kernel.1, op.arrays.input);
                plain.run(self.isa, input, row, size, op.arrays.floor.as_deref());
            }
        }
    }
}

/// Writes the border into the rows under the kernel that lie outside the map, where rows lie side by side.
fn outside(op: &Op, state: &State, y: usize, ring: &mut [u32]) {
    for y in y * op.stride..y * op.stride + op.kernel.0 {
        if y < op.pad || y >= state.h + op.pad {
            for pixel in ring[..state.strip].chunks_exact_mut(op.arrays.input) {
                insert(pixel, (y % SLOTS) as u32, &op.arrays.border);
            }
        }
    }
}

/// Makes pixels of `c` values into pixels of `pixel` values, from the last to the first.
fn spread(line: &mut Vec<u8>, c: usize, pixel: usize) {
    let pixels = line.len() / c;
    line.resize(pixels * pixel, 0);
    for x in (0..pixels).rev() {
        for k in (0..c).rev() {
            line[x * pixel + k] = line[x * c + k];
        }
    }
}
