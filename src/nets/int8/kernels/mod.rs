//! The arithmetic of nets in bytes: activations are unsigned, weights signed, sums have 32 bits.
//!
//! Maps are channels last, and their channels fill up to whole vectors of [`LANES`]; the channels that are added are read as whatever
//! they hold and multiplied by zero. A map that a depthwise convolution reads keeps four rows of each channel side by side.

mod depthwise;
mod dots;
mod input;
mod linear;
mod plain;
mod row;

pub(super) use depthwise::{SLOTS, Taps};
pub use dots::Isa;
pub(super) use input::{add_doubled, nearest};
pub(super) use linear::Packed;
pub(super) use plain::{Depthwise as DeepDepthwise, Plain, insert};
pub(super) use row::{Output, Row};

use self::dots::Dots;
use crate::nets::kernels::aligned::Aligned;

/// Channels of a map are a multiple of this.
pub(super) const LANES: usize = 16;

/// Channels of a map that holds `channels`.
pub(super) const fn padded(channels: usize) -> usize {
    channels.div_ceil(LANES) * LANES
}

/// How sums become bytes: the integer nearest to (sum + bias) × multiplier. For outputs that stay real: that number itself.
#[derive(Debug, Clone)]
pub(super) struct Requantise {
    bias: Vec<i32>,
    multiplier: Vec<f32>,
}

impl Requantise {
    fn new(bias: &[i32], multiplier: &[f32]) -> Self {
        assert_eq!(bias.len(), multiplier.len());
        let (mut bias, mut multiplier) = (bias.to_vec(), multiplier.to_vec());
        bias.resize(padded(bias.len()), 0);
        multiplier.resize(bias.len(), 0.0);
        Self { bias, multiplier }
    }

    /// Makes up for what an instruction set takes from each activation; `weights` gives the sum of the weights of each of so many
    /// outputs.
    fn for_isa(mut self, isa: Isa, outputs: usize, weights: impl Fn(usize) -> i32) -> Self {
        if isa.offset() != 0 {
            self.bias.iter_mut().take(outputs).enumerate().for_each(|(i, bias)| *bias += isa.offset() * weights(i));
        }
        self
    }

    /// Channels, those included that fill up the last vector.
    fn padded(&self) -> usize {
        self.bias.len()
    }

    /// # Safety
    /// The machine has the instruction set of `D`; `channel` + `D::N` channels are there.
    #[inline(always)]
    unsafe fn bias<D: Dots>(&self, channel: usize) -> D {
        debug_assert!(channel + D::N <= self.bias.len());
        // SAFETY: the caller's.
        unsafe { D::load(self.bias.as_ptr().add(channel)) }
    }

    /// # Safety
    /// As [`Self::bias`].
    #[inline(always)]
    unsafe fn multiplier<D: Dots>(&self, channel: usize) -> D::Reals {
        debug_assert!(channel + D::N <= self.bias.len());
        // SAFETY: the caller's.
        unsafe { D::reals(self.multiplier.as_ptr().add(channel)) }
    }
}

/// Weights that begin at a cache line.
fn aligned(weights: &[i8]) -> Aligned {
    let mut aligned = Aligned::default();
    bytemuck::cast_slice_mut(aligned.at_least(weights.len().div_ceil(4)))[..weights.len()].copy_from_slice(weights);
    aligned
}

/// Runs a block with 0, 1, … `count` − 1 ≤ 11 in place of the name, without a loop: what it indexes stays in registers. (A
/// closure would not take on the instruction set.)
macro_rules! unrolled {
    ($name:ident < $count:expr, $body:block) => {
        $crate::nets::int8::kernels::unrolled!($name, $count, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    ($name:ident, $count:expr, $body:block, $($number:literal)*) => {
        $(if $number < $count {
            let $name = $number;
            $body
        })*
    };
}
use unrolled;

/// An array of what an expression gives for 0, 1, … in place of the name. (`std::array::from_fn` may be compiled on its own, without the
/// instruction set.)
macro_rules! array {
    ($name:ident < $count:expr, $value:expr) => {{
        let $name = 0;
        let mut all = [$value; $count];
        for $name in 1..$count {
            all[$name] = $value;
        }
        all
    }};
}
use array;
