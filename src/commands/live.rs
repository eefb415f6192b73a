//! `facecascade live`: a camera with boxes, in a window.

mod show;
mod snap;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use facecascade::files::same_file;
use facecascade::output::recorder::Recorder;
use facecascade::pipeline::{self, PipelineOptions, Policy, SearchBudget};
use facecascade::source::Source;

use self::show::{Live, Recording, finish};
use self::snap::{Snapper, WhoArg};
use super::DetectorArgs;
use super::screen::{Screen, on_display_lost};
use crate::cli::{Common, Outcome};

/// Show a camera with boxes round faces, and how old each frame is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade live
  facecascade live --camera 2 --record party.mp4
  facecascade live --snap-on-smile all --snap party
  facecascade live --source synthetic            (without a camera)
  facecascade live --source clip.mp4 --headless  (figures once a second, no window)

Keys: q or Esc quits, space pauses, s saves the picture with its boxes, l shows the latency of each stage, p shows what \
each stage of the cascade lets through, then the image pyramid, then the picture again.

Always the newest frame is searched: where searching takes longer than a frame, frames are dropped, but what is shown is \
never old. The age is the time from a frame's capture to its being on the screen.")]
pub(crate) struct LiveArgs {
    /// The camera's number, as --list-cameras shows it [default: the first one that can be opened]
    #[arg(long, value_name = "N", conflicts_with = "source")]
    camera: Option<u32>,
    /// Instead of a camera: a video or a picture, or `synthetic`, two portraits' faces that move
    /// (`synthetic,smile=S`: all of them smile from S seconds on, and not before; `faces=N`: how many, 0 to 3)
    #[arg(long, value_name = "FILE|synthetic")]
    source: Option<PathBuf>,
    /// No window: print the figures once a second
    #[arg(long)]
    headless: bool,
    /// Record the frames with their boxes
    #[arg(long, value_name = "OUT.mp4")]
    record: Option<PathBuf>,
    /// Where the key s, and --snap-on-smile, save pictures
    #[arg(long, value_name = "DIR", default_value = ".")]
    snap: PathBuf,
    /// Save a picture when all faces, or any, have smiled for half a second: once a smile, the sharpest frame, without boxes
    #[arg(long, value_name = "WHO", value_enum, conflicts_with = "no_smile")]
    snap_on_smile: Option<WhoArg>,
    /// Side of the smallest face looked for, pixels
    #[arg(long, value_name = "PX", default_value_t = 40.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Percent of one core that searching may take; beyond, frames are shown with the faces moved on as they moved
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    max_cpu: u8,
    /// Stop after so many seconds
    #[arg(long, value_name = "S", value_parser = super::seconds)]
    seconds: Option<f64>,
    /// List the cameras and what they would send, and stop
    #[arg(long)]
    list_cameras: bool,
}

pub(crate) fn run(args: LiveArgs, common: &Common) -> anyhow::Result<Outcome> {
    if args.list_cameras {
        return list_cameras();
    }
    // What can be wrong is looked at before the camera's light goes on.
    anyhow::ensure!(!args.snap.exists() || args.snap.is_dir(), "{}: is not a folder", args.snap.display());
    if let (Some(target), Some(source)) = (&args.record, &args.source) {
        anyhow::ensure!(!same_file(target, source), "{}: would overwrite what is shown", target.display());
    }
    let cascade = args.detector.build(args.min_face)?;
    anyhow::ensure!(
        args.snap_on_smile.is_none() || cascade.tells_smiles(),
        "--snap-on-smile: this cascade has no [smile] in its settings, and so tells no smile"
    );
    let source = open(&args, common)?;
    let about = source.describe();
    let size = source.size().unwrap_or((640, 480));
    let screen = if args.headless { Screen::None } else { Screen::open(&format!("facecascade · {about}"), size)? };
    let recorder = match &args.record {
        Some(target) => Some(Recorder::create(target, size, source.frame_rate().unwrap_or(30.0))?),
        None => None,
    };
    if args.headless {
        super::say(&about)?;
    } else if !common.quiet {
        writeln!(std::io::stderr(), "{about}")?;
    }

    let options = PipelineOptions {
        policy: Policy::Live { in_flight: 2 },
        threads: common.threads(),
        track: true,
        search: Some(SearchBudget { max_cpu: f64::from(args.max_cpu) / 100.0 }),
        stop: super::stop_on_signal()?,
        ..PipelineOptions::default()
    };
    let recording: Recording = Arc::new(Mutex::new(recorder));
    on_display_lost({
        let (recording, target, quiet) = (Arc::clone(&recording), args.record.clone(), common.quiet);
        move || {
            super::complain(&anyhow::anyhow!("the display is gone"));
            end_recording(&recording, target.as_deref(), quiet).unwrap_or_else(|e| super::complain(&e));
        }
    });
    let mut live = Live::new(screen, Arc::clone(&recording), args.snap, Arc::clone(&options.stop));
    live.snap_on_smile(args.snap_on_smile.map(Snapper::new));
    live.stop_after(args.seconds.map(Duration::from_secs_f64));
    let ended = pipeline::run(source, &cascade, &options, &mut live);
    // Whatever happened: what was recorded is kept.
    let recorded = end_recording(&recording, args.record.as_deref(), common.quiet);
    let summary = live.summary();
    let printed = if summary.is_empty() { Ok(()) } else { super::say(&summary) };
    ended?;
    recorded?;
    printed?;
    Ok(Outcome::Done)
}

fn open(args: &LiveArgs, common: &Common) -> anyhow::Result<Box<dyn Source>> {
    match &args.source {
        Some(name) => super::played(name, common.threads),
        None => camera(args.camera),
    }
}

#[cfg(feature = "camera")]
fn camera(index: Option<u32>) -> anyhow::Result<Box<dyn Source>> {
    Ok(Box::new(facecascade::source::camera::Camera::open(index)?))
}

#[cfg(not(feature = "camera"))]
fn camera(_: Option<u32>) -> anyhow::Result<Box<dyn Source>> {
    anyhow::bail!(
        "this program was built without cameras (cargo feature `camera`); --source FILE or --source synthetic does \
         without one"
    )
}

#[cfg(feature = "camera")]
fn list_cameras() -> anyhow::Result<Outcome> {
    let cameras = facecascade::source::camera::native::list()?;
    if cameras.is_empty() {
        super::complain(&anyhow::anyhow!("no camera was found"));
    }
    for camera in cameras {
        let format = camera.format.map_or_else(|reason| format!("can't be opened: {reason}"), |f| f.to_string());
        super::say(&format!("{}  {}: {format}", camera.index, camera.name))?;
    }
    Ok(Outcome::Done)
}

#[cfg(not(feature = "camera"))]
fn list_cameras() -> anyhow::Result<Outcome> {
    camera(None).map(|_| Outcome::Done)
}

/// Ends the recording, if there is one, and says what it holds.
fn end_recording(recording: &Recording, target: Option<&Path>, quiet: bool) -> anyhow::Result<()> {
    let (Some((frames, left_out)), Some(target)) = (finish(recording)?, target) else { return Ok(()) };
    if frames == 0 {
        super::complain(&anyhow::anyhow!("{}: no frame came, so nothing was recorded", target.display()));
    } else if !quiet {
        let lost = if left_out > 0 { format!(" ({left_out} left out: encoding was too slow)") } else { String::new() };
        writeln!(std::io::stderr(), "{frames} frames{lost} -> {}", target.display())?;
    }
    Ok(())
}
