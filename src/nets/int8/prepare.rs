//! Makes a net's lowered operations and its quantised weights into kernels.

use super::kernels::{DeepDepthwise, Isa, Packed, Plain, SLOTS, Taps, padded};
use super::quantised::{Quantised, QuantisedOp};
use super::run::Sequence;
use super::stream::Op;
use crate::error::{Error, Result};
use crate::nets::cpu::observe::sum_path;
use crate::nets::lower::{self, Arrays, Block, Head, Lowered, OpKind, Part};
use crate::nets::spec::Input;

/// What an operation in bytes holds beside its geometry.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) kernel: Kernel,
    /// Values in a pixel of input.
    pub(super) input: usize,
    /// Values in a pixel of output.
    pub(super) output: usize,
    /// The padding's value for each of `input`.
    pub(super) border: Vec<u8>,
    /// What max(x, 0) makes of each of `output` at least, where it does not follow from the kernel's own range.
    pub(super) floor: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(super) enum Kernel {
    Linear(Packed),
    Depthwise(Taps),
    Plain(Plain),
}

impl Prepared {
    /// Whether the input is a picture as it is, three bytes a pixel.
    pub(super) fn is_picture(&self) -> bool {
        self.input == PICTURE
    }

    /// Whether the ring of the input keeps rows side by side.
    pub(super) fn in_quads(&self) -> bool {
        matches!(self.kernel, Kernel::Depthwise(_))
    }
}

/// The least that real outputs may become.
pub(super) const fn floor_of_reals(relu: bool) -> f32 {
    if relu { 0.0 } else { f32::NEG_INFINITY }
}

/// Channels of a picture, which has no more values in a pixel.
const PICTURE: usize = 3;
/// The byte that stands for 0 on a picture's border: the middle between 127 and 128 is not a byte.
const MIDDLE: u8 = 128;

/// The channels of a map.
#[derive(Debug, Clone)]
struct Channels {
    /// Where each channel stands among the values of a pixel.
    places: Vec<usize>,
    /// The byte that stands for 0, for each value.
    zero: Vec<u8>,
}

impl Channels {
    /// Those of a picture.
    fn picture() -> Self {
        Self { places: (0..PICTURE).collect(), zero: vec![MIDDLE; PICTURE] }
    }

    /// Those that a layer on all channels makes.
    fn made(zero: &[u8]) -> Self {
        let mut values = zero.to_vec();
        values.resize(padded(zero.len()), 0);
        Self { places: (0..zero.len()).collect(), zero: values }
    }

    fn values(&self) -> usize {
        self.zero.len()
    }

    /// A picture's, filled up to a whole vector.
    fn filled_up(self) -> Self {
        if self.values() == PICTURE { Self::made(&self.zero) } else { self }
    }

    /// For each value of a pixel, the channel that stands there.
    fn at_place(&self) -> Vec<Option<usize>> {
        let mut channels = vec![None; self.values()];
        self.places.iter().enumerate().for_each(|(channel, place)| channels[*place] = Some(channel));
        channels
    }

    /// `values`, one for each channel, at the channels' places; `default` elsewhere.
    fn spread<T: Copy>(&self, values: &[T], default: T) -> Vec<T> {
        let mut spread = vec![default; self.values()];
        self.places.iter().zip(values).for_each(|(place, v)| spread[*place] = *v);
        spread
    }

    /// Those of several maps, joined.
    fn joined(all: &[Self]) -> Self {
        let mut joined = Self { places: Vec::new(), zero: Vec::new() };
        for channels in all {
            let first = joined.values();
            joined.places.extend(channels.places.iter().map(|place| first + place));
            joined.zero.extend_from_slice(&channels.zero);
        }
        joined
    }
}

/// A sum of a map and of a coarser one, for each value of a pixel.
#[derive(Debug, Clone)]
pub(super) struct PreparedSum {
    pub(super) fine: Vec<f32>,
    pub(super) coarse: Vec<f32>,
    pub(super) offset: Vec<f32>,
}

/// Makes kernels for one instruction set.
pub(super) struct Preparation<'a> {
    pub(super) net: &'a str,
    pub(super) isa: Isa,
    pub(super) weights: &'a Quantised,
}

impl Preparation<'_> {
    /// Prepares all of a net; returns with it what makes the input of each block that reads a sum.
    pub(super) fn net(&self, lowered: &Lowered) -> Result<(Lowered<Prepared>, Vec<Option<PreparedSum>>)> {
        let (mut maps, mut sums, mut prepared) = (Vec::<Channels>::new(), Vec::new(), Vec::new());
        for map in 0..lowered.maps() {
            let (read, ops) = lowered.map_of(map);
            let (input, sum) = match read.map(Input::maps) {
                None => (Channels::picture(), None),
                Some((fine, None)) => (maps[fine].clone(), None),
                Some((fine, Some(coarse))) => self.sum(&sum_path(map), &maps[fine], &maps[coarse])?,
            };
            let (ops, channels) = self.sequence(ops, input, false)?;
            maps.push(channels);
            sums.push(sum);
            prepared.push(ops);
        }
        let mut prepared = prepared.into_iter();
        let Some(trunk) = prepared.next() else { unreachable!("every net has a trunk") };
        let blocks =
            lowered.blocks.iter().zip(prepared).map(|(block, ops)| Block { input: block.input, ops }).collect();
        let head = |head: &Head<Option<Arrays>>| {
            let ops = self.sequence(&head.ops, maps[head.from].clone(), true)?.0;
            Ok(Head { output: head.output, from: head.from, ops })
        };
        let heads = lowered.heads.iter().map(head).collect::<Result<_>>()?;
        Ok((Lowered { trunk, blocks, heads }, sums))
    }

    fn sum(&self, path: &str, fine: &Channels, coarse: &Channels) -> Result<(Channels, Option<PreparedSum>)> {
        let Some(sum) =
            self.weights.sums.get(path).filter(|_| fine.places == coarse.places && fine.values() == coarse.values())
        else {
            let reason = format!("{path}: in 8 bits both maps of a sum have to end in layers of the same kind");
            return Err(Error::Net { net: self.net.into(), reason });
        };
        let channels = Channels { places: fine.places.clone(), zero: fine.spread(&sum.zero, 0) };
        let spread = |values: &[f32]| fine.spread(values, 0.0);
        let prepared =
            PreparedSum { fine: spread(&sum.fine), coarse: spread(&sum.coarse), offset: spread(&sum.offset) };
        Ok((channels, Some(prepared)))
    }

    /// Prepares a sequence that reads `channels`; returns it with the channels that come out. With `reals`, real numbers come out.
    fn sequence(
        &self,
        sequence: &lower::Sequence<Option<Arrays>>,
        mut channels: Channels,
        reals: bool,
    ) -> Result<(Sequence, Channels)> {
        let mut parts = Vec::new();
        for (i, part) in sequence.parts.iter().enumerate() {
            let last = reals && i + 1 == sequence.parts.len();
            parts.push(match part {
                Part::Chain(ops) => {
                    let mut prepared = Vec::new();
                    for (k, op) in ops.iter().enumerate() {
                        let (op, next) = self.op(op, channels, last && k + 1 == ops.len())?;
                        prepared.push(op);
                        channels = next;
                    }
                    Part::Chain(prepared)
                }
                Part::Branches(branches) => {
                    let all = branches.iter().map(|branch| self.sequence(branch, channels.clone(), last));
                    let (branches, ends): (Vec<_>, Vec<_>) = all.collect::<Result<Vec<_>>>()?.into_iter().unzip();
                    channels = Channels::joined(&ends);
                    Part::Branches(branches)
                }
            });
        }
        Ok((Sequence { parts, output: sequence.output }, channels))
    }

    fn op(&self, op: &lower::Op, input: Channels, reals: bool) -> Result<(Op, Channels)> {
        let linear = matches!(op.kind, OpKind::Conv | OpKind::Dense);
        let in_order = input.places.iter().enumerate().all(|(channel, place)| channel == *place);
        if reals && !(linear || op.kind == OpKind::Depthwise && op.kernel.0 <= SLOTS && in_order) {
            let reason =
                format!("{} ends a head: in 8 bits a head ends in a convolution or a fully connected layer", op.path);
            return Err(Error::Net { net: self.net.into(), reason });
        }
        let input = if linear { input } else { input.filled_up() };
        let at_place = input.at_place();
        let (rows, columns) = op.kernel;
        let (kernel, output) = match op.kind {
            OpKind::Conv | OpKind::Dense => {
                let QuantisedOp { weight, bias, multiplier, zero } = self.weights.op(op)?;
                let (values, channels, outputs) = (input.values(), input.places.len(), bias.len());
                let weight = |row: usize, byte: usize, output: usize| {
                    let tap = row * columns + byte / values;
                    at_place[byte % values].map_or(0, |c| weight[(tap * channels + c) * outputs + output])
                };
                let packed = Packed::new(self.isa, (rows, columns * values), weight, bias, multiplier);
                (Kernel::Linear(packed), Channels::made(zero))
            }
            OpKind::Depthwise => {
                let QuantisedOp { weight, bias, multiplier, zero } = self.weights.op(op)?;
                let (mut bias, mut multiplier) = (input.spread(bias, 0), input.spread(multiplier, 0.0));
                if reals {
                    bias.truncate(input.places.len());
                    multiplier.truncate(input.places.len());
                }
                let weight = |row: usize, column: usize, place: usize| {
                    at_place[place].map_or(0, |c| weight[(row * columns + column) * input.places.len() + c])
                };
                let kernel = if rows <= SLOTS {
                    Kernel::Depthwise(Taps::new(self.isa, op.kernel, weight, &bias, &multiplier))
                } else {
                    Kernel::Plain(Plain::Depthwise(DeepDepthwise::new(op.kernel, weight, &bias, &multiplier)))
                };
                (kernel, Channels { places: input.places.clone(), zero: input.spread(zero, 0) })
            }
            OpKind::MaxPool => (Kernel::Plain(Plain::Max), input.clone()),
            OpKind::AveragePool => (Kernel::Plain(Plain::Average), input.clone()),
            OpKind::Gather | OpKind::Dropout(_) => {
                (Kernel::Plain(Plain::Gather), Channels::joined(&vec![input.clone(); rows * columns]))
            }
        };
        let border = if op.kind == OpKind::MaxPool { vec![0; input.values()] } else { input.zero.clone() };
        let floor = (op.relu && matches!(kernel, Kernel::Plain(Plain::Max | Plain::Average | Plain::Gather)))
            .then(|| output.zero.clone());
        let values = if reals { op.output.c } else { output.values() };
        let prepared = Prepared { kernel, input: input.values(), output: values, border, floor };
        Ok((op.with(prepared), output))
    }
}
