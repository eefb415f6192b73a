//! The record of a run, `events.jsonl`: one JSON object a line, appended when the event happens. People, plots and the progress
//! bar read it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::validation::SetMeasures;
use crate::error::{Error, Result};

/// An event of a training run. `stage` names what is trained, e.g. `octave` or `refine24-2` (the net's second round), or the work
/// before it, e.g. `reading negatives`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Training of a net starts, or is resumed at `step`.
    Start {
        /// What is trained: the net, or the net and its round.
        stage: String,
        /// First step, 0 if not resumed.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// Seed of all random numbers.
        seed: u64,
    },
    /// The optimizer made a step.
    Step {
        /// What is trained.
        stage: String,
        /// 0-based.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// Mean loss of the batch.
        loss: f64,
        /// Share of decisions in the batch that were right, 0..1.
        accuracy: f64,
        /// Learning rate.
        rate: f32,
        /// Samples seen so far.
        samples: u64,
        /// Samples a second, over the last seconds.
        samples_per_second: f64,
        /// Multiply-adds a second (forward and backward: three times the net's).
        multiply_adds_per_second: f64,
    },
    /// A net that is a detector of its own was measured on pictures that it does not learn from.
    Validation {
        /// What is trained.
        stage: String,
        /// Steps done.
        step: usize,
        /// Samples seen so far.
        samples: u64,
        /// Measures of each set.
        sets: Vec<SetMeasures>,
    },
    /// Weights and the optimizer's state were written.
    Checkpoint {
        /// What is trained.
        stage: String,
        /// Steps done.
        step: usize,
    },
    /// Training of a net, or mining, ended.
    Done {
        /// What was trained or mined.
        stage: String,
        /// Time since the start or the last resumption, seconds.
        seconds: f64,
        /// Samples trained on, or windows mined.
        samples: u64,
    },
    /// How the smile net does on faces that are held back from training.
    Held {
        /// What was trained.
        stage: String,
        /// The faces' set.
        set: String,
        /// Mean of the shares of smiles and of other faces told right, 0..1.
        balanced_accuracy: f64,
        /// Area under the ROC curve, 0..1.
        auc: f64,
    },
    /// Pictures were read, or mined, before training.
    Progress {
        /// What is being done.
        stage: String,
        /// Items done.
        done: u64,
        /// Items in all.
        of: u64,
    },
}

/// Appends events to a run's record and passes each on to an observer.
pub struct Events<'a> {
    path: PathBuf,
    file: File,
    observer: &'a mut dyn FnMut(&Event),
}

impl<'a> Events<'a> {
    /// Opens the record in the folder `run`, or begins one.
    ///
    /// # Errors
    /// If the record can't be opened for writing.
    pub fn open(run: &Path, observer: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        let path = run.join("events.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file, observer })
    }

    /// Passes the event on to the observer and appends it to the record; [`Event::Progress`] is only passed on.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn push(&mut self, event: &Event) -> Result<()> {
        (self.observer)(event);
        if matches!(event, Event::Progress { .. }) {
            return Ok(());
        }
        let mut line = serde_json::to_string(event).map_err(|e| Error::Backend(e.to_string()))?;
        line.push('\n');
        // One write a line, so that a killed process leaves whole lines.
        self.file.write_all(line.as_bytes()).map_err(Error::io(&self.path))
    }
}

impl std::fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("path", &self.path).finish_non_exhaustive()
    }
}
