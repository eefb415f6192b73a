//! The inference engine in bytes: one net, ready to run on one core, at two to four times the speed of the engine for floats.
//!
//! Weights are signed bytes with a scale for each output, activations unsigned bytes with a scale and a zero point for each channel,
//! both chosen by [`calibrate`] and kept in a file of their own ([`quantised`]). Sums are exact, and each is rounded once, to the next
//! layer's bytes; so every instruction set gives the same bytes, and the heads' numbers are equal to the bit. `prepare` makes the lowered operations
//! into [`kernels`], `run` and `stream` walk over them as those of [`super::cpu`] do.

pub mod calibrate;
mod kernels;
mod prepare;
pub mod quantised;
mod run;
mod stream;
#[cfg(test)]
mod tests;

pub use kernels::Isa;

use self::prepare::{Preparation, Prepared, PreparedSum};
use self::quantised::Quantised;
use self::run::{Runner, values};
use self::stream::{Data, Maps, Sum, Target, Values};
use super::kernels::aligned::Aligned;
use super::lower::{Lowered, Purpose};
use super::spec::{Dims, Input, Net, Output};
use crate::error::Result;

/// One net with its quantised weights, packed for the machine's vectors. Threads can share an engine, each with
/// a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    isa: Isa,
    lowered: Lowered<Prepared>,
    /// What makes the input of each map that reads a sum.
    sums: Vec<Option<PreparedSum>>,
    /// Whether the net can be run on more than a window.
    whole: bool,
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
    /// If the net's layers do not fit each other, the weights do not fit the net, or a head does not end in a convolution or a
    /// fully connected layer.
    pub fn new(net: &Net, weights: &Quantised) -> Result<Self> {
        Self::with_isa(net, weights, Isa::best())
    }

    /// An engine for a given instruction set, which this machine must have.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_isa(net: &Net, weights: &Quantised, isa: Isa) -> Result<Self> {
        let lowered = net.lower(Purpose::Inference)?;
        weights.check(net, weights.notes.get("net").map_or(net.name, String::as_str))?;
        let (lowered, sums) = Preparation { net: net.name, isa, weights }.net(&lowered)?;
        let whole = lowered.stride(lowered.maps() - 1).and(lowered.trunk.stride()).is_some();
        Ok(Self { net: net.clone(), isa, lowered, sums, whole })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Dimensions of the trunk's features for an input of `h` × `w` pixels; `None` if it is too small for one cell of any map.
    pub fn dims(&self, h: usize, w: usize) -> Option<Dims> {
        if !self.whole && !self.is_window(h, w) {
            return None;
        }
        // The last map alone may not read all others.
        for map in 1..self.lowered.maps() {
            self.lowered.dims(map, (h, w))?;
        }
        let (h, w) = self.lowered.trunk.dims((h, w))?;
        Some(Dims { h, w, ..self.lowered.trunk.output })
    }

    /// Rows and columns of a map, and values in each of its pixels, for an input of these rows and columns.
    fn map_dims(&self, map: usize, from: (usize, usize)) -> Option<Dims> {
        let (h, w) = self.lowered.dims(map, from)?;
        Some(Dims { h, w, c: values(self.lowered.map_of(map).1) })
    }

    fn is_window(&self, h: usize, w: usize) -> bool {
        (h, w) == (self.net.side, self.net.side)
    }

    /// Runs the trunk as [`super::cpu::Engine::trunk`] does, over `n` inputs `[n, h, w, 3]` of normalised pixels, (v − 127.5) / 128,
    /// each of which becomes the nearest byte.
    ///
    /// Returns the dimensions of one input's features, or `None` if the input is too small.
    ///
    /// # Panics
    /// If `input` is not `n · h · w · 3` long.
    pub fn trunk(&self, input: &[f32], n: usize, h: usize, w: usize, scratch: &mut Scratch) -> Option<Dims> {
        assert_eq!(input.len(), n * h * w * 3, "the input is not [{n}, {h}, {w}, 3]");
        self.run_trunk(Maps { data: Data::Floats(input), n, h, w, c: 3 }, scratch)
    }

    /// As [`Self::trunk`], over pictures `[n, h, w, 3]` as they are.
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
        (scratch.n, scratch.dims) = (n, Some(dims));
        scratch.input = (h, w);
        let Scratch { runner, features, .. } = scratch;
        features.resize_with(features.len().max(self.lowered.maps()), Aligned::default);
        for map in 0..self.lowered.maps() {
            let (input, ops) = self.lowered.map_of(map);
            let d = self.map_dims(map, (h, w))?;
            let (done, rest) = features.split_at_mut(map);
            let source = match input {
                Some(input) => self.input_maps(map, input, done, n, (h, w))?,
                None => source,
            };
            let data = Values::Bytes(bytemuck::cast_slice_mut(rest[0].at_least((n * d.len()).div_ceil(4))));
            runner.run(self.isa, ops, self.is_window(h, w), source, &mut Target { data, step: d.c });
        }
        Some(dims)
    }

    /// What the block with the map `map` reads of the maps that are `done`, for `n` inputs of these rows and columns.
    fn input_maps<'a>(
        &'a self,
        map: usize,
        input: Input,
        done: &'a [Aligned],
        n: usize,
        from: (usize, usize),
    ) -> Option<Maps<'a>> {
        let (fine, coarse) = input.maps();
        let Dims { h, w, c } = self.map_dims(fine, from)?;
        let fine = &bytes(&done[fine])[..n * h * w * c];
        let data = match coarse.zip(self.sums[map].as_ref()) {
            None => Data::Bytes(fine),
            Some((coarse, by)) => {
                let d = self.map_dims(coarse, from)?;
                Data::Sum(Sum { fine, coarse: bytes(&done[coarse]), coarse_rows: (d.h, d.w * d.c), by })
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
        let (window, features, len) = (self.lowered.map_of(from).1.output, bytes(&features[from]), d.len());
        let (data, n) = match rows {
            None => (&features[..*n * len], *n),
            Some(rows) => {
                let data: &mut [u8] = bytemuck::cast_slice_mut(chosen.at_least((rows.len() * len).div_ceil(4)));
                for (to, &row) in data.chunks_exact_mut(len).zip(rows) {
                    assert!(row < *n, "row {row} of {n}");
                    to.copy_from_slice(&features[row * len..][..len]);
                }
                (&*data, rows.len())
            }
        };
        let Some((h, w)) = sequence.dims((d.h, d.w)) else { return &[] };
        let windows = (d.h, d.w) == (window.h, window.w);
        let data = Maps { data: Data::Bytes(data), n, h: d.h, w: d.w, c: d.c };
        let len = n * h * w * sequence.output.c;
        let mut target = Target { data: Values::Reals(outputs.at_least(len)), step: sequence.output.c };
        runner.run(self.isa, sequence, windows, data, &mut target);
        &outputs.as_slice()[..len]
    }
}

fn bytes(map: &Aligned) -> &[u8] {
    bytemuck::cast_slice(map.as_slice())
}
