//! AdamW (Loshchilov and Hutter 2019) and the learning rate's schedule.

use std::collections::BTreeMap;

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

/// Weights that learn, with Adam's two moments for each.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    params: BTreeMap<String, Param>,
    steps: i32,
}

#[derive(Debug, Clone, PartialEq)]
struct Param {
    decays: bool,
    value: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl AdamW {
    /// Starts from `weights`, with zero moments.
    ///
    /// # Errors
    /// If a slot is missing from `weights`.
    pub fn new<'a>(slots: impl Iterator<Item = &'a Slot>, weights: &Weights) -> Result<Self> {
        let params = slots.map(|slot| {
            let value = weights.get(&slot.name)?.to_vec();
            let zeros = vec![0.0; value.len()];
            let decays = matches!(slot.role, Role::Weight { .. });
            Ok((slot.name.clone(), Param { decays, value, first: zeros.clone(), second: zeros }))
        });
        Ok(Self { params: params.collect::<Result<_>>()?, steps: 0 })
    }

    /// One step against the gradients (by name); calls `changed` with every array's new value.
    ///
    /// # Errors
    /// What `changed` returns.
    pub fn step(
        &mut self,
        gradients: &BTreeMap<String, Vec<f32>>,
        rate: f32,
        weight_decay: f32,
        mut changed: impl FnMut(&str, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.steps += 1;
        let (unbias1, unbias2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        for (name, p) in &mut self.params {
            let Some(gradient) = gradients.get(name) else { continue };
            let shrink = if p.decays { 1.0 - rate * weight_decay } else { 1.0 };
            let moments = p.first.iter_mut().zip(&mut p.second);
            for ((value, g), (first, second)) in p.value.iter_mut().zip(gradient).zip(moments) {
                *first = BETA1 * *first + (1.0 - BETA1) * g;
                *second = BETA2 * *second + (1.0 - BETA2) * g * g;
                *value = *value * shrink - rate * (*first / unbias1) / ((*second / unbias2).sqrt() + EPSILON);
            }
            changed(name, &p.value)?;
        }
        Ok(())
    }

    /// Adds the moments to a checkpoint.
    pub fn save_into(&self, checkpoint: &mut Weights) {
        checkpoint.notes.insert("optimizer_steps".into(), self.steps.to_string());
        for (name, p) in &self.params {
            for (what, data) in [("first", &p.first), ("second", &p.second)] {
                let array = Array { shape: vec![data.len()], data: data.clone() };
                checkpoint.arrays.insert(format!("{what}:{name}"), array);
            }
        }
    }

    /// Takes the moments back from a checkpoint, removing them there.
    ///
    /// # Errors
    /// If one is missing or has another size.
    pub fn load_from(&mut self, checkpoint: &mut Weights) -> Result<()> {
        let fault = |reason: String| Error::Weights { origin: "checkpoint".into(), reason };
        let steps = checkpoint.notes.get("optimizer_steps").and_then(|s| s.parse().ok());
        self.steps = steps.ok_or_else(|| fault("optimizer_steps is missing".into()))?;
        for (name, p) in &mut self.params {
            for (what, data) in [("first", &mut p.first), ("second", &mut p.second)] {
                let key = format!("{what}:{name}");
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
        let slot = Slot { name: "w".into(), shape: vec![2], role: Role::Bias };
        let array = Array { shape: vec![2], data: vec![3.0, -2.0] };
        let weights = Weights { arrays: [("w".to_string(), array)].into(), ..Weights::default() };
        let mut adam = AdamW::new([&slot].into_iter(), &weights).unwrap();
        let mut at = vec![3.0f32, -2.0];
        let mut twin = None;
        for i in 0..800 {
            if i == 400 {
                let mut checkpoint = Weights::default();
                checkpoint.arrays.insert("w".into(), Array { shape: vec![2], data: at.clone() });
                adam.save_into(&mut checkpoint);
                let mut other = AdamW::new([&slot].into_iter(), &checkpoint).unwrap();
                other.load_from(&mut checkpoint).unwrap();
                assert_eq!(checkpoint.arrays.len(), 1);
                twin = Some(other);
            }
            let gradients = [("w".to_string(), vec![2.0 * (at[0] - 1.0), 8.0 * (at[1] - 0.5)])].into();
            if let Some(twin) = &mut twin {
                twin.step(&gradients, 0.02, 0.0, |_, _| Ok(())).unwrap();
            }
            adam.step(&gradients, 0.02, 0.0, |_, v| { at = v.to_vec(); Ok(()) }).unwrap();
        }
        assert!((at[0] - 1.0).abs() < 0.01 && (at[1] - 0.5).abs() < 0.01, "{at:?}");
        assert_eq!(Some(adam), twin);
    }
}
