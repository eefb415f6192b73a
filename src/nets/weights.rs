//! A net's learned arrays, by name, in a safetensors file; checked against the net's layers when they are loaded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::lower::{Op, Purpose};
use super::spec::Net;
use crate::error::{Error, Result};
use crate::files::write_whole;

/// Batch norm's ε, the same in training and in detection.
pub const NORM_EPSILON: f32 = 1e-5;

/// One array: its shape and its values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Values.
    pub data: Vec<f32>,
}

/// A net's weights by name (`trunk.0.weight`, `face.1.bias`, …) and notes about how they were made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    /// Arrays by name.
    pub arrays: BTreeMap<String, Array>,
    /// Free text: net, recipe, seed, samples, figures.
    pub notes: BTreeMap<String, String>,
}

/// Use of an array in its net; decides how the array is initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Multiplied with `fan_in` inputs for each output.
    Weight {
        /// Inputs that add up in one output.
        fan_in: usize,
    },
    /// Added to each output.
    Bias,
    /// Batch norm's scale, which starts at 1.
    Scale,
    /// Batch norm's shift.
    Shift,
    /// Running mean: no gradient.
    Mean,
    /// Running variance: no gradient, starts at 1.
    Variance,
}

/// An array that a net needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Name in the file.
    pub name: String,
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Use in the net.
    pub role: Role,
}

/// The path of a layer's arrays: `trunk.3`, `trunk.0.1.2` (branch 1, layer 2), `block2.0`, `calibration.0`.
pub fn path(parent: &str, index: usize) -> String {
    format!("{parent}.{index}")
}

/// The name of a head in weights files.
pub fn head_path(output: super::spec::Output) -> String {
    use super::spec::Output;
    match output {
        Output::Face => "face".into(),
        Output::Calibration => "calibration".into(),
        Output::Box => "box".into(),
        Output::Octave => "octave".into(),
        Output::Cells(stride) => format!("cells{stride}"),
        Output::Smile => "smile".into(),
    }
}

/// All arrays that `net` needs, in the order of its layers.
///
/// # Errors
/// If the net's layers do not fit each other.
pub fn slots(net: &Net) -> Result<Vec<Slot>> {
    Ok(net.lower(Purpose::Training)?.slots())
}

impl Weights {
    /// Multiplies the weights of all heads.
    #[cfg(feature = "train")]
    pub(crate) fn scale_heads(&mut self, net: &Net, factor: f32) {
        let heads: Vec<String> = net.heads.iter().map(|head| format!("{}.", head_path(head.output))).collect();
        for (name, array) in &mut self.arrays {
            if name.ends_with("weight") && heads.iter().any(|head| name.starts_with(head)) {
                array.data.iter_mut().for_each(|weight| *weight *= factor);
            }
        }
    }

    /// Fresh weights: He's normal distribution for weights, drawn from `normal` (mean 0, deviation 1).
    ///
    /// # Panics
    /// If the net's layers do not fit each other.
    pub fn initial(net: &Net, mut normal: impl FnMut() -> f32) -> Self {
        let slots = slots(net).unwrap_or_else(|e| panic!("{e}"));
        let arrays = slots.into_iter().map(|slot| {
            let len = slot.shape.iter().product();
            let data = match slot.role {
                Role::Weight { fan_in } => {
                    let deviation = (2.0 / fan_in as f32).sqrt();
                    (0..len).map(|_| normal() * deviation).collect()
                }
                Role::Scale | Role::Variance => vec![1.0; len],
                Role::Bias | Role::Shift | Role::Mean => vec![0.0; len],
            };
            (slot.name, Array { shape: slot.shape, data })
        });
        Self { arrays: arrays.collect(), notes: BTreeMap::new() }
    }

    /// The values of one array.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> Result<&[f32]> {
        self.arrays
            .get(name)
            .map(|a| a.data.as_slice())
            .ok_or_else(|| Error::Weights { origin: self.origin(), reason: format!("{name} is missing") })
    }

    /// Weights and bias of an operation, the batch norm behind it folded into both; both empty if it has no arrays.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn folded(&self, op: &Op) -> Result<(Vec<f32>, Vec<f32>)> {
        let get = |parent: &str, array: &str| self.get(&format!("{parent}.{array}"));
        let Some(arrays) = &op.arrays else { return Ok((Vec::new(), Vec::new())) };
        let mut weight = get(&op.path, "weight")?.to_vec();
        let Some(norm) = &arrays.norm else { return Ok((weight, get(&op.path, "bias")?.to_vec())) };
        let (scale, shift, mean) = (get(norm, "scale")?, get(norm, "shift")?, get(norm, "mean")?);
        let factors: Vec<f32> =
            scale.iter().zip(get(norm, "variance")?).map(|(s, v)| s / (v + NORM_EPSILON).sqrt()).collect();
        for row in weight.chunks_exact_mut(op.output.c) {
            row.iter_mut().zip(&factors).for_each(|(w, f)| *w *= f);
        }
        let bias = (0..op.output.c).map(|o| shift[o] - mean[o] * factors[o]).collect();
        Ok((weight, bias))
    }

    fn origin(&self) -> String {
        self.notes.get("net").cloned().unwrap_or_else(|| "(in memory)".into())
    }

    /// Checks that every array of `net` is there, has its shape and holds finite numbers only, and that the file holds
    /// no other array.
    ///
    /// # Errors
    /// Names the first array at fault; `origin` (the file) stands at the head of the message.
    pub fn check(&self, net: &Net, origin: &str) -> Result<()> {
        let fail = |reason| Err(Error::Weights { origin: origin.into(), reason });
        let slots = slots(net)?;
        for slot in &slots {
            let Some(array) = self.arrays.get(&slot.name) else {
                return fail(format!("{} is missing; are these weights of the net {}?", slot.name, net.name));
            };
            if array.shape != slot.shape {
                return fail(format!(
                    "{} has shape {:?}, the net {} needs {:?}",
                    slot.name, array.shape, net.name, slot.shape
                ));
            }
            if let Some(at) = array.data.iter().position(|v| !v.is_finite()) {
                return fail(format!(
                    "{}[{at}] is {}; train the net again or take the shipped weights",
                    slot.name, array.data[at]
                ));
            }
            if slot.role == Role::Variance && array.data.iter().any(|v| *v < 0.0) {
                return fail(format!("{} holds a negative variance", slot.name));
            }
        }
        if let Some(name) = self.arrays.keys().find(|name| !slots.iter().any(|s| s.name == **name)) {
            return fail(format!("{name} does not belong to the net {}", net.name));
        }
        Ok(())
    }

    /// Reads a safetensors file's bytes; `origin` names them in errors.
    ///
    /// # Errors
    /// If the bytes are cut or hold anything but 32-bit floats.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let fail = |reason: String| Error::Weights { origin: origin.into(), reason };
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes)
            .map_err(|e| fail(format!("not a whole safetensors file ({e})")))?;
        let file = safetensors::SafeTensors::deserialize(bytes)
            .map_err(|e| fail(format!("not a whole safetensors file ({e})")))?;
        let mut arrays = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != safetensors::Dtype::F32 {
                return Err(fail(format!("{name} is {:?}, not 32-bit float", view.dtype())));
            }
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            arrays.insert(name.to_string(), Array { shape: view.shape().to_vec(), data });
        }
        let notes = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { arrays, notes })
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// If it can't be read, or as [`Self::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Writes a safetensors file: to a temporary file beside it, which is then renamed, so that a crash or a full disk
    /// leaves the old file whole.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn save(&self, path: &Path) -> Result<()> {
        let views: Vec<(String, Vec<u8>, &[usize])> = self
            .arrays
            .iter()
            .map(|(name, a)| (name.clone(), bytemuck::cast_slice(&a.data).to_vec(), a.shape.as_slice()))
            .collect();
        let fail = |e: safetensors::SafeTensorError| Error::Weights {
            origin: path.display().to_string(),
            reason: e.to_string(),
        };
        let tensors: Vec<_> = views
            .iter()
            .map(|(name, bytes, shape)| {
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes)
                    .map(|view| (name.as_str(), view))
            })
            .collect::<std::result::Result<_, _>>()
            .map_err(fail)?;
        let notes: HashMap<String, String> = self.notes.clone().into_iter().collect();
        let bytes = safetensors::serialize(tensors, Some(notes)).map_err(fail)?;
        write_whole(path, &bytes)
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;
    use crate::nets::zoo;

    #[test]
    fn only_the_weights_of_heads_are_scaled() {
        let net = zoo::refine24();
        let first = Weights::initial(&net, || 1.0);
        let mut scaled = first.clone();
        scaled.scale_heads(&net, 0.5);
        let changed = first.arrays.iter().filter(|(name, array)| scaled.arrays[*name] != **array);
        let names: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["box.0.weight", "calibration.0.weight", "face.0.weight"]);
        assert_eq!(scaled.arrays["box.0.weight"].data[0], first.arrays["box.0.weight"].data[0] * 0.5);
    }
}
