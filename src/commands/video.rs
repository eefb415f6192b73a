//! `facecascade video`: faces in every frame of video files.

mod choice;
mod encoding;
mod film;
mod summary;
mod targets;

use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use facecascade::files::{TempTarget, write_whole};
use facecascade::output::container::Container;
use facecascade::output::encoder::Encoder;
use facecascade::output::records;
use facecascade::output::replay::Replay;
use facecascade::output::review::Review;
use facecascade::output::tracks::Tracks;
use facecascade::output::video::{Metadata, VideoOptions, VideoWriter};
use facecascade::output::writer::Writer;
use facecascade::pipeline::{self, PipelineOptions, Stage};
use facecascade::source::Source;
use facecascade::source::input::Input;
use facecascade::source::square::{square_size, squared};
use facecascade::source::video::VideoInfo;
use facecascade::track::coverage::{Coverage, Known, WINDOW_BYTES};
use facecascade::track::lookahead::Lookahead;
use facecascade::{Cascade, Error};
use image::RgbImage;

use self::choice::{Choice, ChoiceArgs};
use self::encoding::EncodingArgs;
use self::film::{Film, Follow, Marks, Records, painter};
use self::targets::{Job, Results, Target, plan};
use super::DetectorArgs;
use super::redaction::{Cascades, RedactArgs, SearchSettings};
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

Every frame is kept, in order and at its time; sound and subtitles are kept, and what the file has no place for is \
named. Reads all that ffmpeg reads; writes H.264 in .mp4, .mov or .mkv. Ctrl-C ends the files after the frames under \
way, so that they play. With --redact, place, device, date, title, comments, chapters and embedded pictures of the \
input are left out. What can be read only once (standard input, pipes, streams) is first stored in a temporary file; \
Ctrl-C ends that, and what came is searched.

Faces are followed, in both directions: a box shows from the first frame on in which a face was seen, gaps of up to 5 \
frames or a sixth of a second are bridged, and what flashes for a single frame is not shown. --redact looks twice: a face is \
followed by its appearance up to 3 seconds before it was first seen and after it was last seen, and for a second whatever \
the picture shows there; it stops at cuts, and goes all through a dissolve. Up to 3 seconds of frames wait in memory for that, \
at most 768 MiB. What is never found is never covered: look at the result or at --review, and lower --threshold or --min-face \
where a face is missed, or cover its place with --cover-region.")]
pub(crate) struct VideoArgs {
    /// Videos: files, - for standard input, pipes, addresses (https://…, rtsp://…, udp://…), numbered pictures (%05d.png) or a
    /// folder of pictures; one that can't be done is named, and the rest go on
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
    #[command(flatten)]
    encoding: EncodingArgs,
}

/// Side of the smallest face looked for to draw boxes, pixels.
const MIN_FACE: f32 = 40.0;

/// What finds or knows the faces of a video.
enum Finder<'a> {
    Cascade(&'a Cascade),
    Replay(&'a Replay),
}

impl VideoArgs {
    /// What becomes of what the input says of itself.
    fn metadata(&self) -> Metadata {
        if self.redaction.redact.is_some() && !self.encoding.keep_metadata { Metadata::Drop } else { Metadata::Keep }
    }
}

pub(crate) fn run(args: VideoArgs, common: &Common) -> anyhow::Result<Outcome> {
    let jobs = plan(
        &args.inputs,
        &Results {
            video: args.output.is_some() || args.json.is_none() || args.redaction.redact.is_some(),
            output: args.output.as_deref(),
            json: args.json.as_deref(),
            suffix: if args.redaction.redact.is_some() { "-redacted" } else { "-faces" },
        },
    )?;
    choice::check(&args.choice, &jobs)?;
    let encoder = args.encoding.checked_encoder(&jobs)?;
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
        let done = Opened::new(job, &args, &options.stop).and_then(|video| {
            let finder = match (&boxes, &replay) {
                (Some(cascade), _) => Finder::Cascade(cascade),
                (None, Some(replay)) => Finder::Replay(replay),
                (None, None) => Finder::Cascade(cascades.get(video.search, &args.detector)?),
            };
            one(video, &args, &encoder, &finder, &options, common, name)
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

/// A video that was found, and what is searched for in it to cover faces.
struct Opened<'a> {
    job: &'a Job,
    input: Input,
    info: VideoInfo,
    search: SearchSettings,
}

impl<'a> Opened<'a> {
    fn new(job: &'a Job, args: &VideoArgs, stop: &AtomicBool) -> anyhow::Result<Self> {
        let input = Input::open(&job.input, stop)?;
        let mut info = input.info(args.encoding.frame_rate)?;
        summary::warn(&info);
        if args.encoding.no_audio {
            info.sound.clear();
        }
        // Faces are searched for as a player shows them.
        let height = square_size((info.width, info.height), info.pixel_shape).1;
        let search = SearchSettings::new(&args.detector, args.min_face, height);
        Ok(Self { job, input, info, search })
    }

    /// Starts the video that is written, if one is, and where it goes. `info` then holds the sound that is kept.
    fn writer(
        &mut self,
        args: &VideoArgs,
        encoder: &Encoder,
        threads: usize,
    ) -> anyhow::Result<(Option<Writer<Marks>>, Option<PathBuf>)> {
        let Some(target) = &self.job.video else { return Ok((None, None)) };
        let (container, info) = (Container::of(&target.path)?, &mut self.info);
        let tracks = self.input.file().map(|file| Tracks::plan(file, info, container)).transpose()?.unwrap_or_default();
        info.sound.retain(|track| tracks.holds(track.index));
        let video = VideoOptions {
            tracks,
            metadata: args.metadata(),
            encoder: encoder.clone(),
            // Encoding takes as long as all else together; with a thread more than there are cores, it always has one to go
            // on with.
            threads: if threads > 1 { threads + 1 } else { 1 },
        };
        let (writer, path) = start_writer(target, args, info, &video)?;
        Ok((Some(writer), Some(path)))
    }
}

/// Does one video; how many frames it had.
fn one(
    mut video: Opened,
    args: &VideoArgs,
    encoder: &Encoder,
    finder: &Finder,
    options: &PipelineOptions,
    common: &Common,
    name: String,
) -> anyhow::Result<u64> {
    let (writer, target) = video.writer(args, encoder, options.threads)?;
    let Opened { job, input, info, search } = video;
    let records = job.json.as_deref().map(|path| start_records(path, &info)).transpose()?;
    let mut frames = input.frames(&info, common.threads)?;
    let mut stored = None;
    if let Some(shape) = info.pixel_shape
        && matches!(finder, Finder::Cascade(_))
    {
        let (source, kept) = squared(frames, shape, writer.is_some());
        (frames, stored) = (Box::new(source), Some(kept));
    }
    let bar = summary::progress(&info, name, common.quiet);

    let start = Instant::now();
    let follow = match args.redaction.redact {
        Some(_) => {
            // Frames with pixels that are not square wait twice: as they are stored, and as they are searched.
            let bytes = if stored.is_some() { WINDOW_BYTES / 2 } else { WINDOW_BYTES };
            Follow::Cover(Box::new(Coverage::new(search.scores).holding(bytes)))
        }
        None if args.no_track => Follow::Not,
        None => Follow::Ahead(Lookahead::default()),
    };
    let choice = Choice::new(&args.choice);
    let review = args.choice.review.as_ref().map(|_| Review::default());
    let mut film = Film::new(follow, stored, writer, records, bar.clone()).choose(choice.clone(), review);
    let levels = match &finder {
        Finder::Cascade(cascade) => cascade.levels(),
        Finder::Replay(_) => 0,
    };
    let ended = match finder {
        Finder::Cascade(cascade) => pipeline::run(frames, cascade, options, &mut film).map(|_| ()),
        Finder::Replay(replay) => play(frames, &info, replay, options, &mut film),
    };
    // Whatever happened: frames that were read are kept. Sound ends with them, unless it is the input that fails: it goes as far as
    // it can be read.
    let damaged = matches!(&ended, Err(Error::Stage { stage, .. }) if *stage == Stage::Capture.name());
    let early = ended.is_err() && !damaged || options.stop.load(Ordering::Relaxed);
    let (tally, finished) = film.finish(early);
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    if let (Some(review), Some(path)) = (&tally.review, &args.choice.review) {
        let page = review.page(&info.name, &choice::command(), |id| choice.takes(id));
        write_whole(path, page.as_bytes())?;
    }
    let printed = if tally.frames > 0 && finished.is_ok() {
        let to: Vec<String> = target.iter().chain(&job.json).map(|path| path.display().to_string()).collect();
        summary::print(&info.name, &to, &info, &tally, levels, elapsed)
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
fn play(
    mut frames: Box<dyn Source>,
    info: &VideoInfo,
    replay: &Replay,
    options: &PipelineOptions,
    film: &mut Film,
) -> facecascade::Result<()> {
    if let Some((width, height)) = replay.size.filter(|size| *size != (info.width, info.height)) {
        return Err(Error::Setting(format!(
            "{}: has frames of {}x{}, but the records given to --faces are of {width}x{height}",
            info.name, info.width, info.height
        )));
    }
    for number in 0.. {
        let mut picture = RgbImage::default();
        let Some(stamp) = frames.next(&mut picture)? else { break };
        let Some(faces) = replay.faces(number) else {
            return Err(Error::Setting(format!(
                "{}: has more than the {} frames that the records given to --faces hold; it ends there",
                info.name,
                replay.frames()
            )));
        };
        film.cover(Known { seconds: stamp.time, picture, faces: faces.to_vec() })?;
        if options.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

fn start_writer(
    target: &Target,
    args: &VideoArgs,
    info: &VideoInfo,
    options: &VideoOptions,
) -> anyhow::Result<(Writer<Marks>, PathBuf)> {
    let create = |path: &Path| VideoWriter::create(path, info, options.clone());
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

fn start_records(path: &Path, info: &VideoInfo) -> facecascade::Result<Records> {
    let target = TempTarget::new(path)?;
    let mut records = Records { file: BufWriter::new(target.open()?), target };
    records.line(&records::video(&info.name, info))?;
    Ok(records)
}
