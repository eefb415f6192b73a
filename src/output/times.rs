//! Collects how long something took each time, over a whole run, and gives percentiles. Memory does not grow with the run.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::text::ms;

/// Times of one kind of work, with a relative error of at most a thousandth; times over an hour count as an hour.
#[derive(Debug, Clone)]
pub struct Times {
    /// Counts of times in nanoseconds.
    histogram: Histogram<u32>,
    sum: Duration,
    max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        // From 1 ns to an hour, three digits. The crate accepts these bounds, as every test here shows.
        let bounds = Histogram::new_with_bounds(1, 3_600_000_000_000, 3);
        let histogram = bounds.unwrap_or_else(|_| unreachable!("the bounds are valid"));
        Self { histogram, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Times {
    /// Adds one time.
    pub fn note(&mut self, time: Duration) {
        self.histogram.saturating_record(time.as_nanos().min(u128::from(u64::MAX)) as u64);
        self.sum += time;
        self.max = self.max.max(time);
    }

    /// Whether no time was added.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Returns a quantile in milliseconds: the smallest time that at least `share` (0..1) of the times do not exceed; 0 if
    /// there are none.
    pub fn ms(&self, share: f64) -> f64 {
        (self.histogram.value_at_quantile(share) as f64 / 1e6).min(ms(self.max))
    }

    /// Returns percentiles, maximum and mean; zeros if there are no times.
    pub fn percentiles(&self) -> Percentiles {
        let mean = ms(self.sum) / (self.histogram.len().max(1) as f64);
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| rounded(self.ms(share)));
        Percentiles { p50, p95, p99, max: rounded(ms(self.max)), mean: rounded(mean) }
    }
}

/// How times are distributed, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// 50th percentile (median).
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The largest time.
    pub max: f64,
    /// The mean time.
    pub mean: f64,
}

/// Returns a quantile of `sorted` values: the smallest that at least `share` (0..1) of them do not exceed; `None` if there
/// are none.
pub(super) fn at_share<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Rounds to three decimals.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times = Times::default();
        assert!(times.is_empty());
        (1..=200).for_each(|ms| times.note(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 100.0), (0.95, 190.0), (0.99, 198.0), (1.0, 200.0)] {
            assert!((times.ms(share) / ms - 1.0).abs() < 1e-3, "{share}: {}", times.ms(share));
        }
    }
}
