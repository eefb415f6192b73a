//! Repeats the article's experiments. A file of `experiments/` says what is compared ([`definition`]); nets are trained and measured
//! ([`training`]), cascades measured and timed ([`cascades`]); what was found becomes a record ([`results`]), and this a table
//! ([`tables`]) and a graph ([`graph`]).

mod cascades;
pub mod definition;
pub mod graph;
mod measure;
pub mod results;
pub mod tables;
mod training;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use self::definition::{Definition, Experiment};
use self::results::{Findings, Results};
use crate::error::Result;
use crate::train::data::Data;
use crate::train::events::Event;
use crate::train::plan::TrainingOptions;

/// Where experiments read and write, and how they run.
#[derive(Debug)]
pub struct ExperimentOptions<'a> {
    /// The data folder, as for training, with `wider/` val.
    pub data: PathBuf,
    /// Folder for the runs, each in a folder of its own; made if missing.
    pub runs: PathBuf,
    /// How much is trained.
    pub amount: Amount,
    /// Number of threads.
    pub threads: usize,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Ends an experiment early, with a checkpoint, once set.
    pub stop: &'a AtomicBool,
}

/// How much of an experiment's training is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A share of the steps, 0..1.
    Steps(f64),
    /// A few steps on a little of the data, with one seed: whether all works.
    Quick,
}

/// What an experiment says while it runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// A part begins.
    Begins(&'a str),
    /// Something happened in a training run.
    Event(&'a Event),
}

/// How something ended that can be stopped.
#[derive(Debug)]
pub enum Ended<T> {
    /// It is done.
    Done(T),
    /// Stopped on request; the next run goes on with it.
    Stopped,
}

/// The place where experiments are made: the pictures that were read for one serve the next.
pub struct Bench<'a> {
    options: &'a ExperimentOptions<'a>,
    tell: &'a mut dyn FnMut(Told<'_>),
    data: Data,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("options", self.options).finish_non_exhaustive()
    }
}

impl<'a> Bench<'a> {
    /// Makes a bench; `tell` is told how far it is.
    pub fn new(options: &'a ExperimentOptions<'a>, tell: &'a mut dyn FnMut(Told<'_>)) -> Self {
        Self { options, tell, data: Data::default() }
    }

    /// Makes an experiment, or goes on with it.
    ///
    /// # Errors
    /// If data is missing or broken, or a file can't be written.
    pub fn run(&mut self, experiment: &Experiment) -> Result<Ended<Results>> {
        let steps = match self.options.amount {
            Amount::Steps(share) => Some(share),
            Amount::Quick => None,
        };
        let findings = match &experiment.definition {
            Definition::Training { seeds, recipe, sides, .. } => {
                training::run(recipe, sides, seeds, self)?.map(Findings::Training)
            }
            Definition::Cascade { every, timed, .. } => cascades::accuracy(*every, *timed, self)?,
            Definition::Batches { windows, every, rounds, .. } => cascades::batches(windows, *every, *rounds, self)?,
        };
        Ok(findings.map(|findings| Results::new(experiment.title(), self.options.threads, steps, findings)))
    }

    /// The folder of the run of a recipe, or of several.
    fn folder(&self, name: &str, recipes: &str) -> PathBuf {
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(recipes.as_bytes());
        self.options.runs.join(format!("{name}-{sum:08x}"))
    }

    /// How the run in `folder` is trained.
    fn training(&self, folder: PathBuf) -> TrainingOptions<'a> {
        let ExperimentOptions { data, threads, checkpoint_every, stop, .. } = self.options;
        let resume = folder.join("events.jsonl").exists();
        TrainingOptions {
            data: data.clone(),
            run: folder,
            resume,
            threads: *threads,
            checkpoint_every: *checkpoint_every,
            stop,
        }
    }
}

impl<T> Ended<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(value) => Ended::Done(change(value)),
            Self::Stopped => Ended::Stopped,
        }
    }
}
