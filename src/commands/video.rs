//! `facecascade video`: faces in every frame of video files.

mod film;
mod summary;
mod targets;

use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use facecascade::files::TempTarget;
use facecascade::output::container::Container;
use facecascade::output::encoder::{self, Encoder};
use facecascade::output::records;
use facecascade::output::redact::{MARGIN, Redactor, Style};
use facecascade::output::tracks::Tracks;
use facecascade::output::video::{Metadata, VideoOptions, VideoWriter};
use facecascade::output::writer::Writer;
use facecascade::pipeline::{self, PipelineOptions, Stage};
use facecascade::source::input::Input;
use facecascade::source::square::squared;
use facecascade::source::video::{Rate, VideoInfo};
use facecascade::{Cascade, Error};

use self::film::{Film, Marks, Records, painter};
use self::targets::{Job, Target, Wanted, plan};
use super::DetectorArgs;
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
  facecascade video clip.mp4 --redact mosaic -o safe.mp4
  facecascade video holiday/*.mp4 -o done/ --json done/  (many; the folder exists)

Every frame is kept, in order and at its time; sound and subtitles are kept, and what the file has no place for is \
named. Reads all that ffmpeg reads; writes H.264 in .mp4, .mov or .mkv. Ctrl-C ends the files after the frames under \
way, so that they play. With --redact, place, device, date, title, comments, chapters and embedded pictures of the \
input are left out. What can be read only once (standard input, pipes, streams) is first stored in a temporary file; \
Ctrl-C ends that, and what came is searched.

Faces are followed, in both directions: a box shows from the first frame on in which a face was seen, gaps of up to 5 \
frames are bridged, and what flashes for a single frame is not shown. --redact covers that too, and two frames \
before a face was first seen and the frames after it was last seen. What is never found is never covered: look at \
the result, and lower --threshold or --min-face where a face is missed.")]
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
    /// Cover faces, instead of drawing boxes
    #[arg(long, value_name = "STYLE", conflicts_with = "no_track")]
    redact: Option<RedactStyle>,
    /// Cover so much more on each side, in sides of the face
    #[arg(long, value_name = "SHARE", default_value_t = MARGIN, value_parser = margin, requires = "redact")]
    redact_margin: f32,
    /// Draw boxes too
    #[arg(long, requires = "redact")]
    boxes: bool,
    /// Side of the smallest face looked for, pixels
    #[arg(long, value_name = "PX", default_value_t = 40.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Boxes frame by frame, as they are found, without ids
    #[arg(long)]
    no_track: bool,
    /// Quality of the picture, from 0 (nothing is lost, large) to 51 (coarse, small) [default: 20]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(0..=i64::from(encoder::WORST)))]
    quality: Option<u8>,
    /// What encodes the picture, by ffmpeg's name: libx265, libsvtav1, h264_nvenc, h264_qsv, h264_vaapi, h264_videotoolbox …;
    /// tried before the run
    #[arg(long, value_name = "NAME", default_value = "libx264")]
    encoder: String,
    /// Pictures a second, where IN is pictures
    #[arg(long, value_name = "N", default_value = "25", value_parser = frame_rate)]
    frame_rate: Rate,
    /// Leave the sound out
    #[arg(long)]
    no_audio: bool,
    /// Keep what the input says of itself: place, device, date, title, comments, chapters. Without --redact it is always kept
    #[arg(long, requires = "redact")]
    keep_metadata: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RedactStyle {
    /// A few colours that run into each other
    Blur,
    /// A few squares
    Mosaic,
    /// Dark ellipses
    Solid,
}

impl RedactStyle {
    fn style(self) -> Style {
        match self {
            Self::Blur => Style::Blur,
            Self::Mosaic => Style::Mosaic,
            Self::Solid => Style::Solid,
        }
    }
}

fn margin(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=3.0).contains(&value) { Ok(value) } else { Err("must be between 0 and 3".into()) }
}

/// Frames a second, over 0; fractions to the thousandth.
fn frame_rate(text: &str) -> Result<Rate, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.001..=1000.0).contains(&value) {
        return Err("must be between 0.001 and 1000".into());
    }
    Ok(match value.fract() {
        0.0 => Rate { frames: value as u32, seconds: 1 },
        _ => Rate { frames: (value * 1000.0).round() as u32, seconds: 1000 },
    })
}

pub(crate) fn run(args: VideoArgs, common: &Common) -> anyhow::Result<Outcome> {
    let jobs = plan(
        &args.inputs,
        &Wanted {
            video: args.output.is_some() || args.json.is_none() || args.redact.is_some(),
            output: args.output.as_deref(),
            json: args.json.as_deref(),
            suffix: if args.redact.is_some() { "-redacted" } else { "-faces" },
        },
    )?;
    let encoder = checked_encoder(&args, &jobs)?;
    let cascade = args.detector.build(args.min_face)?;
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
        let done = one(job, &args, &encoder, &cascade, &options, common, name);
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
    args: &VideoArgs,
    encoder: &Encoder,
    cascade: &Cascade,
    options: &PipelineOptions,
    common: &Common,
    name: String,
) -> anyhow::Result<u64> {
    let input = Input::open(&job.input, &options.stop)?;
    let mut info = input.info(args.frame_rate)?;
    summary::warn(&info);
    if args.no_audio {
        info.sound.clear();
    }
    let (writer, target) = match &job.video {
        Some(target) => {
            let container = Container::of(&target.path)?;
            let tracks = input.file().map(|file| Tracks::plan(file, &info, container)).transpose()?.unwrap_or_default();
            info.sound.retain(|track| tracks.holds(track.index));
            let video = VideoOptions {
                tracks,
                metadata: if args.redact.is_some() && !args.keep_metadata { Metadata::Drop } else { Metadata::Keep },
                encoder: encoder.clone(),
                // Encoding takes as long as all else together; with a thread more than there are cores, it always has one
                // to go on with.
                threads: if options.threads > 1 { options.threads + 1 } else { 1 },
            };
            let (writer, path) = start_writer(target, args, &info, &video)?;
            (Some(writer), Some(path))
        }
        None => (None, None),
    };
    let records = job.json.as_deref().map(|path| start_records(path, &info)).transpose()?;
    let mut frames = input.frames(&info, common.threads)?;
    let mut stored = None;
    if let Some(shape) = info.pixel_shape {
        let (source, kept) = squared(frames, shape, writer.is_some());
        (frames, stored) = (Box::new(source), Some(kept));
    }
    let bar = summary::progress(&info, name, common.quiet);

    let start = Instant::now();
    let mut film = Film::new(!args.no_track, stored, writer, records, bar.clone());
    let ended = pipeline::run(frames, cascade, options, &mut film);
    // Whatever happened: frames that were read are kept. Sound ends with them, unless it is the input that fails: it goes as far as
    // it can be read.
    let damaged = matches!(&ended, Err(Error::Stage { stage, .. }) if *stage == Stage::Capture.name());
    let early = ended.is_err() && !damaged || options.stop.load(Ordering::Relaxed);
    let (tally, finished) = film.finish(early);
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    let printed = if tally.frames > 0 && finished.is_ok() {
        let to: Vec<String> = target.iter().chain(&job.json).map(|path| path.display().to_string()).collect();
        summary::print(&info.name, &to, &info, &tally, elapsed)
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
    let redactor = args.redact.map(|style| Redactor::new(style.style(), args.redact_margin));
    let paint = painter(redactor, args.redact.is_none() || args.boxes);
    Ok((Writer::start(path, video, WAITING, paint)?, path.clone()))
}

/// The encoder that was asked for; another one than the usual is tried with each kind of file that is to be written.
fn checked_encoder(args: &VideoArgs, jobs: &[Job]) -> anyhow::Result<Encoder> {
    let usage = |error: Error| super::usage(&error.to_string());
    let encoder = Encoder::new(&args.encoder, args.quality).map_err(usage)?;
    if encoder != Encoder::new("libx264", args.quality)? {
        let mut tried = Vec::new();
        for target in jobs.iter().filter_map(|job| job.video.as_ref()) {
            let container = Container::of(&target.path)?;
            if !tried.contains(&container) {
                encoder.check(container).map_err(usage)?;
                tried.push(container);
            }
        }
    }
    Ok(encoder)
}

fn start_records(path: &Path, info: &VideoInfo) -> facecascade::Result<Records> {
    let target = TempTarget::new(path)?;
    let mut records = Records { file: BufWriter::new(target.open()?), target };
    records.line(&records::video(&info.name, info))?;
    Ok(records)
}
