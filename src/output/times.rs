//! How long something took, over a whole run: in constant memory, however long the run.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Times of one kind of work, to a thousandth.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u32>);

impl Default for Times {
    fn default() -> Self {
        // Microseconds, up to an hour: bounds that the crate accepts, which a test runs.
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unreachable!("bounds are fine")))
    }
}

impl Times {
    /// Notes one.
    pub fn note(&mut self, time: Duration) {
        self.0.saturating_record(time.as_micros().min(u128::from(u64::MAX)) as u64);
    }

    /// Whether none was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest time, in milliseconds, that at least `share` (0..1) of those noted do not exceed; 0 without any.
    pub fn ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }
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
