//! `facecascade video`: faces in every frame of a video file.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use facecascade::output::video::{VideoWriter, same_file};
use facecascade::output::{draw, records};
use facecascade::source::video::{Frames, VideoInfo, probe};
use facecascade::{Cascade, Error};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::DetectorArgs;
use crate::cli::{Common, Outcome};

/// Find faces in every frame of a video, and draw them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade video clip.mp4
  facecascade video clip.mov -o faces.mp4 --json faces.jsonl
  facecascade video clip.mp4 --json faces.jsonl      (records only)

Every frame is kept, in order and at its time; sound is kept. Reads all that ffmpeg reads; writes H.264 in .mp4, .mov \
or .mkv. Ctrl-C ends the files after the current frame, so that they play.")]
pub(crate) struct VideoArgs {
    /// The video
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The video to write [default: IN-faces.mp4 beside IN, or here if that folder is read-only; none if only --json is given]
    #[arg(short, long, value_name = "OUT.mp4")]
    output: Option<PathBuf>,
    /// Write one JSON object a frame
    #[arg(long, value_name = "OUT.jsonl")]
    json: Option<PathBuf>,
    /// Side of the smallest face looked for, pixels
    #[arg(long, value_name = "PX", default_value_t = 40.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Boxes frame by frame, without ids. Faces are not followed yet, so this is how it is anyway
    #[arg(long)]
    no_track: bool,
}

/// Where results go: a video, records, or both.
struct Outputs {
    video: Option<VideoWriter>,
    records: Option<(PathBuf, BufWriter<File>)>,
}

/// What was done, and how long each part took for each frame.
#[derive(Default)]
struct Tally {
    frames: u64,
    faces: u64,
    decode: Vec<Duration>,
    detect: Vec<Duration>,
    draw: Vec<Duration>,
    encode: Vec<Duration>,
}

pub(crate) fn run(args: VideoArgs, common: &Common) -> anyhow::Result<Outcome> {
    let info = probe(&args.input)?;
    let cascade = args.detector.build(args.min_face)?;
    let (mut outputs, target) = open(&args, &info, common.threads)?;
    let mut frames = Frames::open(&args.input, &info, common.threads)?;
    let stop = stop_on_signal()?;
    let bar = progress(&info, common.quiet);

    let start = Instant::now();
    let mut tally = Tally::default();
    let ended = each_frame(&cascade, &mut frames, &mut outputs, &mut tally, &stop, &bar);
    let stopped = stop.load(Ordering::Relaxed);
    // Whatever happened: frames that were read are kept.
    let finished = finish(outputs, tally.frames, stopped || ended.is_err());
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    let kept = tally.frames > 0 && finished.is_ok();
    let printed = if kept { summary(&args, target.as_deref(), &info, &tally, elapsed) } else { Ok(()) };
    ended?;
    finished?;
    printed?;
    if stopped {
        super::complain(&anyhow::anyhow!("stopped after {} frames; what was written is whole", tally.frames));
        return Ok(Outcome::PartlyFailed);
    }
    Ok(Outcome::Done)
}

fn open(args: &VideoArgs, info: &VideoInfo, threads: usize) -> anyhow::Result<(Outputs, Option<PathBuf>)> {
    if let Some(json) = &args.json {
        anyhow::ensure!(!same_file(json, &args.input), "{}: would overwrite the video that is read", json.display());
        anyhow::ensure!(Some(json) != args.output.as_ref(), "{}: is named for video and records", json.display());
    }
    let (video, target) = match (&args.output, &args.json) {
        (None, Some(_)) => (None, None),
        (Some(target), _) => {
            (Some(VideoWriter::create(target, Some(&args.input), info, threads)?), Some(target.clone()))
        }
        (None, None) => {
            let (writer, target) = beside(&args.input, info, threads)?;
            (Some(writer), Some(target))
        }
    };
    let mut records = None;
    if let Some(path) = &args.json {
        let mut file = BufWriter::new(File::create(path).map_err(Error::io(path))?);
        writeln!(file, "{}", records::video(&args.input.to_string_lossy(), info)).map_err(Error::io(path))?;
        records = Some((path.clone(), file));
    }
    Ok((Outputs { video, records }, target))
}

/// `IN-faces.mp4` beside IN, or in the current folder where that one can't be written to.
fn beside(input: &Path, info: &VideoInfo, threads: usize) -> anyhow::Result<(VideoWriter, PathBuf)> {
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push("-faces.mp4");
    let target = input.with_file_name(&name);
    match VideoWriter::create(&target, Some(input), info, threads) {
        Err(Error::Io { source, .. })
            if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            let target = PathBuf::from(name);
            Ok((VideoWriter::create(&target, Some(input), info, threads)?, target))
        }
        other => Ok((other?, target)),
    }
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
pub(super) fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

fn each_frame(
    cascade: &Cascade,
    frames: &mut Frames,
    outputs: &mut Outputs,
    tally: &mut Tally,
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> facecascade::Result<()> {
    let mut frame = RgbImage::new(0, 0);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let Some(seconds) = frames.next_into(&mut frame)? else { break };
        let decoded = Instant::now();
        let faces = cascade.detect(&frame)?;
        let detected = Instant::now();
        tally.decode.push(decoded - started);
        tally.detect.push(detected - decoded);
        if let Some((path, file)) = &mut outputs.records {
            writeln!(file, "{}", records::frame(tally.frames, seconds, &faces)).map_err(Error::io(&*path))?;
        }
        if let Some(video) = &mut outputs.video {
            let start = Instant::now();
            draw::faces(&mut frame, &faces);
            let drawn = Instant::now();
            video.write(&frame, seconds)?;
            tally.draw.push(drawn - start);
            tally.encode.push(drawn.elapsed());
        }
        tally.frames += 1;
        tally.faces += faces.len() as u64;
        bar.inc(1);
    }
    Ok(())
}

fn finish(outputs: Outputs, frames: u64, early: bool) -> facecascade::Result<()> {
    let video = match outputs.video {
        // Dropped, it leaves no file: a video without a frame does not play.
        None => Ok(()),
        Some(_) if frames == 0 => Ok(()),
        Some(video) if early => video.finish_early(),
        Some(video) => video.finish(),
    };
    if let Some((path, mut file)) = outputs.records {
        file.flush().map_err(Error::io(path))?;
    }
    video
}

fn progress(info: &VideoInfo, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let fps = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    let (bar, template) = match info.frames {
        Some(frames) => (ProgressBar::new(frames), "{bar:30} {pos}/{len} frames, {fps} a second, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} frames, {fps} a second"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.with_key("fps", fps))
}

fn summary(
    args: &VideoArgs,
    target: Option<&Path>,
    info: &VideoInfo,
    tally: &Tally,
    elapsed: Duration,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let names: Vec<String> =
        target.into_iter().chain(args.json.as_deref()).map(|path| path.display().to_string()).collect();
    let (width, height, rate) = (info.width, info.height, info.rate.per_second());
    writeln!(out, "{} ({width}×{height}, {rate:.4} fps) -> {}", args.input.display(), names.join(", "))?;
    let seconds = elapsed.as_secs_f64();
    let speed = tally.frames as f64 / seconds;
    writeln!(out, "{} frames, {} faces, {seconds:.2} s, {speed:.1} frames/s", tally.frames, tally.faces)?;
    writeln!(out, "ms a frame       p50       p95       p99       max")?;
    let rows = [("decode", &tally.decode), ("detect", &tally.detect), ("draw", &tally.draw), ("encode", &tally.encode)];
    for (name, times) in rows.into_iter().filter(|(_, times)| !times.is_empty()) {
        let mut times = times.clone();
        times.sort();
        let at = |share: f64| percentile(&times, share).as_secs_f64() * 1000.0;
        writeln!(out, "{name:<10} {:>9.2} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.95), at(0.99), at(1.0))?;
    }
    Ok(())
}

/// The smallest of the sorted `times` that at least `share` of them do not exceed.
fn percentile(times: &[Duration], share: f64) -> Duration {
    let rank = (times.len() as f64 * share).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let at = |share| percentile(&times, share).as_millis();
        assert_eq!([at(0.5), at(0.95), at(0.99), at(1.0)], [100, 190, 198, 200]);
        assert_eq!(percentile(&times[..1], 0.5).as_millis(), 1);
    }
}
