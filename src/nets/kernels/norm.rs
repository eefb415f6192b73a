//! Batch norm in training, with ReLU fused where it follows, and sums over pixels.

use super::lanes::{Isa, Kernel, Lanes};

/// Pixels whose sums are kept in 32 bits before they are added up in 64.
const CHUNK: usize = 128;

/// What one batch's norm was computed with, for the backward pass and the running averages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NormStats {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Variance of each channel (of the batch itself: divided by its pixels).
    pub variance: Vec<f32>,
}

impl NormStats {
    fn inverse(&self, epsilon: f32) -> Vec<f32> {
        self.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect()
    }
}

/// y = (x − mean) / √(variance + ε) · scale + shift over all pixels of each channel, then max(0) if `relu`.
pub fn norm_forward(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    epsilon: f32,
    relu: bool,
    y: &mut [f32],
) -> NormStats {
    let c = scale.len();
    assert!(c > 0 && shift.len() == c && x.len() == y.len() && x.len().is_multiple_of(c));
    let pixels = (x.len() / c).max(1) as f64;
    // Squares are taken of the distance from the first pixel, so that a large mean does not swallow the variance.
    let zero: Vec<f32> = x.get(..c).map_or(vec![0.0; c], <[f32]>::to_vec);
    let (mut sums, mut squares) = (vec![0.0; c], vec![0.0; c]);
    for x in x.chunks(CHUNK * c) {
        isa.run(Sums { x, with: None, y: None, c, zero: &zero, factor: None, sums: &mut sums, products: &mut squares });
    }
    let moments = sums.iter().zip(&squares).zip(&zero);
    let (mean, variance) = moments
        .map(|((sum, square), zero)| {
            let off = sum / pixels;
            ((off + f64::from(*zero)) as f32, (square / pixels - off * off).max(0.0) as f32)
        })
        .unzip();
    let stats = NormStats { mean, variance };
    let factor: Vec<f32> = stats.inverse(epsilon).iter().zip(scale).map(|(i, s)| i * s).collect();
    let offset: Vec<f32> = stats.mean.iter().zip(&factor).zip(shift).map(|((m, f), s)| s - m * f).collect();
    isa.run(Affine { x, c, terms: [&factor, &[], &offset], with: None, mask: None, relu, y });
    stats
}

/// Gradients of [`norm_forward`]: (dx written), d scale, d shift. `y` is its output, needed where `relu` was on.
#[allow(clippy::too_many_arguments)]
pub fn norm_backward(
    isa: Isa,
    x: &[f32],
    y: Option<&[f32]>,
    dy: &[f32],
    scale: &[f32],
    stats: &NormStats,
    epsilon: f32,
    dx: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let c = scale.len();
    assert!(x.len() == dy.len() && x.len() == dx.len() && y.is_none_or(|y| y.len() == x.len()));
    let pixels = (x.len() / c).max(1) as f64;
    let inverse = stats.inverse(epsilon);
    let (mut shift_sum, mut scale_sum) = (vec![0.0; c], vec![0.0; c]);
    for (i, dy) in dy.chunks(CHUNK * c).enumerate() {
        let part = |v: &'_ [f32]| i * CHUNK * c..i * CHUNK * c + dy.len().min(v.len());
        isa.run(Sums {
            x: dy,
            with: Some(&x[part(x)]),
            y: y.map(|y| &y[part(y)]),
            c,
            zero: &stats.mean,
            factor: Some(&inverse),
            sums: &mut shift_sum,
            products: &mut scale_sum,
        });
    }
    // dx = scale · inverse · (dy − mean(dy) − x̂ · mean(dy · x̂)), as a · dy + b · x + d.
    let (mut a, mut b, mut d) = (vec![0.0; c], vec![0.0; c], vec![0.0; c]);
    for i in 0..c {
        a[i] = scale[i] * inverse[i];
        let slope = f64::from(a[i] * inverse[i]) * scale_sum[i] / pixels;
        b[i] = -slope as f32;
        d[i] = (slope * f64::from(stats.mean[i]) - f64::from(a[i]) * shift_sum[i] / pixels) as f32;
    }
    isa.run(Affine { x: dy, c, terms: [&a, &b, &d], with: Some(x), mask: y, relu: false, y: dx });
    let narrow = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
    (narrow(scale_sum), narrow(shift_sum))
}

/// Σ over pixels of each channel of `dy` `[pixels, c]`.
pub fn bias_grad(isa: Isa, dy: &[f32], c: usize) -> Vec<f32> {
    let (mut sums, mut squares) = (vec![0.0; c], vec![0.0; c]);
    let zero = vec![0.0; c];
    for x in dy.chunks(CHUNK * c) {
        isa.run(Sums { x, with: None, y: None, c, zero: &zero, factor: None, sums: &mut sums, products: &mut squares });
    }
    sums.into_iter().map(|v| v as f32).collect()
}

/// sums += Σ g, products += Σ g · (with − zero) · factor, where g = x masked by y > 0; without `with`,
/// g = x − zero and products += Σ g².
struct Sums<'a> {
    x: &'a [f32],
    with: Option<&'a [f32]>,
    y: Option<&'a [f32]>,
    c: usize,
    zero: &'a [f32],
    factor: Option<&'a [f32]>,
    sums: &'a mut [f64],
    products: &'a mut [f64],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let c = self.c;
        let same = |v: Option<&[f32]>| v.is_none_or(|v| v.len() == self.x.len());
        assert!(same(self.with) && same(self.y) && self.zero.len() == c && self.sums.len() == c);
        let mut first = 0;
        while first < c {
            let n = (c - first).min(L::N);
            let load = |p: *const f32| {
                // SAFETY: n floats from channel `first` on lie there.
                unsafe { if n == L::N { L::load(p) } else { L::load_part(p, n) } }
            };
            // SAFETY: all slices hold whole pixels of c channels; `sum` holds N floats.
            unsafe {
                let zero = load(self.zero.as_ptr().add(first));
                let (mut sum, mut product) = (L::splat(0.0), L::splat(0.0));
                for p in (0..self.x.len() / c).map(|p| p * c + first) {
                    let mut g = load(self.x.as_ptr().add(p));
                    if let Some(y) = self.y {
                        g = g.where_positive(load(y.as_ptr().add(p)));
                    }
                    let other = match self.with {
                        Some(with) => load(with.as_ptr().add(p)).sub(zero),
                        None => {
                            g = g.sub(zero);
                            g
                        }
                    };
                    sum = sum.add(g);
                    product = product.fma(g, other);
                }
                let (mut s, mut q) = ([0.0f32; 16], [0.0f32; 16]);
                sum.store(s.as_mut_ptr());
                product.store(q.as_mut_ptr());
                for i in 0..n {
                    self.sums[first + i] += f64::from(s[i]);
                    self.products[first + i] += f64::from(q[i]) * self.factor.map_or(1.0, |f| f64::from(f[first + i]));
                }
            }
            first += L::N;
        }
    }
}

/// y = terms\[0\] · (x masked by mask > 0) + terms\[1\] · with + terms\[2\], then max(0) if `relu`.
struct Affine<'a> {
    x: &'a [f32],
    c: usize,
    terms: [&'a [f32]; 3],
    with: Option<&'a [f32]>,
    mask: Option<&'a [f32]>,
    relu: bool,
    y: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (c, len) = (self.c, self.x.len());
        let same = |v: Option<&[f32]>| v.is_none_or(|v| v.len() == len);
        assert!(same(self.with) && same(self.mask) && self.y.len() == len && len.is_multiple_of(c));
        assert!(
            self.terms[0].len() == c && self.terms[2].len() == c && (self.with.is_none() || self.terms[1].len() == c)
        );
        let mut pixel = 0;
        while pixel < len {
            let mut first = 0;
            while first < c {
                let (at, n) = (pixel + first, (c - first).min(L::N));
                let load = |p: *const f32| {
                    // SAFETY: n floats lie there.
                    unsafe { if n == L::N { L::load(p) } else { L::load_part(p, n) } }
                };
                // SAFETY: at + n ≤ len, first + n ≤ c.
                unsafe {
                    let mut x = load(self.x.as_ptr().add(at));
                    if let Some(mask) = self.mask {
                        x = x.where_positive(load(mask.as_ptr().add(at)));
                    }
                    let mut v = load(self.terms[2].as_ptr().add(first)).fma(x, load(self.terms[0].as_ptr().add(first)));
                    if let Some(with) = self.with {
                        v = v.fma(load(with.as_ptr().add(at)), load(self.terms[1].as_ptr().add(first)));
                    }
                    if self.relu {
                        v = v.max(L::splat(0.0));
                    }
                    let p = self.y.as_mut_ptr().add(at);
                    if n == L::N { v.store(p) } else { v.store_part(p, n) }
                }
                first += L::N;
            }
            pixel += c;
        }
    }
}
