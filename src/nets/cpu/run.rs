//! Runs a program: chains as streams, fully connected layers over the whole batch at once, and branches one after the
//! other, each into its own channels of what they give together.

use super::buffer::Buffer;
use super::compile::{Op, Program, Unit, Work};
use super::row::Row;
use super::stream::{Maps, Streams, Target};
use crate::nets::kernels::Isa;
use crate::nets::spec::Dims;

/// Buffers of programs.
#[derive(Debug, Default)]
pub(super) struct Runner {
    streams: Streams,
    /// Maps that nobody uses at the moment.
    spare: Vec<Buffer>,
}

/// What can be run in one go.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Chain(&'a [Op]),
    /// A fully connected layer over a batch of windows.
    Dense(&'a Op),
    Branches(&'a Unit, &'a [Program]),
}

impl Piece<'_> {
    /// What one of the maps becomes.
    fn dims(&self, from: &Maps) -> Dims {
        let from = (from.h, from.w);
        let (dims, c) = match self {
            Self::Chain(ops) => (ops.iter().try_fold(from, |d, op| op.dims(d)), ops.last().map_or(0, |op| op.out)),
            Self::Dense(op) => (op.dims(from), op.out),
            Self::Branches(unit, _) => (unit.dims(from), unit.out()),
        };
        let Some((h, w)) = dims else { unreachable!("the engine checks dimensions first") };
        Dims { h, w, c }
    }
}

/// The program's pieces; over `windows`, fully connected layers are pieces of their own.
fn pieces(program: &Program, windows: bool) -> impl Iterator<Item = Piece<'_>> {
    program.units.iter().flat_map(move |unit| {
        let (ops, branches) = match unit {
            Unit::Chain(ops) => (ops.as_slice(), None),
            Unit::Branches(branches) => (&[][..], Some(Piece::Branches(unit, branches))),
        };
        let split = move |a: &Op, b: &Op| !(windows && (a.dense || b.dense));
        let chains = ops.chunk_by(split).map(move |ops| match ops {
            [op] if windows && op.dense => Piece::Dense(op),
            ops => Piece::Chain(ops),
        });
        chains.chain(branches)
    })
}

impl Runner {
    /// Runs `program` over all maps, whose dimensions must fit; `windows` if each is just one window.
    pub(super) fn run(&mut self, isa: Isa, program: &Program, windows: bool, source: Maps, target: &mut Target) {
        if source.n == 0 {
            return;
        }
        let mut pieces = pieces(program, windows).peekable();
        let mut between: Option<Buffer> = None;
        let mut from = source;
        while let Some(piece) = pieces.next() {
            let Dims { h, w, c } = piece.dims(&from);
            if pieces.peek().is_none() {
                let data = between.as_ref().map_or(source.data, |b| b.as_slice());
                self.piece(isa, piece, windows, Maps { data, ..from }, target);
            } else {
                let mut next = self.spare.pop().unwrap_or_default();
                let data = between.as_ref().map_or(source.data, |b| b.as_slice());
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
                // All rows of a window's map lie behind each other: to the kernel they are one.
                let input_item = source.h * source.w * source.c;
                let row = Row {
                    input: source.data,
                    rows: &[0],
                    input_item,
                    input_step: input_item,
                    output: target.data,
                    output_item: target.step,
                    output_step: target.step,
                    width: 1,
                    items: source.n,
                };
                let Work::Linear(weights) = &op.work else { unreachable!("dense operations are linear") };
                weights.run(row, input_item, op.relu);
            }
            Piece::Branches(_, branches) => {
                let mut first = 0;
                for branch in branches {
                    let mut target = Target { data: &mut target.data[first..], step: target.step };
                    self.run(isa, branch, windows, source, &mut target);
                    first += branch.out;
                }
            }
        }
    }
}
