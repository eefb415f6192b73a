//! Parses the command line: options common to all commands, and one variant for each command.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::commands;

#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  facecascade live
  facecascade detect group.jpg
  facecascade detect --json holiday/ > faces.jsonl
  facecascade video clip.mp4 -o faces.mp4
  facecascade video clip.mp4 --redact mosaic -o safe.mp4
  facecascade inspect group.jpg -o stages.png

`facecascade COMMAND --help` explains a command and has examples of its own. Results go to stdout, everything else to stderr. \
Exit status: 0 = done, 1 = something failed (the rest was still done), 2 = the command line is wrong.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Threads to use; 0 = one for each core
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// Say more on stderr: -v the settings in use, -vv details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say only errors on stderr; show no progress bars
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

impl Common {
    /// Returns the number of threads to use, at least 1.
    pub(crate) fn threads(&self) -> usize {
        if self.threads > 0 { self.threads } else { std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Live(commands::live::LiveArgs),
    Bench(commands::bench::BenchArgs),
    Detect(commands::detect::DetectArgs),
    Video(commands::video::VideoArgs),
    Inspect(commands::inspect::InspectArgs),
    #[cfg(feature = "train")]
    Train(commands::train::TrainArgs),
    #[cfg(feature = "monitor")]
    Monitor(commands::monitor::MonitorArgs),
    #[cfg(feature = "train")]
    Eval(commands::eval::EvalArgs),
    #[cfg(feature = "train")]
    Quantise(commands::quantise::QuantiseArgs),
    #[cfg(feature = "train")]
    Experiment(commands::experiment::ExperimentArgs),
}

/// How a command ended that did not end with an error. `PartlyFailed`: something failed, the rest was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    PartlyFailed,
}

pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let common = cli.common;
    start_log(&common);
    let result = match cli.command {
        Command::Live(args) => commands::live::run(args, &common),
        Command::Bench(args) => commands::bench::run(args, &common),
        Command::Detect(args) => commands::detect::run(args, &common),
        Command::Video(args) => commands::video::run(args, &common),
        Command::Inspect(args) => commands::inspect::run(args, &common),
        #[cfg(feature = "train")]
        Command::Train(args) => commands::train::run(args, &common),
        #[cfg(feature = "monitor")]
        Command::Monitor(args) => commands::monitor::run(args, &common),
        #[cfg(feature = "train")]
        Command::Eval(args) => commands::eval::run(args, &common),
        #[cfg(feature = "train")]
        Command::Quantise(args) => commands::quantise::run(args, &common),
        #[cfg(feature = "train")]
        Command::Experiment(args) => commands::experiment::run(args, &common),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::PartlyFailed) => ExitCode::FAILURE,
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                let _ = usage.print();
                return ExitCode::from(2);
            }
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Starts to write log messages to stderr, as many as the options ask for.
fn start_log(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .without_time()
        .with_target(false);
    // Leaves out what libraries log.
    let ours = Targets::new().with_target("facecascade", level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}
