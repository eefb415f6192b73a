//! `facecascade train`: trains nets from their recipes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use facecascade::train::events::Event;
use facecascade::train::plan;
use facecascade::train::recipe::{self, Recipe};
use facecascade::train::tensorboard::TensorBoard;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Common, Outcome};

/// Train one net from its recipe, or the whole cascade from nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  facecascade train all --data DIR --run runs/all
  facecascade train all --data DIR --run runs/all --resume
  facecascade train all --data DIR --run runs/all --monitor
  facecascade train smile --data DIR --run runs/smile
  facecascade train models/yunet.toml --data DIR --run runs/level1

\
The data folder holds pictures and, for each set, a CSV file (docs/training.md lists the columns):
  wider/        annotations.csv, images.csv  pictures with faces, split train
  negatives/    images.csv                   pictures without faces
  wider_faces/  annotations.csv              single faces cut out; not for level 1
  mtfl/         annotations.csv              single faces with landmarks; not for level 1
  fer/          index.csv                    sheets of grey faces, happy or not; only for smile.toml")]
pub(crate) struct TrainArgs {
    /// A recipe (TOML), `all` for the cascade that ships, `level1` or `smile` for its first net or its smile net alone, `article` for the
    /// article's own, or `octave` for one of three levels that begins with the octave net
    #[arg(value_name = "RECIPE.toml|all|level1|smile|article|octave")]
    what: String,
    /// Data folder: holds wider/, negatives/, wider_faces/, mtfl/ and fer/ (see below)
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the record (events.jsonl), checkpoints and weights
    #[arg(long, default_value = "runs/latest", value_name = "DIR")]
    run: PathBuf,
    /// Go on with the run that the folder holds
    #[arg(long)]
    resume: bool,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 60, value_name = "S")]
    checkpoint_every: u64,
    /// Serve the page of `facecascade monitor` for this run as long as it trains
    #[cfg(feature = "monitor")]
    #[arg(long)]
    monitor: bool,
    /// Write the figures for TensorBoard, too, into this folder
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

pub(crate) fn run(args: TrainArgs, common: &Common) -> anyhow::Result<Outcome> {
    keep_candle_to_one_thread();
    let recipes = recipes(&args.what)?;
    let stop = super::stop_on_signal()?;
    let settings = plan::TrainingOptions {
        data: args.data,
        run: args.run.clone(),
        resume: args.resume,
        threads: common.threads(),
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
        stop: &stop,
    };
    #[cfg(feature = "monitor")]
    let _monitor = args.monitor.then(|| follow(args.run.clone())).transpose()?;
    let mut display = Display::new(common.quiet);
    let mut board = args.tensorboard.map(TensorBoard::new);
    let end = plan::run(&recipes, &settings, &mut |event| {
        display.show(event);
        if let Some(Err(error)) = board.as_mut().map(|board| board.push(event)) {
            // The training itself goes on.
            display.line(&format!("{error}; nothing more is written for TensorBoard"));
            board = None;
        }
    })?;
    display.bar.finish_and_clear();
    match end {
        plan::RunEnd::Done => super::say(&format!("weights are in {}", args.run.display()))?,
        plan::RunEnd::Stopped => super::say(&format!("stopped; go on with --resume --run {}", args.run.display()))?,
    }
    Ok(Outcome::Done)
}

/// Keeps candle from starting threads of its own. To be called before any other thread is started.
pub(super) fn keep_candle_to_one_thread() {
    // Shards already use every core; candle's own threads, which wait by spinning, would only be in their way.
    // SAFETY: no other thread has been started yet that could read the environment.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
}

/// Serves the page that follows the run, and says where.
#[cfg(feature = "monitor")]
fn follow(run: PathBuf) -> anyhow::Result<facecascade::monitor::Monitor> {
    let monitor = super::monitor::start(vec![run], std::net::Ipv4Addr::LOCALHOST.into(), None)?;
    super::say(&format!("The monitor is at {}", monitor.url()))?;
    Ok(monitor)
}

fn recipes(what: &str) -> anyhow::Result<Vec<(Recipe, String)>> {
    let built_in: Option<&[(&str, &str)]> = match what {
        "all" => Some(&recipe::SHIPPED),
        "article" => Some(&recipe::ARTICLE),
        "octave" => Some(&recipe::OCTAVE),
        "level1" => Some(&[recipe::LEVEL1]),
        "smile" => Some(&[recipe::SMILE]),
        _ => None,
    };
    if let Some(built_in) = built_in {
        return built_in.iter().map(|(name, text)| Ok((Recipe::parse(text, name)?, text.to_string()))).collect();
    }
    let text = std::fs::read_to_string(what).with_context(|| format!("{what}: can't read the recipe"))?;
    Ok(vec![(Recipe::parse(&text, what)?, text)])
}

/// Shows progress on stderr: a bar in a terminal, a line every half minute elsewhere.
pub(super) struct Display {
    bar: ProgressBar,
    stage: String,
    plain: bool,
    said: Instant,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(1) };
        let plain = bar.is_hidden() && !quiet;
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} ETA {eta}") {
            bar.set_style(style);
        }
        Self { bar, stage: String::new(), plain, said: Instant::now() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        let (stage, done, of, text) = match event {
            Event::Step {
                stage, step, steps, loss, accuracy, samples_per_second, multiply_adds_per_second, ..
            } => {
                let speed = multiply_adds_per_second / 1e9;
                let text = format!(
                    "loss {loss:.4}  accuracy {accuracy:.3}  {samples_per_second:.0} samples/s  {speed:.1} G multiply-adds/s"
                );
                (stage, *step as u64 + 1, *steps as u64, text)
            }
            Event::Progress { stage, done, of } => (stage, *done, *of, String::new()),
            Event::Done { stage, seconds, samples } => {
                return self.line(&format!("{stage}: done, {samples} samples in {seconds:.0} s"));
            }
            Event::Start { stage, step, .. } if *step > 0 => {
                return self.line(&format!("{stage}: resumed at step {step}"));
            }
            Event::Validation { stage, step, loss, accuracy, sets, .. } => {
                let mut text = format!("{stage}, step {step}, validation:");
                if let (Some(loss), Some(accuracy)) = (loss, accuracy) {
                    text += &format!(" loss {loss:.4}  accuracy {accuracy:.3}");
                }
                for (i, s) in sets.iter().enumerate() {
                    let head = if i == 0 { "  AP h20 / h40:" } else { "," };
                    text += &format!("{head} {} {:.3} / {:.3}", s.set, s.ap_h20, s.ap_h40);
                }
                return self.line(&text);
            }
            Event::Held { stage, set, balanced_accuracy, auc } => {
                let text = format!(
                    "{stage}: on faces held back of {set}: balanced accuracy {balanced_accuracy:.3}, AUC {auc:.3}"
                );
                return self.line(&text);
            }
            Event::Start { .. } | Event::Checkpoint { .. } | Event::Pictures { .. } => return,
        };
        if *stage != self.stage {
            self.stage.clone_from(stage);
            self.bar.reset();
            self.bar.set_prefix(stage.clone());
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
        if self.plain && self.said.elapsed() > Duration::from_secs(30) {
            self.said = Instant::now();
            self.line(&format!("{stage} {done}/{of}  {text}"));
        }
        self.bar.set_message(text);
    }

    pub(super) fn line(&self, text: &str) {
        use std::io::Write;
        if self.plain {
            let _ = writeln!(std::io::stderr(), "{text}");
        } else {
            self.bar.println(text);
        }
    }
}
