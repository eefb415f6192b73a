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

use self::prepare::{Channels, Preparation};
use self::quantised::Quantised;
use self::run::{Runner, Sequence, values};
use self::stream::{Data, Maps, Target, Values};
use super::kernels::aligned::Aligned;
use super::lower::Purpose;
use super::spec::{Dims, Net, Output};
use crate::error::{Error, Result};

/// One net with its quantised weights, packed for the machine's vectors. Threads can share an engine, each with
/// a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Engine {
    net: Net,
    isa: Isa,
    trunk: Sequence,
    heads: Vec<(Output, Sequence)>,
    /// Values in a pixel of the features.
    values: usize,
    /// Whether the net can be run on more than a window.
    whole: bool,
}

/// An engine's buffers. They grow to the size of the largest input; after that nothing is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    runner: Runner,
    features: Aligned,
    /// Inputs of the last trunk, and the dimensions of the features of each.
    n: usize,
    dims: Option<Dims>,
    chosen: Aligned,
    outputs: Aligned,
}

/// Refuses a net that looks at several strides: it runs in floats only.
fn refuse_blocks(net: &Net) -> Result<()> {
    if net.blocks.is_empty() {
        return Ok(());
    }
    let reason = "it has blocks behind its trunk, and so runs in floats only (--precision f32)";
    Err(Error::Net { net: net.name.into(), reason: reason.into() })
}

impl Engine {
    /// An engine for this machine's best instruction set.
    ///
    /// # Errors
    /// If the net's layers do not fit each other, the weights do not fit the net, a head does not end in a convolution or a
    /// fully connected layer, or the net has blocks behind its trunk.
    pub fn new(net: &Net, weights: &Quantised) -> Result<Self> {
        Self::with_isa(net, weights, Isa::best())
    }

    /// An engine for a given instruction set, which this machine must have.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_isa(net: &Net, weights: &Quantised, isa: Isa) -> Result<Self> {
        refuse_blocks(net)?;
        let lowered = net.lower(Purpose::Inference)?;
        weights.check(net, weights.notes.get("net").map_or(net.name, String::as_str))?;
        let preparation = Preparation { net: net.name, isa, weights };
        let (trunk, channels) = preparation.sequence(&lowered.trunk, Channels::picture(), false)?;
        let mut heads = Vec::with_capacity(lowered.heads.len());
        for head in &lowered.heads {
            heads.push((head.output, preparation.sequence(&head.ops, channels.clone(), true)?.0));
        }
        Ok(Self { net: net.clone(), isa, values: values(&trunk), whole: trunk.stride().is_some(), trunk, heads })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Dimensions of the trunk's features for an input of `h` × `w` pixels; `None` if it is too small for one cell.
    pub fn dims(&self, h: usize, w: usize) -> Option<Dims> {
        if !self.whole && !self.is_window(h, w) {
            return None;
        }
        let (h, w) = self.trunk.dims((h, w))?;
        Some(Dims { h, w, ..self.trunk.output })
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
        let len = n * dims.h * dims.w * self.values;
        let data = Values::Bytes(bytemuck::cast_slice_mut(scratch.features.at_least(len.div_ceil(4))));
        let mut target = Target { data, step: self.values };
        scratch.runner.run(self.isa, &self.trunk, self.is_window(h, w), source, &mut target);
        Some(dims)
    }

    /// Runs a head on the features that this engine's last [`Self::trunk`] left in `scratch`: on all of them, or only
    /// on those of the inputs `rows`, in that order. Returns `[rows · cells, outputs of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, if the scratch holds no features of this net, or if a row is out of range.
    pub fn head<'s>(&self, output: Output, rows: Option<&[usize]>, scratch: &'s mut Scratch) -> &'s [f32] {
        let Some((_, sequence)) = self.heads.iter().find(|(o, _)| *o == output) else {
            panic!("the net {} has no {output:?} head", self.net.name)
        };
        let Scratch { runner, features, n, dims, chosen, outputs } = scratch;
        let window = self.trunk.output;
        let Some(d) = dims.filter(|d| d.c == window.c) else { panic!("run the trunk of {} first", self.net.name) };
        let len = d.h * d.w * self.values;
        let features: &[u8] = bytemuck::cast_slice(features.as_slice());
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
        let data = Maps { data: Data::Bytes(data), n, h: d.h, w: d.w, c: self.values };
        let len = n * h * w * sequence.output.c;
        let mut target = Target { data: Values::Reals(outputs.at_least(len)), step: sequence.output.c };
        runner.run(self.isa, sequence, windows, data, &mut target);
        &outputs.as_slice()[..len]
    }
}
