//! Pooling, copies, and depthwise convolutions of more rows than a group holds: plain loops over [`LANES`] channels, which
//! compilers make vectors of.

use super::dots::{Dots, Isa, Kernel};
use super::input::byte_of;
use super::row::{Output, Row};
use super::{LANES, Requantise};

/// What becomes of the bytes under a kernel.
#[derive(Debug, Clone)]
pub(in crate::nets::int8) enum Plain {
    /// The greatest of each channel.
    Max,
    /// The mean of each channel, rounded to the nearest, of two the even one.
    Average,
    /// All, one behind the other.
    Gather,
    /// Weighted sums over each channel.
    Depthwise(Depthwise),
}

/// Weights of a depthwise convolution, `[row, column, channel]`.
#[derive(Debug, Clone)]
pub(in crate::nets::int8) struct Depthwise {
    weight: Vec<i8>,
    requantise: Requantise,
}

impl Depthwise {
    /// Packs what `weight` gives for (row, column, channel), of a kernel of `rows` × `columns`.
    pub(in crate::nets::int8) fn new(
        (rows, columns): (usize, usize),
        weight: impl Fn(usize, usize, usize) -> i8,
        bias: &[i32],
        multiplier: &[f32],
    ) -> Self {
        let requantise = Requantise::new(bias, multiplier);
        let at = |i: usize| {
            let (tap, channel) = (i / requantise.padded(), i % requantise.padded());
            if channel < bias.len() { weight(tap / columns, tap % columns, channel) } else { 0 }
        };
        Self { weight: (0..rows * columns * requantise.padded()).map(at).collect(), requantise }
    }
}

impl Plain {
    /// Computes a row, from `columns` pixels of `channels` bytes of every row of input; `floor` is the least that each
    /// channel may become, if there is one.
    pub(in crate::nets::int8) fn run(
        &self,
        isa: Isa,
        input: &[u8],
        row: Row,
        (columns, channels): (usize, usize),
        floor: Option<&[u8]>,
    ) {
        let written = if matches!(self, Self::Gather) { row.rows.len() * columns * channels } else { channels };
        assert!(channels.is_multiple_of(LANES) && floor.is_none_or(|floor| floor.len() == written));
        row.check(input.len(), columns * channels, written);
        isa.run(Work { plain: self, input, row, columns, channels, floor });
    }
}

struct Work<'a> {
    plain: &'a Plain,
    input: &'a [u8],
    row: Row<'a>,
    columns: usize,
    channels: usize,
    floor: Option<&'a [u8]>,
}

type Lanes = [u8; LANES];

impl Kernel for Work<'_> {
    #[inline(always)]
    unsafe fn run<D: Dots>(mut self) {
        for item in 0..self.row.items {
            for x in 0..self.row.width {
                let from = item * self.row.input_item + x * self.row.input_step;
                let to = item * self.row.output_item + x * self.row.output_step;
                self.pixel(from, to);
            }
        }
    }
}

impl Work<'_> {
    #[inline(always)]
    fn pixel(&mut self, from: usize, to: usize) {
        if let Plain::Gather = self.plain {
            let length = self.columns * self.channels;
            for r in 0..self.row.rows.len() {
                for c in (0..length).step_by(LANES) {
                    let bytes = self.load(self.row.rows[r] + from + c);
                    self.store(to, r * length + c, bytes);
                }
            }
            return;
        }
        for c in (0..self.channels).step_by(LANES) {
            let bytes = match self.plain {
                Plain::Max => self.greatest(from + c),
                Plain::Average => {
                    let share = 1.0 / (self.columns * self.row.rows.len()) as f32;
                    bytes(&self.sums(from + c, c, [0; LANES], None), &[share; LANES])
                }
                Plain::Depthwise(Depthwise { weight, requantise }) => {
                    let (mut bias, mut by) = ([0; LANES], [0.0; LANES]);
                    bias.copy_from_slice(&requantise.bias[c..c + LANES]);
                    by.copy_from_slice(&requantise.multiplier[c..c + LANES]);
                    bytes(&self.sums(from + c, c, bias, Some(weight)), &by)
                }
                Plain::Gather => unreachable!("see above"),
            };
            self.store(to, c, bytes);
        }
    }

    /// The greatest byte of each channel under the kernel.
    #[inline(always)]
    fn greatest(&self, from: usize) -> Lanes {
        let mut most = [0; LANES];
        for at in self.row.rows {
            for k in 0..self.columns {
                let bytes = self.load(at + from + k * self.channels);
                for i in 0..LANES {
                    most[i] = bytes[i].max(most[i]);
                }
            }
        }
        most
    }

    /// Adds to `sums` the bytes of the channels from `c` on under the kernel, multiplied by `weight` if there is one.
    #[inline(always)]
    fn sums(&self, from: usize, c: usize, mut sums: [i32; LANES], weight: Option<&[i8]>) -> [i32; LANES] {
        for (r, at) in self.row.rows.iter().enumerate() {
            for k in 0..self.columns {
                let bytes = self.load(at + from + k * self.channels);
                match weight {
                    None => {
                        for i in 0..LANES {
                            sums[i] += i32::from(bytes[i]);
                        }
                    }
                    Some(weight) => {
                        let weight = &weight[(r * self.columns + k) * self.channels + c..][..LANES];
                        for i in 0..LANES {
                            sums[i] += i32::from(bytes[i]) * i32::from(weight[i]);
                        }
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn load(&self, at: usize) -> Lanes {
        self.input[at..at + LANES].try_into().expect("as many")
    }

    #[inline(always)]
    fn store(&mut self, to: usize, c: usize, mut bytes: Lanes) {
        if let Some(floor) = self.floor {
            bytes.iter_mut().zip(&floor[c..c + LANES]).for_each(|(v, floor)| *v = (*v).max(*floor));
        }
        match &mut self.row.output {
            Output::Bytes(data) => data[to + c..to + c + LANES].copy_from_slice(&bytes),
            Output::Quads(data, slot) => insert(&mut data[to + c..to + c + LANES], *slot, &bytes),
            Output::Reals(..) => unreachable!("the engine refuses such nets"),
        }
    }
}

/// The bytes of sums, rounded as [`Dots::rounded`] does it.
#[inline(always)]
fn bytes(sums: &[i32; LANES], by: &[f32; LANES]) -> Lanes {
    let mut bytes = [0; LANES];
    for i in 0..LANES {
        bytes[i] = byte_of(sums[i] as f32 * by[i]);
    }
    bytes
}

/// Puts bytes into the place `slot` of groups of four.
#[inline(always)]
pub(in crate::nets::int8) fn insert(quads: &mut [u32], slot: u32, bytes: &[u8]) {
    let shift = 8 * slot;
    for (quad, v) in quads.iter_mut().zip(bytes) {
        *quad = *quad & !(255 << shift) | u32::from(*v) << shift;
    }
}
