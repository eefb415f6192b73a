//! How a net is trained, as a TOML file that lies beside the weights it made.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::optimizer::Schedule;
use crate::error::{Error, Result};
use crate::nets::spec::Net;
use crate::nets::zoo;

/// A net's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The net's name in the zoo.
    pub net: String,
    /// Seed of all random numbers.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Parts of a batch that run side by side, each with batch norm statistics of its own.
    #[serde(default = "default_shards")]
    pub shards: usize,
    /// What it is trained on.
    pub samples: SampleSettings,
    /// Rounds, one after the other; a later one goes on from the weights of the one before.
    #[serde(rename = "round")]
    pub rounds: Vec<Round>,
}

fn default_seed() -> u64 {
    1
}

fn default_shards() -> usize {
    2
}

/// Where samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SampleSettings {
    /// Crops of scenes, every cell labelled: for the octave net.
    Scenes {
        /// Share of crops from pictures without faces.
        background: f64,
    },
}

/// One round of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Steps, batch and rates.
    pub schedule: Schedule,
}

impl Recipe {
    /// Parses a recipe; `origin` names it in errors.
    ///
    /// # Errors
    /// If a key is unknown or missing, a value is out of its range, or the net is not in the zoo.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let recipe: Self =
            toml::from_str(text).map_err(|e| Error::Setting(format!("{origin}: {}", e.to_string().trim_end())))?;
        let fail = |reason: &str| Err(Error::Setting(format!("{origin}: {reason}")));
        if recipe.rounds.is_empty() {
            return fail("at least one [[round]] is needed");
        }
        for round in &recipe.rounds {
            let s = &round.schedule;
            if s.steps == 0 || s.batch == 0 || !(s.peak > 0.0 && s.peak.is_finite()) {
                return fail("steps, batch and peak must be greater than 0");
            }
            if recipe.shards == 0 || recipe.shards > s.batch {
                return fail("shards must be between 1 and batch");
            }
        }
        recipe.zoo_net().map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
        Ok(recipe)
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// If the file can't be read, or as [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The net that is trained.
    ///
    /// # Errors
    /// If the zoo has none of that name.
    pub fn zoo_net(&self) -> Result<Net> {
        zoo::by_name(&self.net).ok_or_else(|| {
            Error::Setting(format!("there is no net {:?}; the zoo has {}", self.net, zoo::NAMES.join(", ")))
        })
    }
}

/// The recipes of the cascade that ships, in the order of training: file name and text.
pub const SHIPPED: [(&str, &str); 1] = [("models/octave.toml", include_str!("../../models/octave.toml"))];
