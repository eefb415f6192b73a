//! Experiments that train nets: each side's runs, one after the other. What is done already is not repeated.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use super::definition::{Side, recipe_of};
use super::measure::measure;
use super::results::{Curve, Measured, RunResults, SideResults, Stage, curves};
use super::{Amount, Bench, Ended, Told};
use crate::dataset::{self, Annotated, Split};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::nets::weights::Weights;
use crate::train::events::Events;
use crate::train::pictures::is_clear;
use crate::train::plan::{self, RunEnd};
use crate::train::recipe::{Recipe, SampleSettings};
use crate::train::windows::WindowSettings;

/// Windows that trained nets are measured on.
const WINDOWS: usize = 4096;
/// The same of a run that only tries whether all works.
const QUICK_WINDOWS: usize = 64;

/// What is kept in a run's folder once it is done and measured.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    training: Curve,
    validation: Curve,
    stage: Stage,
    measured: Measured,
}

/// Trains and measures all sides: those first that learn from the least data, so that pictures are read as seldom as may be.
pub(super) fn run(
    common: &Table,
    sides: &[Side],
    seeds: &[u64],
    bench: &mut Bench<'_>,
) -> Result<Ended<Vec<SideResults>>> {
    let amount = bench.options.amount;
    let recipe = |side: &Side| Ok(recipe_of(common, side, 1, amount)?.0);
    let recipes = sides.iter().map(recipe).collect::<Result<Vec<Recipe>>>()?;
    let mut order: Vec<usize> = (0..sides.len()).collect();
    order.sort_by(|a, b| recipes[*a].share.total_cmp(&recipes[*b].share));
    let mut runs = vec![Vec::new(); sides.len()];
    for i in order {
        let side = &sides[i];
        let seeds = side.seeds.as_deref().unwrap_or(seeds);
        // One is enough to see that all works.
        let seeds = if amount == Amount::Quick { &seeds[..seeds.len().min(1)] } else { seeds };
        for &seed in seeds {
            (bench.tell)(Told::Begins(&format!("{}, seed {seed}", side.name)));
            let (recipe, text) = recipe_of(common, side, seed, amount)?;
            let Ended::Done(done) = one(&recipe, &text, bench)? else { return Ok(Ended::Stopped) };
            let Done { training, validation, stage: Stage { samples, seconds, .. }, measured } = done;
            runs[i].push(RunResults { seed, samples, seconds, training, validation, measured });
        }
    }
    let results = sides.iter().zip(&recipes).zip(runs).map(|((side, recipe), runs)| {
        let (net, (pictures, faces)) = (recipe.trained_net()?, learned_from(recipe, &bench.options.data)?);
        Ok(SideResults {
            name: side.name.clone(),
            panel: side.panel.clone(),
            net: net.name.into(),
            multiply_adds: net.multiply_adds(net.side, net.side),
            pictures,
            faces,
            runs,
        })
    });
    Ok(Ended::Done(results.collect::<Result<_>>()?))
}

/// One run. Its folder has the name of its recipe, so that equal runs of several experiments are made once.
fn one(recipe: &Recipe, text: &str, bench: &mut Bench<'_>) -> Result<Ended<Done>> {
    let folder = bench.folder(&recipe.net, text);
    let kept = folder.join("done.json");
    if let Some(done) = std::fs::read_to_string(&kept).ok().and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(Ended::Done(done));
    }
    let settings = bench.training(folder.clone());
    let recipes = [(recipe.clone(), text.to_owned())];
    let tell = &mut *bench.tell;
    if plan::run_on(&mut bench.data, &recipes, &settings, &mut |event| tell(Told::Event(event)))? == RunEnd::Stopped {
        return Ok(Ended::Stopped);
    }
    let weights = Weights::load(&weights_in(&folder, recipe))?;
    let samples = if bench.options.amount == Amount::Quick { QUICK_WINDOWS } else { WINDOWS };
    bench.data.load_held_back(&settings, &mut Events::open(&folder, &mut |_| {})?)?;
    let sources = bench.data.held_back().ok_or_else(|| {
        Error::data(&bench.options.data, "holds no pictures of wider/, split val, to measure on (docs/training.md)")
    })?;
    let measured = measure(&recipe.trained_net()?, weights, (windows(recipe)?, recipe.context()), sources, samples)?;
    let (training, validation, stage) = curves(&folder)?;
    let done = Done { training, validation, stage, measured };
    write_whole(&kept, serde_json::to_string(&done).map_err(|e| Error::Backend(e.to_string()))?.as_bytes())?;
    Ok(Ended::Done(done))
}

fn weights_in(folder: &Path, recipe: &Recipe) -> PathBuf {
    folder.join(format!("{}.safetensors", recipe.net))
}

fn windows(recipe: &Recipe) -> Result<&WindowSettings> {
    let SampleSettings::Windows(windows) = &recipe.samples else {
        return Err(Error::Setting(format!("{}: experiments train nets on samples of windows", recipe.net)));
    };
    Ok(windows)
}

/// Pictures that the recipe's samples are drawn from, and faces in them that are large and clear enough.
fn learned_from(recipe: &Recipe, data: &Path) -> Result<(usize, usize)> {
    let settings = windows(recipe)?;
    let mut sets = vec![dataset::wider(data, Split::Train)?, dataset::negatives(data)?];
    if settings.faces > 0.0 {
        sets.push(dataset::wider_faces(data)?);
    }
    if settings.portraits > 0.0 {
        sets.push(dataset::mtfl(data, Split::Train)?);
    }
    let learned = |set: &mut Vec<Annotated>| {
        set.retain(|picture| !recipe.holds_back(picture));
        recipe.keep_share(set);
        let faces = set.iter().flat_map(|picture| &picture.faces);
        (set.len(), faces.filter(|face| is_clear(face) && face.rect.h >= settings.smallest).count())
    };
    let sums = sets.iter_mut().map(learned);
    Ok(sums.fold((0, 0), |(pictures, faces), (p, f)| (pictures + p, faces + f)))
}
