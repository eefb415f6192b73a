//! A net as a list of layers. [`super::lower`] turns the list into operations, which every engine maps from.
//!
//! Activations are channels last, `[n, h, w, c]`; after [`Layer::Flatten`] or [`Layer::Dense`] they are `[n, 1, 1, c]`
//! with the features in (h, w, c) order. Weights: convolution `[kernel, kernel, in, out]`, depthwise
//! `[kernel, kernel, c]`, dense `[in, out]`, biases and batch norm's four vectors `[c]`.

use super::grid::{CELL_NUMBERS, OCTAVE_NUMBERS};

/// One layer. A linear layer has a bias unless batch norm follows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// A dense convolution (pointwise when `kernel` is 1), with bias; zero padding on all four sides.
    Conv {
        /// Channels of the output.
        out: usize,
        /// Side of the square kernel.
        kernel: usize,
        /// Stride of the kernel, pixels.
        stride: usize,
        /// Rows and columns of zeros on each side of the input.
        pad: usize,
    },
    /// A convolution of every channel on its own, with bias.
    Depthwise {
        /// Side of the square kernel.
        kernel: usize,
        /// Stride of the kernel, pixels.
        stride: usize,
        /// Rows and columns of zeros on each side of the input.
        pad: usize,
    },
    /// The greatest value of each `size` × `size` square; squares that reach over the border are left out. Padding is
    /// never the greatest.
    MaxPool {
        /// Side of the square.
        size: usize,
        /// Stride of the square, pixels.
        stride: usize,
        /// Rows and columns of padding on each side of the input.
        pad: usize,
    },
    /// Average pooling: the mean of each `n` × `n` square, stride `n`. With it a branch sees the window at a lower
    /// resolution.
    AveragePool(usize),
    /// A fully connected layer with bias; flattens its input in (h, w, c) order.
    Dense(usize),
    /// Batch normalisation, allowed only right behind Conv, Depthwise or Dense, whose bias is then left out.
    BatchNorm,
    /// max(x, 0).
    Relu,
    /// Zeroes features with this probability in training; does nothing at detection.
    Dropout(f32),
    /// (h, w, c) → (1, 1, h·w·c).
    Flatten,
    /// Branches from the same input, joined by concatenation of their channels.
    Branches(Vec<Vec<Layer>>),
}

/// Meaning of a head's outputs.
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
    /// For each cell of a map of this stride (8, 16 or 32 pixels): logits of class and of objectness, then dx, dy, ln w,
    /// ln h of the box relative to the square of one stride round the cell's centre.
    Cells(usize),
}

/// Layers behind the trunk, beside each other or one block behind the other: what a net has that looks at several strides.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The map that the block reads.
    pub input: Input,
    /// Layers of the block.
    pub layers: Vec<Layer>,
}

/// What a block reads. Maps have numbers: 0 is the trunk's, i + 1 that of [`Net::blocks`]\[i\]; a block reads earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A map as it is.
    Map(usize),
    /// The map `fine` plus the map `coarse`, of as many channels, at twice its size: each value repeated for 2 × 2 pixels,
    /// and again where the finer map has an odd last row or column.
    Sum {
        /// The map that gives the size.
        fine: usize,
        /// The map of half that size.
        coarse: usize,
    },
}

impl Input {
    /// The map that gives the size, and the one that is added to it.
    pub const fn maps(self) -> (usize, Option<usize>) {
        match self {
            Self::Map(map) => (map, None),
            Self::Sum { fine, coarse } => (fine, Some(coarse)),
        }
    }
}

/// A head: layers on a map of the net, with a name for its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Meaning of its outputs.
    pub output: Output,
    /// The map that the head reads, see [`Input`]; 0 is the trunk's.
    pub from: usize,
    /// Layers behind that map.
    pub layers: Vec<Layer>,
}

/// A net: its trunk, blocks behind it and heads. The input is RGB, (v − 127.5) / 128.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    /// Name in the zoo and of its weights file.
    pub name: &'static str,
    /// Side of the window it was made for, pixels.
    pub side: usize,
    /// The shared layers.
    pub trunk: Vec<Layer>,
    /// Blocks behind the trunk; none in a net whose heads all read the trunk's features.
    pub blocks: Vec<Block>,
    /// Heads; each reads the trunk's features or those of a block.
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

    /// Number of values: rows · columns · channels.
    pub const fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Whether there are no values.
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
    /// Whether batch norm may follow: whether the layer multiplies by weights.
    pub fn takes_norm(&self) -> bool {
        matches!(self, Self::Conv { .. } | Self::Depthwise { .. } | Self::Dense(_))
    }
}

impl Output {
    /// Whether the head may have `n` outputs for each window (or cell).
    pub const fn takes(self, n: usize) -> bool {
        match self {
            Self::Face => n == 1 || n == 2,
            Self::Calibration => n == 45,
            Self::Box => n == 4,
            // Any number of window sizes.
            Self::Smile => n == 1,
            Self::Octave => n > 0 && n.is_multiple_of(OCTAVE_NUMBERS),
            Self::Cells(_) => n == CELL_NUMBERS,
        }
    }
}

impl Net {
    /// Dimensions of one window.
    pub fn window(&self) -> Dims {
        Dims::new(self.side, self.side, 3)
    }

    /// The head that gives `output`.
    pub fn head(&self, output: Output) -> Option<&Head> {
        self.heads.iter().find(|h| h.output == output)
    }
}
