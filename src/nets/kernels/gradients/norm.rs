//! Batch norm and ReLU in training, with their gradients: they make outputs of a linear layer's products.
//!
//! Only products are kept in memory; outputs are computed again from them, a few hundred pixels at a time, where they
//! are needed: a pass through the first cache costs less than one through memory.

use crate::nets::kernels::lanes::{Isa, Kernel, Lanes};

/// Pixels whose sums are kept in 32 bits before they are added up in 64.
const CHUNK: usize = 128;

/// Statistics of one batch, for batch norm's running averages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NormStats {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Variance of each channel (of the batch itself: divided by its pixels).
    pub variance: Vec<f32>,
}

/// Turns products into outputs: product · factor + offset, channel by channel, then max(0) if `relu`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::nets) struct Activation {
    factor: Vec<f32>,
    offset: Vec<f32>,
    relu: bool,
}

impl Activation {
    /// Without batch norm.
    pub(in crate::nets) fn plain(c: usize, relu: bool) -> Self {
        Self { factor: vec![1.0; c], offset: vec![0.0; c], relu }
    }

    /// Batch norm: (product − mean) / √(variance + ε) · scale + shift.
    pub(in crate::nets) fn normed(stats: &NormStats, scale: &[f32], shift: &[f32], epsilon: f32, relu: bool) -> Self {
        let factor: Vec<f32> = stats.variance.iter().zip(scale).map(|(v, s)| s / (v + epsilon).sqrt()).collect();
        let offset = stats.mean.iter().zip(&factor).zip(shift).map(|((m, f), s)| s - m * f).collect();
        Self { factor, offset, relu }
    }

    /// Whether the output is the product.
    pub(in crate::nets) fn is_identity(&self) -> bool {
        !self.relu && self.factor.iter().all(|f| *f == 1.0) && self.offset.iter().all(|o| *o == 0.0)
    }

    /// Outputs `y` from products `x`.
    pub(in crate::nets) fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let c = self.factor.len();
        assert!(self.offset.len() == c && x.len() == y.len() && x.len().is_multiple_of(c));
        for (x, y) in x.chunks(CHUNK * c).zip(y.chunks_mut(CHUNK * c)) {
            isa.run(Activate { activation: self, x, y });
        }
    }
}

/// A batch's sums, added up while its products are computed.
#[derive(Debug, Clone, Default)]
pub(in crate::nets) struct Moments {
    /// The first pixel. Squares are taken of the distance from it, so that a large mean does not swallow the variance.
    zero: Vec<f32>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    pixels: usize,
}

impl Moments {
    /// No pixels yet, of `c` channels.
    pub(in crate::nets) fn new(c: usize) -> Self {
        Self { zero: Vec::new(), sums: vec![0.0; c], squares: vec![0.0; c], pixels: 0 }
    }

    /// Adds pixels.
    pub(in crate::nets) fn add(&mut self, isa: Isa, x: &[f32]) {
        let c = self.sums.len();
        if self.zero.is_empty() && x.len() >= c {
            self.zero = x[..c].to_vec();
        }
        self.pixels += x.len() / c;
        for x in x.chunks(CHUNK * c) {
            isa.run(MomentSums { x, zero: &self.zero, sums: &mut self.sums, squares: &mut self.squares });
        }
    }

    /// Mean and variance of all pixels.
    pub(in crate::nets) fn stats(&self) -> NormStats {
        let pixels = self.pixels.max(1) as f64;
        let moments = self.sums.iter().zip(&self.squares).zip(&self.zero);
        let (mean, variance) = moments
            .map(|((sum, square), zero)| {
                let off = sum / pixels;
                ((off + f64::from(*zero)) as f32, (square / pixels - off * off).max(0.0) as f32)
            })
            .unzip();
        NormStats { mean, variance }
    }
}

/// A batch's sums of gradients, added up while the gradients are computed; [`Backward`] needs them.
#[derive(Debug, Clone)]
pub(in crate::nets) struct GradientSums {
    activation: Activation,
    norm: Option<(NormStats, f32)>,
    zero: Vec<f32>,
    sums: Vec<f64>,
    products: Vec<f64>,
    pixels: usize,
}

impl GradientSums {
    /// For outputs made by `activation`; `norm` is batch norm's statistics and ε.
    pub(in crate::nets) fn new(activation: &Activation, norm: Option<(&NormStats, f32)>) -> Self {
        let c = activation.factor.len();
        Self {
            activation: activation.clone(),
            norm: norm.map(|(stats, epsilon)| (stats.clone(), epsilon)),
            zero: norm.map_or_else(|| vec![0.0; c], |(stats, _)| stats.mean.clone()),
            sums: vec![0.0; c],
            products: vec![0.0; c],
            pixels: 0,
        }
    }

    /// Adds pixels: their products and the gradients of their outputs.
    pub(in crate::nets) fn add(&mut self, isa: Isa, product: &[f32], dy: &[f32]) {
        let c = self.sums.len();
        assert!(product.len() == dy.len() && product.len().is_multiple_of(c));
        self.pixels += product.len() / c;
        for (x, dy) in product.chunks(CHUNK * c).zip(dy.chunks(CHUNK * c)) {
            isa.run(AddGradients { to: self, x, dy });
        }
    }
}

/// The way back from the gradient of an output, `dy`, to that of its product: factor · (dy masked by ReLU) + slope ·
/// product + offset.
#[derive(Debug, Clone)]
pub(in crate::nets) struct Backward {
    activation: Activation,
    factor: Vec<f32>,
    slope: Vec<f32>,
    offset: Vec<f32>,
    /// d loss / d shift, or d loss / d bias where no batch norm is.
    pub(in crate::nets) shift: Vec<f32>,
    /// d loss / d scale; empty where no batch norm is.
    pub(in crate::nets) scale: Vec<f32>,
}

impl Backward {
    /// From the sums over a whole batch.
    pub(in crate::nets) fn new(all: GradientSums) -> Self {
        let GradientSums { activation, norm, sums, mut products, .. } = all;
        let (c, pixels) = (sums.len(), all.pixels.max(1) as f64);
        let narrow = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
        let mut back = Self {
            factor: activation.factor.clone(),
            activation,
            slope: vec![0.0; c],
            offset: vec![0.0; c],
            shift: narrow(&sums),
            scale: Vec::new(),
        };
        let Some((stats, epsilon)) = norm else { return back };
        // factor · (dy − mean(dy) − x̂ · mean(dy · x̂)), x̂ = (x − mean) · inverse.
        for i in 0..c {
            let inverse = 1.0 / f64::from(stats.variance[i] + epsilon).sqrt();
            let factor = f64::from(back.factor[i]);
            products[i] *= inverse;
            let slope = factor * inverse * products[i] / pixels;
            back.slope[i] = -slope as f32;
            back.offset[i] = (slope * f64::from(stats.mean[i]) - factor * sums[i] / pixels) as f32;
        }
        back.scale = narrow(&products);
        back
    }

    /// The product's gradient `g`.
    pub(in crate::nets) fn apply(&self, isa: Isa, product: &[f32], dy: &[f32], g: &mut [f32]) {
        let c = self.factor.len();
        assert!(product.len() == dy.len() && g.len() == dy.len() && dy.len().is_multiple_of(c));
        let pieces = product.chunks(CHUNK * c).zip(dy.chunks(CHUNK * c));
        for ((x, dy), g) in pieces.zip(g.chunks_mut(CHUNK * c)) {
            isa.run(ProductGradient { back: self, x, dy, g });
        }
    }
}

/// Calls `$body` for each vector of channels, `$load` and `$store` moving whole vectors or the part that is left.
macro_rules! for_vectors {
    ($L:ident, $c:expr, |$first:ident, $load:ident, $store:ident| $body:block) => {
        let mut $first = 0;
        while $first < $c {
            let n = ($c - $first).min($L::N);
            if n == $L::N {
                let $load = |p: *const f32| unsafe { $L::load(p) };
                let $store = |v: $L, p: *mut f32| unsafe { v.store(p) };
                $body
            } else {
                let $load = |p: *const f32| unsafe { $L::load_part(p, n) };
                let $store = |v: $L, p: *mut f32| unsafe { v.store_part(p, n) };
                $body
            }
            $first += $L::N;
        }
    };
}

/// Runs `$body` for all pixels `$p`, `$i` going round four sums, so that no addition waits for the one before. (Not a
/// closure: those are not compiled for the instruction set.)
macro_rules! by_four {
    ($pixels:expr, |$p:ident, $i:ident| $body:expr) => {
        let pixels = $pixels;
        for first in (0..pixels / 4 * 4).step_by(4) {
            for $i in 0..4 {
                let $p = first + $i;
                $body
            }
        }
        for $p in pixels / 4 * 4..pixels {
            let $i = 0;
            $body
        }
    };
}

struct Activate<'a> {
    activation: &'a Activation,
    x: &'a [f32],
    y: &'a mut [f32],
}

// SAFETY of all kernels below: their callers assert that slices hold whole pixels of c channels, and vectors c floats.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Kernel for Activate<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let c = self.activation.factor.len();
        let floor = if self.activation.relu { 0.0 } else { f32::NEG_INFINITY };
        for_vectors!(L, c, |first, load, store| {
            let factor = load(self.activation.factor[first..].as_ptr());
            let offset = load(self.activation.offset[first..].as_ptr());
            for p in (first..self.x.len()).step_by(c) {
                unsafe {
                    let x = load(self.x.as_ptr().add(p));
                    store(offset.fma(x, factor).max(L::splat(floor)), self.y.as_mut_ptr().add(p));
                }
            }
        });
    }
}

/// sums += Σ (x − zero), squares += Σ (x − zero)².
struct MomentSums<'a> {
    x: &'a [f32],
    zero: &'a [f32],
    sums: &'a mut [f64],
    squares: &'a mut [f64],
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Kernel for MomentSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let c = self.sums.len();
        for_vectors!(L, c, |first, load, _store| {
            let zero = load(self.zero[first..].as_ptr());
            let (mut sum, mut square) = unsafe { ([L::splat(0.0); 4], [L::splat(0.0); 4]) };
            by_four!(self.x.len() / c, |p, i| unsafe {
                let x = load(self.x.as_ptr().add(p * c + first)).sub(zero);
                sum[i] = sum[i].add(x);
                square[i] = square[i].fma(x, x);
            });
            unsafe {
                add_up(total(sum), &mut self.sums[first..]);
                add_up(total(square), &mut self.squares[first..]);
            }
        });
    }
}

/// sums += Σ g, products += Σ g · (x − zero), g = dy where the activation of x is positive or has no ReLU.
struct AddGradients<'a> {
    to: &'a mut GradientSums,
    x: &'a [f32],
    dy: &'a [f32],
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Kernel for AddGradients<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let GradientSums { activation: Activation { factor, offset, relu }, zero, sums, products, .. } = self.to;
        let c = factor.len();
        for_vectors!(L, c, |first, load, _store| {
            let (factor, offset) = (load(factor[first..].as_ptr()), load(offset[first..].as_ptr()));
            let zero = load(zero[first..].as_ptr());
            let (mut sum, mut product) = unsafe { ([L::splat(0.0); 4], [L::splat(0.0); 4]) };
            by_four!(self.x.len() / c, |p, i| unsafe {
                let x = load(self.x.as_ptr().add(p * c + first));
                let mut g = load(self.dy.as_ptr().add(p * c + first));
                if *relu {
                    g = g.where_positive(offset.fma(x, factor));
                }
                sum[i] = sum[i].add(g);
                product[i] = product[i].fma(g, x.sub(zero));
            });
            unsafe {
                add_up(total(sum), &mut sums[first..]);
                add_up(total(product), &mut products[first..]);
            }
        });
    }
}

struct ProductGradient<'a> {
    back: &'a Backward,
    x: &'a [f32],
    dy: &'a [f32],
    g: &'a mut [f32],
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Kernel for ProductGradient<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (back, Activation { factor, offset, relu }) = (self.back, &self.back.activation);
        let c = factor.len();
        for_vectors!(L, c, |first, load, store| {
            let (factor, offset) = (load(factor[first..].as_ptr()), load(offset[first..].as_ptr()));
            let (a, b) = (load(back.factor[first..].as_ptr()), load(back.slope[first..].as_ptr()));
            let d = load(back.offset[first..].as_ptr());
            for p in (first..self.x.len()).step_by(c) {
                unsafe {
                    let x = load(self.x.as_ptr().add(p));
                    let mut dy = load(self.dy.as_ptr().add(p));
                    if *relu {
                        dy = dy.where_positive(offset.fma(x, factor));
                    }
                    store(d.fma(x, b).fma(dy, a), self.g.as_mut_ptr().add(p));
                }
            }
        });
    }
}

/// # Safety
/// The machine has the instruction set.
#[inline(always)]
unsafe fn total<L: Lanes>([a, b, c, d]: [L; 4]) -> L {
    // SAFETY: as the caller.
    unsafe { a.add(b).add(c.add(d)) }
}

/// Adds a vector to the first sums.
///
/// # Safety
/// The machine has the instruction set.
#[inline(always)]
unsafe fn add_up<L: Lanes>(vector: L, sums: &mut [f64]) {
    let mut floats = [0.0f32; 16];
    // SAFETY: no vector is wider than 16.
    unsafe { vector.store(floats.as_mut_ptr()) };
    for (sum, v) in sums.iter_mut().zip(floats).take(L::N) {
        *sum += f64::from(v);
    }
}
