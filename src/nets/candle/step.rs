//! One step of a chain: a linear layer with what follows it (bias or batch norm, ReLU), or pooling.
//!
//! A step keeps only its product. Whoever reads it applies batch norm and ReLU on the way, a piece at a time that stays
//! in the first caches.

use std::ops::Range;

use super::super::kernels::{self as k, Activation, Backward, GradientSums, Isa, Moments, NormStats, Packed, Shape};
use super::super::weights::NORM_EPSILON;
use super::buffers::{Buffer, Buffers};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weights `[kernel, kernel, c, out]`; a fully connected layer is one on a 1 × 1 map.
    Dense,
    /// Weights `[kernel, kernel, c]`.
    Depthwise,
    /// The greatest of each square.
    MaxPool,
    /// The mean of each square.
    MeanPool,
}

/// One step of a chain.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Whether batch norm (with the batch's statistics) follows; else a bias is added.
    pub(super) norm: bool,
    pub(super) relu: bool,
    /// Where the weights lie in the parameters.
    pub(super) weight: Range<usize>,
    /// Where batch norm's scales and then its shifts, or the biases lie in the parameters.
    pub(super) affine: Range<usize>,
}

/// What a step's forward pass left.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) product: Buffer,
    pub(super) activation: Activation,
    pub(super) stats: Option<NormStats>,
}

impl Kept {
    /// Where the gradients of this step's output are added up.
    pub(super) fn gradient_sums(&self) -> GradientSums {
        GradientSums::new(&self.activation, self.stats.as_ref().map(|stats| (stats, NORM_EPSILON)))
    }
}

/// The gradients that a step's backward pass reads and writes.
#[derive(Debug)]
pub(super) struct Gradients<'a> {
    /// Of the output.
    pub(super) dy: &'a [f32],
    /// `dy` added up.
    pub(super) sums: GradientSums,
    /// Of the input, where it is wanted.
    pub(super) dx: Option<&'a mut [f32]>,
    /// Where `dx` is added up for the step before.
    pub(super) sums_before: Option<&'a mut GradientSums>,
    /// Of all parameters.
    pub(super) parameters: &'a mut [f32],
}

/// A step's input: the product of the one before, and how it becomes an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) data: &'a [f32],
    pub(super) activation: Option<&'a Activation>,
}

impl Source<'_> {
    /// The floats `range`, activated in `scratch` where need be.
    fn part<'s>(&'s self, isa: Isa, range: Range<usize>, scratch: &'s mut [f32]) -> &'s [f32] {
        let data = &self.data[range];
        match self.activation {
            Some(activation) => {
                activation.apply(isa, data, &mut scratch[..data.len()]);
                &scratch[..data.len()]
            }
            None => data,
        }
    }
}

impl Step {
    fn is_pointwise(&self) -> bool {
        let s = &self.shape;
        self.kind == Kind::Dense && s.kernel == 1 && s.stride == 1 && s.pad == 0
    }

    /// Pixels of a pointwise step that are worked on at a time: their inputs and outputs stay in the first cache.
    fn pixels_at_once(&self) -> usize {
        (6144 / (self.shape.c + self.shape.out) / 12 * 12).max(48)
    }

    /// Floats in one input and one output map.
    fn maps(&self) -> (usize, usize) {
        let s = &self.shape;
        (s.h * s.w * s.c, s.out_h() * s.out_w() * s.out)
    }

    pub(super) fn forward(&self, isa: Isa, source: Source<'_>, parameters: &[f32], buffers: &Buffers) -> Kept {
        let s = &self.shape;
        let one = Shape { n: 1, ..*s };
        let (input, output) = self.maps();
        let (weight, affine) = (&parameters[self.weight.clone()], &parameters[self.affine.clone()]);
        let mut product = buffers.take(s.output_len());
        let mut moments = self.norm.then(|| Moments::new(s.out));
        let mut count = |y: &[f32]| moments.iter_mut().for_each(|m| m.add(isa, y));
        let bias = if self.norm { &[] } else { affine };
        match self.kind {
            Kind::Dense if self.is_pointwise() => {
                let packed = Packed::new(isa, s.c, s.out, weight, (!self.norm).then_some(bias));
                let pixels = self.pixels_at_once();
                let mut scratch = buffers.take(pixels * s.c);
                for (i, y) in product.chunks_mut(pixels * s.out).enumerate() {
                    let (from, pixels) = (i * pixels * s.c, y.len() / s.out);
                    let x = source.part(isa, from..from + pixels * s.c, &mut scratch);
                    k::matmul_segments(&packed, x, y, pixels, (s.c, s.out), (1, 0, s.c), false);
                    count(y);
                }
            }
            Kind::Dense | Kind::Depthwise => {
                let packed = (self.kind == Kind::Dense)
                    .then(|| Packed::new(isa, s.kernel * s.kernel * s.c, s.out, weight, (!self.norm).then_some(bias)));
                let mut padded = buffers.zeros(s.padded_len());
                for (x, y) in source.data.chunks_exact(input).zip(product.chunks_exact_mut(output)) {
                    k::pad_into(isa, s, x, source.activation, &mut padded);
                    match &packed {
                        Some(packed) => {
                            k::convolve(packed, (s.kernel, s.stride, s.c), &padded, s.padded_row(), y, s.out_w());
                        }
                        None => k::depthwise_forward(isa, s, &padded, s.padded_row(), (weight, bias), y),
                    }
                    count(y);
                }
            }
            Kind::MaxPool | Kind::MeanPool => {
                let pool = if self.kind == Kind::MaxPool { k::max_pool_forward } else { k::mean_pool_forward };
                let mut scratch = buffers.take(input);
                for (i, y) in product.chunks_exact_mut(output).enumerate() {
                    pool(&one, source.part(isa, i * input..(i + 1) * input, &mut scratch), y);
                }
            }
        }
        let stats = moments.map(|m| m.stats());
        let activation = match &stats {
            Some(stats) => {
                let (scale, shift) = affine.split_at(s.out);
                Activation::normed(stats, scale, shift, NORM_EPSILON, self.relu)
            }
            None => Activation::plain(s.out, self.relu),
        };
        Kept { product, activation, stats }
    }

    /// From the gradient of the output, `dy`, those of the input, `dx` (where it is wanted), and of the parameters.
    pub(super) fn backward(
        &self,
        isa: Isa,
        source: Source<'_>,
        kept: &Kept,
        parameters: &[f32],
        gradients: Gradients<'_>,
        buffers: &Buffers,
    ) {
        let Gradients { dy, sums, mut dx, mut sums_before, parameters: gradient } = gradients;
        let mut count = |range: Range<usize>, dx: &[f32]| {
            sums_before.iter_mut().for_each(|sums| sums.add(isa, &source.data[range.clone()], dx));
        };
        if matches!(self.kind, Kind::MaxPool | Kind::MeanPool) {
            if let Some(dx) = dx {
                self.pool_backward(isa, source, &kept.product, (dy, &mut *dx), buffers);
                count(0..dx.len(), dx);
            }
            return;
        }
        let s = &self.shape;
        let (input, output) = self.maps();
        let weight = &parameters[self.weight.clone()];
        let back = Backward::new(sums);
        let affine = &mut gradient[self.affine.clone()];
        let (scale, shift) = affine.split_at_mut(back.scale.len());
        scale.copy_from_slice(&back.scale);
        shift.copy_from_slice(&back.shift);
        let dw = &mut gradient[self.weight.clone()];
        let flipped = (self.kind == Kind::Dense && dx.is_some()).then(|| k::flipped(isa, s, weight));
        if self.is_pointwise() {
            let pixels = self.pixels_at_once();
            let (mut xs, mut gs) = (buffers.take(pixels * s.c), buffers.take(pixels * s.out));
            for (i, (dy, product)) in dy.chunks(pixels * s.out).zip(kept.product.chunks(pixels * s.out)).enumerate() {
                let (from, pixels) = (i * pixels * s.c, dy.len() / s.out);
                let range = from..from + pixels * s.c;
                let g = &mut gs[..dy.len()];
                back.apply(isa, product, dy, g);
                k::add_outer(isa, source.part(isa, range.clone(), &mut xs), g, (s.c, s.out), dw);
                if let (Some(flipped), Some(dx)) = (&flipped, &mut dx) {
                    let dx = &mut dx[range.clone()];
                    k::matmul_segments(flipped, g, dx, pixels, (s.out, s.c), (1, 0, s.out), false);
                    count(range, dx);
                }
            }
            return;
        }
        let turned: Vec<f32> = match self.kind {
            Kind::Depthwise => weight.chunks_exact(s.c).rev().flatten().copied().collect(),
            _ => Vec::new(),
        };
        let (mut padded, mut g) = (buffers.zeros(s.padded_len()), buffers.take(output));
        let mut dilated = buffers.zeros(s.dilated_len());
        let row = s.dilated_row();
        for (i, (dy, product)) in dy.chunks_exact(output).zip(kept.product.chunks_exact(output)).enumerate() {
            let range = i * input..(i + 1) * input;
            back.apply(isa, product, dy, &mut g);
            k::pad_into(isa, s, &source.data[range.clone()], source.activation, &mut padded);
            match self.kind {
                Kind::Dense => k::add_conv_grad_weight(isa, s, &padded, &g, dw),
                _ => k::add_depthwise_grad_weight(isa, s, &padded, &g, dw),
            }
            let Some(dx) = &mut dx else { continue };
            let dx = &mut dx[range.clone()];
            k::dilate_into(s, &g, &mut dilated);
            match &flipped {
                Some(flipped) => {
                    let inside = &dilated[s.pad * (row + s.out)..];
                    k::convolve(flipped, (s.kernel, 1, s.out), inside, row, dx, s.w);
                }
                None => k::depthwise_grad_input(isa, s, &dilated, row, &turned, dx),
            }
            count(range, dx);
        }
    }

    fn pool_backward(
        &self,
        isa: Isa,
        source: Source<'_>,
        y: &[f32],
        (dy, dx): (&[f32], &mut [f32]),
        buffers: &Buffers,
    ) {
        if self.kind == Kind::MeanPool {
            return k::mean_pool_backward(&self.shape, dy, dx);
        }
        let one = Shape { n: 1, ..self.shape };
        let (input, output) = self.maps();
        let mut scratch = buffers.take(input);
        let outputs = y.chunks_exact(output).zip(dy.chunks_exact(output));
        for (i, ((y, dy), dx)) in outputs.zip(dx.chunks_exact_mut(input)).enumerate() {
            let x = source.part(isa, i * input..(i + 1) * input, &mut scratch);
            k::max_pool_backward(&one, x, y, dy, dx);
        }
    }
}
