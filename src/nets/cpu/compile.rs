//! A net's layers with their weights become operations: batch norm folded into the layer before it, bias and ReLU
//! fused, dropout left out, and a fully connected layer turned into a convolution over the map that it stands on.

use super::linear::Packed;
use super::sliding::Taps;
use crate::error::Result;
use crate::nets::kernels::Isa;
use crate::nets::spec::{Dims, Layer, steps};
use crate::nets::weights::{Weights, path};

/// Operations one behind the other; never empty.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) units: Vec<Unit>,
    /// Channels that come out.
    pub(super) out: usize,
}

/// A piece of a program.
#[derive(Debug)]
pub(super) enum Unit {
    /// Each operation reads what the one before it wrote.
    Chain(Vec<Op>),
    /// All read the same and write their channels side by side.
    Branches(Vec<Program>),
}

/// One pass over a map.
#[derive(Debug)]
pub(super) struct Op {
    /// Rows and columns that one output sees.
    pub(super) kernel: (usize, usize),
    pub(super) stride: usize,
    pub(super) pad: usize,
    /// Channels of the input.
    pub(super) c: usize,
    /// Channels of the output.
    pub(super) out: usize,
    pub(super) relu: bool,
    /// It was a fully connected layer: over windows it is one matrix product for the whole batch.
    pub(super) dense: bool,
    pub(super) work: Work,
}

/// What an operation computes.
#[derive(Debug)]
pub(super) enum Work {
    /// Weighted sums over all channels.
    Linear(Packed),
    /// Weighted sums over each channel.
    Depthwise(Taps),
    /// The greatest.
    Max,
    /// The mean.
    Mean,
    /// The pixels under the kernel, behind each other.
    Patches,
}

impl Op {
    /// Rows and columns that come out, or `None` if the input is too small.
    pub(super) fn dims(&self, (h, w): (usize, usize)) -> Option<(usize, usize)> {
        Some((steps(h, self.kernel.0, self.stride, self.pad)?, steps(w, self.kernel.1, self.stride, self.pad)?))
    }

    /// What stands round the input.
    pub(super) fn border(&self) -> f32 {
        if matches!(self.work, Work::Max) { f32::NEG_INFINITY } else { 0.0 }
    }

    fn multiply_adds(&self, outputs: usize) -> usize {
        let square = self.kernel.0 * self.kernel.1;
        match self.work {
            Work::Linear(_) => outputs * square * self.c * self.out,
            Work::Depthwise(_) => outputs * square * self.c,
            _ => 0,
        }
    }
}

impl Unit {
    /// Rows and columns that come out; `None` if the input is too small, or if the branches' maps do not fit.
    pub(super) fn dims(&self, from: (usize, usize)) -> Option<(usize, usize)> {
        match self {
            Self::Chain(ops) => ops.iter().try_fold(from, |d, op| op.dims(d)),
            Self::Branches(branches) => {
                let first = branches.first()?.dims(from)?;
                branches[1..].iter().all(|b| b.dims(from) == Some(first)).then_some(first)
            }
        }
    }

    /// Channels that come out.
    pub(super) fn out(&self) -> usize {
        match self {
            Self::Chain(ops) => ops.last().map_or(0, |op| op.out),
            Self::Branches(branches) => branches.iter().map(|b| b.out).sum(),
        }
    }
}

impl Program {
    /// As [`Unit::dims`].
    pub(super) fn dims(&self, from: (usize, usize)) -> Option<(usize, usize)> {
        self.units.iter().try_fold(from, |d, unit| unit.dims(d))
    }

    /// Input pixels from one output to the next; `None` if the branches do not agree, so that only windows can be run.
    pub(super) fn stride(&self) -> Option<usize> {
        self.units.iter().try_fold(1, |stride, unit| match unit {
            Unit::Chain(ops) => Some(stride * ops.iter().map(|op| op.stride).product::<usize>()),
            Unit::Branches(branches) => {
                let first = branches.first()?.stride()?;
                branches[1..].iter().all(|b| b.stride() == Some(first)).then_some(stride * first)
            }
        })
    }

    /// Multiply-adds for one input.
    pub(super) fn multiply_adds(&self, from: (usize, usize)) -> u64 {
        let (mut d, mut sum) = (from, 0);
        for unit in &self.units {
            match unit {
                Unit::Chain(ops) => {
                    for op in ops {
                        let Some(next) = op.dims(d) else { return sum };
                        sum += op.multiply_adds(next.0 * next.1) as u64;
                        d = next;
                    }
                }
                Unit::Branches(branches) => {
                    sum += branches.iter().map(|b| b.multiply_adds(d)).sum::<u64>();
                    let Some(next) = unit.dims(d) else { return sum };
                    d = next;
                }
            }
        }
        sum
    }

    fn op(&mut self, op: Op) {
        self.out = op.out;
        if let Some(Unit::Chain(ops)) = self.units.last_mut() {
            ops.push(op);
        } else {
            self.units.push(Unit::Chain(vec![op]));
        }
    }

    /// Takes the pixels under the kernel as they are; a plain copy if that is one.
    fn patches(&mut self, kernel: (usize, usize), relu: bool) {
        let (c, out) = (self.out, kernel.0 * kernel.1 * self.out);
        self.op(Op { kernel, stride: 1, pad: 0, c, out, relu, dense: false, work: Work::Patches });
    }

    fn relu(&mut self) {
        match self.units.last_mut() {
            Some(Unit::Chain(ops)) => ops.iter_mut().last().into_iter().for_each(|op| op.relu = true),
            Some(Unit::Branches(branches)) => branches.iter_mut().for_each(Self::relu),
            None => self.patches((1, 1), true),
        }
    }
}

/// What compiling needs beside the layers.
pub(super) struct Compiler<'a> {
    pub(super) isa: Isa,
    pub(super) weights: &'a Weights,
}

impl Compiler<'_> {
    /// Compiles `layers`, whose arrays are named `parent.…`; `input` is what one window gives them.
    pub(super) fn program(&self, layers: &[Layer], parent: &str, input: Dims) -> Result<Program> {
        let mut program = Program { units: Vec::new(), out: input.c };
        let mut d = input;
        // The map that a fully connected layer's Flatten stood on.
        let mut flattened = None;
        for (i, layer) in layers.iter().enumerate() {
            let name = path(parent, i);
            let norm = matches!(layers.get(i + 1), Some(Layer::BatchNorm)).then(|| path(parent, i + 1));
            let plain = |kernel, stride, pad, out, work| Op {
                kernel: (kernel, kernel),
                stride,
                pad,
                c: d.c,
                out,
                relu: false,
                dense: false,
                work,
            };
            match layer {
                Layer::Conv { out, kernel, stride, pad } => {
                    let packed = self.packed(kernel * kernel * d.c, *out, &name, norm.as_deref())?;
                    program.op(plain(*kernel, *stride, *pad, *out, Work::Linear(packed)));
                }
                Layer::Dense(out) => {
                    let map = flattened.take().unwrap_or(d);
                    let packed = self.packed(map.len(), *out, &name, norm.as_deref())?;
                    let op = plain(1, 1, 0, *out, Work::Linear(packed));
                    program.op(Op { kernel: (map.h, map.w), c: map.c, dense: true, ..op });
                }
                Layer::Depthwise { kernel, stride, pad } => {
                    let (weight, bias) = self.weights.folded(d.c, &name, norm.as_deref())?;
                    let taps = Taps::new(self.isa, *kernel, d.c, &weight, &bias);
                    program.op(plain(*kernel, *stride, *pad, d.c, Work::Depthwise(taps)));
                }
                Layer::MaxPool { size, stride, pad } => program.op(plain(*size, *stride, *pad, d.c, Work::Max)),
                Layer::Shrink(n) => program.op(plain(*n, *n, 0, d.c, Work::Mean)),
                Layer::Relu => program.relu(),
                Layer::Flatten => {
                    let next = layers[i + 1..].iter().find(|l| !matches!(l, Layer::Dropout(_)));
                    if matches!(next, Some(Layer::Dense(_))) {
                        flattened = Some(d);
                    } else if (d.h, d.w) != (1, 1) {
                        program.patches((d.h, d.w), false);
                    }
                }
                Layer::Branches(branches) => {
                    let branches: Result<Vec<Program>> = branches
                        .iter()
                        .enumerate()
                        .map(|(b, layers)| self.program(layers, &path(&name, b), d))
                        .collect();
                    let unit = Unit::Branches(branches?);
                    program.out = unit.out();
                    program.units.push(unit);
                }
                Layer::BatchNorm | Layer::Dropout(_) => {}
            }
            d = layer.dims(d).unwrap_or(d);
        }
        if program.units.is_empty() {
            program.patches((1, 1), false);
        }
        Ok(program)
    }

    fn packed(&self, inputs: usize, outputs: usize, name: &str, norm: Option<&str>) -> Result<Packed> {
        let (weight, bias) = self.weights.folded(outputs, name, norm)?;
        Ok(Packed::new(self.isa, inputs, outputs, &weight, &bias))
    }
}
