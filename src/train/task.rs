//! What a net is trained on: a task draws samples and computes the loss of predictions for them.

use rand::rngs::StdRng;

use super::sheets::Sheet;
use crate::nets::spec::Output;

/// Samples for one forward pass.
#[derive(Debug)]
pub(crate) struct Samples<T> {
    /// `[n, side, side, 3]`, normalised.
    pub input: Vec<f32>,
    /// Number of samples.
    pub n: usize,
    /// Side of each sample, pixels.
    pub side: usize,
    /// What the net should predict for the samples.
    pub targets: T,
}

/// The predictions of a head, `[n, …, outputs]` row-major, and their gradient.
#[derive(Debug)]
pub(crate) struct Prediction {
    /// What the head predicts.
    pub output: Output,
    /// Head outputs.
    pub values: Vec<f32>,
    /// d loss / d output, of the same shape; the caller fills it with zeros.
    pub gradient: Vec<f32>,
}

/// Loss and accuracy of one forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    /// Mean loss.
    pub loss: f64,
    /// Number of decisions (face or not, or the calibration class) that were right.
    pub right: f64,
    /// Number of decisions.
    pub decisions: f64,
}

impl Figures {
    /// Returns the share of decisions that were right, 0..1; 0 without decisions.
    pub(crate) fn accuracy(&self) -> f64 {
        self.right / self.decisions.max(1.0)
    }
}

/// Draws samples and computes the loss of predictions for them.
pub(crate) trait Task: Sync {
    /// What the net should predict for a batch of samples.
    type Targets: Send + Sync;

    /// Draws `n` samples.
    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Self::Targets>;

    /// Adds the gradients of all predictions and returns loss and accuracy.
    fn loss(&self, targets: &Self::Targets, predictions: &mut [Prediction]) -> Figures;

    /// Draws what the predictions for samples get wrong, for people to look at.
    fn sheets(&self, _samples: &Samples<Self::Targets>, _predictions: &[Prediction]) -> Vec<Sheet> {
        Vec::new()
    }
}
