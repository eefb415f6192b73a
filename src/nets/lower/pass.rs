//! The pass from a list of layers to operations.

use super::{Arrays, Block, Head, Lowered, Op, OpKind, Part, Purpose, Sequence, agreed, doubles};
use crate::error::{Error, Result};
use crate::nets::spec::{Dims, Input, Layer, Net};
use crate::nets::weights::{head_path, path as child};

impl Net {
    /// The net's operations for one purpose.
    ///
    /// # Errors
    /// If the layers do not fit each other on one window, if a batch norm stands behind a layer without weights, if a block
    /// or a head reads a map that is not made before it, or if a head has another number of outputs than its meaning asks for.
    pub fn lower(&self, purpose: Purpose) -> Result<Lowered> {
        let lowering = Lowering { net: self.name, purpose };
        let trunk = lowering.sequence(&self.trunk, "trunk", self.window())?;
        let mut maps = vec![trunk.output];
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (i, block) in self.blocks.iter().enumerate() {
            let name = format!("block{}", i + 1);
            let input = lowering.input(block.input, &maps, &name)?;
            let ops = lowering.sequence(&block.layers, &name, input)?;
            maps.push(ops.output);
            blocks.push(Block { input: block.input, ops });
        }
        let heads = self.heads.iter().map(|head| {
            let name = head_path(head.output);
            let input = lowering.input(Input::Map(head.from), &maps, &name)?;
            let ops = lowering.sequence(&head.layers, &name, input)?;
            let outputs = ops.output.c;
            if !head.output.takes(outputs) {
                return Err(lowering.fault(format!("the head {name} can't give {outputs} outputs")));
            }
            Ok(Head { output: head.output, from: head.from, ops })
        });
        Ok(Lowered { heads: heads.collect::<Result<_>>()?, trunk, blocks })
    }

    /// Checks what [`Self::lower`] checks.
    ///
    /// # Errors
    /// As [`Self::lower`].
    pub fn check(&self) -> Result<()> {
        self.lower(Purpose::Inference).map(drop)
    }

    /// Multiply-adds of trunk and all heads over `h` × `w` pixels, fully convolutionally; 0 if they are too few, or if
    /// the layers do not fit each other.
    pub fn multiply_adds(&self, h: usize, w: usize) -> u64 {
        self.lower(Purpose::Inference).map_or(0, |lowered| lowered.multiply_adds((h, w)))
    }
}

struct Lowering<'a> {
    net: &'a str,
    purpose: Purpose,
}

/// A sequence that grows layer by layer.
struct Growing {
    parts: Vec<Part<Option<Arrays>>>,
    /// Dimensions behind the last part.
    d: Dims,
    /// Whether a Flatten waits for the fully connected layer that reads its map as it is.
    flat: bool,
}

impl Growing {
    /// Appends an operation; says what is wrong where the map is too small for it.
    fn push(&mut self, op: Op) -> std::result::Result<(), String> {
        let Some((h, w)) = op.dims((self.d.h, self.d.w)) else {
            let (kh, kw) = op.kernel;
            return Err(format!("{}: a map of {} × {} is too small for {kh} × {kw}", op.path, self.d.h, self.d.w));
        };
        let op = Op { output: Dims { h, w, ..op.output }, ..op };
        self.d = op.output;
        if let Some(Part::Chain(ops)) = self.parts.last_mut() {
            ops.push(op);
        } else {
            self.parts.push(Part::Chain(vec![op]));
        }
        Ok(())
    }

    /// An operation with a square kernel, `out` channels and no arrays.
    fn op(&self, path: &str, kind: OpKind, (kernel, stride, pad): (usize, usize, usize), out: usize) -> Op {
        Op {
            kind,
            path: path.into(),
            input: self.d,
            output: Dims { c: out, ..self.d },
            kernel: (kernel, kernel),
            stride,
            pad,
            relu: false,
            arrays: None,
        }
    }

    fn gather(&mut self, path: &str, kernel: (usize, usize)) -> std::result::Result<(), String> {
        let op = self.op(path, OpKind::Gather, (1, 1, 0), kernel.0 * kernel.1 * self.d.c);
        self.push(Op { kernel, ..op })
    }

    /// Appends a copy that flattens the map, if a Flatten waits and no fully connected layer follows it.
    fn settle(&mut self, path: &str) -> std::result::Result<(), String> {
        let side = (self.d.h, self.d.w);
        if std::mem::take(&mut self.flat) && side != (1, 1) { self.gather(path, side) } else { Ok(()) }
    }
}

impl Lowering<'_> {
    fn fault(&self, reason: String) -> Error {
        Error::Net { net: self.net.into(), reason }
    }

    /// Dimensions of what the block or head `name` reads, of the `maps` made before it.
    fn input(&self, input: Input, maps: &[Dims], name: &str) -> Result<Dims> {
        let map = |map: usize| {
            let missing = || self.fault(format!("{name} reads map {map}, before which there are only {}", maps.len()));
            maps.get(map).copied().ok_or_else(missing)
        };
        let (fine, coarse) = input.maps();
        let fine = map(fine)?;
        if let Some(coarse) = coarse.map(map).transpose()?
            && !(doubles(coarse.h, fine.h) && doubles(coarse.w, fine.w) && coarse.c == fine.c)
        {
            return Err(
                self.fault(format!("{name} adds a map of {coarse:?} to one of {fine:?}: it must be half as large"))
            );
        }
        Ok(fine)
    }

    /// Lowers `layers`, whose arrays are named `parent.…`; `input` is what one window gives them.
    fn sequence(&self, layers: &[Layer], parent: &str, input: Dims) -> Result<Sequence<Option<Arrays>>> {
        let mut growing = Growing { parts: Vec::new(), d: input, flat: false };
        for (i, layer) in layers.iter().enumerate() {
            let path = child(parent, i);
            if *layer == Layer::BatchNorm && !(i > 0 && layers[i - 1].takes_norm()) {
                return Err(self.fault(format!("the batch norm {path} does not stand behind a linear layer")));
            }
            if !matches!(layer, Layer::Dense(_) | Layer::Dropout(_)) {
                growing.settle(&path).map_err(|reason| self.fault(reason))?;
            }
            self.layer(layer, &path, &mut growing)?;
        }
        let end = growing.settle(parent).and_then(|()| match growing.parts.is_empty() {
            true => growing.gather(parent, (1, 1)),
            false => Ok(()),
        });
        end.map_err(|reason| self.fault(reason))?;
        Ok(Sequence { parts: growing.parts, output: growing.d })
    }

    /// Appends what one layer computes.
    fn layer(&self, layer: &Layer, path: &str, to: &mut Growing) -> Result<()> {
        let d = to.d;
        let linear = |weight: Vec<usize>| Some(Arrays { weight, norm: None });
        let added = match *layer {
            Layer::Conv { out, kernel, stride, pad } => to.push(Op {
                arrays: linear(vec![kernel, kernel, d.c, out]),
                ..to.op(path, OpKind::Conv, (kernel, stride, pad), out)
            }),
            Layer::Dense(out) => {
                to.flat = false;
                let op = to.op(path, OpKind::Dense, (1, 1, 0), out);
                to.push(Op { kernel: (d.h, d.w), arrays: linear(vec![d.len(), out]), ..op })
            }
            Layer::Depthwise { kernel, stride, pad } => to.push(Op {
                arrays: linear(vec![kernel, kernel, d.c]),
                ..to.op(path, OpKind::Depthwise, (kernel, stride, pad), d.c)
            }),
            Layer::MaxPool { size, stride, pad } => to.push(to.op(path, OpKind::MaxPool, (size, stride, pad), d.c)),
            Layer::AveragePool(n) => to.push(to.op(path, OpKind::AveragePool, (n, n, 0), d.c)),
            Layer::Dropout(p) if self.purpose == Purpose::Training => {
                to.push(to.op(path, OpKind::Dropout(p), (1, 1, 0), d.c))
            }
            Layer::Dropout(_) => Ok(()),
            Layer::Flatten => {
                to.flat = true;
                Ok(())
            }
            Layer::BatchNorm => {
                if let Some(Part::Chain(ops)) = to.parts.last_mut()
                    && let Some(Op { arrays: Some(arrays), .. }) = ops.last_mut()
                {
                    arrays.norm = Some(path.into());
                }
                Ok(())
            }
            Layer::Relu => {
                let copy = if to.parts.is_empty() { to.gather(path, (1, 1)) } else { Ok(()) };
                to.parts.iter_mut().last().into_iter().for_each(Part::relu);
                copy
            }
            Layer::Branches(ref branches) => {
                let branches = branches.iter().enumerate();
                let branches: Vec<Sequence<_>> =
                    branches.map(|(b, layers)| self.sequence(layers, &child(path, b), d)).collect::<Result<_>>()?;
                let sides = agreed(&branches, |branch| Some((branch.output.h, branch.output.w)));
                let part = Part::Branches(branches);
                let Some((h, w)) = sides else {
                    return Err(self.fault(format!("the branches at {path} give maps of different sides")));
                };
                to.d = Dims::new(h, w, part.channels());
                to.parts.push(part);
                Ok(())
            }
        };
        added.map_err(|reason| self.fault(reason))
    }
}

/// Dimensions behind layers that read `input`; `None` where they do not fit.
#[cfg(test)]
pub(in crate::nets) fn dims_of(layers: &[Layer], input: Dims) -> Option<Dims> {
    let lowering = Lowering { net: "test", purpose: Purpose::Inference };
    lowering.sequence(layers, "trunk", input).ok().map(|sequence| sequence.output)
}
