//! What a net is trained on: a task draws samples and says how wrong predictions for them are.

use rand::rngs::StdRng;

use crate::nets::spec::Output;

/// Samples for one forward pass.
#[derive(Debug)]
pub struct Samples<T> {
    /// `[n, side, side, 3]`, normalised.
    pub input: Vec<f32>,
    /// Samples.
    pub n: usize,
    /// Side of each, pixels.
    pub side: usize,
    /// What is right for each.
    pub targets: T,
}

/// A head's predictions and the place for their gradient, `[n, …, outputs]` row-major.
#[derive(Debug)]
pub struct Prediction {
    /// What it predicts.
    pub output: Output,
    /// The numbers.
    pub values: Vec<f32>,
    /// d loss / d number, zero at first.
    pub gradient: Vec<f32>,
}

/// How one forward pass did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Mean loss.
    pub loss: f64,
    /// Decisions (face or not, or the calibration class) that were right.
    pub right: f64,
    /// Decisions in all.
    pub decisions: f64,
}

impl Figures {
    /// Share of right decisions, 0..1.
    pub fn accuracy(&self) -> f64 {
        self.right / self.decisions.max(1.0)
    }
}

/// A source of samples with its loss.
pub trait Task: Sync {
    /// What is right for a batch of samples.
    type Targets: Send + Sync;

    /// Draws `n` samples.
    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Self::Targets>;

    /// Fills in the gradients of all predictions.
    fn loss(&self, targets: &Self::Targets, predictions: &mut [Prediction]) -> Figures;
}
