//! `facecascade live`: shows a camera's frames with boxes in a window.

mod show;
mod snap;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use facecascade::Cascade;
use facecascade::files::same_file;
use facecascade::output::recorder::Recorder;
use facecascade::pipeline::{self, PipelineOptions, Policy, SearchBudget};
use facecascade::source::Source;
use facecascade::track::Following;

use self::show::{Live, Recording, finish};
use self::snap::{Snapper, WhoArg};
use super::DetectorArgs;
use super::redaction::{Cascades, RedactArgs, SearchSettings};
use super::screen::{Screen, on_display_lost};
use crate::cli::{Common, Outcome};

/// Show a camera's frames in a window, with boxes round faces and the age of each frame
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade live
  facecascade live --camera 2 --record party.mp4
  facecascade live --snap-on-smile all --snap party
  facecascade live --source synthetic            (without a camera)
  facecascade live --redact mosaic --record safe.mp4
  facecascade live --source clip.mp4 --headless  (figures once a second, no window)
  facecascade live --source rtsp://192.168.0.20/stream1

Keys: q or Esc quits, space pauses, s saves the picture with its boxes, l shows or hides the times of each stage, p shows \
the windows after each step of the cascade, then the image pyramid, then the picture again.

A stream from the network that is lost is opened again for up to 30 seconds, as a camera is for 10. Standard input and pipes are read to \
their end before they are shown.

The newest frame is always searched next: if a search takes longer than a frame, frames are dropped, so that what is shown \
is never old. The age of a frame is the time from its capture until it is on the screen.

--redact covers faces in the window, in --record and in saved pictures, also in frames that are not searched: there a face \
is covered where its motion predicts it, for a second after it was last seen. A face is covered from the frame on in which it is \
first found, or found again if it is faint; `video --redact` on a recording also covers the frames before.")]
pub(crate) struct LiveArgs {
    /// Number of the camera, as --list-cameras prints it [default: the first one that can be opened]
    #[arg(long, value_name = "N", conflicts_with = "source")]
    camera: Option<u32>,
    /// Show this instead of a camera: a video, a picture, an address (rtsp://…, udp://…, https://…), - for standard input, or
    /// `synthetic`, a simulated camera with three moving faces (`synthetic,smile=S`: all of them smile from S seconds on, and not
    /// before; `faces=N`: how many, 0 to 3)
    #[arg(long, value_name = "FILE|URL|synthetic")]
    source: Option<PathBuf>,
    /// Show no window; print the figures once a second
    #[arg(long)]
    headless: bool,
    /// Record the frames with their boxes into a video (.mp4, .mov or .mkv)
    #[arg(long, value_name = "OUT.mp4")]
    record: Option<PathBuf>,
    /// Folder into which the key s, and --snap-on-smile, save pictures
    #[arg(long, value_name = "DIR", default_value = ".")]
    snap: PathBuf,
    /// Save a picture when all faces, or any, have smiled for half a second: once a smile, the sharpest frame, without boxes
    #[arg(long, value_name = "WHO", value_enum, conflicts_with_all = ["no_smile", "redact"])]
    snap_on_smile: Option<WhoArg>,
    #[command(flatten)]
    redaction: RedactArgs,
    /// Draw boxes too
    #[arg(long, requires = "redact")]
    boxes: bool,
    /// Side of the smallest face to look for, pixels [default: 40; with --redact 1/50 of the height, at least 12]
    #[arg(long, value_name = "PX", value_parser = super::face_side)]
    min_face: Option<f32>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Percent of one core that searching may use; frames beyond that are shown with boxes predicted from earlier frames
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    max_cpu: u8,
    /// Stop after this many seconds
    #[arg(long, value_name = "S", value_parser = super::seconds)]
    seconds: Option<f64>,
    /// List the cameras and the format that each would send, and stop
    #[arg(long)]
    list_cameras: bool,
}

/// Side of the smallest face looked for to draw boxes, pixels.
const MIN_FACE: f32 = 40.0;
/// Width and height of frames whose source does not say.
const USUAL: (u32, u32) = (640, 480);

pub(crate) fn run(args: LiveArgs, common: &Common) -> anyhow::Result<Outcome> {
    if args.list_cameras {
        return list_cameras();
    }
    // Arguments are checked before the camera's light goes on.
    anyhow::ensure!(!args.snap.exists() || args.snap.is_dir(), "{}: is not a folder", args.snap.display());
    if let (Some(target), Some(source)) = (&args.record, &args.source) {
        anyhow::ensure!(
            !same_file(target, source),
            "{}: is the source itself, which the recording would overwrite; name another file",
            target.display()
        );
    }
    let mut cascades = Cascades::default();
    let search = |height| SearchSettings::new(&args.detector, args.min_face, height);
    let boxes = if args.redaction.redact.is_some() {
        cascades.get(search(USUAL.1), &args.detector)?;
        None
    } else {
        Some(args.detector.build(args.min_face.unwrap_or(MIN_FACE))?)
    };
    let stop = super::stop_on_signal()?;
    anyhow::ensure!(
        args.snap_on_smile.is_none() || boxes.as_ref().is_some_and(Cascade::tells_smiles),
        "--snap-on-smile: this cascade has no [smile] in its settings, so it can't tell smiles; add it, or leave out --cascade"
    );
    let source = open(&args, common, &stop)?;
    let about = source.describe();
    let size = source.size().unwrap_or(USUAL);
    let search = search(size.1);
    let cascade = match &boxes {
        Some(cascade) => cascade,
        None => cascades.get(search, &args.detector)?,
    };
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
        following: if args.redaction.redact.is_some() { search.scores.following() } else { Following::default() },
        // To cover faces, every frame is searched everywhere unless a limit is given.
        search: (args.redaction.redact.is_none() || args.max_cpu < 100)
            .then(|| SearchBudget { max_cpu: f64::from(args.max_cpu) / 100.0 }),
        stop,
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
    live.cover(args.redaction.redactor(), search.scores, args.boxes);
    live.snap_on_smile(args.snap_on_smile.map(Snapper::new));
    live.stop_after(args.seconds.map(Duration::from_secs_f64));
    let ended = pipeline::run(source, cascade, &options, &mut live);
    // The recording is kept, whatever ended the run.
    let recorded = end_recording(&recording, args.record.as_deref(), common.quiet);
    let summary = live.summary();
    let printed = if summary.is_empty() { Ok(()) } else { super::say(&summary) };
    ended?;
    recorded?;
    printed?;
    Ok(Outcome::Done)
}

/// Opens the source that was asked for.
fn open(args: &LiveArgs, common: &Common, stop: &AtomicBool) -> anyhow::Result<Box<dyn Source>> {
    match &args.source {
        Some(name) => super::played(name, common.threads, stop),
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
        "this program was built without cameras (cargo feature `camera`); use --source FILE or --source \
         synthetic instead"
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

/// Finishes the recording, if there is one, and says on stderr what it holds.
fn end_recording(recording: &Recording, target: Option<&Path>, quiet: bool) -> anyhow::Result<()> {
    let (Some((frames, left_out)), Some(target)) = (finish(recording)?, target) else { return Ok(()) };
    if frames == 0 {
        super::complain(&anyhow::anyhow!("{}: no frame came, so nothing was recorded", target.display()));
    } else if !quiet {
        let lost =
            if left_out > 0 { format!(" ({left_out} left out because encoding was too slow)") } else { String::new() };
        writeln!(std::io::stderr(), "{frames} frames{lost} -> {}", target.display())?;
    }
    Ok(())
}
