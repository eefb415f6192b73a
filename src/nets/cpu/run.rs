//! Runs a sequence of operations: chains as streams, fully connected layers over the whole batch at once, and branches one after
//! the other, each into its own channels of the joined map.

use super::stream::{Data, Maps, Op, Streams, Target};
use crate::nets::kernels::aligned::Aligned;
use crate::nets::kernels::row::Row;
use crate::nets::kernels::{Isa, RowKernel};
use crate::nets::lower::{OpKind, Part};
use crate::nets::spec::Dims;

type Sequence = crate::nets::lower::Sequence<RowKernel>;

/// Buffers of sequences.
#[derive(Debug, Default)]
pub(super) struct Runner {
    streams: Streams,
    /// Maps not in use at the moment.
    spare: Vec<Aligned>,
}

/// Operations that are run in one go.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Chain(&'a [Op]),
    /// A fully connected layer over a batch of windows.
    Dense(&'a Op),
    Branches(&'a Part<RowKernel>, &'a [Sequence]),
}

impl Piece<'_> {
    /// Dimensions of what the piece makes of one map.
    fn dims(&self, from: &Maps) -> Dims {
        let from = (from.h, from.w);
        let (dims, c) = match self {
            Self::Chain(ops) => (ops.iter().try_fold(from, |d, op| op.dims(d)), ops.last().map_or(0, |op| op.output.c)),
            Self::Dense(op) => (op.dims(from), op.output.c),
            Self::Branches(part, _) => (part.dims(from), part.channels()),
        };
        let Some((h, w)) = dims else { unreachable!("the engine checks dimensions first") };
        Dims { h, w, c }
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
            let Dims { h, w, c } = piece.dims(&from);
            if pieces.peek().is_none() {
                let data = between.as_ref().map_or(source.data, |b| Data::Floats(b.as_slice()));
                self.piece(isa, piece, windows, Maps { data, ..from }, target);
            } else {
                let mut next = self.spare.pop().unwrap_or_default();
                let data = between.as_ref().map_or(source.data, |b| Data::Floats(b.as_slice()));
                let mut to = Target { data: next.at_least(from.n * h * w * c), step: c };
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
                let Data::Floats(input) = source.data else {
                    return self.streams.run(isa, std::slice::from_ref(op), source, target);
                };
                // All rows of a window's map lie behind each other: to the kernel they are one.
                let input_item = source.h * source.w * source.c;
                let row = Row {
                    input,
                    rows: &[0],
                    input_item,
                    input_step: input_item,
                    output: target.data,
                    output_item: target.step,
                    output_step: target.step,
                    width: 1,
                    items: source.n,
                };
                op.arrays.run(isa, row, input_item, op.input.c, op.relu);
            }
            Piece::Branches(_, branches) => {
                let mut first = 0;
                for branch in branches {
                    let mut target = Target { data: &mut target.data[first..], step: target.step };
                    self.run(isa, branch, windows, source, &mut target);
                    first += branch.output.c;
                }
            }
        }
    }
}
