//! The runs that are followed: those that were named, and those in folders that were named.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::run::{Figure, Run, Stage, TRAINING};

/// Runs that are followed at most.
const MOST_RUNS: usize = 200;

/// The runs that are followed.
#[derive(Debug)]
pub(super) struct Watch {
    roots: Vec<PathBuf>,
    pub runs: Vec<Run>,
    /// Runs that were ever added.
    added: usize,
    /// Grows with every change.
    pub version: u64,
}

/// What the page shows of all runs; curves come apart.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    version: u64,
    runs: Vec<RunSummary>,
}

#[derive(Debug, Serialize)]
struct RunSummary {
    id: usize,
    name: String,
    folder: String,
    /// Seconds since the record was last written to; `None`: there is no record yet.
    quiet: Option<f64>,
    /// Share of the record that was read, 0..1.
    read: f64,
    unreadable: usize,
    fault: Option<String>,
    stages: Vec<StageSummary>,
}

#[derive(Debug, Serialize)]
struct StageSummary {
    name: String,
    seed: Option<u64>,
    steps: u32,
    done: u32,
    resumed: Vec<u32>,
    seconds: Option<f64>,
    samples: u64,
    samples_per_second: Option<f64>,
    /// Values that are no finite numbers.
    odd: usize,
    figures: Vec<Figure>,
    held: Vec<(String, f64, f64)>,
    /// Steps at which pictures were written.
    pictures: usize,
}

impl Watch {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        let mut watch = Self { roots, runs: Vec::new(), added: 0, version: 0 };
        watch.look();
        watch
    }

    /// Reads on in all runs. Returns whether there is more to read at once.
    pub(super) fn poll(&mut self) -> bool {
        let before = self.runs.len();
        self.look();
        let (mut changed, mut more) = (self.runs.len() != before, false);
        for run in &mut self.runs {
            let (c, m) = run.poll();
            (changed, more) = (changed | c, more | m);
        }
        self.version += u64::from(changed);
        more
    }

    /// Looks for runs: a folder that was named is a run, unless only folders within it hold records.
    fn look(&mut self) {
        for root in self.roots.clone() {
            let record = |folder: &Path| folder.join("events.jsonl").is_file();
            if root.file_name().is_some_and(|name| name == "events.jsonl") {
                self.add(root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
                continue;
            }
            let mut within: Vec<PathBuf> = Vec::new();
            if !record(&root) {
                let entries = std::fs::read_dir(&root).into_iter().flatten().flatten();
                within.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir() && record(path)));
                within.sort();
            }
            if within.is_empty() && !self.runs.iter().any(|run| run.folder.starts_with(&root)) {
                self.add(&root);
            }
            within.iter().for_each(|folder| self.add(folder));
        }
        // A folder that was waited for and turned out to hold runs is none itself.
        let roots = &self.roots;
        let empty = |run: &Run| run.stages.is_empty() && run.changed().is_none();
        let parents: Vec<PathBuf> = self
            .runs
            .iter()
            .filter_map(|run| run.folder.parent())
            .filter(|parent| roots.iter().any(|root| root == parent))
            .map(Path::to_owned)
            .collect();
        self.runs.retain(|run| !(empty(run) && parents.contains(&run.folder)));
    }

    fn add(&mut self, folder: &Path) {
        if self.runs.len() >= MOST_RUNS || self.runs.iter().any(|run| run.folder == folder) {
            return;
        }
        let short = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let short = short.unwrap_or_else(|| folder.display().to_string());
        let taken = self.runs.iter().any(|run| run.name == short);
        let name = if taken { folder.display().to_string() } else { short };
        self.runs.push(Run::new(self.added, folder.to_owned(), name));
        self.added += 1;
    }

    pub(super) fn summary(&self) -> Summary {
        let now = SystemTime::now();
        let runs = self.runs.iter().map(|run| RunSummary {
            id: run.id,
            name: run.name.clone(),
            folder: run.folder.display().to_string(),
            quiet: run.changed().map(|at| now.duration_since(at).map_or(0.0, |d| d.as_secs_f64())),
            read: run.read_share(),
            unreadable: run.unreadable,
            fault: run.fault.clone(),
            stages: run.stages.iter().map(StageSummary::of).collect(),
        });
        Summary { version: self.version, runs: runs.collect() }
    }
}

impl StageSummary {
    fn of(stage: &Stage) -> Self {
        let mut figures: Vec<Figure> = stage.curves.keys().map(|(figure, _)| *figure).collect();
        figures.dedup();
        let speed = stage.curves.get(&(Figure::SamplesPerSecond, TRAINING.to_owned()));
        Self {
            name: stage.name.clone(),
            seed: stage.seed,
            steps: stage.steps,
            done: stage.done,
            resumed: stage.resumed.clone(),
            seconds: stage.seconds,
            samples: stage.samples,
            samples_per_second: speed.and_then(|curve| curve.last()),
            odd: stage.curves.values().map(|curve| curve.odd()).sum(),
            figures,
            held: stage.held.clone(),
            pictures: stage.pictures.len(),
        }
    }
}
