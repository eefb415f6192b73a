//! The exponential moving average of a net's arrays over the steps of its training: it lies in the middle of what single steps
//! jump round, and detects better.

use crate::error::Result;
use crate::nets::candle::Model;
use crate::nets::weights::Weights;

/// Average of all arrays, batch norm's statistics included.
#[derive(Debug)]
pub(crate) struct Average {
    /// Share of the average that stays at each step, once it has run for long.
    decay: f32,
    weights: Weights,
}

impl Average {
    /// Begins with `weights`.
    pub(crate) const fn new(decay: f32, weights: Weights) -> Self {
        Self { decay, weights }
    }

    /// Takes in the arrays after step `step` (0-based). At first the average is short, so that the first values do not linger.
    ///
    /// # Errors
    /// If arrays can't be read from their device.
    pub(crate) fn update(&mut self, model: &Model, step: usize) -> Result<()> {
        let kept = self.decay.min((step + 1) as f32 / (step + 10) as f32);
        for (name, array) in &mut self.weights.arrays {
            let now = model.var(name)?.flatten_all()?.to_vec1::<f32>()?;
            array.data.iter_mut().zip(now).for_each(|(average, now)| *average += (1.0 - kept) * (now - *average));
        }
        Ok(())
    }

    /// The average.
    pub(crate) const fn weights(&self) -> &Weights {
        &self.weights
    }
}
