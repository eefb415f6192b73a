//! Experiments on whole cascades: trains the article's, measures it and those that ship, and times them with several sizes of
//! batches.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use image::RgbImage;

use super::definition::{QUICK_SHARE, checked, shorten};
use super::results::{BatchRow, CascadeRow, Findings, Stage, events, rounded};
use super::{Amount, Bench, Ended, Told};
use crate::cascade::{Cascade, Model, Options, Precision};
use crate::dataset::{self, Split};
use crate::error::Result;
use crate::output::machine;
use crate::text::ms;
use crate::train::events::Event;
use crate::train::plan::{self, RunEnd};
use crate::train::recipe::{ARTICLE, Recipe, Round, SampleSettings};
use crate::train::validation::{ValidationSet, ValidationSettings, options};

/// Side of the smallest face looked for, pixels; and in a run that only tries whether all works, for the same reason as there.
const MIN_FACE: f32 = 20.0;
const QUICK_MIN_FACE: f32 = 100.0;
/// Searches of a picture, of whose times the least counts.
const REPEATS: usize = 3;
/// Steps of each recipe of a run that only tries whether all works, their batch, and pictures of wider/val.
const QUICK_STEPS: usize = 2;
const QUICK_BATCH: usize = 8;
const QUICK_PICTURES: usize = 4;

/// A cascade with its name.
type Named = (String, Cascade);

/// Trains the article's cascade and measures it beside those that ship, on every `every`-th picture; `timed` of these are timed.
pub(super) fn accuracy(every: usize, timed: usize, bench: &mut Bench<'_>) -> Result<Ended<Findings>> {
    let Ended::Done((article, stages)) = train(bench)? else { return Ok(Ended::Stopped) };
    let every = if bench.options.amount == Amount::Quick { usize::MAX } else { every };
    let set = validation(every, bench)?;
    let settings = ValidationSettings { every: 1, pictures: 1, min_face: bench.min_face(), samples: 1 };
    let mut rows = Vec::new();
    for (name, cascade) in cascades(&article, options(&settings))? {
        (bench.tell)(Told::Begins(&name));
        let measured = set.measure(&cascade, bench.options.threads)?;
        let pictures = set.pictures();
        let timed: Vec<&RgbImage> = pictures.iter().step_by(pictures.len().div_ceil(timed.max(1))).collect();
        let (mut multiply_adds, mut times) = (0, Vec::new());
        for picture in &timed {
            multiply_adds += cascade.counts(picture)?.iter().map(|level| level.multiply_adds).sum::<u64>();
            let tries = (0..REPEATS).map(|_| time(&cascade, picture)).collect::<Result<Vec<Duration>>>()?;
            times.extend(tries.into_iter().min().map(ms));
        }
        rows.push(CascadeRow {
            name,
            ap_h20: rounded(measured.ap_h20),
            ap_h40: rounded(measured.ap_h40),
            recall_h20: rounded(measured.recall_h20),
            multiply_adds: (multiply_adds as f64 / timed.len() as f64).round(),
            ms: rounded(mean(&times)),
            pictures: pictures.len(),
            timed: timed.len(),
        });
    }
    Ok(Ended::Done(Findings::Cascade { rows, stages }))
}

/// Times the cascades with each number of `windows` in a batch, in turn, so that other work on the machine meets all alike.
pub(super) fn batches(
    windows: &[usize],
    every: usize,
    rounds: usize,
    bench: &mut Bench<'_>,
) -> Result<Ended<Findings>> {
    let Ended::Done((article, _)) = train(bench)? else { return Ok(Ended::Stopped) };
    let (every, rounds) = if bench.options.amount == Amount::Quick { (usize::MAX, 1) } else { (every, rounds) };
    let set = validation(every, bench)?;
    let pictures = set.pictures();
    let options = Options { min_face: bench.min_face(), smile: false, ..Options::default() };
    let mut all = Vec::new();
    for &batch in windows {
        for (name, cascade) in cascades(&article, options.clone())? {
            all.push((name, batch, cascade.with_batches(batch), vec![Duration::MAX; pictures.len()]));
        }
    }
    for round in 0..rounds {
        (bench.tell)(Told::Begins(&format!("times, round {} of {rounds}", round + 1)));
        for (i, picture) in pictures.iter().enumerate() {
            for (_, _, cascade, least) in &mut all {
                least[i] = least[i].min(time(cascade, picture)?);
            }
        }
    }
    let mut rows: Vec<BatchRow> = Vec::new();
    for (name, batch, cascade, least) in &all {
        let time = rounded(mean(&least.iter().copied().map(ms).collect::<Vec<_>>()));
        match rows.iter_mut().find(|row| row.name == *name) {
            Some(row) => {
                row.windows.push(*batch);
                row.ms.push(time);
            }
            None => {
                let mut looked_at = 0;
                for picture in pictures {
                    looked_at += cascade.counts(picture)?.iter().skip(1).map(|level| level.windows).sum::<usize>();
                }
                let looked_at = rounded(looked_at as f64 / pictures.len() as f64);
                rows.push(BatchRow { name: name.clone(), windows: vec![*batch], ms: vec![time], looked_at });
            }
        }
    }
    Ok(Ended::Done(Findings::Batches { pictures: pictures.len(), rounds, rows }))
}

impl Bench<'_> {
    fn min_face(&self) -> f32 {
        if self.options.amount == Amount::Quick { QUICK_MIN_FACE } else { MIN_FACE }
    }
}

/// Trains the article's cascade, or goes on with it; returns the folder of the run and how it went.
fn train(bench: &mut Bench<'_>) -> Result<Ended<(PathBuf, Vec<Stage>)>> {
    (bench.tell)(Told::Begins("the article's cascade"));
    let amount = bench.options.amount;
    let recipe = |(name, text): &(&str, &str)| -> Result<(Recipe, String)> {
        let mut recipe = Recipe::parse(text, name)?;
        match amount {
            Amount::Steps(share) => {
                shorten(&mut recipe, share);
                // Looking for windows in all pictures would take longer than such a training.
                recipe.share = share;
            }
            Amount::Quick => {
                for Round { schedule, .. } in &mut recipe.rounds {
                    (schedule.steps, schedule.batch, schedule.warm_up) = (QUICK_STEPS, QUICK_BATCH, 1);
                }
                recipe.share = QUICK_SHARE;
                // A net that has learned nothing hands on nearly every window: nobody would wait until all are looked at.
                if let SampleSettings::Windows(windows) = &mut recipe.samples {
                    (windows.level, windows.mined, windows.random) = (1, 0.0, 1.0);
                }
            }
        }
        checked(&recipe, name)
    };
    let recipes = ARTICLE.iter().map(recipe).collect::<Result<Vec<_>>>()?;
    let folder = bench.folder("article", &recipes.iter().map(|(_, text)| text.as_str()).collect::<String>());
    let settings = bench.training(folder.clone());
    let tell = &mut *bench.tell;
    if plan::run_on(&mut bench.data, &recipes, &settings, &mut |event| tell(Told::Event(event)))? == RunEnd::Stopped {
        return Ok(Ended::Stopped);
    }
    let done = events(&folder)?.into_iter().filter_map(|event| match event {
        Event::Done { stage, seconds, samples } => Some(Stage { name: stage, samples, seconds: seconds.round() }),
        _ => None,
    });
    let stages = done.collect();
    Ok(Ended::Done((folder, stages)))
}

/// The article's cascade, and those that ship in floats and in 8 bits.
fn cascades(article: &Path, options: Options) -> Result<Vec<Named>> {
    let article = Cascade::load(&article.join("cascade.toml"), options.clone())?;
    let mut all = vec![("the article's".to_owned(), article)];
    for (precision, numbers) in [(Precision::F32, "floats"), (Precision::Int8, "8 bits")] {
        for model in Model::ALL {
            let cascade = Cascade::shipped(Options { model, precision, ..options.clone() })?;
            all.push((format!("{model}, {numbers}"), cascade));
        }
    }
    Ok(all)
}

/// Every `every`-th picture of wider/val; a few if that leaves fewer.
fn validation(every: usize, bench: &Bench<'_>) -> Result<ValidationSet> {
    let list = dataset::wider(&bench.options.data, Split::Val)?;
    let every = every.min(list.len().div_ceil(QUICK_PICTURES)).max(1);
    let list = list.into_iter().step_by(every).collect();
    ValidationSet::load("wider/val", list, bench.options.threads, &AtomicUsize::new(0))
}

/// Processor time of a search; where the system does not tell it, time.
fn time(cascade: &Cascade, picture: &RgbImage) -> Result<Duration> {
    let (start, began) = (std::time::Instant::now(), machine::process_time());
    cascade.detect(picture)?;
    Ok(machine::process_time().zip(began).map_or_else(|| start.elapsed(), |(now, then)| now.saturating_sub(then)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
