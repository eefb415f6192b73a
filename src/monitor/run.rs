//! One run: its record, read as far as it goes, and its recipes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::curve::Curve;
use super::record::{Line, Picture};
use super::tail::{Piece, Tail, inside};

/// Bytes that are read of a record at a time; others can look at the run between.
const AT_A_TIME: usize = 4 << 20;
/// Stages, sets of a stage, and sets of pictures of a stage that are kept, whatever a record holds.
const MOST_STAGES: usize = 200;
const MOST_SETS: usize = 20;
const MOST_PICTURES: usize = 100;
/// Longest name, letters.
const LONGEST_NAME: usize = 100;
/// Recipes of a run, and the size of one, bytes.
const MOST_RECIPES: usize = 32;
const LARGEST_RECIPE: u64 = 1 << 18;
/// Time from one look for recipes to the next.
const RECIPES_EVERY: Duration = Duration::from_secs(2);

/// The set that a curve of training itself belongs to.
pub(super) const TRAINING: &str = "";
/// The set that losses and accuracies of validation belong to.
pub(super) const VALIDATION: &str = "validation";

/// What a curve shows, by its name in records and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Figure {
    Loss,
    /// 1 − accuracy; not stored.
    Error,
    Accuracy,
    ApH20,
    ApH40,
    RecallH20,
    Rate,
    GradientNorm,
    SamplesPerSecond,
}

/// Pictures by the steps done.
pub(super) type Album = Vec<(u32, Vec<Picture>)>;

/// What is trained in a run, or the work before it.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub name: String,
    pub seed: Option<u64>,
    /// Steps in all.
    pub steps: u32,
    /// Steps done.
    pub done: u32,
    /// Steps at which the run was resumed.
    pub resumed: Vec<u32>,
    /// Time that the stage took since its last start, if it ended.
    pub seconds: Option<f64>,
    /// Samples seen so far.
    pub samples: u64,
    pub curves: BTreeMap<(Figure, String), Curve>,
    /// Measures at the end: set, balanced accuracy, area under the ROC curve.
    pub held: Vec<(String, f64, f64)>,
    pub pictures: Album,
}

/// A recipe in a run's folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Recipe {
    /// The net's name.
    pub net: String,
    pub text: String,
    /// Its keys with their values; parts of a table behind a dot.
    pub keys: Vec<(String, String)>,
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    /// Stays the same as long as the monitor runs.
    pub id: usize,
    pub folder: PathBuf,
    pub name: String,
    pub stages: Vec<Stage>,
    pub recipes: Vec<Recipe>,
    /// Lines that are no events, or too long.
    pub unreadable: usize,
    /// Why the record can't be read.
    pub fault: Option<String>,
    tail: Tail,
    recipes_read: Option<Instant>,
}

impl Run {
    pub(super) fn new(id: usize, folder: PathBuf, name: String) -> Self {
        let (stages, recipes, tail) = (Vec::new(), Vec::new(), Tail::default());
        Self { id, folder, name, stages, recipes, unreadable: 0, fault: None, tail, recipes_read: None }
    }

    /// Reads on. Returns whether anything changed, and whether there is more to read.
    pub(super) fn poll(&mut self) -> (bool, bool) {
        let mut changed = self.read_recipes();
        let Self { folder, tail, stages, unreadable, .. } = self;
        let mut spare = Vec::new();
        let mut each = |piece: Piece<'_>| {
            changed = true;
            match piece {
                Piece::Anew => (*stages, *unreadable) = (Vec::new(), 0),
                Piece::TooLong => *unreadable += 1,
                Piece::Line(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                Piece::Line(line) => match Line::read(line, &mut spare) {
                    Some(line) => take(stages, &line),
                    None => *unreadable += 1,
                },
            }
        };
        let record = match inside(folder, "events.jsonl") {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(folder.join("events.jsonl")),
            found => found,
        };
        let read = record.and_then(|path| tail.poll(&path, AT_A_TIME, &mut each));
        let fault = read.as_ref().err().map(|e| format!("{}: {e}", folder.join("events.jsonl").display()));
        changed |= fault != self.fault;
        self.fault = fault;
        (changed, read.unwrap_or(false))
    }

    /// When the record was last written to; `None` while there is none.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        self.tail.changed()
    }

    /// Share of the record that was read, 0..1.
    pub(super) fn read_share(&self) -> f64 {
        self.tail.share()
    }

    /// The stage of that name.
    pub(super) fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Reads the recipes, if it is time. Returns whether they changed.
    fn read_recipes(&mut self) -> bool {
        if self.recipes_read.is_some_and(|at| at.elapsed() < RECIPES_EVERY) {
            return false;
        }
        self.recipes_read = Some(Instant::now());
        let recipes = recipes(&self.folder);
        let changed = recipes != self.recipes;
        self.recipes = recipes;
        changed
    }
}

impl Stage {
    fn push(&mut self, figure: Figure, set: &str, step: u32, value: Option<f64>) {
        let Some(value) = value else { return };
        // Nearly always it is there: the name is copied only if not.
        if let Some((_, curve)) = self.curves.iter_mut().find(|((f, s), _)| *f == figure && s == set) {
            curve.push(step, value);
        } else if self.curves.keys().filter(|(f, _)| *f == figure).count() <= MOST_SETS {
            self.curves.entry((figure, set.to_owned())).or_default().push(step, value);
        }
    }

    /// Drops what a run resumed at `step` makes again.
    fn resume(&mut self, step: u32) {
        self.curves.iter_mut().for_each(|((_, set), curve)| {
            // Validation comes after a step, and counts it.
            curve.truncate(if set == TRAINING { step } else { step.saturating_add(1) });
        });
        self.pictures.retain(|(at, _)| *at <= step);
        (self.done, self.seconds) = (step, None);
    }
}

/// Takes an event in.
fn take(stages: &mut Vec<Stage>, line: &Line<'_>) {
    let name: String = line.stage.chars().take(LONGEST_NAME).collect();
    // Nearly always it is the last one.
    let at = stages.iter().rposition(|stage| stage.name == name);
    let stage = match at {
        Some(at) => &mut stages[at],
        None if stages.len() < MOST_STAGES => {
            stages.push(Stage { name, ..Stage::default() });
            let last = stages.len() - 1;
            &mut stages[last]
        }
        None => return,
    };
    stage.steps = line.steps.unwrap_or(stage.steps);
    stage.samples = line.samples.unwrap_or(stage.samples);
    let step = line.step.unwrap_or(stage.done);
    match &*line.event {
        "start" => {
            stage.seed = line.seed;
            stage.resume(step);
            stage.resumed.retain(|at| *at < step);
            if step > 0 {
                stage.resumed.push(step);
            }
        }
        "step" => {
            for (figure, value) in [
                (Figure::Loss, line.loss),
                (Figure::Accuracy, line.accuracy),
                (Figure::Rate, line.rate),
                (Figure::GradientNorm, line.gradient_norm),
                (Figure::SamplesPerSecond, line.samples_per_second),
            ] {
                stage.push(figure, TRAINING, step, value);
            }
            (stage.done, stage.seconds) = (step.saturating_add(1), None);
        }
        "validation" => {
            stage.push(Figure::Loss, VALIDATION, step, line.loss);
            stage.push(Figure::Accuracy, VALIDATION, step, line.accuracy);
            for set in line.sets.iter().take(MOST_SETS) {
                let name: String = set.set.chars().take(LONGEST_NAME).collect();
                stage.push(Figure::ApH20, &name, step, set.ap_h20);
                stage.push(Figure::ApH40, &name, step, set.ap_h40);
                stage.push(Figure::RecallH20, &name, step, set.recall_h20);
            }
        }
        "done" => stage.seconds = line.seconds,
        "held" => {
            let set: String = line.set.iter().flat_map(|set| set.chars()).take(LONGEST_NAME).collect();
            stage.held.retain(|(known, ..)| *known != set);
            if stage.held.len() < MOST_SETS {
                let figure = |value: Option<f64>| value.unwrap_or(f64::NAN);
                stage.held.push((set, figure(line.balanced_accuracy), figure(line.auc)));
            }
        }
        "pictures" => {
            stage.pictures.retain(|(at, _)| *at < step);
            stage.pictures.push((step, line.pictures.iter().take(MOST_SETS).cloned().collect()));
            if stage.pictures.len() > MOST_PICTURES {
                stage.pictures.remove(0);
            }
        }
        _ => {}
    }
}

/// The recipes in a folder, by the nets' names. What is no recipe is passed over.
fn recipes(folder: &Path) -> Vec<Recipe> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(".toml") && name != "cascade.toml");
    names.sort();
    let read = |name: &String| {
        let path = inside(folder, name).ok()?;
        if std::fs::metadata(&path).ok()?.len() > LARGEST_RECIPE {
            return None;
        }
        let text = std::fs::read_to_string(path).ok()?;
        let table: toml::Table = toml::from_str(&text).ok()?;
        let net = table.get("net")?.as_str()?.to_owned();
        let mut keys = Vec::new();
        flatten("", &toml::Value::Table(table), &mut keys);
        Some(Recipe { net, text, keys })
    };
    names.iter().filter_map(read).take(MOST_RECIPES).collect()
}

/// Lists the keys of a value by their paths, `round.1.schedule.steps` for the first of a list of tables.
fn flatten(path: &str, value: &toml::Value, keys: &mut Vec<(String, String)>) {
    let below = |part: &str| if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&below(key), value, keys)),
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().enumerate().for_each(|(i, value)| flatten(&below(&(i + 1).to_string()), value, keys));
        }
        toml::Value::String(text) => keys.push((path.to_owned(), text.clone())),
        other => keys.push((path.to_owned(), other.to_string())),
    }
}
