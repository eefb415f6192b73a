//! Runs a sequence of operations, as the engine for floats does: chains as streams, fully connected layers over the whole batch at once,
//! and branches one after the other, each into its own channels of the joined map.

use super::kernels::{Isa, Row};
use super::prepare::{Kernel, Prepared, floor_of_reals};
use super::stream::{Data, Maps, Op, Streams, Target, Values};
use crate::nets::kernels::aligned::Aligned;
use crate::nets::lower::{OpKind, Part};

pub(super) type Sequence = crate::nets::lower::Sequence<Prepared>;

/// Buffers of sequences.
#[derive(Debug, Default)]
pub(super) struct Runner {
    streams: Streams,
    offsets: Vec<usize>,
    /// Maps not in use at the moment.
    spare: Vec<Aligned>,
}

/// Operations that are run in one go.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Chain(&'a [Op]),
    /// A fully connected layer over a batch of windows.
    Dense(&'a Op),
    Branches(&'a Part<Prepared>, &'a [Sequence]),
}

impl Piece<'_> {
    /// Rows, columns and values in a pixel of what the piece makes of one map.
    fn dims(&self, from: &Maps) -> (usize, usize, usize) {
        let from = (from.h, from.w);
        let (dims, c) = match self {
            Self::Chain(ops) => {
                (ops.iter().try_fold(from, |d, op| op.dims(d)), ops.last().map_or(0, |op| op.arrays.output))
            }
            Self::Dense(op) => (op.dims(from), op.arrays.output),
            Self::Branches(part, branches) => (part.dims(from), branches.iter().map(values).sum()),
        };
        let Some((h, w)) = dims else { unreachable!("the engine checks dimensions first") };
        (h, w, c)
    }
}

/// Values in a pixel of what comes out of a sequence.
pub(super) fn values(sequence: &Sequence) -> usize {
    match sequence.parts.last() {
        Some(Part::Chain(ops)) => ops.last().map_or(0, |op| op.arrays.output),
        Some(Part::Branches(branches)) => branches.iter().map(values).sum(),
        None => 0,
    }
}

/// The sequence's pieces; over `windows`, fully connected layers are pieces of their own.
fn pieces(sequence: &Sequence, windows: bool) -> impl Iterator<Item = Piece<'_>> {
    sequence.parts.iter().flat_map(move |part| {
        let (ops, branches) = match part {
            Part::Chain(ops) => (ops.as_slice(), None),
            Part::Branches(branches) => (&[][..], Some(Piece::Branches(part, branches))),
        };
        let alone = move |op: &Op| windows && op.kind == OpKind::Dense;
        let chains = ops.chunk_by(move |a, b| !alone(a) && !alone(b)).map(move |ops| match ops {
            [op] if alone(op) => Piece::Dense(op),
            ops => Piece::Chain(ops),
        });
        chains.chain(branches)
    })
}

impl Runner {
    /// Runs `sequence` over all maps, whose dimensions must fit; `windows` if each is just one window.
    pub(super) fn run(&mut self, isa: Isa, sequence: &Sequence, windows: bool, source: Maps, target: &mut Target) {
        if source.n == 0 {
            return;
        }
        let mut pieces = pieces(sequence, windows).peekable();
        let mut between: Option<Aligned> = None;
        let mut from = source;
        while let Some(piece) = pieces.next() {
            let (h, w, c) = piece.dims(&from);
            if pieces.peek().is_none() {
                let data = between.as_ref().map_or(source.data, bytes_of);
                self.piece(isa, piece, windows, Maps { data, ..from }, target);
            } else {
                let mut next = self.spare.pop().unwrap_or_default();
                let data = between.as_ref().map_or(source.data, bytes_of);
                let bytes = bytemuck::cast_slice_mut(next.at_least((from.n * h * w * c).div_ceil(4)));
                let mut to = Target { data: Values::Bytes(bytes), step: c };
                self.piece(isa, piece, windows, Maps { data, ..from }, &mut to);
                self.spare.extend(between.replace(next));
            }
            from = Maps { h, w, c, ..from };
        }
        self.spare.extend(between);
    }

    fn piece(&mut self, isa: Isa, piece: Piece, windows: bool, source: Maps, target: &mut Target) {
        match piece {
            Piece::Chain(ops) => self.streams.run(isa, ops, source, target),
            Piece::Dense(op) => {
                let (Data::Bytes(input), Kernel::Linear(packed), false) =
                    (source.data, &op.arrays.kernel, op.arrays.is_picture())
                else {
                    return self.streams.run(isa, std::slice::from_ref(op), source, target);
                };
                let length = source.w * source.c;
                self.offsets.clear();
                self.offsets.extend((0..source.h).map(|y| y * length));
                let row = Row {
                    rows: &self.offsets,
                    input_item: source.h * length,
                    input_step: source.h * length,
                    output: target.data.output(0, floor_of_reals(op.relu)),
                    output_item: target.step,
                    output_step: target.step,
                    width: 1,
                    items: source.n,
                };
                packed.run(input, row);
            }
            Piece::Branches(_, branches) => {
                let mut first = 0;
                for branch in branches {
                    let mut target = Target { data: target.data.from(first), step: target.step };
                    self.run(isa, branch, windows, source, &mut target);
                    first += values(branch);
                }
            }
        }
    }
}

fn bytes_of(map: &Aligned) -> Data<'_> {
    Data::Bytes(super::bytes(map))
}
