//! The fast inference engine: one net, ready to run on one core.
//!
//! The net's lowered operations each get the kernel that computes a row of them ([`super::kernels`]); `run` walks over
//! the operations, and `stream` passes rows of a map through a chain of them. Maps are channels last, `[n, h, w, c]`.

pub(in crate::nets) mod observe;
mod run;
mod stream;
#[cfg(test)]
pub(in crate::nets) mod tests;

use run::Runner;
use stream::{Data, Maps, Sum, Target};

use crate::error::Result;
use crate::nets::kernels::aligned::Aligned;
use crate::nets::kernels::{Isa, RowKernel};
use crate::nets::lower::{Lowered, Purpose};
use crate::nets::spec::{Dims, Input, Net, Output};
use crate::nets::weights::Weights;

/// One net with its weights, packed for the machine's vectors. Threads can share an engine, each with
/// a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    isa: Isa,
    lowered: Lowered<RowKernel>,
    /// Pixels between cells; `None` if the net can't be run on anything but windows.
    stride: Option<usize>,
}

/// An engine's buffers. They grow to the size of the largest input; after that nothing is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    runner: Runner,
    /// The trunk's features, and then those of the blocks.
    features: Vec<Aligned>,
    /// Inputs of the last trunk, their rows and columns, and the dimensions of the trunk's features of each.
    n: usize,
    input: (usize, usize),
    dims: Option<Dims>,
    chosen: Aligned,
    outputs: Aligned,
}

impl Engine {
    /// An engine for this machine's best instruction set.
    ///
    /// # Errors
    /// If the net's layers do not fit each other, or the weights do not fit the net.
    pub fn new(net: &Net, weights: &Weights) -> Result<Self> {
        Self::with_isa(net, weights, Isa::best())
    }

    /// An engine for a given instruction set, which this machine must have.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_isa(net: &Net, weights: &Weights, isa: Isa) -> Result<Self> {
        let lowered = net.lower(Purpose::Inference)?;
        weights.check(net, weights.notes.get("net").map_or(net.name, String::as_str))?;
        let lowered = lowered.map(|op| {
            let (weight, bias) = weights.folded(op)?;
            Ok(RowKernel::new(isa, op, &weight, &bias))
        })?;
        Ok(Self {
            net: net.clone(),
            isa,
            stride: lowered.stride(lowered.maps() - 1).and(lowered.trunk.stride()),
            lowered,
        })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Pixels between neighbouring cells of the trunk when the net is run over more than a window. For a net that can't be (its
    /// branches see the picture at several resolutions), the window's side.
    pub fn stride(&self) -> usize {
        self.stride.unwrap_or(self.net.side)
    }

    /// Multiply-adds of trunk, blocks and all heads over one input of `h` × `w` pixels, fully convolutionally; 0 if it is too
    /// small.
    pub fn multiply_adds(&self, h: usize, w: usize) -> u64 {
        if self.dims(h, w).is_some() { self.lowered.multiply_adds((h, w)) } else { 0 }
    }

    /// Multiply-adds of the trunk on one window.
    pub fn trunk_multiply_adds(&self) -> u64 {
        self.lowered.trunk.multiply_adds((self.net.side, self.net.side))
    }

    /// Multiply-adds of a head on one window; 0 if the net has no such head.
    pub fn head_multiply_adds(&self, output: Output) -> u64 {
        self.lowered.head(output).map_or(0, |head| {
            let Dims { h, w, .. } = self.lowered.map_of(head.from).1.output;
            head.ops.multiply_adds((h, w))
        })
    }

    /// Dimensions of the trunk's features for an input of `h` × `w` pixels; `None` if it is too small for one cell of any map.
    pub fn dims(&self, h: usize, w: usize) -> Option<Dims> {
        if self.stride.is_none() && !self.is_window(h, w) {
            return None;
        }
        // The last map alone may not read all others.
        for map in 1..self.lowered.maps() {
            self.lowered.dims(map, (h, w))?;
        }
        let (h, w) = self.lowered.trunk.dims((h, w))?;
        Some(Dims { h, w, ..self.lowered.trunk.output })
    }

    /// Dimensions of what a head gives for an input of `h` × `w` pixels; `None` if it is too small or the net has no such
    /// head.
    pub fn head_dims(&self, output: Output, h: usize, w: usize) -> Option<Dims> {
        let head = self.lowered.head(output)?;
        let (h, w) = head.ops.dims(self.lowered.dims(head.from, (h, w))?)?;
        Some(Dims { h, w, c: head.ops.output.c })
    }

    fn is_window(&self, h: usize, w: usize) -> bool {
        (h, w) == (self.net.side, self.net.side)
    }

    /// Runs trunk and blocks over `n` inputs `[n, h, w, 3]` of normalised pixels, (v − 127.5) / 128, and leaves their features in
    /// `scratch`. Inputs of the net's own side give one row of features each; over larger ones the trunk is run fully
    /// convolutionally, with its first fully connected layer as a convolution, and every cell [`Self::stride`] pixels
    /// apart gets what its window would have given, but that the border's zeros are only round the whole.
    ///
    /// Returns the dimensions of one input's features behind the trunk, or `None` if the input is too small.
    ///
    /// # Panics
    /// If `input` is not `n · h · w · 3` long.
    pub fn trunk(&self, input: &[f32], n: usize, h: usize, w: usize, scratch: &mut Scratch) -> Option<Dims> {
        assert_eq!(input.len(), n * h * w * 3, "the input is not [{n}, {h}, {w}, 3]");
        self.run_trunk(Maps { data: Data::Floats(input), n, h, w, c: 3 }, scratch)
    }

    /// As [`Self::trunk`], over pictures `[n, h, w, 3]` as they are: bytes become (v − 127.5) / 128 as they are read.
    ///
    /// # Panics
    /// As [`Self::trunk`].
    pub fn trunk_rgb(&self, input: &[u8], n: usize, h: usize, w: usize, scratch: &mut Scratch) -> Option<Dims> {
        assert_eq!(input.len(), n * h * w * 3, "the input is not [{n}, {h}, {w}, 3]");
        self.run_trunk(Maps { data: Data::Bytes(input), n, h, w, c: 3 }, scratch)
    }

    fn run_trunk(&self, source: Maps, scratch: &mut Scratch) -> Option<Dims> {
        let Maps { n, h, w, .. } = source;
        scratch.dims = None;
        let dims = self.dims(h, w)?;
        (scratch.n, scratch.input, scratch.dims) = (n, (h, w), Some(dims));
        let Scratch { runner, features, .. } = scratch;
        features.resize_with(features.len().max(self.lowered.maps()), Aligned::default);
        for map in 0..self.lowered.maps() {
            let (input, ops) = self.lowered.map_of(map);
            let dims = self.map_dims(map, (h, w))?;
            let (done, rest) = features.split_at_mut(map);
            let source = match input {
                Some(input) => self.input_maps(input, done, n, (h, w))?,
                None => source,
            };
            let mut target = Target { data: rest[0].at_least(n * dims.len()), step: dims.c };
            runner.run(self.isa, ops, self.is_window(h, w), source, &mut target);
        }
        Some(dims)
    }

    /// Dimensions of a map for an input of these rows and columns.
    fn map_dims(&self, map: usize, from: (usize, usize)) -> Option<Dims> {
        let (h, w) = self.lowered.dims(map, from)?;
        Some(Dims { h, w, ..self.lowered.map_of(map).1.output })
    }

    /// What a block reads of the maps that are `done`, for `n` inputs of these rows and columns.
    fn input_maps<'a>(&self, input: Input, done: &'a [Aligned], n: usize, from: (usize, usize)) -> Option<Maps<'a>> {
        let (fine, coarse) = input.maps();
        let Dims { h, w, c } = self.map_dims(fine, from)?;
        let fine = done[fine].as_slice();
        let data = match coarse {
            None => Data::Floats(&fine[..n * h * w * c]),
            Some(coarse) => {
                let d = self.map_dims(coarse, from)?;
                Data::Sum(Sum { fine, coarse: done[coarse].as_slice(), coarse_rows: (d.h, d.w * d.c) })
            }
        };
        Some(Maps { data, n, h, w, c })
    }

    /// Runs a head on the features that this engine's last [`Self::trunk`] left in `scratch`: on all of them, or only
    /// on those of the inputs `rows`, in that order. Returns `[rows · cells, outputs of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, if the scratch holds no features of this net, or if a row is out of range.
    pub fn head<'s>(&self, output: Output, rows: Option<&[usize]>, scratch: &'s mut Scratch) -> &'s [f32] {
        let Some(head) = self.lowered.head(output) else { panic!("the net {} has no {output:?} head", self.net.name) };
        let Scratch { runner, features, n, input, dims, chosen, outputs } = scratch;
        let (from, sequence) = (head.from, &head.ops);
        let ran = dims.is_some_and(|d| d.c == self.lowered.trunk.output.c);
        let Some(d) = self.map_dims(from, *input).filter(|_| ran) else {
            panic!("run the trunk of {} first", self.net.name)
        };
        let (window, features) = (self.lowered.map_of(from).1.output, features[from].as_slice());
        let (data, n) = match rows {
            None => (&features[..*n * d.len()], *n),
            Some(rows) => {
                let data = chosen.at_least(rows.len() * d.len());
                for (to, &row) in data.chunks_exact_mut(d.len()).zip(rows) {
                    assert!(row < *n, "row {row} of {n}");
                    to.copy_from_slice(&features[row * d.len()..][..d.len()]);
                }
                (&*data, rows.len())
            }
        };
        let Some((h, w)) = sequence.dims((d.h, d.w)) else { return &[] };
        let windows = (d.h, d.w) == (window.h, window.w);
        let data = Maps { data: Data::Floats(data), n, h: d.h, w: d.w, c: d.c };
        let len = n * h * w * sequence.output.c;
        let mut target = Target { data: outputs.at_least(len), step: sequence.output.c };
        runner.run(self.isa, sequence, windows, data, &mut target);
        &outputs.as_slice()[..len]
    }
}
