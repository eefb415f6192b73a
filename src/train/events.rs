//! The record of a run: one JSON object a line in `events.jsonl`, appended as it happens, for people, plots and the monitor.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A net's training starts, or goes on at `step`.
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
    /// One step of the optimizer.
    Step {
        /// What is trained.
        stage: String,
        /// 0-based.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// Mean loss of the batch.
        loss: f64,
        /// Share of right decisions, 0..1.
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
    /// Weights and optimizer were written.
    Checkpoint {
        /// What is trained.
        stage: String,
        /// Steps done.
        step: usize,
    },
    /// A stage ended.
    Done {
        /// What was trained or mined.
        stage: String,
        /// Time it took (since it was last resumed).
        seconds: f64,
        /// Samples it was trained on, or windows mined.
        samples: u64,
    },
    /// How the smile net does on faces that it did not learn from.
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
    /// Long work before training: reading pictures, mining.
    Progress {
        /// What is being done.
        stage: String,
        /// Items done.
        done: u64,
        /// Items in all.
        of: u64,
    },
}

/// Appends to a run's record and passes every event on.
pub struct Events<'a> {
    path: PathBuf,
    file: File,
    observer: &'a mut dyn FnMut(&Event),
}

impl<'a> Events<'a> {
    /// Opens (or begins) the record in `run`.
    ///
    /// # Errors
    /// If it can't be opened for writing.
    pub fn open(run: &Path, observer: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        let path = run.join("events.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file, observer })
    }

    /// Writes one event and tells the observer. Progress is told only.
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
        // One write a line: a process killed in between leaves whole lines.
        self.file.write_all(line.as_bytes()).map_err(Error::io(&self.path))
    }
}

impl std::fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("path", &self.path).finish_non_exhaustive()
    }
}
