//! `facecascade video`: faces in every frame of video files.

mod choice;
mod film;
mod summary;
mod targets;

use std::fs::File;
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use facecascade::files::write_whole;
use facecascade::output::records;
use facecascade::output::replay::Replay;
use facecascade::output::review::Review;
use facecascade::output::video::VideoWriter;
use facecascade::output::writer::Writer;
use facecascade::pipeline::{self, PipelineOptions};
use facecascade::source::video::{Frames, VideoInfo, probe};
use facecascade::track::coverage::{Coverage, Known};
use facecascade::track::lookahead::Lookahead;
use facecascade::{Cascade, Error};
use image::RgbImage;

use self::choice::{Choice, ChoiceArgs};
use self::film::{Film, Follow, Marks, Records, painter};
use self::targets::{Job, Target, Wanted, plan};
use super::DetectorArgs;
use super::redaction::{Cascades, RedactArgs, Wanted as Searched};
use crate::cli::{Common, Outcome};

/// Frames that may wait for the encoder.
const WAITING: usize = 4;

/// Find faces in every frame of videos; draw boxes round them, or make them unrecognisable
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade video clip.mp4
  facecascade video clip.mov -o faces.mp4 --json faces.jsonl
  facecascade video clip.mp4 --json faces.jsonl          (records only)
  facecascade video clip.mp4 --redact mosaic -o safe.mp4 --review faces.html
  facecascade video clip.mp4 --redact mosaic -o safe.mp4 --except 3,7 --cover-region 0,0,200,120@4-9.5
  facecascade video clip.mp4 --redact solid -o safe.mp4 --faces faces.jsonl  (records of an earlier run, edited)
  facecascade video holiday/*.mp4 -o done/ --json done/  (many; the folder exists)

Every frame is kept, in order and at its time; sound and subtitles are kept. Reads all that ffmpeg reads; writes H.264 \
in .mp4, .mov or .mkv. Ctrl-C ends the files after the frames under way, so that they play.

Faces are followed, in both directions: a box shows from the first frame on in which a face was seen, gaps of up to 5 \
frames or a sixth of a second are bridged, and what flashes for a single frame is not shown. --redact looks twice: a face is \
followed by its appearance up to 3 seconds before it was first seen and after it was last seen, and for a second whatever \
the picture shows there; it stops at cuts. Up to 3 seconds of frames wait in memory for that, at most 768 MiB. What is never \
found is never covered: look at the result or at --review, and lower --threshold or --min-face where a face is missed, or \
cover its place with --cover-region.")]
pub(crate) struct VideoArgs {
    /// Videos; one that can't be done is named, and the rest go on
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,
    /// The video to write, or an existing folder for IN-faces.mp4 [default: IN-faces.mp4 (redacted: IN-redacted.mp4)
    /// beside IN, or here if that folder is read-only; none if only --json is given]
    #[arg(short, long, value_name = "OUT.mp4|DIR")]
    output: Option<PathBuf>,
    /// Write one JSON object a frame; into an existing folder: IN-faces.jsonl
    #[arg(long, value_name = "OUT.jsonl|DIR")]
    json: Option<PathBuf>,
    #[command(flatten)]
    redaction: RedactArgs,
    /// Draw boxes too
    #[arg(long, requires = "redact")]
    boxes: bool,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Side of the smallest face looked for, pixels [default: 40; with --redact 1/50 of the height, at least 12]
    #[arg(long, value_name = "PX", value_parser = super::face_side)]
    min_face: Option<f32>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Boxes frame by frame, as they are found, without ids
    #[arg(long, conflicts_with = "redact")]
    no_track: bool,
}

/// Side of the smallest face looked for to draw boxes, pixels.
const MIN_FACE: f32 = 40.0;

/// What finds or knows the faces of a video.
enum Finder<'a> {
    Cascade(&'a Cascade),
    Replay(&'a Replay),
}

pub(crate) fn run(args: VideoArgs, common: &Common) -> anyhow::Result<Outcome> {
    let jobs = plan(
        &args.inputs,
        &Wanted {
            video: args.output.is_some() || args.json.is_none() || args.redaction.redact.is_some(),
            output: args.output.as_deref(),
            json: args.json.as_deref(),
            suffix: if args.redaction.redact.is_some() { "-redacted" } else { "-faces" },
        },
    )?;
    choice::check(&args.choice, &jobs)?;
    let mut cascades = Cascades::default();
    let boxes = match args.redaction.redact {
        None => Some(args.detector.build(args.min_face.unwrap_or(MIN_FACE))?),
        Some(_) => None,
    };
    let replay = args.choice.faces.as_deref().map(Replay::read).transpose()?;
    let options = PipelineOptions {
        threads: common.threads(),
        // Followed with a look ahead, which frames on their way can't have.
        track: false,
        stop: super::stop_on_signal()?,
        // Otherwise a file's: nothing is dropped.
        ..PipelineOptions::default()
    };
    let mut failed = 0;
    for (i, job) in jobs.iter().enumerate() {
        let name = if jobs.len() > 1 {
            let name = job.input.file_name().unwrap_or_default().to_string_lossy();
            format!("{}/{} {name} ", i + 1, jobs.len())
        } else {
            String::new()
        };
        let done = probe(&job.input).map_err(anyhow::Error::from).and_then(|info| {
            let finder = match (&boxes, &replay) {
                (Some(cascade), _) => Finder::Cascade(cascade),
                (None, Some(replay)) => Finder::Replay(replay),
                (None, None) => {
                    let searched = Searched::new(&args.detector, args.min_face, info.height);
                    Finder::Cascade(cascades.get(searched, &args.detector)?)
                }
            };
            one(job, info, &args, &finder, &options, common, name)
        });
        let stopped = options.stop.load(Ordering::Relaxed);
        match done {
            Err(error) if jobs.len() == 1 => return Err(error),
            Err(error) => {
                super::complain(&error);
                failed += 1;
            }
            Ok(frames) if stopped => {
                super::complain(&anyhow::anyhow!("stopped after {frames} frames; what was written is whole"));
            }
            Ok(_) => {}
        }
        if stopped {
            return Ok(Outcome::PartlyFailed);
        }
    }
    if failed > 0 {
        super::complain(&anyhow::anyhow!("{failed} of {} videos could not be done", jobs.len()));
        return Ok(Outcome::PartlyFailed);
    }
    Ok(Outcome::Done)
}

/// Does one video; how many frames it had.
fn one(
    job: &Job,
    info: VideoInfo,
    args: &VideoArgs,
    finder: &Finder,
    options: &PipelineOptions,
    common: &Common,
    name: String,
) -> anyhow::Result<u64> {
    let (writer, target) = match &job.video {
        Some(target) => {
            let (writer, path) = start_writer(job, target, args, &info, options.threads)?;
            (Some(writer), Some(path))
        }
        None => (None, None),
    };
    let records = job.json.as_deref().map(|path| start_records(path, &job.input, &info)).transpose()?;
    let frames = Frames::open(&job.input, &info, common.threads)?;
    let bar = summary::progress(&info, name, common.quiet);

    let start = Instant::now();
    let follow = match args.redaction.redact {
        Some(_) => {
            let searched = Searched::new(&args.detector, args.min_face, info.height);
            Follow::Cover(Box::new(Coverage::new(searched.scores)))
        }
        None if args.no_track => Follow::Not,
        None => Follow::Ahead(Lookahead::default()),
    };
    let choice = Choice::new(&args.choice);
    let review = args.choice.review.as_ref().map(|_| Review::default());
    let mut film = Film::new(follow, writer, records, bar.clone()).choose(choice.clone(), review);
    let ended = match finder {
        Finder::Cascade(cascade) => pipeline::run(Box::new(frames), cascade, options, &mut film).map(|_| ()),
        Finder::Replay(replay) => play(frames, replay, options, &mut film),
    };
    // Whatever happened: frames that were read are kept.
    let early = ended.is_err() || options.stop.load(Ordering::Relaxed);
    let (tally, finished) = film.finish(early);
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    if let (Some(review), Some(path)) = (&tally.review, &args.choice.review) {
        let page = review.page(&job.input.display().to_string(), &choice::command(), |id| choice.takes(id));
        write_whole(path, page.as_bytes())?;
    }
    let printed = if tally.frames > 0 && finished.is_ok() {
        let to: Vec<String> = target.iter().chain(&job.json).map(|path| path.display().to_string()).collect();
        summary::print(&job.input.display().to_string(), &to, &info, &tally, elapsed)
    } else {
        Ok(())
    };
    ended?;
    finished?;
    match printed {
        // Nobody reads the table: no reason not to do the next video.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(tally.frames),
    }
}

/// Covers the faces of an earlier run's records, frame by frame.
///
/// # Errors
/// If a frame can't be read, or has no record: it would stay uncovered.
fn play(mut frames: Frames, replay: &Replay, options: &PipelineOptions, film: &mut Film) -> facecascade::Result<()> {
    let info = frames.info();
    if let Some((width, height)) = replay.size.filter(|size| *size != (info.width, info.height)) {
        return Err(Error::Setting(format!(
            "{}: has frames of {}x{}, but the records given to --faces are of {width}x{height}",
            frames.path().display(),
            info.width,
            info.height
        )));
    }
    for number in 0.. {
        let mut picture = RgbImage::default();
        let Some(seconds) = frames.next_into(&mut picture)? else { break };
        let Some(faces) = replay.faces(number) else {
            return Err(Error::Setting(format!(
                "{}: has more than the {} frames that the records given to --faces hold; it ends there",
                frames.path().display(),
                replay.frames()
            )));
        };
        film.cover(Known { seconds, picture, faces: faces.to_vec() })?;
        if options.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

fn start_writer(
    job: &Job,
    target: &Target,
    args: &VideoArgs,
    info: &VideoInfo,
    threads: usize,
) -> anyhow::Result<(Writer<Marks>, PathBuf)> {
    // Encoding takes as long as all else together; with a thread more than there are cores, it always has one to go on with.
    let threads = if threads > 1 { threads + 1 } else { 1 };
    let create = |path: &Path| VideoWriter::create(path, Some(&job.input), info, threads);
    let (video, path) = match (create(&target.path), &target.otherwise) {
        (Err(Error::Io { source, .. }), Some(here))
            if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            (create(here)?, here)
        }
        (video, _) => (video?, &target.path),
    };
    let redactor = args.redaction.redactor();
    let paint = painter(redactor, args.redaction.redact.is_none() || args.boxes);
    Ok((Writer::start(path, video, WAITING, paint)?, path.clone()))
}

fn start_records(path: &Path, input: &Path, info: &VideoInfo) -> facecascade::Result<Records> {
    let file = File::create(path).map_err(Error::io(path))?;
    let mut records = Records { path: path.to_owned(), file: BufWriter::new(file) };
    records.line(&records::video(&input.to_string_lossy(), info))?;
    Ok(records)
}
