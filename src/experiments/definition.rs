//! What an experiment compares, as its file says.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::Amount;
use crate::error::{Error, Result};
use crate::train::recipe::Recipe;

/// An experiment.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The file's name without extension: that of the record, table and graph.
    pub name: String,
    /// What it says of itself.
    pub definition: Definition,
}

/// The file of an experiment.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Definition {
    /// Trains nets by recipes that differ in something, and compares them.
    Training {
        /// Headline of the graph.
        title: String,
        /// One run of each side for each seed.
        seeds: Vec<u64>,
        /// What the recipes have in common.
        recipe: Table,
        /// What is compared.
        #[serde(rename = "side")]
        sides: Vec<Side>,
    },
    /// Trains the article's cascade, and measures it and those that ship.
    Cascade {
        /// Headline.
        title: String,
        /// Every how many-th picture of wider/val is searched.
        every: usize,
        /// Pictures of these that are timed.
        timed: usize,
    },
    /// Times the article's cascade and those that ship with several sizes of batches.
    Batches {
        /// Headline of the graph.
        title: String,
        /// Numbers of windows in a batch.
        windows: Vec<usize>,
        /// Every how many-th picture of wider/val is searched.
        every: usize,
        /// Rounds in which each cascade searches each picture once with each size.
        rounds: usize,
    },
}

/// One of the things compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Name in table and graph.
    pub name: String,
    /// Title of the panel of the graph that shows it.
    pub panel: String,
    /// Seeds, if they are not those of all sides.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// What its recipe has beside or in place of the common one.
    #[serde(default)]
    pub recipe: Table,
}

/// What the recipe of a run has that only tries whether all works.
const QUICK: &str = "
round = [{ schedule = { steps = 2, batch = 8, peak = 1e-3, warm_up = 1 } }]
validation = { every = 2, samples = 64 }
";
/// Share of the data of such a run.
pub(super) const QUICK_SHARE: f64 = 0.02;

impl Experiment {
    /// Reads an experiment.
    ///
    /// # Errors
    /// If the file can't be read or says what is not understood, or a recipe is wrong.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let definition: Definition = toml::from_str(&text)
            .map_err(|e| Error::Setting(format!("{}: {}", file.display(), e.to_string().trim_end())))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let experiment = Self { name, definition };
        if let Definition::Training { seeds, recipe, sides, .. } = &experiment.definition {
            for side in sides {
                recipe_of(recipe, side, seeds.first().copied().unwrap_or(1), Amount::Steps(1.0))?;
            }
        }
        Ok(experiment)
    }

    /// Returns its headline.
    pub fn title(&self) -> &str {
        match &self.definition {
            Definition::Training { title, .. }
            | Definition::Cascade { title, .. }
            | Definition::Batches { title, .. } => title,
        }
    }
}

/// The recipe of one run, and its text.
///
/// # Errors
/// If the recipe is wrong.
pub fn recipe_of(common: &Table, side: &Side, seed: u64, amount: Amount) -> Result<(Recipe, String)> {
    let mut table = merged(common, &side.recipe);
    let seed =
        i64::try_from(seed).map_err(|_| Error::Setting(format!("{}: the seed {seed} is too large", side.name)))?;
    table.insert("seed".into(), Value::Integer(seed));
    if amount == Amount::Quick {
        let quick = toml::from_str(QUICK).map_err(|e| Error::Setting(e.to_string()))?;
        table = merged(&table, &quick);
        let share = table.get("share").and_then(Value::as_float).unwrap_or(1.0);
        table.insert("share".into(), Value::Float(share * QUICK_SHARE));
    }
    let mut recipe: Recipe = table.try_into().map_err(|e| Error::Setting(format!("{}: {e}", side.name)))?;
    if let Amount::Steps(share) = amount {
        shorten(&mut recipe, share);
    }
    checked(&recipe, &side.name)
}

/// Leaves a share of all steps of a recipe.
pub(super) fn shorten(recipe: &mut Recipe, share: f64) {
    let part = |steps: usize| ((steps as f64 * share).round() as usize).max(1);
    for round in &mut recipe.rounds {
        round.schedule.steps = part(round.schedule.steps);
        // Not as much shorter: rates that rise faster kill nets without batch norm in their last layers.
        round.schedule.warm_up = round.schedule.warm_up.min(round.schedule.steps / 4);
    }
    if let Some(validation) = &mut recipe.validation {
        validation.every = part(validation.every);
    }
}

/// The recipe and its text, if nothing is wrong with it.
pub(super) fn checked(recipe: &Recipe, origin: &str) -> Result<(Recipe, String)> {
    let text = toml::to_string(recipe).map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
    Ok((Recipe::parse(&text, origin)?, text))
}

/// The entries of both tables; where both have one that is no table, that of `over`.
fn merged(common: &Table, over: &Table) -> Table {
    let mut all = common.clone();
    for (key, value) in over {
        let value = match (all.get(key), value) {
            (Some(Value::Table(common)), Value::Table(over)) => Value::Table(merged(common, over)),
            _ => value.clone(),
        };
        all.insert(key.clone(), value);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::SampleSettings;

    #[test]
    fn a_side_has_what_all_have_but_for_what_it_says_itself() {
        let common: Table = toml::from_str(
            "net = \"net24\"\n[samples]\nkind = \"windows\"\nlevel = 1\nsmallest = 16\n\
             [[round]]\nschedule = { steps = 1000, batch = 8, peak = 1e-3, warm_up = 300 }\n[validation]\nevery = 100",
        )
        .unwrap();
        let side = "name = \"a\"\npanel = \"b\"\nrecipe = { share = 0.5, samples = { smallest = 20 }, variant = { batch_norm = false } }";
        let side: Side = toml::from_str(side).unwrap();
        let of = |amount| recipe_of(&common, &side, 7, amount).unwrap().0;
        let (whole, tenth, quick) = (of(Amount::Steps(1.0)), of(Amount::Steps(0.1)), of(Amount::Quick));
        assert_eq!((whole.seed, whole.share, whole.variant.batch_norm), (7, 0.5, Some(false)));
        let SampleSettings::Windows(windows) = &whole.samples else { panic!("{whole:?}") };
        assert_eq!((windows.level, windows.smallest), (1, 20.0));
        let schedule = |recipe: &Recipe| (recipe.rounds[0].schedule.steps, recipe.rounds[0].schedule.warm_up);
        assert_eq!((schedule(&whole), schedule(&tenth)), ((1000, 250), (100, 25)));
        assert_eq!([&whole, &tenth].map(|recipe| recipe.validation.unwrap().every), [100, 10]);
        assert!(schedule(&quick).0 < 10 && quick.share < 0.1);
    }
}
