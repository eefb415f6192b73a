//! A net's layers with their weights become dispatches: batch norm folded into the layer before it, ReLU fused.

use crate::error::{Error, Result};
use crate::nets::spec::{Dims, Layer, Net, Output, steps};
use crate::nets::weights::{Weights, head_path, path};

/// What a dispatch computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weighted sums over all channels.
    Linear,
    /// Weighted sums over each channel.
    Depthwise,
    /// The greatest.
    Max,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    /// Channels of the input.
    pub(super) c: usize,
    /// Channels of the output.
    pub(super) out: usize,
    pub(super) relu: bool,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Step {
    /// Rows and columns that come out; `None` if the input is too small.
    pub(super) fn dims(&self, (h, w): (usize, usize)) -> Option<(usize, usize)> {
        Some((steps(h, self.kernel, self.stride, self.pad)?, steps(w, self.kernel, self.stride, self.pad)?))
    }
}

/// The trunk of `net` and behind it its octave head.
pub(super) fn compile(net: &Net, weights: &Weights) -> Result<Vec<Step>> {
    let fail = |reason: String| Error::Net { net: net.name.into(), reason };
    net.check()?;
    weights.check(net, net.name)?;
    let Some(head) = net.head(Output::Octave) else {
        return Err(fail("only a net with an octave head can be run on the GPU".into()));
    };
    let mut list: Vec<Step> = Vec::new();
    let mut d = net.window();
    for (layers, parent) in [(&net.trunk, "trunk"), (&head.layers, head_path(head.output))] {
        for (i, layer) in layers.iter().enumerate() {
            let name = path(parent, i);
            let norm = matches!(layers.get(i + 1), Some(Layer::BatchNorm)).then(|| path(parent, i + 1));
            let plain = |kind, kernel: usize, stride, pad, out, (weight, bias)| Step {
                kind,
                kernel,
                stride,
                pad,
                c: d.c,
                out,
                relu: false,
                weight,
                bias,
            };
            match *layer {
                Layer::Conv { out, kernel, stride, pad } => {
                    let folded = weights.folded(out, &name, norm.as_deref())?;
                    list.push(plain(Kind::Linear, kernel, stride, pad, out, folded));
                }
                Layer::Depthwise { kernel, stride, pad } => {
                    let folded = weights.folded(d.c, &name, norm.as_deref())?;
                    list.push(plain(Kind::Depthwise, kernel, stride, pad, d.c, folded));
                }
                Layer::MaxPool { size, stride, pad } => {
                    list.push(plain(Kind::Max, size, stride, pad, d.c, (Vec::new(), Vec::new())));
                }
                Layer::Relu if !list.is_empty() => list.iter_mut().last().into_iter().for_each(|s| s.relu = true),
                Layer::BatchNorm | Layer::Dropout(_) => {}
                _ => return Err(fail(format!("{name}, {layer:?}, can't be run on the GPU"))),
            }
            d = layer.dims(d).unwrap_or(Dims::new(0, 0, 0));
        }
    }
    Ok(list)
}
