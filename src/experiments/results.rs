//! What an experiment found: its record, a JSON file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::output::machine::Machine;
use crate::train::events::Event;

/// Points at most of a curve of training; each is a mean.
const POINTS: usize = 100;

/// The record of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Headline.
    pub title: String,
    /// The machine.
    pub machine: String,
    /// Threads that the program used.
    pub threads: usize,
    /// Share of the steps of its file that was made; none of a run that only tried whether all works.
    pub steps: Option<f64>,
    /// What was found.
    pub findings: Findings,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Findings {
    /// Of nets that were trained.
    Training(Vec<SideResults>),
    /// Of cascades: how well they find, and what that costs.
    Cascade {
        /// The cascades.
        rows: Vec<CascadeRow>,
        /// How the nets of the first one were trained.
        stages: Vec<Stage>,
    },
    /// Of cascades: processor time by size of batch.
    Batches {
        /// Pictures searched.
        pictures: usize,
        /// Rounds.
        rounds: usize,
        /// The cascades.
        rows: Vec<BatchRow>,
    },
}

/// One side of a comparison of nets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideResults {
    /// Name.
    pub name: String,
    /// Title of its panel in the graph.
    pub panel: String,
    /// The net's name in the zoo.
    pub net: String,
    /// Multiply-adds of a window.
    pub multiply_adds: u64,
    /// Pictures that were learned from.
    pub pictures: usize,
    /// Faces in them that are large and clear enough.
    pub faces: usize,
    /// A run for each seed.
    pub runs: Vec<RunResults>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Samples that were learned from.
    pub samples: u64,
    /// Time that it took since it was last resumed.
    pub seconds: f64,
    /// Means over equally many steps.
    pub training: Curve,
    /// On the windows to validate on.
    pub validation: Curve,
    /// How the weights did at the end.
    pub measured: Measured,
}

/// Figures by samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Samples learned from so far.
    pub samples: Vec<u64>,
    /// Loss.
    pub loss: Vec<f64>,
    /// Share of decisions that were wrong, 0..1.
    pub error: Vec<f64>,
}

/// How weights do on windows of pictures that were not learned from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Windows, as far as they count.
    pub windows: usize,
    /// Share of windows of which the net tells wrongly whether they show a face.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Mean IoU with the face: before calibration, then by each way to calibrate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub iou: BTreeMap<String, f64>,
}

/// A part of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Samples learned from, or windows mined.
    pub samples: u64,
    /// Time that it took since it was last resumed.
    pub seconds: f64,
}

/// A cascade on wider/val.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CascadeRow {
    /// Name.
    pub name: String,
    /// Average precision for faces at least 20 pixels high.
    pub ap_h20: f64,
    /// Average precision for faces at least 40 pixels high.
    pub ap_h40: f64,
    /// Share of the faces at least 20 pixels high that are found at any score.
    pub recall_h20: f64,
    /// Multiply-adds of a picture, mean.
    pub multiply_adds: f64,
    /// Processor time of a picture on one thread, milliseconds, mean.
    pub ms: f64,
    /// Pictures searched.
    pub pictures: usize,
    /// Pictures of these of which multiply-adds and time are means.
    pub timed: usize,
}

/// A cascade's time by size of batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Name.
    pub name: String,
    /// Windows in a batch.
    pub windows: Vec<usize>,
    /// Processor time of a picture, milliseconds: mean over pictures of each one's least.
    pub ms: Vec<f64>,
    /// Windows of a picture that nets on windows looked at, mean.
    pub looked_at: f64,
}

impl Results {
    /// Makes a record of what was found here.
    pub fn new(title: &str, threads: usize, steps: Option<f64>, findings: Findings) -> Self {
        let Machine { cpu, cores, isa, .. } = Machine::here();
        Self { title: title.into(), machine: format!("{cpu}, {cores} cores, {isa}"), threads, steps, findings }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If the file can't be read, or is no record.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        serde_json::from_str(&text).map_err(|e| Error::data(file, format!("is no record of an experiment: {e}")))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string(self).map_err(|e| Error::Backend(e.to_string()))?;
        // A line for each run, so that changes can be read.
        text = text.replace("{\"name\"", "\n{\"name\"").replace("{\"seed\"", "\n {\"seed\"");
        write_whole(file, format!("{text}\n").as_bytes())
    }
}

/// Reads what a run of one net recorded: curves of training and of validation, samples and seconds.
///
/// # Errors
/// If the record can't be read.
pub fn curves(run: &Path) -> Result<(Curve, Curve, Stage)> {
    let (mut steps, mut validation) = (BTreeMap::new(), BTreeMap::new());
    let mut done = Stage { name: String::new(), samples: 0, seconds: 0.0 };
    for event in events(run)? {
        match event {
            // What a resumed run makes again replaces what stood there.
            Event::Step { step, samples, loss, accuracy, .. } => {
                steps.insert(step, (samples, loss, 1.0 - accuracy));
            }
            Event::Validation { step, samples, loss: Some(loss), accuracy: Some(accuracy), .. } => {
                validation.insert(step, (samples, loss, 1.0 - accuracy));
            }
            Event::Done { stage, seconds, samples } => done = Stage { name: stage, samples, seconds },
            _ => {}
        }
    }
    let steps: Vec<_> = steps.into_values().collect();
    let parts = steps.chunks(steps.len().div_ceil(POINTS).max(1));
    let training = parts.map(|part| {
        let mean = |of: fn(&(u64, f64, f64)) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
        (part[part.len() / 2].0, mean(|p| p.1), mean(|p| p.2))
    });
    Ok((Curve::of(training), Curve::of(validation.into_values()), done))
}

/// Reads what a run recorded.
pub(super) fn events(run: &Path) -> Result<Vec<Event>> {
    let file = run.join("events.jsonl");
    let text = std::fs::read_to_string(&file).map_err(Error::io(&file))?;
    // A killed run may have left half a line.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

impl Curve {
    fn of(points: impl Iterator<Item = (u64, f64, f64)>) -> Self {
        let mut curve = Self::default();
        for (samples, loss, error) in points {
            curve.samples.push(samples);
            curve.loss.push(rounded(loss));
            curve.error.push(rounded(error));
        }
        curve
    }
}

/// Five digits behind the point: more say nothing, and fill the repository.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}
