//! AdamW (Loshchilov and Hutter 2019) and the learning rate's schedule.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::Optimizer;

use crate::error::{Error, Result};
use crate::nets::weights::{Array, Role, Slot, Weights};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The learning rate over the steps: linear warm-up, then a cosine down to `last` × `peak`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Steps in all.
    pub steps: usize,
    /// Samples a step.
    pub batch: usize,
    /// Highest rate.
    pub peak: f32,
    /// Steps of linear warm-up.
    #[serde(default = "default_warm_up")]
    pub warm_up: usize,
    /// Rate at the end, as a share of the peak.
    #[serde(default = "default_last")]
    pub last: f32,
    /// AdamW's decay of weights (not of biases and norms).
    #[serde(default = "default_decay")]
    pub weight_decay: f32,
}

fn default_warm_up() -> usize {
    200
}

fn default_last() -> f32 {
    0.005
}

fn default_decay() -> f32 {
    1e-4
}

impl Schedule {
    /// The rate at `step` (0-based).
    pub fn rate(&self, step: usize) -> f32 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f32 / self.warm_up as f32;
        }
        let left = self.steps.saturating_sub(self.warm_up).max(1) as f32;
        let progress = ((step - self.warm_up) as f32 / left).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
        self.peak * (self.last + (1.0 - self.last) * cosine)
    }
}

/// Configuration of [`AdamW`].
#[derive(Debug, Clone)]
pub(crate) struct AdamWConfig {
    /// Name and role of each variable, in their order.
    pub slots: Vec<Slot>,
    /// Decay of weights (not of biases and norms).
    pub weight_decay: f32,
}

/// AdamW over variables. Candle's own keeps its moments to itself, so that training could not go on from a checkpoint as
/// if it had never stopped, and lets all variables decay.
#[derive(Debug)]
pub(crate) struct AdamW {
    params: Vec<Param>,
    rate: f32,
    weight_decay: f32,
    steps: i32,
}

/// A variable with its two moments.
#[derive(Debug)]
struct Param {
    name: String,
    var: Var,
    decays: bool,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer for AdamW {
    type Config = AdamWConfig;

    /// Starts with zero moments, and a rate of zero.
    fn new(vars: Vec<Var>, config: AdamWConfig) -> candle_core::Result<Self> {
        if vars.len() != config.slots.len() {
            candle_core::bail!("{} variables for {} slots", vars.len(), config.slots.len());
        }
        let params = vars.into_iter().zip(config.slots).map(|(var, slot)| {
            let zeros = vec![0.0; var.elem_count()];
            let decays = matches!(slot.role, Role::Weight { .. });
            Param { name: slot.name, var, decays, first: zeros.clone(), second: zeros }
        });
        Ok(Self { params: params.collect(), rate: 0.0, weight_decay: config.weight_decay, steps: 0 })
    }

    fn step(&mut self, gradients: &GradStore) -> candle_core::Result<()> {
        self.steps += 1;
        let (unbias1, unbias2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        for p in &mut self.params {
            let Some(gradient) = gradients.get(&p.var) else { continue };
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            let mut values = p.var.flatten_all()?.to_vec1::<f32>()?;
            let kept = if p.decays { 1.0 - self.rate * self.weight_decay } else { 1.0 };
            let moments = p.first.iter_mut().zip(&mut p.second);
            for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                *first = BETA1 * *first + (1.0 - BETA1) * g;
                *second = BETA2 * *second + (1.0 - BETA2) * g * g;
                *value = *value * kept - self.rate * (*first / unbias1) / ((*second / unbias2).sqrt() + EPSILON);
            }
            p.var.set(&Tensor::from_vec(values, p.var.shape(), p.var.device())?)?;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.rate.into()
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate as f32;
    }
}

impl AdamW {
    /// Adds the moments to a checkpoint.
    pub(crate) fn save_into(&self, checkpoint: &mut Weights) {
        checkpoint.notes.insert("optimizer_steps".into(), self.steps.to_string());
        for p in &self.params {
            for (what, data) in [("first", &p.first), ("second", &p.second)] {
                let array = Array { shape: vec![data.len()], data: data.clone() };
                checkpoint.arrays.insert(format!("{what}:{}", p.name), array);
            }
        }
    }

    /// Moves the moments out of a checkpoint into the optimizer.
    ///
    /// # Errors
    /// If one is missing or has another size.
    pub(crate) fn load_from(&mut self, checkpoint: &mut Weights) -> Result<()> {
        let fault = |reason: String| Error::Weights { origin: "checkpoint".into(), reason };
        let steps = checkpoint.notes.get("optimizer_steps").and_then(|s| s.parse().ok());
        self.steps = steps.ok_or_else(|| fault("optimizer_steps is missing".into()))?;
        for p in &mut self.params {
            for (what, data) in [("first", &mut p.first), ("second", &mut p.second)] {
                let key = format!("{what}:{}", p.name);
                match checkpoint.arrays.remove(&key) {
                    Some(array) if array.data.len() == data.len() => *data = array.data,
                    _ => return Err(fault(format!("{key} is missing or has another size"))),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_its_last_share() {
        let s = Schedule { steps: 1000, batch: 1, peak: 2.0, warm_up: 100, last: 0.01, weight_decay: 0.0 };
        assert!(s.rate(0) < 0.03 && (s.rate(99) - 2.0).abs() < 1e-6 && (s.rate(100) - 2.0).abs() < 1e-6);
        assert!((101..1000).all(|i| s.rate(i) < s.rate(i - 1)));
        assert!((s.rate(1000) - 0.02).abs() < 1e-4);
    }

    #[test]
    fn adamw_finds_the_bottom_of_a_bowl_and_goes_on_the_same_from_a_checkpoint() {
        let at = |data: &[f32]| Var::from_slice(data, 2, &candle_core::Device::Cpu).unwrap();
        let optimizer = |var: &Var| {
            let slots = vec![Slot { name: "w".into(), shape: vec![2], role: Role::Bias }];
            let mut adam = AdamW::new(vec![var.clone()], AdamWConfig { slots, weight_decay: 0.0 }).unwrap();
            adam.set_learning_rate(0.02);
            adam
        };
        // (x − 1)² + 4 (y − .5)²
        let gradients = |var: &Var| {
            let off = (var.as_tensor() - at(&[1.0, 0.5]).as_tensor()).unwrap();
            (off.sqr().unwrap() * at(&[1.0, 4.0]).as_tensor()).unwrap().sum_all().unwrap().backward().unwrap()
        };
        let var = at(&[3.0, -2.0]);
        let mut adam = optimizer(&var);
        let mut twin = None;
        for i in 0..800 {
            if i == 400 {
                let mut checkpoint = Weights::default();
                let array = Array { shape: vec![2], data: var.to_vec1().unwrap() };
                checkpoint.arrays.insert("w".into(), array.clone());
                adam.save_into(&mut checkpoint);
                let var = at(&array.data);
                let mut other = optimizer(&var);
                other.load_from(&mut checkpoint).unwrap();
                assert_eq!(checkpoint.arrays.len(), 1);
                twin = Some((other, var));
            }
            if let Some((twin, var)) = &mut twin {
                twin.step(&gradients(var)).unwrap();
            }
            adam.step(&gradients(&var)).unwrap();
        }
        let found = var.to_vec1::<f32>().unwrap();
        assert!((found[0] - 1.0).abs() < 0.01 && (found[1] - 0.5).abs() < 0.01, "{found:?}");
        let (twin, there) = twin.unwrap();
        assert_eq!(there.to_vec1::<f32>().unwrap(), found);
        let state = |adam: &AdamW| {
            let mut checkpoint = Weights::default();
            adam.save_into(&mut checkpoint);
            checkpoint
        };
        assert_eq!(state(&adam), state(&twin));
    }
}
