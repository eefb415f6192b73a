//! A net changed as a whole: wider, with batch norm or without, with less dropout. Experiments compare it with the net as it stands in
//! the zoo.

use serde::{Deserialize, Serialize};

use super::spec::Layer::{BatchNorm, Branches, Conv, Dense, Depthwise, Dropout};
use super::spec::{Layer, Net, Output};

/// How a net differs from the net of its name in the zoo.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// Factor of the outputs of each layer of the trunk.
    pub width: Option<f32>,
    /// Batch norm behind each convolution of the trunk, or nowhere.
    pub batch_norm: Option<bool>,
    /// Factor of each probability of dropout.
    pub dropout: Option<f32>,
    /// Number of modules, each of branches and the pooling behind them; the last one is repeated.
    pub modules: Option<usize>,
    /// Calibration by regression of the box in place of the 45 classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub regression: bool,
}

impl Variant {
    /// Returns what is wrong with the numbers.
    pub fn fault(&self) -> Option<&'static str> {
        if self.width.is_some_and(|w| !(w > 0.0 && w <= 16.0)) {
            return Some("variant.width must lie in 0..16");
        }
        if self.dropout.is_some_and(|d| !(0.0..=1.0).contains(&d)) {
            return Some("variant.dropout must lie in 0..1");
        }
        self.modules.is_some_and(|m| !(1..=8).contains(&m)).then_some("variant.modules must lie in 1..8")
    }

    /// Returns the changed net. It keeps its name, but weights of the two nets need not fit each other.
    pub fn of(&self, mut net: Net) -> Net {
        if let Some(modules) = self.modules {
            net.trunk = with_modules(net.trunk, modules);
        }
        if let Some(width) = self.width {
            each(&mut net.trunk, &mut |layers| layers.iter_mut().for_each(|layer| widen(layer, width)));
        }
        let share = self.dropout.unwrap_or(1.0);
        let (batch_norm, trunk) = (self.batch_norm, net.trunk.len());
        for (i, layers) in
            std::iter::once(&mut net.trunk).chain(net.heads.iter_mut().map(|h| &mut h.layers)).enumerate()
        {
            each(layers, &mut |layers| {
                if batch_norm.is_some() {
                    layers.retain(|layer| *layer != BatchNorm);
                }
                if i == 0 && trunk > 0 && batch_norm == Some(true) {
                    *layers = normed(std::mem::take(layers));
                }
                for layer in layers.iter_mut() {
                    if let Dropout(p) = layer {
                        *p *= share;
                    }
                }
            });
        }
        for head in net.heads.iter_mut().filter(|head| self.regression && head.output == Output::Calibration) {
            head.output = Output::Box;
            if let Some(Dense(outputs)) = head.layers.last_mut() {
                *outputs = 4;
            }
        }
        net
    }
}

/// Calls `change` for a list of layers and for those of all branches in it.
fn each(layers: &mut Vec<Layer>, change: &mut dyn FnMut(&mut Vec<Layer>)) {
    change(layers);
    for layer in layers.iter_mut() {
        if let Branches(branches) = layer {
            branches.iter_mut().for_each(|branch| each(branch, change));
        }
    }
}

fn widen(layer: &mut Layer, width: f32) {
    if let Conv { out, .. } | Dense(out) = layer {
        *out = ((*out as f32 * width).round() as usize).max(1);
    }
}

fn normed(layers: Vec<Layer>) -> Vec<Layer> {
    let norm = |layer: Layer| {
        let convolution = matches!(layer, Conv { .. } | Depthwise { .. });
        std::iter::once(layer).chain(convolution.then_some(BatchNorm))
    };
    layers.into_iter().flat_map(norm).collect()
}

/// Leaves the first modules, or repeats the last one.
fn with_modules(mut trunk: Vec<Layer>, modules: usize) -> Vec<Layer> {
    let starts: Vec<usize> = (0..trunk.len()).filter(|i| matches!(trunk[*i], Branches(_))).collect();
    let Some(&last) = starts.last() else { return trunk };
    let end = (last + 2).min(trunk.len());
    match starts.get(modules) {
        Some(&from) => drop(trunk.drain(from..end)),
        None => {
            let module = trunk[last..end].to_vec();
            let more = std::iter::repeat_n(module, modules - starts.len()).flatten();
            drop(trunk.splice(end..end, more));
        }
    }
    trunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::zoo;

    fn of(name: &str, variant: Variant) -> Net {
        let net = variant.of(zoo::by_name(name).unwrap());
        net.check().unwrap();
        net
    }

    fn count(layers: &[Layer], wanted: &dyn Fn(&Layer) -> bool) -> usize {
        let inner = |layer: &Layer| match layer {
            Branches(branches) => branches.iter().map(|branch| count(branch, wanted)).sum(),
            _ => 0,
        };
        layers.iter().map(|layer| usize::from(wanted(layer)) + inner(layer)).sum()
    }

    #[test]
    fn no_change_leaves_every_net_as_it_is() {
        for name in zoo::NAMES {
            let net = zoo::by_name(name).unwrap();
            assert_eq!(Variant::default().of(net.clone()), net);
        }
    }

    #[test]
    fn batch_norm_goes_and_comes_in_branches_too() {
        let norms = |net: &Net| count(&net.trunk, &|layer| *layer == BatchNorm);
        assert_eq!(norms(&of("net48", Variant { batch_norm: Some(false), ..Variant::default() })), 0);
        let convolutions = 3 * 5;
        let inception = of("net64_inceptron", Variant { batch_norm: Some(true), ..Variant::default() });
        assert_eq!(norms(&inception), convolutions);
        let again = Variant { batch_norm: Some(true), ..Variant::default() };
        assert_eq!(again.of(inception.clone()), inception);
    }

    #[test]
    fn modules_are_repeated_or_left_out() {
        let modules = |n| {
            let net = of("net64_inceptron", Variant { modules: Some(n), ..Variant::default() });
            count(&net.trunk, &|layer| matches!(layer, Branches(_)))
        };
        assert_eq!([1, 2, 3, 4, 5].map(modules), [1, 2, 3, 4, 5]);
        let three = Variant { modules: Some(3), ..Variant::default() };
        assert_eq!(of("net64_inceptron", three), zoo::by_name("net64_inceptron").unwrap());
    }

    #[test]
    fn a_wider_net_costs_more_and_keeps_its_outputs() {
        let (plain, wide) =
            (of("net48", Variant::default()), of("net48", Variant { width: Some(1.5), ..Variant::default() }));
        assert_eq!(plain.heads, wide.heads);
        let ratio = wide.multiply_adds(48, 48) as f64 / plain.multiply_adds(48, 48) as f64;
        assert!((2.0..2.25).contains(&ratio), "{ratio}");
    }

    #[test]
    fn dropout_is_scaled_and_calibration_turns_into_regression() {
        let net = of("net24_cal", Variant { dropout: Some(0.5), regression: true, ..Variant::default() });
        assert_eq!(
            net.trunk.iter().filter(|l| matches!(l, Dropout(_))).cloned().collect::<Vec<_>>(),
            [Dropout(0.05), Dropout(0.25)]
        );
        assert_eq!(net.heads[0].output, Output::Box);
        assert_eq!(net.heads[0].layers, [Dropout(0.25), Dense(4)]);
    }
}
