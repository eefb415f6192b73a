//! The fast inference engine: one net, ready to run on one core.
//!
//! `compile` folds the layers into operations, `run` walks over them, `stream` passes rows of a map through a chain of
//! them, and the kernels `linear` and `sliding` compute a row at a time. Maps are channels last, `[n, h, w, c]`.

mod buffer;
mod compile;
mod linear;
mod row;
mod run;
mod sliding;
mod stream;
#[cfg(test)]
mod tests;

use buffer::Buffer;
use compile::{Compiler, Program};
use run::Runner;
use stream::{Maps, Target};

use crate::error::Result;
use crate::nets::kernels::Isa;
use crate::nets::spec::{Dims, Net, Output};
use crate::nets::weights::{Weights, head_path};

/// One net with its weights, packed for the machine's vectors. It never changes and can be shared by threads, each
/// with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    isa: Isa,
    trunk: Program,
    heads: Vec<(Output, Program)>,
    /// What the trunk makes of one window.
    window: Dims,
    /// Pixels between cells; `None` if the net can't be run on anything but windows.
    stride: Option<usize>,
}

/// An engine's buffers. They grow to what the largest input needed, and from then on nothing is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    runner: Runner,
    features: Buffer,
    /// How many inputs the last trunk saw, and what it made of each.
    n: usize,
    dims: Option<Dims>,
    chosen: Buffer,
    outputs: Buffer,
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
        net.check()?;
        weights.check(net, weights.notes.get("net").map_or(net.name, String::as_str))?;
        let compiler = Compiler { isa, weights };
        let trunk = compiler.program(&net.trunk, "trunk", net.window())?;
        let Some(window) = net.trunk_dims(net.side, net.side) else { unreachable!("the net was checked") };
        let heads: Result<Vec<_>> = (net.heads.iter())
            .map(|head| Ok((head.output, compiler.program(&head.layers, head_path(head.output), window)?)))
            .collect();
        Ok(Self { net: net.clone(), isa, stride: trunk.stride(), trunk, heads: heads?, window })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Pixels between neighbouring cells when the net is run over more than a window. For a net that can't be (its
    /// branches see the picture at several resolutions), the window's side.
    pub fn stride(&self) -> usize {
        self.stride.unwrap_or(self.net.side)
    }

    /// Multiply-adds of the trunk and all heads over one input of `h` × `w` pixels, fully convolutionally; 0 if it is too
    /// small.
    pub fn multiply_adds(&self, h: usize, w: usize) -> u64 {
        let Some(cells) = self.dims(h, w) else { return 0 };
        let heads: u64 = self.heads.iter().map(|(_, head)| head.multiply_adds((cells.h, cells.w))).sum();
        self.trunk.multiply_adds((h, w)) + heads
    }

    /// Dimensions of the trunk's features for an input of `h` × `w` pixels; `None` if it is too small for one cell.
    pub fn dims(&self, h: usize, w: usize) -> Option<Dims> {
        if self.stride.is_none() && !self.is_window(h, w) {
            return None;
        }
        let (h, w) = self.trunk.dims((h, w))?;
        Some(Dims::new(h, w, self.trunk.out))
    }

    fn is_window(&self, h: usize, w: usize) -> bool {
        (h, w) == (self.net.side, self.net.side)
    }

    /// Runs the trunk over `n` inputs `[n, h, w, 3]` of normalised pixels, (v − 127.5) / 128, and leaves their features in
    /// `scratch`. Inputs of the net's own side give one row of features each; over larger ones the trunk is run fully
    /// convolutionally, with its first fully connected layer as a convolution, and every cell [`Self::stride`] pixels
    /// apart gets what its window would have given, but that the border's zeros are only round the whole.
    ///
    /// Returns the dimensions of one input's features, or `None` if the input is too small.
    ///
    /// # Panics
    /// If `input` is not `n · h · w · 3` long.
    pub fn trunk(&self, input: &[f32], n: usize, h: usize, w: usize, scratch: &mut Scratch) -> Option<Dims> {
        assert_eq!(input.len(), n * h * w * 3, "the input is not [{n}, {h}, {w}, 3]");
        scratch.dims = None;
        let dims = self.dims(h, w)?;
        (scratch.n, scratch.dims) = (n, Some(dims));
        let data = scratch.features.at_least(n * dims.len());
        let source = Maps { data: input, n, h, w, c: 3 };
        let mut target = Target { data, step: dims.c };
        scratch.runner.run(self.isa, &self.trunk, self.is_window(h, w), source, &mut target);
        Some(dims)
    }

    /// Runs a head on the features that this engine's last [`Self::trunk`] left in `scratch`: on all of them, or only
    /// on those of the inputs `rows`, in that order. Returns `[rows · cells, numbers of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, if the scratch holds no features of this net, or if a row is out of range.
    pub fn head<'s>(&self, output: Output, rows: Option<&[usize]>, scratch: &'s mut Scratch) -> &'s [f32] {
        let Some((_, program)) = self.heads.iter().find(|(o, _)| *o == output) else {
            panic!("the net {} has no {output:?} head", self.net.name)
        };
        let Scratch { runner, features, n, dims, chosen, outputs } = scratch;
        let Some(d) = dims.filter(|d| d.c == self.trunk.out) else {
            panic!("run the trunk of {} first", self.net.name)
        };
        let (data, n) = match rows {
            None => (&features.as_slice()[..*n * d.len()], *n),
            Some(rows) => {
                let data = chosen.at_least(rows.len() * d.len());
                for (to, &row) in data.chunks_exact_mut(d.len()).zip(rows) {
                    assert!(row < *n, "row {row} of {n}");
                    to.copy_from_slice(&features.as_slice()[row * d.len()..][..d.len()]);
                }
                (&*data, rows.len())
            }
        };
        let Some((h, w)) = program.dims((d.h, d.w)) else { return &[] };
        let windows = (d.h, d.w) == (self.window.h, self.window.w);
        let data = Maps { data, n, h: d.h, w: d.w, c: d.c };
        let len = n * h * w * program.out;
        let mut target = Target { data: outputs.at_least(len), step: program.out };
        runner.run(self.isa, program, windows, data, &mut target);
        &outputs.as_slice()[..len]
    }
}
