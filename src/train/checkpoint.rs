//! The state of a stage in one file: weights, optimizer, step. Written whole or not at all.

use std::path::Path;

use super::optimizer::AdamW;
use crate::error::{Error, Result};
use crate::nets::weights::Weights;

const WEIGHT: &str = "weight:";
const AVERAGE: &str = "average:";

/// A stage's state.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// Steps done.
    pub step: usize,
    /// The net's weights.
    pub weights: Weights,
    /// The average of the weights, where one is kept.
    pub average: Option<Weights>,
    /// Adam's moments, for [`AdamW::load_from`].
    pub optimizer: Weights,
}

/// Writes the state of `stage` after `step` steps.
///
/// # Errors
/// If the file can't be written.
pub(crate) fn save(
    path: &Path,
    stage: &str,
    step: usize,
    weights: Weights,
    average: Option<&Weights>,
    optimizer: &AdamW,
) -> Result<()> {
    let mut file = Weights::default();
    optimizer.save_into(&mut file);
    file.notes.insert("stage".into(), stage.into());
    file.notes.insert("step".into(), step.to_string());
    file.arrays.extend(weights.arrays.into_iter().map(|(name, array)| (format!("{WEIGHT}{name}"), array)));
    let average = average.into_iter().flat_map(|average| &average.arrays);
    file.arrays.extend(average.map(|(name, array)| (format!("{AVERAGE}{name}"), array.clone())));
    file.save(path)
}

/// Reads a checkpoint; `None` if there is none, or one of another stage.
///
/// # Errors
/// If the file is not a checkpoint.
pub(crate) fn load(path: &Path, stage: &str) -> Result<Option<Checkpoint>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut optimizer = Weights::load(path)?;
    if optimizer.notes.get("stage").is_none_or(|s| s != stage) {
        return Ok(None);
    }
    let step = optimizer.notes.get("step").and_then(|s| s.parse().ok()).ok_or_else(|| Error::Weights {
        origin: path.display().to_string(),
        reason: "not a checkpoint: its step is missing; delete it to start this stage anew".into(),
    })?;
    let weights = taken(&mut optimizer, WEIGHT);
    let average = Some(taken(&mut optimizer, AVERAGE)).filter(|average| !average.arrays.is_empty());
    Ok(Some(Checkpoint { step, weights, average, optimizer }))
}

/// Moves the arrays whose names begin with `prefix` out of `file`.
fn taken(file: &mut Weights, prefix: &str) -> Weights {
    let mut weights = Weights::default();
    for name in file.arrays.keys().filter(|n| n.starts_with(prefix)).cloned().collect::<Vec<_>>() {
        if let Some(array) = file.arrays.remove(&name) {
            weights.arrays.insert(name[prefix.len()..].to_string(), array);
        }
    }
    weights
}
