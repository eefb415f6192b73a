//! The state of a stage in one file: weights, optimizer, step. Written whole or not at all.

use std::path::Path;

use super::optimizer::AdamW;
use crate::error::{Error, Result};
use crate::nets::weights::Weights;

const WEIGHT: &str = "weight:";

/// A stage's state.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// Steps done.
    pub step: usize,
    /// The net's weights.
    pub weights: Weights,
    /// Adam's moments, for [`AdamW::load_from`].
    pub optimizer: Weights,
}

/// Writes the state of `stage` after `step` steps.
///
/// # Errors
/// If the file can't be written.
pub(crate) fn save(path: &Path, stage: &str, step: usize, weights: Weights, optimizer: &AdamW) -> Result<()> {
    let mut file = Weights::default();
    optimizer.save_into(&mut file);
    file.notes.insert("stage".into(), stage.into());
    file.notes.insert("step".into(), step.to_string());
    file.arrays.extend(weights.arrays.into_iter().map(|(name, array)| (format!("{WEIGHT}{name}"), array)));
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
    let mut weights = Weights::default();
    for name in optimizer.arrays.keys().filter(|n| n.starts_with(WEIGHT)).cloned().collect::<Vec<_>>() {
        if let Some(array) = optimizer.arrays.remove(&name) {
            weights.arrays.insert(name[WEIGHT.len()..].to_string(), array);
        }
    }
    Ok(Some(Checkpoint { step, weights, optimizer }))
}
