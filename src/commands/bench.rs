//! `facecascade bench`: measures how old frames are when they are shown.

mod following;
mod print;
mod pyramid;
mod run;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use facecascade::output::chart;
use facecascade::output::latency::Report;
use facecascade::output::machine::Machine;
use facecascade::output::overlay;
use facecascade::pipeline::{PipelineOptions, Policy, SearchBudget};

use self::following::Following;
use self::run::Bench;
use super::DetectorArgs;
use super::screen::Screen;
use crate::cli::{Common, Outcome};

/// Frames before measuring begins. In this time buffers grow, files are read and the processor speeds up.
const WARM_UP: u64 = 30;
/// Each policy is measured for at most this long.
const EACH_POLICY: Duration = Duration::from_secs(5);
/// Searches are slowed by this much for the table of policies, unless --slow says otherwise.
const POLICIES_SLOW: Duration = Duration::from_millis(100);

/// Measure latency: how old frames are when they are shown, from capture to the window
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade bench
  facecascade bench --headless --seconds 20 --plot latency.png
  facecascade bench --source clip.mp4 --json
  facecascade bench --headless --slow 100 --policies   (latency and drops of other ways to queue frames)
  facecascade bench --headless --following             (jitter, lag, time to the first box)
  facecascade bench --pyramid-times                    (the image pyramid alone, GPU beside CPU)

Runs what `live` runs, in a window, and prints percentiles of the latency, and of the work and the waiting in each stage. \
Without a display, use --headless: it does the same, but shows no window.")]
pub(crate) struct BenchArgs {
    /// Frames to measure: a video played at its own frame rate, a picture, or `synthetic`, a simulated camera (640×480, 30
    /// fps)
    #[arg(long, value_name = "FILE|synthetic", default_value = "synthetic")]
    source: PathBuf,
    /// How long to measure, seconds; the end of a video ends it, too
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = super::seconds)]
    seconds: f64,
    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
    /// Plot a histogram of the latencies, and each frame's latency over time
    #[arg(long, value_name = "OUT.png")]
    plot: Option<PathBuf>,
    /// Show no window; do everything else
    #[arg(long)]
    headless: bool,
    /// Search each frame everywhere, and not as `live` does: near faces in every frame, the rest in turns
    #[arg(long)]
    every_frame: bool,
    /// Measure other ways to queue frames, too: with 1, 2 and 4 frames in flight, and as for files, where none is dropped.
    /// Each for at most 5 seconds, with every search slowed by --slow (default: 100 ms), so that frames have to wait
    #[arg(long)]
    policies: bool,
    /// Measure on the synthetic camera how well faces are followed, too: how much the box of a still face jitters, how far
    /// boxes lag behind moving faces, and how long a new face waits for its first box
    #[arg(long)]
    following: bool,
    /// Only time the image pyramid, level by level, on the GPU and on the CPU
    #[arg(long)]
    pyramid_times: bool,
    /// Slow each search by this many milliseconds, for experiments
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slow: Option<u64>,
    /// Side of the smallest face to look for, pixels
    #[arg(long, value_name = "PX", default_value_t = 40.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// The machine and the options of a measurement.
#[derive(Debug, serde::Serialize)]
struct Environment {
    #[serde(flatten)]
    machine: Machine,
    facecascade: &'static str,
    threads: usize,
    source: String,
    min_face: f32,
    /// The window's size, as in `640×480`, or `none`.
    window: String,
    /// Where the pyramid was built, and why there.
    pyramid: String,
    search: &'static str,
    slow_ms: Option<u64>,
}

/// The measurement of one way to queue frames.
#[derive(Debug, serde::Serialize)]
struct PolicyReport {
    policy: String,
    slow_ms: u128,
    #[serde(flatten)]
    report: Report,
}

/// The object that `--json` prints.
#[derive(serde::Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    environment: &'a Environment,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<PolicyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    following: Option<Following>,
}

pub(crate) fn run(args: BenchArgs, common: &Common) -> anyhow::Result<Outcome> {
    if let Some(plot) = &args.plot {
        can_be_written(plot)?;
    }
    if args.pyramid_times {
        let size = super::played(&args.source, common.threads, &AtomicBool::new(false))?.size().unwrap_or((640, 480));
        pyramid::print(&args.detector.load(args.min_face)?, size)?;
        return Ok(Outcome::Done);
    }
    let cascade = args.detector.build(args.min_face)?;
    let source = super::played(&args.source, common.threads, &AtomicBool::new(false))?;
    let size = overlay::fitting(source.size().unwrap_or((640, 480)));
    let screen = if args.headless { Screen::None } else { Screen::open("facecascade bench", size)? };
    let options = PipelineOptions {
        policy: Policy::Live { in_flight: 2 },
        threads: common.threads(),
        search: (!args.every_frame).then(SearchBudget::default),
        stop: super::stop_on_signal()?,
        slow: args.slow.map(Duration::from_millis),
        ..PipelineOptions::default()
    };
    let (about, window) = (source.describe(), screen.size());
    let mut bench = Bench::new(&cascade, screen, size);
    if !common.quiet {
        writeln!(std::io::stderr(), "measuring for {} s after {WARM_UP} frames: {about}", args.seconds)?;
    }
    let (report, shown) = bench.measure(source, &options, WARM_UP, Duration::from_secs_f64(args.seconds))?;
    // Where the pyramid is built is decided while frames are searched.
    let environment = environment(&args, &options, about, window, cascade.pyramids().describe());
    if let Some(plot) = &args.plot {
        super::detect::save(&chart::latency(&environment.source, &report, &shown)?, plot)?;
    }
    if !args.json {
        print::report(&environment, &report)?;
    }
    let mut policies = Vec::new();
    if args.policies && !bench.is_stopped(&options) {
        policies = self::policies(&mut bench, &args, &options, common)?;
    }
    let following = match args.following && !bench.is_stopped(&options) {
        true => Some(following::measure(&cascade, options.threads)?),
        false => None,
    };
    if args.json {
        let printed = Printed { report: &report, environment: &environment, policies, following };
        super::say(&serde_json::to_string(&printed)?)?;
        return Ok(Outcome::Done);
    }
    if !policies.is_empty() {
        print::policies(&policies)?;
    }
    if let Some(following) = following {
        print::following(&following)?;
    }
    Ok(Outcome::Done)
}

/// Measures each way to queue frames, in turn.
fn policies(
    bench: &mut Bench<'_>,
    args: &BenchArgs,
    options: &PipelineOptions,
    common: &Common,
) -> anyhow::Result<Vec<PolicyReport>> {
    let slow = options.slow.unwrap_or(POLICIES_SLOW);
    let length = EACH_POLICY.min(Duration::from_secs_f64(args.seconds));
    let live = [1, 2, 4].map(|in_flight| Policy::Live { in_flight });
    let mut reports = Vec::new();
    for policy in live.into_iter().chain([Policy::File { batch: 1 }]) {
        let name = match policy {
            Policy::Live { in_flight } => format!("newest frame, {in_flight} in flight"),
            Policy::File { .. } => "as for files: all wait".to_owned(),
        };
        if !common.quiet {
            writeln!(std::io::stderr(), "measuring for {} s: {name}", length.as_secs_f64())?;
        }
        let source = super::played(&args.source, common.threads, &AtomicBool::new(false))?;
        let options = PipelineOptions { policy, slow: Some(slow), ..options.clone() };
        // Slowed searches give few frames, and buffers have grown already: a shorter warm-up is enough.
        let (report, _) = bench.measure(source, &options, WARM_UP / 3, length)?;
        reports.push(PolicyReport { policy: name, slow_ms: slow.as_millis(), report });
        if bench.is_stopped(&options) {
            break;
        }
    }
    Ok(reports)
}

fn environment(
    args: &BenchArgs,
    options: &PipelineOptions,
    source: String,
    window: Option<(u32, u32)>,
    pyramid: String,
) -> Environment {
    Environment {
        machine: Machine::here(),
        facecascade: env!("CARGO_PKG_VERSION"),
        threads: options.threads,
        source,
        min_face: args.min_face,
        window: window.map_or("none".to_owned(), |(width, height)| format!("{width}×{height}")),
        pyramid,
        search: if args.every_frame { "every frame everywhere" } else { "near faces, the rest in turns" },
        slow_ms: args.slow,
    }
}

/// Checks where the plot is to be written; called before measuring, which may take long.
fn can_be_written(picture: &Path) -> anyhow::Result<()> {
    let is_png = picture.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    anyhow::ensure!(is_png, "{}: the plot is written as PNG; name it so (.png)", picture.display());
    let folder = picture.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(folder.is_dir(), "{}: the folder does not exist", picture.display());
    Ok(())
}
