//! `facecascade experiment`: repeats experiments, and draws what they found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use facecascade::experiments::definition::Experiment;
use facecascade::experiments::results::Results;
use facecascade::experiments::{Amount, Bench, Ended, ExperimentOptions, Told, graph, tables};
use facecascade::files::write_whole;

use super::train::Display;
use crate::cli::{Common, Outcome};

/// Repeat experiments, such as the article's: train both sides, measure, and draw
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  facecascade experiment experiments/*.toml --data DIR
  facecascade experiment experiments/resolutions.toml --data DIR --quick
      only tries whether it works, in seconds
  facecascade experiment experiments/*.toml --drawn out/experiments
      draws the records that there are, without running anything

What was found goes into results/NAME.json beside the experiment's file, or with --quick into the runs' folder. An \
experiment that was stopped goes on where it was; runs that are done are not repeated (to repeat one, remove its folder). The data folder is that of \
`facecascade train`, with wider/ val.")]
pub(crate) struct ExperimentArgs {
    /// The experiments' files
    #[arg(value_name = "EXPERIMENT.toml", required = true)]
    files: Vec<PathBuf>,
    /// Data folder, as for `facecascade train`
    #[arg(long, value_name = "DIR", required_unless_present = "drawn")]
    data: Option<PathBuf>,
    /// Folder for the training runs
    #[arg(long, value_name = "DIR", default_value = "runs/experiments")]
    runs: PathBuf,
    /// Only try whether it works: a few steps on a little of the data
    #[arg(long)]
    quick: bool,
    /// Make only a share of all steps of training (0..1); of the article's cascade also learn from as small a share of the pictures
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = some, conflicts_with = "quick")]
    steps: f64,
    /// Write tables and graphs of the records into this folder
    #[arg(long, value_name = "DIR")]
    drawn: Option<PathBuf>,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 60, value_name = "S")]
    checkpoint_every: u64,
}

pub(crate) fn run(args: ExperimentArgs, common: &Common) -> anyhow::Result<Outcome> {
    super::train::keep_candle_to_one_thread();
    let experiments =
        args.files.iter().map(|file| Ok((file, Experiment::load(file)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let folder =
        |file: &Path| if args.quick { args.runs.join("quick/results") } else { file.with_file_name("results") };
    let record = |file: &Path, experiment: &Experiment| folder(file).join(format!("{}.json", experiment.name));
    if let Some(data) = &args.data {
        let stop = super::stop_on_signal()?;
        let options = ExperimentOptions {
            data: data.clone(),
            runs: if args.quick { args.runs.join("quick") } else { args.runs.clone() },
            amount: if args.quick { Amount::Quick } else { Amount::Steps(args.steps) },
            threads: common.threads(),
            checkpoint_every: Duration::from_secs(args.checkpoint_every),
            stop: &stop,
        };
        let mut display = Display::new(common.quiet);
        let mut tell = |told: Told<'_>| match told {
            Told::Begins(what) => display.line(what),
            Told::Event(event) => display.show(event),
        };
        let mut bench = Bench::new(&options, &mut tell);
        for (file, experiment) in &experiments {
            let Ended::Done(results) = bench.run(experiment)? else {
                super::say("stopped; the same command goes on")?;
                return Ok(Outcome::Done);
            };
            let record = record(file, experiment);
            std::fs::create_dir_all(folder(file))
                .with_context(|| format!("{}: making the folder", record.display()))?;
            results.save(&record)?;
            super::say(&format!("wrote {}", record.display()))?;
        }
    }
    if let Some(drawn) = &args.drawn {
        std::fs::create_dir_all(drawn).with_context(|| format!("{}: making the folder", drawn.display()))?;
        for (file, experiment) in &experiments {
            let record = record(file, experiment);
            // Not made yet: there is nothing to draw.
            if record.exists() {
                draw(&Results::load(&record)?, &experiment.name, drawn)?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// Parses a share over 0.
fn some(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err("must be over 0 and at most 1".into()) }
}

/// Writes the tables and the graph of a record.
fn draw(results: &Results, name: &str, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(format!("{name}.md"));
    write_whole(&file, tables::tables(results).as_bytes())?;
    super::say(&format!("wrote {}", file.display()))?;
    let Some(picture) = graph::graph(results)? else { return Ok(()) };
    for path in super::write_plots(folder, [(format!("{name}.png"), picture)])? {
        super::say(&format!("wrote {}", path.display()))?;
    }
    Ok(())
}
