//! The weights of a resizing filter in fixed point. They are the ones that fast_image_resize uses for bytes, so that GPU and
//! CPU give the same pixels.

use fast_image_resize::FilterType;

/// Bits of a weight, without its sign.
const WEIGHT_BITS: u32 = 15;
/// Largest shift that fast_image_resize uses.
const MOST_PRECISE: u32 = 32 - 8 - 2;

/// The filter's weights along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterTable {
    /// Number of weights kept for each output, some of them 0.
    pub(super) taps: usize,
    /// Weights are multiples of 2^−shift.
    pub(super) shift: u32,
    /// For each output: index of its first input, number of inputs, `taps` weights.
    pub(super) table: Vec<i32>,
}

impl FilterTable {
    /// Computes the weights that resize `from` pixels to `to`; both at least 1.
    pub(super) fn new(from: usize, to: usize, filter: FilterType) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let (radius, shrink) = (support(filter) * stretch, 1.0 / stretch);
        let rows: Vec<(usize, Vec<f64>)> = (0..to)
            .map(|i| {
                let center = (i as f64 + 0.5) * scale;
                let first = (center - radius).floor().max(0.0) as usize;
                let end = (center + radius).ceil().min(from as f64) as usize;
                let mut weights: Vec<f64> =
                    (first..end).map(|x| value(filter, (x as f64 - (center - 0.5)) * shrink)).collect();
                let skipped = weights.iter().take_while(|w| **w == 0.0).count();
                weights.drain(..skipped);
                while weights.last() == Some(&0.0) {
                    weights.pop();
                }
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|w| *w /= sum);
                (first + skipped, weights)
            })
            .collect();
        let taps = rows.iter().map(|r| r.1.len()).max().unwrap_or(0);
        let greatest = rows.iter().flat_map(|r| &r.1).copied().fold(0.0, f64::max);
        let fits = |bits: &u32| (greatest * f64::from(1 << (bits + 1))).round() < f64::from(1 << WEIGHT_BITS);
        let shift = (0..MOST_PRECISE).take_while(fits).last().map_or(0, |p| (p + 1).min(MOST_PRECISE - 1));
        let unit = f64::from(1 << shift);
        let mut table = Vec::with_capacity(to * (taps + 2));
        for (first, weights) in rows {
            table.extend([first as i32, weights.len() as i32]);
            table.extend((0..taps).map(|k| weights.get(k).map_or(0, |w| (w * unit).round() as i32)));
        }
        Self { taps, shift, table }
    }
}

/// Returns half the filter's width where nothing is reduced, pixels.
fn support(filter: FilterType) -> f64 {
    if filter == FilterType::Box { 0.5 } else { 1.0 }
}

/// Returns the filter's value at distance `x` from its centre.
fn value(filter: FilterType, x: f64) -> f64 {
    let distance = x.abs();
    match filter {
        FilterType::Box => f64::from(x > -0.5 && x <= 0.5),
        FilterType::Bilinear => (1.0 - distance).max(0.0),
        _ if distance == 0.0 => 1.0,
        _ if distance >= 1.0 => 0.0,
        // Hamming's window over a sinc.
        _ => {
            let x = distance * std::f64::consts::PI;
            (0.54 + 0.46 * x.cos()) * x.sin() / x
        }
    }
}
