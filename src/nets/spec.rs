//! A net as a list of layers. Training (candle), CUDA and the fast CPU engine all read this one list.
//!
//! Activations are channels last, `[n, h, w, c]`; after [`Layer::Flatten`] or [`Layer::Dense`] they are `[n, 1, 1, c]`
//! with the features in (h, w, c) order. Weights: convolution `[kernel, kernel, in, out]`, depthwise
//! `[kernel, kernel, c]`, dense `[in, out]`, biases and batch norm's four vectors `[c]`.

use crate::error::{Error, Result};

/// One layer. `norm` stands for "batch norm follows, and so there is no bias".
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// A dense convolution (pointwise when `kernel` is 1), with bias; zero padding on all four sides.
    Conv {
        /// Channels that come out.
        out: usize,
        /// Side of the square kernel.
        kernel: usize,
        /// Step of the kernel.
        stride: usize,
        /// Zeros round the input.
        pad: usize,
    },
    /// A convolution of every channel on its own, with bias.
    Depthwise {
        /// Side of the square kernel.
        kernel: usize,
        /// Step of the kernel.
        stride: usize,
        /// Zeros round the input.
        pad: usize,
    },
    /// The greatest value of each `size` × `size` square; squares that do not fit whole are left out. Padding is never
    /// the greatest.
    MaxPool {
        /// Side of the square.
        size: usize,
        /// Step of the square.
        stride: usize,
        /// Border round the input.
        pad: usize,
    },
    /// The mean of each `n` × `n` square, step `n`: how a branch sees the window at a lower resolution.
    Shrink(usize),
    /// A fully connected layer with bias; flattens its input in (h, w, c) order.
    Dense(usize),
    /// Batch normalisation. It stands right behind Conv, Depthwise or Dense, whose bias is then left out.
    BatchNorm,
    /// max(x, 0).
    Relu,
    /// Drops features with this probability in training; nothing at detection.
    Dropout(f32),
    /// (h, w, c) → (1, 1, h·w·c).
    Flatten,
    /// Branches from the same input, joined by concatenation of their channels.
    Branches(Vec<Vec<Layer>>),
}

/// What a head's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// One logit, or two (background, face) whose difference is the logit.
    Face,
    /// 45 logits: the calibration classes of [`crate::cascade::calibration`].
    Calibration,
    /// dx, dy, ln w, ln h of the face's box relative to the window (in window sides, from its centre).
    Box,
    /// For each of the octave net's three sizes: logit, dx, dy, ln s.
    Octave,
    /// One logit: smiling or not.
    Smile,
}

/// A head: layers on the trunk's features, with a name for its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// What comes out.
    pub output: Output,
    /// Layers behind the trunk.
    pub layers: Vec<Layer>,
}

/// A net: its trunk and heads. The input is RGB, (v − 127.5) / 128.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    /// Name in the zoo and of its weights file.
    pub name: &'static str,
    /// Side of the window it was made for, pixels.
    pub side: usize,
    /// The shared layers.
    pub trunk: Vec<Layer>,
    /// What is read off the trunk.
    pub heads: Vec<Head>,
}

/// Height, width and channels of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Dims {
    /// Rows, columns, channels.
    pub const fn new(h: usize, w: usize, c: usize) -> Self {
        Self { h, w, c }
    }

    /// Numbers in it.
    pub const fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Output side of a window of `size` moved over `side` + 2 `pad`; `None` if it doesn't fit once.
pub const fn steps(side: usize, size: usize, stride: usize, pad: usize) -> Option<usize> {
    let padded = side + 2 * pad;
    if padded < size || stride == 0 { None } else { Some((padded - size) / stride + 1) }
}

impl Layer {
    /// The dimensions behind this layer, or `None` where the input is too small for it.
    pub fn dims(&self, d: Dims) -> Option<Dims> {
        let moved =
            |c, size, stride, pad| Some(Dims::new(steps(d.h, size, stride, pad)?, steps(d.w, size, stride, pad)?, c));
        match self {
            Self::Conv { out, kernel, stride, pad } => moved(*out, *kernel, *stride, *pad),
            Self::Depthwise { kernel, stride, pad } => moved(d.c, *kernel, *stride, *pad),
            Self::MaxPool { size, stride, pad } => moved(d.c, *size, *stride, *pad),
            Self::Shrink(n) => moved(d.c, *n, *n, 0),
            Self::Dense(out) => Some(Dims::new(1, 1, *out)),
            Self::Flatten => Some(Dims::new(1, 1, d.len())),
            Self::BatchNorm | Self::Relu | Self::Dropout(_) => Some(d),
            Self::Branches(branches) => {
                let ends: Option<Vec<Dims>> = branches.iter().map(|b| dims_of(b, d)).collect();
                let ends = ends?;
                let first = ends.first()?;
                ends.iter()
                    .all(|e| (e.h, e.w) == (first.h, first.w))
                    .then(|| Dims::new(first.h, first.w, ends.iter().map(|e| e.c).sum()))
            }
        }
    }

    /// Whether the layer multiplies by weights (and so may be followed by batch norm).
    pub fn is_linear(&self) -> bool {
        matches!(self, Self::Conv { .. } | Self::Depthwise { .. } | Self::Dense(_))
    }

    /// Multiply-adds for one input of dimensions `d`; pooling and activations count nothing.
    pub fn multiply_adds(&self, d: Dims) -> u64 {
        let out = self.dims(d).map_or(0, |o| o.len() as u64);
        match self {
            Self::Conv { kernel, .. } => out * (kernel * kernel * d.c) as u64,
            Self::Depthwise { kernel, .. } => out * (kernel * kernel) as u64,
            Self::Dense(_) => out * d.len() as u64,
            Self::Branches(branches) => branches.iter().map(|b| multiply_adds_of(b, d)).sum(),
            _ => 0,
        }
    }
}

/// Dimensions behind a list of layers.
pub fn dims_of(layers: &[Layer], input: Dims) -> Option<Dims> {
    layers.iter().try_fold(input, |d, layer| layer.dims(d))
}

/// Multiply-adds of a list of layers.
pub fn multiply_adds_of(layers: &[Layer], input: Dims) -> u64 {
    let mut d = input;
    let mut sum = 0;
    for layer in layers {
        sum += layer.multiply_adds(d);
        d = layer.dims(d).unwrap_or(Dims::new(0, 0, 0));
    }
    sum
}

impl Net {
    /// Dimensions of one window.
    pub fn window(&self) -> Dims {
        Dims::new(self.side, self.side, 3)
    }

    /// Dimensions behind the trunk for an input of `h` × `w` pixels.
    pub fn trunk_dims(&self, h: usize, w: usize) -> Option<Dims> {
        dims_of(&self.trunk, Dims::new(h, w, 3))
    }

    /// Multiply-adds of trunk and all heads over `h` × `w` pixels.
    pub fn multiply_adds(&self, h: usize, w: usize) -> u64 {
        let Some(features) = self.trunk_dims(h, w) else { return 0 };
        multiply_adds_of(&self.trunk, Dims::new(h, w, 3))
            + self.heads.iter().map(|head| multiply_adds_of(&head.layers, features)).sum::<u64>()
    }

    /// The head that gives `output`.
    pub fn head(&self, output: Output) -> Option<&Head> {
        self.heads.iter().find(|h| h.output == output)
    }

    /// Checks that the layers fit each other on one window, and that batch norm stands behind a linear layer.
    pub fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Net { net: self.name.into(), reason });
        let Some(features) = self.trunk_dims(self.side, self.side) else {
            return fail("the trunk's layers do not fit each other".into());
        };
        if let Some(reason) = misplaced_norm(&self.trunk) {
            return fail(reason);
        }
        for head in &self.heads {
            let Some(d) = dims_of(&head.layers, features) else {
                return fail(format!("the {:?} head does not fit the trunk", head.output));
            };
            let expected = match head.output {
                Output::Face => [1, 2].as_slice(),
                Output::Calibration => &[45],
                Output::Box => &[4],
                Output::Octave => &[12],
                Output::Smile => &[1],
            };
            if !expected.contains(&d.c) {
                return fail(format!("the {:?} head gives {} numbers, not {expected:?}", head.output, d.c));
            }
            if let Some(reason) = misplaced_norm(&head.layers) {
                return fail(reason);
            }
        }
        Ok(())
    }
}

fn misplaced_norm(layers: &[Layer]) -> Option<String> {
    for (i, layer) in layers.iter().enumerate() {
        match layer {
            Layer::BatchNorm if i == 0 || !layers[i - 1].is_linear() => {
                return Some(format!("batch norm at {i} does not stand behind a linear layer"));
            }
            Layer::Branches(branches) => {
                if let Some(reason) = branches.iter().find_map(|b| misplaced_norm(b)) {
                    return Some(reason);
                }
            }
            _ => {}
        }
    }
    None
}
