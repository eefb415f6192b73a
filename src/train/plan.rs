//! Trains the nets of a cascade from their recipes, one after the other, each in one or more rounds. A round that is finished is
//! not repeated, and a run that was killed is resumed from its last checkpoint.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand_distr::{Distribution, StandardNormal};

use super::cells::{self, Cells};
use super::data::{Data, watched};
use super::events::{Event, Events};
use super::held_back;
use super::mining::{self, MinedWindows};
use super::octave::Octave;
use super::recipe::{Member, Recipe, SampleSettings};
use super::scenes::Shares;
use super::smile::{self, Smiles};
use super::trainer::{self, End, TrainingStage};
use super::validation;
use super::windows::{Sources, WindowSettings, Windows};
use crate::cascade::smile::SmileSettings;
use crate::cascade::{self, Cascade};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::nets::grid::Grid;
use crate::nets::spec::Output;
use crate::nets::weights::Weights;

/// Validations of a round whose recipe does not say how often.
const VALIDATIONS: usize = 50;

/// Where a training run reads and writes, and how it runs.
#[derive(Debug)]
pub struct TrainingOptions<'a> {
    /// The data folder, which holds `wider/`, `negatives/`, `wider_faces/`, `mtfl/` and, where recipes ask for it, `masks/`.
    pub data: PathBuf,
    /// The run's folder, for record, checkpoints and weights; made if missing.
    pub run: PathBuf,
    /// Whether to resume the run that the folder holds.
    pub resume: bool,
    /// Number of threads.
    pub threads: usize,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Ends the run early, with a checkpoint, once set.
    pub stop: &'a AtomicBool,
}

/// How a training run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All weights are in the run's folder.
    Done,
    /// Stopped on request; can be resumed.
    Stopped,
}

/// Trains all recipes in order. Writes the weights to the run's folder as NET.safetensors, the recipe as NET.toml, and the
/// cascade's settings as cascade.toml, for `eval --cascade`.
///
/// # Errors
/// If the run's folder holds a run already and `resume` is not set, if data is missing or broken, if the loss explodes, or
/// a file can't be written.
pub fn run(
    recipes: &[(Recipe, String)],
    settings: &TrainingOptions<'_>,
    observer: &mut dyn FnMut(&Event),
) -> Result<RunEnd> {
    run_on(&mut Data::default(), recipes, settings, observer)
}

/// As [`run`], with the pictures that an earlier run has read.
pub(crate) fn run_on(
    data: &mut Data,
    recipes: &[(Recipe, String)],
    settings: &TrainingOptions<'_>,
    observer: &mut dyn FnMut(&Event),
) -> Result<RunEnd> {
    std::fs::create_dir_all(&settings.run).map_err(Error::io(&settings.run))?;
    let record = settings.run.join("events.jsonl");
    if record.exists() && !settings.resume {
        return Err(Error::Setting(format!(
            "{} holds a run already; go on with it by --resume, or choose another folder by --run",
            settings.run.display()
        )));
    }
    let mut events = Events::open(&settings.run, observer)?;
    if let Some((recipe, _)) = recipes.first() {
        write_cascade(recipe, settings)?;
    }
    for (recipe, text) in recipes {
        let path = settings.run.join(format!("{}.toml", recipe.net));
        write_whole(&path, text.as_bytes())?;
        for round in 0..recipe.rounds.len() {
            if rounds_done(recipe, settings)? > round {
                continue;
            }
            if train_round(recipe, text, round, settings, data, &mut events)? == RunEnd::Stopped {
                return Ok(RunEnd::Stopped);
            }
        }
    }
    Ok(RunEnd::Done)
}

/// Writes the cascade's settings beside its weights, for `eval --cascade RUN/cascade.toml`: with the smile's probability as this
/// run fitted it, and without a smile as long as this run has no net for it.
fn write_cascade(recipe: &Recipe, settings: &TrainingOptions<'_>) -> Result<()> {
    let mut cascade = recipe.cascade.settings();
    cascade.smile = match cascade.smile {
        Some(smile) => fitted(smile, settings)?,
        None => None,
    };
    let text = toml::to_string(&cascade).map_err(|e| Error::Backend(e.to_string()))?;
    write_whole(&settings.run.join("cascade.toml"), text.as_bytes())
}

/// Writes the nets that find the faces beside the smile net, as they ship where this run has not trained them, so that the run's
/// cascade is whole. Without their note of rounds, `train all` still trains them.
fn write_finders(recipe: &Recipe, settings: &TrainingOptions<'_>) -> Result<()> {
    let cascade = recipe.cascade.settings();
    for net in std::iter::once(&cascade.proposer.net).chain(cascade.refiners.iter().map(|refiner| &refiner.net)) {
        let path = settings.run.join(format!("{net}.safetensors"));
        if !path.exists() {
            let mut weights = cascade::shipped_weights(net)?;
            weights.notes.remove("rounds");
            weights.save(&path)?;
        }
    }
    Ok(())
}

/// Returns the settings with slope and offset from the notes of this run's weights; `None` without weights.
fn fitted(smile: SmileSettings, settings: &TrainingOptions<'_>) -> Result<Option<SmileSettings>> {
    let path = settings.run.join(format!("{}.safetensors", smile.net));
    if !path.exists() {
        return Ok(None);
    }
    let notes = Weights::load(&path)?.notes;
    let number = |key: &str| notes.get(key).and_then(|v| v.parse::<f32>().ok());
    let (slope, offset) = (number("slope").unwrap_or(smile.slope), number("offset").unwrap_or(smile.offset));
    Ok(Some(SmileSettings { slope, offset, ..smile }))
}

/// Returns how the smile is set in the cascade that the recipe is for.
fn smile_settings(recipe: &Recipe) -> Result<SmileSettings> {
    recipe.cascade.settings().smile.ok_or_else(|| {
        Error::Setting(format!(
            "{}: its cascade has no [smile]; a recipe of smiles needs cascade = \"shipped\"",
            recipe.net
        ))
    })
}

/// Returns how many rounds the weights in the run's folder were trained for; 0 without weights.
fn rounds_done(recipe: &Recipe, settings: &TrainingOptions<'_>) -> Result<usize> {
    let path = weights_path(recipe, settings);
    if !path.exists() {
        return Ok(0);
    }
    Ok(Weights::load(&path)?.notes.get("rounds").and_then(|r| r.parse().ok()).unwrap_or(0))
}

fn weights_path(recipe: &Recipe, settings: &TrainingOptions<'_>) -> PathBuf {
    settings.run.join(format!("{}.safetensors", recipe.net))
}

/// Trains one round of one recipe and writes the weights.
fn train_round(
    recipe: &Recipe,
    text: &str,
    round: usize,
    settings: &TrainingOptions<'_>,
    data: &mut Data,
    events: &mut Events<'_>,
) -> Result<RunEnd> {
    let began = Instant::now();
    let name = if recipe.rounds.len() == 1 { recipe.net.clone() } else { format!("{}-{}", recipe.net, round + 1) };
    let net = recipe.trained_net()?;
    let schedule = recipe.rounds[round].schedule;
    let weights = if round == 0 {
        let mut rng = trainer::rng(recipe.seed, &name, 0, 1 << 40);
        let mut weights = Weights::initial(&net, || StandardNormal.sample(&mut rng));
        cells::lower_first_logits(&net, &mut weights);
        weights.scale_heads(&net, recipe.head_scale);
        if let Some(start) = &recipe.start {
            let learned = learned(start, settings)?;
            for (name, array) in &mut weights.arrays {
                if let Some(known) = learned.arrays.get(name).filter(|known| known.shape == array.shape) {
                    array.data.clone_from(&known.data);
                }
            }
        }
        weights
    } else {
        Weights::load(&weights_path(recipe, settings))?
    };
    let stage = TrainingStage {
        name: &name,
        net: &net,
        schedule,
        seed: recipe.seed,
        shards: recipe.shards,
        threads: settings.threads,
        checkpoint: settings.run.join("checkpoint.safetensors"),
        checkpoint_every: settings.checkpoint_every,
        stop: settings.stop,
        device: candle_core::Device::Cpu,
        average: recipe.average,
        run: &settings.run,
        validate_every: recipe.validation.map_or_else(|| (schedule.steps / VALIDATIONS).max(50), |v| v.every),
        validation_samples: recipe.validation.map_or_else(validation::default_samples, |v| v.samples),
        measure: None,
    };
    if !matches!(recipe.samples, SampleSettings::Smiles(_)) {
        data.load_held_back(settings, events)?;
    }
    let mut rng = trainer::rng(recipe.seed, &name, 0, 1 << 41);
    // Apart from those of training, so that what is drawn for it does not depend on what there is to validate on, and the same for all.
    let mut held_back_rng = held_back::rng(0);
    let end = match &recipe.samples {
        SampleSettings::Scenes { background, masked, occluded } => {
            data.load(recipe, settings, events)?;
            data.load_masked(recipe, *masked, settings, events)?;
            let grid = Grid::of(&net).filter(|grid| grid.head == Output::Octave).ok_or_else(|| {
                Error::Setting(format!("{name}: samples of scenes train a net with an octave head only"))
            })?;
            let shares = Shares { background: *background, masked: *masked, occluded: *occluded };
            let task = Octave::new(grid.clone(), data.sources(), shares, &mut rng);
            let held_back = data.held_back().map(|held_back| Octave::new(grid, held_back, shares, &mut held_back_rng));
            trainer::train(&task, held_back.as_ref(), &stage, weights, events)?
        }
        SampleSettings::Cells(cells) => {
            let grids = Grid::of_cells(&net);
            if grids.is_empty() {
                return Err(Error::Setting(format!("{name}: samples of cells train a net with cells heads only")));
            }
            data.load(recipe, settings, events)?;
            data.load_masked(recipe, cells.masked, settings, events)?;
            data.load_sets(recipe, cells.masked, settings, events)?;
            let task = Cells::new(grids.clone(), *cells, data.sources(), &mut rng);
            let held_back = data.held_back().map(|held_back| Cells::new(grids, *cells, held_back, &mut held_back_rng));
            // What is measured can be used, too: it is written as what the rounds before made.
            let measure = |weights: &Weights| {
                save_weights(recipe, text, round, weights.clone(), settings)?;
                data.measure(recipe, weights, settings.threads)
            };
            let measure = recipe.validation.map(|_| &measure as trainer::Measure<'_>);
            trainer::train(&task, held_back.as_ref(), &TrainingStage { measure, ..stage }, weights, events)?
        }
        SampleSettings::Smiles(samples) => {
            let shown = smile_settings(recipe)?;
            data.load_smiles(recipe, settings, events)?;
            let task = Smiles::new(net.side, &shown, samples, (&data.smiles, false), &mut rng);
            // At the end they are measured without changes of light and place, too.
            let held_back = Smiles::new(net.side, &shown, samples, (&data.smiles, true), &mut held_back_rng);
            let held_back = data.smiles.iter().any(|face| face.held_back).then_some(&held_back);
            trainer::train(&task, held_back, &stage, weights, events)?
        }
        SampleSettings::Windows(windows) => {
            data.load(recipe, settings, events)?;
            data.load_faces(recipe, settings, events)?;
            data.load_masked(recipe, windows.masked, settings, events)?;
            let Some(pool) = mined(windows, recipe, round, &name, settings, data, events)? else {
                return Ok(RunEnd::Stopped);
            };
            let context = recipe.context();
            let task = Windows::new(net.side, context, windows, data.sources(), &pool, &mut rng);
            let held_back_pool = match data.held_back() {
                Some(sources) => mine_held_back(windows, recipe, sources, settings)?,
                None => MinedWindows::default(),
            };
            let held_back = data
                .held_back()
                .map(|sources| Windows::new(net.side, context, windows, sources, &held_back_pool, &mut held_back_rng));
            trainer::train(&task, held_back.as_ref(), &stage, weights, events)?
        }
    };
    let End::Done(mut weights) = end else { return Ok(RunEnd::Stopped) };
    let samples = (schedule.steps * schedule.batch) as u64;
    if let SampleSettings::Smiles(_) = &recipe.samples {
        let held = smile::fit::held(&net, &weights, &smile_settings(recipe)?, &data.smiles)?;
        for (set, balanced_accuracy, auc) in held.figures {
            let (stage, set) = (name.clone(), set.to_string());
            events.push(&Event::Held { stage, set, balanced_accuracy, auc })?;
        }
        weights.notes.insert("slope".into(), held.settings.slope.to_string());
        weights.notes.insert("offset".into(), held.settings.offset.to_string());
        write_finders(recipe, settings)?;
    }
    weights.check(&net, &name)?;
    save_weights(recipe, text, round + 1, weights, settings)?;
    write_cascade(recipe, settings)?;
    events.push(&Event::Done { stage: name, seconds: began.elapsed().as_secs_f64(), samples })?;
    Ok(RunEnd::Done)
}

/// Writes weights to the run's folder with notes of how they were made: that `rounds` were finished.
fn save_weights(
    recipe: &Recipe,
    text: &str,
    rounds: usize,
    mut weights: Weights,
    settings: &TrainingOptions<'_>,
) -> Result<()> {
    for (key, value) in [
        ("net", recipe.net.clone()),
        ("rounds", rounds.to_string()),
        ("seed", recipe.seed.to_string()),
        ("recipe", text.to_string()),
        ("facecascade", env!("CARGO_PKG_VERSION").to_string()),
    ] {
        weights.notes.insert(key.into(), value);
    }
    weights.save(&weights_path(recipe, settings))
}

/// Returns the windows for a round: mined before the net's first round and before rounds that ask for it, otherwise those of the
/// round before. `None`: stopped.
fn mined(
    windows: &WindowSettings,
    recipe: &Recipe,
    round: usize,
    name: &str,
    settings: &TrainingOptions<'_>,
    data: &Data,
    events: &mut Events<'_>,
) -> Result<Option<MinedWindows>> {
    if windows.level < 2 || windows.mined + windows.negatives == 0.0 {
        return Ok(Some(MinedWindows::default()));
    }
    let path = |round: usize| settings.run.join(format!("mined-{}-{}.safetensors", recipe.net, round + 1));
    if let Some(last) = (0..=round).rev().find(|r| path(*r).exists())
        && (last == round || !recipe.rounds[round].mine)
    {
        return MinedWindows::load(&path(last)).map(Some);
    }
    let began = Instant::now();
    let so_far = cascade(recipe.cascade, windows, windows.level - 2, settings)?;
    let whole = if round > 0 { Some(cascade(recipe.cascade, windows, windows.level - 1, settings)?) } else { None };
    let (done, of) = (AtomicUsize::new(0), data.sources().pictures.len() + data.sources().negatives.len());
    let progress = |_: usize, _: usize| {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let stage = format!("mining for {name}");
    let pool = watched(&stage, &done, of, events, || {
        mining::mine(&so_far, whole.as_ref(), data.sources(), windows, settings.threads, settings.stop, &progress)
    })?;
    if settings.stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    pool.save(&path(round))?;
    let samples = (pool.faces.len() + pool.negatives.len() + pool.hard.len()) as u64;
    events.push(&Event::Done { stage, seconds: began.elapsed().as_secs_f64(), samples })?;
    Ok(Some(pool))
}

/// Returns the windows that the levels before let through in the pictures to validate on.
fn mine_held_back(
    windows: &WindowSettings,
    recipe: &Recipe,
    sources: Sources<'_>,
    settings: &TrainingOptions<'_>,
) -> Result<MinedWindows> {
    if windows.level < 2 || windows.mined + windows.negatives == 0.0 {
        return Ok(MinedWindows::default());
    }
    let so_far = cascade(recipe.cascade, windows, windows.level - 2, settings)?;
    mining::mine(&so_far, None, sources, windows, settings.threads, settings.stop, &|_, _| {})
}

/// Returns the levels trained so far, level 1 and `refiners` refiners, with the thresholds of mining. Nets that this run has not
/// trained are the shipped ones.
fn cascade(
    member: Member,
    windows: &WindowSettings,
    refiners: usize,
    settings: &TrainingOptions<'_>,
) -> Result<Cascade> {
    let mut cascade = member.settings().with_refiners(refiners);
    let thresholds = &windows.mining_thresholds;
    cascade.proposer.threshold = thresholds.first().copied().unwrap_or(cascade.proposer.threshold);
    for (refiner, threshold) in cascade.refiners.iter_mut().zip(thresholds.iter().skip(1)) {
        refiner.threshold = *threshold;
    }
    let options = cascade::Options { min_face: windows.mining_min_face, smile: false, ..Default::default() };
    Cascade::from_parts(cascade, &|net| trained(net, settings), options)
}

/// Returns the weights that a recipe's `start` names: those of a file, or of a net.
fn learned(start: &str, settings: &TrainingOptions<'_>) -> Result<Weights> {
    if start.ends_with(".safetensors") { Weights::load(Path::new(start)) } else { trained(start, settings) }
}

/// Returns the weights of a net as this run trained it, else those that ship.
pub(super) fn trained(net: &str, settings: &TrainingOptions<'_>) -> Result<Weights> {
    let path = settings.run.join(format!("{net}.safetensors"));
    if path.exists() { Weights::load(&path) } else { cascade::shipped_weights(net) }
}
