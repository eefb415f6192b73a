//! The lowered form of a net: one pass over its list of layers gives operations with their dimensions, their cost and
//! the names of their arrays. Every engine maps from it, and nothing else works out dimensions, pairs a layer with the
//! batch norm and the ReLU behind it, or counts multiply-adds.
//!
//! A layer that is new needs a variant of [`super::spec::Layer`], an arm in `pass` and a kernel in each engine. Within a
//! sequence maps fork and join in [`Part`] alone (branches joined by concatenation). Between sequences they do in
//! [`Block`]: the trunk's map has the number 0, that of block i the number i + 1, and a block or a head names what it reads.

mod pass;

#[cfg(test)]
pub(in crate::nets) use pass::dims_of;

use super::spec::{Dims, Input, Output, steps};
use super::weights::{Role, Slot};
use crate::error::Result;

/// The use that a net is lowered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Dropout is left out.
    Inference,
    /// Dropout is an operation.
    Training,
}

/// A lowered net. `A` is what each operation holds beside its geometry: the names of its arrays at first, and an
/// engine's kernels after [`Self::map`].
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered<A = Option<Arrays>> {
    /// The shared operations.
    pub trunk: Sequence<A>,
    /// Blocks behind the trunk, in the net's order; each reads maps made before it. Empty for most nets.
    pub blocks: Vec<Block<A>>,
    /// The heads, in the net's order.
    pub heads: Vec<Head<A>>,
}

/// Operations behind the trunk, or behind another block.
#[derive(Debug, Clone, PartialEq)]
pub struct Block<A> {
    /// What the first operation reads.
    pub input: Input,
    /// The operations.
    pub ops: Sequence<A>,
}

/// The operations of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct Head<A> {
    /// Meaning of its outputs.
    pub output: Output,
    /// Number of the map that the first operation reads.
    pub from: usize,
    /// The operations.
    pub ops: Sequence<A>,
}

/// Parts one behind the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence<A> {
    /// Parts; never empty.
    pub parts: Vec<Part<A>>,
    /// Dimensions behind the last part, for one window.
    pub output: Dims,
}

/// A piece of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<A> {
    /// Each operation reads what the one before it wrote.
    Chain(Vec<Op<A>>),
    /// All read the same map, and their channels are joined by concatenation.
    Branches(Vec<Sequence<A>>),
}

/// What an operation computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OpKind {
    /// Weighted sums over all channels under the kernel.
    Conv,
    /// The same with a kernel as large as one window's map: a fully connected layer.
    Dense,
    /// Weighted sums over each channel under the kernel.
    Depthwise,
    /// The greatest of each channel under the kernel; padding is never the greatest.
    MaxPool,
    /// The mean of each channel under the kernel.
    AveragePool,
    /// All values under the kernel, one behind the other; a plain copy if the kernel is 1 × 1.
    Gather,
    /// Zeroes values with this probability and scales the others; in training only.
    Dropout(f32),
}

/// One operation on maps `[n, h, w, c]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Op<A = Option<Arrays>> {
    /// Kind of computation.
    pub kind: OpKind,
    /// Path of the layer: `trunk.3`.
    pub path: String,
    /// Dimensions of the input, for one window.
    pub input: Dims,
    /// Dimensions of the output, for one window.
    pub output: Dims,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Stride of the kernel, pixels.
    pub stride: usize,
    /// Rows and columns of padding on each side of the input.
    pub pad: usize,
    /// Whether max(x, 0) follows.
    pub relu: bool,
    /// Names of the operation's arrays, `None` without weights; or an engine's kernel made from the arrays.
    pub arrays: A,
}

/// The arrays of an operation that multiplies by weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrays {
    /// Shape of the weights.
    pub weight: Vec<usize>,
    /// Path of the batch norm that takes the bias's place. Inference folds the norm into weights and bias
    /// ([`super::weights::Weights::folded`]), training keeps it.
    pub norm: Option<String>,
}

impl<A> Op<A> {
    /// Rows and columns that come out of an input of `h` × `w`; `None` if it is too small.
    pub fn dims(&self, (h, w): (usize, usize)) -> Option<(usize, usize)> {
        Some((steps(h, self.kernel.0, self.stride, self.pad)?, steps(w, self.kernel.1, self.stride, self.pad)?))
    }

    /// Value of the padding.
    pub fn border(&self) -> f32 {
        if self.kind == OpKind::MaxPool { f32::NEG_INFINITY } else { 0.0 }
    }

    /// Input values that each output depends on.
    pub fn inputs(&self) -> usize {
        let square = self.kernel.0 * self.kernel.1;
        if matches!(self.kind, OpKind::Conv | OpKind::Dense) { square * self.input.c } else { square }
    }

    /// Multiply-adds for each pixel of the output; pooling and copies count nothing.
    pub fn multiply_adds(&self) -> u64 {
        match self.kind {
            OpKind::Conv | OpKind::Dense | OpKind::Depthwise => (self.inputs() * self.output.c) as u64,
            _ => 0,
        }
    }

    /// The same operation with other arrays.
    pub fn with<B>(&self, arrays: B) -> Op<B> {
        let Self { kind, input, output, kernel, stride, pad, relu, .. } = *self;
        Op { kind, path: self.path.clone(), input, output, kernel, stride, pad, relu, arrays }
    }
}

impl Op {
    /// The arrays that the operation needs, in the order in which they are written.
    pub fn slots(&self) -> Vec<Slot> {
        let Some(Arrays { weight, norm }) = &self.arrays else { return Vec::new() };
        let slot = |parent: &str, array: &str, shape: &[usize], role| Slot {
            name: format!("{parent}.{array}"),
            shape: shape.to_vec(),
            role,
        };
        let channels = [self.output.c];
        let mut list = vec![slot(&self.path, "weight", weight, Role::Weight { fan_in: self.inputs() })];
        match norm {
            None => list.push(slot(&self.path, "bias", &channels, Role::Bias)),
            Some(norm) => list.extend(
                [("scale", Role::Scale), ("shift", Role::Shift), ("mean", Role::Mean), ("variance", Role::Variance)]
                    .map(|(array, role)| slot(norm, array, &channels, role)),
            ),
        }
        list
    }
}

impl<A> Part<A> {
    /// Rows and columns that come out of an input of `h` × `w`; `None` if it is too small, or if the branches' maps do
    /// not fit each other.
    pub fn dims(&self, from: (usize, usize)) -> Option<(usize, usize)> {
        match self {
            Self::Chain(ops) => ops.iter().try_fold(from, |d, op| op.dims(d)),
            Self::Branches(branches) => agreed(branches, |branch| branch.dims(from)),
        }
    }

    /// Channels that come out.
    pub fn channels(&self) -> usize {
        match self {
            Self::Chain(ops) => ops.last().map_or(0, |op| op.output.c),
            Self::Branches(branches) => branches.iter().map(|branch| branch.output.c).sum(),
        }
    }

    fn relu(&mut self) {
        match self {
            Self::Chain(ops) => ops.iter_mut().last().into_iter().for_each(|op| op.relu = true),
            Self::Branches(branches) => branches.iter_mut().flat_map(|b| b.parts.last_mut()).for_each(Self::relu),
        }
    }
}

/// What all branches give, or `None` where they differ.
fn agreed<A, T: PartialEq>(branches: &[Sequence<A>], of: impl Fn(&Sequence<A>) -> Option<T>) -> Option<T> {
    let first = of(branches.first()?)?;
    branches[1..].iter().all(|branch| of(branch).as_ref() == Some(&first)).then_some(first)
}

impl<A> Sequence<A> {
    /// As [`Part::dims`].
    pub fn dims(&self, from: (usize, usize)) -> Option<(usize, usize)> {
        self.parts.iter().try_fold(from, |d, part| part.dims(d))
    }

    /// Input pixels from one output to the next; `None` if branches differ, so that only windows can be run.
    pub fn stride(&self) -> Option<usize> {
        self.parts.iter().try_fold(1, |stride, part| match part {
            Part::Chain(ops) => Some(stride * ops.iter().map(|op| op.stride).product::<usize>()),
            Part::Branches(branches) => Some(stride * agreed(branches, Self::stride)?),
        })
    }

    /// The stride and the first centre behind this sequence, from those before it.
    fn first_center_from(&self, stride: f32, center: f32) -> (f32, f32) {
        self.parts.iter().fold((stride, center), |at, part| match part {
            Part::Chain(ops) => ops.iter().fold(at, |(stride, center), op| {
                let shift = (op.kernel.1 as f32 - 1.0) / 2.0 - op.pad as f32;
                (stride * op.stride as f32, center + shift * stride)
            }),
            Part::Branches(branches) => branches.first().map_or(at, |branch| branch.first_center_from(at.0, at.1)),
        })
    }

    /// Multiply-adds over an input of `h` × `w`.
    pub fn multiply_adds(&self, from: (usize, usize)) -> u64 {
        let (mut d, mut sum) = (from, 0);
        for part in &self.parts {
            if let Part::Branches(branches) = part {
                sum += branches.iter().map(|branch| branch.multiply_adds(d)).sum::<u64>();
                let Some(next) = part.dims(d) else { return sum };
                d = next;
                continue;
            }
            let Part::Chain(ops) = part else { continue };
            for op in ops {
                let Some(next) = op.dims(d) else { return sum };
                sum += (next.0 * next.1) as u64 * op.multiply_adds();
                d = next;
            }
        }
        sum
    }

    /// The same sequence with what `each` makes of every operation's arrays.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn map<B>(&self, each: &mut dyn FnMut(&Op<A>) -> Result<B>) -> Result<Sequence<B>> {
        let parts = self.parts.iter().map(|part| {
            Ok(match part {
                Part::Chain(ops) => Part::Chain(ops.iter().map(|op| Ok(op.with(each(op)?))).collect::<Result<_>>()?),
                Part::Branches(branches) => {
                    Part::Branches(branches.iter().map(|branch| branch.map(each)).collect::<Result<_>>()?)
                }
            })
        });
        Ok(Sequence { parts: parts.collect::<Result<_>>()?, output: self.output })
    }
}

impl<A> Lowered<A> {
    /// The operations of a head.
    pub fn head(&self, output: Output) -> Option<&Head<A>> {
        self.heads.iter().find(|head| head.output == output)
    }

    /// Number of maps: the trunk's and those of the blocks.
    pub fn maps(&self) -> usize {
        1 + self.blocks.len()
    }

    /// The operations that make a map, and what they read; `None` for the trunk, which reads the input.
    pub fn map_of(&self, map: usize) -> (Option<Input>, &Sequence<A>) {
        match map.checked_sub(1) {
            None => (None, &self.trunk),
            Some(block) => (Some(self.blocks[block].input), &self.blocks[block].ops),
        }
    }

    /// Rows and columns of a map for an input of `h` × `w`; `None` if that is too small for it.
    pub fn dims(&self, map: usize, from: (usize, usize)) -> Option<(usize, usize)> {
        self.map_of(map).1.dims(self.input_dims(map, from)?)
    }

    /// Rows and columns of what the operations of a map read, for an input of `h` × `w`.
    pub fn input_dims(&self, map: usize, from: (usize, usize)) -> Option<(usize, usize)> {
        let Some(input) = self.map_of(map).0 else { return Some(from) };
        let (fine, coarse) = input.maps();
        let (h, w) = self.dims(fine, from)?;
        let Some(coarse) = coarse else { return Some((h, w)) };
        let (ch, cw) = self.dims(coarse, from)?;
        (doubles(ch, h) && doubles(cw, w)).then_some((h, w))
    }

    /// Input pixels from one value of a map to the next; `None` if branches differ, so that only windows can be run.
    pub fn stride(&self, map: usize) -> Option<usize> {
        let (input, ops) = self.map_of(map);
        let before = input.map_or(Some(1), |input| self.stride(input.maps().0))?;
        Some(before * ops.stride()?)
    }

    /// Centre of what the first value of a map sees, along either axis, pixels of the input (continuous: pixel i covers
    /// [i, i + 1)). Of branches the first counts.
    pub fn first_center(&self, map: usize) -> f32 {
        self.first_center_from(map).1
    }

    fn first_center_from(&self, map: usize) -> (f32, f32) {
        let (input, ops) = self.map_of(map);
        let (stride, center) = input.map_or((1.0, 0.5), |input| self.first_center_from(input.maps().0));
        ops.first_center_from(stride, center)
    }

    /// Multiply-adds of trunk, blocks and all heads over an input of `h` × `w`; 0 if it is too small.
    pub fn multiply_adds(&self, from: (usize, usize)) -> u64 {
        let map = |map| Some(self.map_of(map).1.multiply_adds(self.input_dims(map, from)?));
        let head = |head: &Head<A>| Some(head.ops.multiply_adds(self.dims(head.from, from)?));
        let maps: Option<u64> = (0..self.maps()).map(map).sum();
        let heads: Option<u64> = self.heads.iter().map(head).sum();
        maps.zip(heads).map_or(0, |(maps, heads)| maps + heads)
    }

    /// As [`Sequence::map`], for trunk, blocks and heads.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn map<B>(&self, mut each: impl FnMut(&Op<A>) -> Result<B>) -> Result<Lowered<B>> {
        let trunk = self.trunk.map(&mut each)?;
        let blocks = self.blocks.iter().map(|block| Ok(Block { input: block.input, ops: block.ops.map(&mut each)? }));
        let blocks = blocks.collect::<Result<_>>()?;
        let heads = self.heads.iter();
        let heads = heads.map(|h| Ok(Head { output: h.output, from: h.from, ops: h.ops.map(&mut each)? }));
        Ok(Lowered { trunk, blocks, heads: heads.collect::<Result<_>>()? })
    }
}

/// Whether a side of `coarse` pixels, doubled, is one of `fine` pixels, give or take an odd last pixel.
fn doubles(coarse: usize, fine: usize) -> bool {
    (2 * coarse).abs_diff(fine) <= 1
}

impl Lowered {
    /// All arrays that the net needs, in the order of its layers.
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        let Ok(_) = self.map(|op| {
            slots.extend(op.slots());
            Ok(())
        }) else {
            unreachable!("nothing fails here")
        };
        slots
    }
}
