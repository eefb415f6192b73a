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
        /// Mean loss of the batch; NaN or infinite at the last step of a run that failed.
        #[serde(with = "number")]
        loss: f64,
        /// Share of decisions in the batch that were right, 0..1.
        accuracy: f64,
        /// Learning rate.
        rate: f32,
        /// Length of the gradient of all weights, before the optimizer; older records lack it.
        #[serde(default, with = "number::option", skip_serializing_if = "Option::is_none")]
        gradient_norm: Option<f64>,
        /// Samples seen so far.
        samples: u64,
        /// Samples a second, over the last seconds.
        samples_per_second: f64,
        /// Multiply-adds a second (forward and backward: three times the net's).
        multiply_adds_per_second: f64,
    },
    /// A net was measured on pictures that it does not learn from.
    Validation {
        /// What is trained.
        stage: String,
        /// Steps done.
        step: usize,
        /// Samples seen so far.
        samples: u64,
        /// Mean loss of samples drawn from those pictures; older records lack it.
        #[serde(default, with = "number::option", skip_serializing_if = "Option::is_none")]
        loss: Option<f64>,
        /// Share of decisions on those samples that were right, 0..1; older records lack it.
        #[serde(default, with = "number::option", skip_serializing_if = "Option::is_none")]
        accuracy: Option<f64>,
        /// Measures of each set, of a net that is a detector of its own.
        #[serde(default)]
        sets: Vec<SetMeasures>,
    },
    /// Pictures of what the net does now were written to the run's folder.
    Pictures {
        /// What is trained.
        stage: String,
        /// Steps done.
        step: usize,
        /// The pictures.
        pictures: Vec<SamplePicture>,
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

/// A picture of what a net does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePicture {
    /// Name within the run's folder.
    pub file: String,
    /// What the picture shows.
    pub shows: String,
}

/// Numbers in records: those that JSON does not know are strings, `"NaN"`, `"inf"` and `"-inf"`.
pub(crate) mod number {
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(Number)
    }

    /// A number that is there, for fields that may be missing; `null`, which older records hold for NaN, is one.
    pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        deserialize(deserializer).map(Some)
    }

    /// Numbers that may be missing.
    pub(crate) mod option {
        pub(crate) use super::optional as deserialize;

        pub(crate) fn serialize<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }
    }

    struct Number;

    impl Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_unit<E: Error>(self) -> Result<f64, E> {
            Ok(f64::NAN)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_older_versions_are_read() {
        let step = r#"{"event":"step","stage":"yunet","step":0,"steps":60000,"loss":22.5,"accuracy":0.0,"rate":0.00002,"samples":32,"samples_per_second":83.0,"multiply_adds_per_second":8348328453.4}"#;
        let validation = r#"{"event":"validation","stage":"yunet","step":9,"samples":288,"sets":[]}"#;
        let [step, validation] = [step, validation].map(|line| serde_json::from_str::<Event>(line).unwrap());
        assert!(matches!(step, Event::Step { loss: 22.5, gradient_norm: None, .. }));
        assert!(matches!(validation, Event::Validation { loss: None, accuracy: None, .. }));
    }

    #[test]
    fn numbers_that_json_does_not_know_come_back() {
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1e300] {
            let (stage, step, samples, sets) = ("a".into(), 1, 2, Vec::new());
            let event = Event::Validation { stage, step, samples, loss: Some(loss), accuracy: None, sets };
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains("accuracy") && serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
            let Event::Validation { loss: Some(read), .. } = serde_json::from_str(&line).unwrap() else {
                panic!("{line}")
            };
            assert!(read == loss || read.is_nan() && loss.is_nan(), "{line}");
        }
    }
}
