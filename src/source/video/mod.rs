//! Video files through ffmpeg as a child process: what a file is ([`probe()`]) and its frames, upright, as RGB ([`Frames`]).
//!
//! Two children do the work by hand rather than through a crate: the frames' times, colours and rotation must survive to
//! the writer, and no crate hands on all three.

mod clock;
mod probe;

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use image::RgbImage;

use self::clock::{Clock, ShowInfo, Told};
use self::probe::MOST_SHAPE;
#[cfg(feature = "camera")]
pub(crate) use self::probe::probe_origin;
pub use self::probe::{Rate, Track, VideoInfo, probe, probe_as};
use super::planes;
use super::process::{Origin, Process, command, every_frame_option, widen};
use crate::error::{Error, Result};

/// Jumps of a container's times that ffmpeg would take for an error, seconds: none that lead forward, since a recording may pause
/// for hours.
pub(crate) const LONGEST_PAUSE: &str = "1000000";

/// The frames of a video, in order, none left out.
#[derive(Debug)]
pub struct Frames {
    info: VideoInfo,
    process: Process,
    /// A frame as it comes.
    bytes: Vec<u8>,
    told: Receiver<Told>,
    clock: Clock,
    count: u64,
}

impl Frames {
    /// Starts to decode `path`, with `threads` threads (0 = as many as ffmpeg thinks right).
    ///
    /// # Errors
    /// If ffmpeg can't be started.
    pub fn open(path: &Path, info: &VideoInfo, threads: usize) -> Result<Self> {
        Self::of(&Origin::file(path), info, threads)
    }

    /// As [`Self::open`], of a file or an address.
    pub(crate) fn of(origin: &Origin, info: &VideoInfo, threads: usize) -> Result<Self> {
        // The filter `showinfo` writes each frame's time to stderr; that needs the log level "info".
        let mut command = command("ffmpeg", "level+info");
        command.args(["-nostdin", "-nostats", "-dts_delta_threshold", LONGEST_PAUSE]);
        command.args(["-threads", &threads.to_string()]).args(origin.arguments());
        command.args(["-map", &format!("0:{}", info.track), "-vf", &filters(info)]);
        command.args([every_frame_option()?, "passthrough"]);
        command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]).stdout(Stdio::piped());
        if info.restarts && !info.sound.is_empty() {
            // Where times start again, ffmpeg joins them by the tracks that it reads: the same ones as where sound is read.
            for track in &info.sound {
                command.args(["-map", &format!("0:{}", track.index)]);
            }
            command.args(["-c", "copy", "-f", "null", "-"]);
        }

        let (send, told) = channel();
        let mut lines = ShowInfo::default();
        let process = Process::start("ffmpeg", &mut command, move |line| {
            if let Some(told) = lines.read(line) {
                let _ = send.send(told);
            }
            !line.contains("[error]") && !line.contains("[fatal]")
        })?;
        process.child.stdout.iter().for_each(widen);
        let clock = Clock::new(info.rate);
        Ok(Self { info: info.clone(), process, bytes: Vec::new(), told, clock, count: 0 })
    }

    /// What it is.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Reads the next frame into `frame` (whose buffer is reused) and gives its time in seconds from the file's start;
    /// `None` after the last one.
    ///
    /// # Errors
    /// If there is no frame at all, or if the file is cut or damaged: what was read before is right.
    pub fn next_into(&mut self, frame: &mut RgbImage) -> Result<Option<f64>> {
        let (width, height) = (self.info.width, self.info.height);
        if frame.dimensions() != (width, height) {
            *frame = RgbImage::new(width, height);
        }
        let Some(stdout) = self.process.child.stdout.as_mut() else { return Ok(None) };
        self.bytes.resize(planes::size((width, height)), 0);
        let buffer = &mut self.bytes[..];
        let mut filled = 0;
        while filled < buffer.len() {
            match stdout.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Process(format!("{}: reading from ffmpeg: {e}", self.info.name))),
            }
        }
        if filled < buffer.len() {
            return self.end(filled > 0).map(|()| None);
        }
        planes::to_rgb(&self.bytes, planes::matrix(self.info.colour[0].as_deref()), frame)?;
        self.count += 1;
        // The line is written before the frame is, so this waits for the thread that reads it, not for ffmpeg.
        let told = self.told.recv_timeout(Duration::from_secs(5)).ok();
        Ok(Some(self.clock.next(told)))
    }

    fn end(&mut self, within_a_frame: bool) -> Result<()> {
        let ended = self.process.wait()?;
        self.process.child.stdout = None;
        let fail = |reason: String| Err(Error::Process(format!("{}: {reason}", self.info.name)));
        if self.count == 0 {
            return fail(format!("no frame could be read ({})", ended.reason()));
        }
        let complaints = ended.everything();
        // A stream's number of frames is only a guess, and it may begin with some that nobody can decode.
        let fewer = !self.info.restarts && self.info.frames.is_some_and(|expected| self.count + 2 < expected);
        let says_cut = ["partial file", "prematurely", "truncat"].iter().any(|word| complaints.contains(word));
        // Fewer frames alone is no fault: a clip trimmed on a phone still counts those that it hides.
        if within_a_frame || !ended.status.success() || !ended.complaints.is_empty() && (fewer || says_cut) {
            let of = self.info.frames.map_or(String::new(), |n| format!(" of about {n}"));
            return fail(format!("is cut or damaged: {}{of} frames could be read ({})", self.count, ended.reason()));
        }
        if !ended.complaints.is_empty() {
            tracing::warn!("{}: ffmpeg: {complaints}", self.info.name);
        }
        Ok(())
    }
}

/// What happens to frames in ffmpeg: lines of two moments become those of one, frames whose size or shape of pixels changes midway
/// are fitted into those before, with bars and never stretched, and their times are told.
fn filters(info: &VideoInfo) -> String {
    let VideoInfo { width, height, .. } = info;
    let mut filters = Vec::new();
    if info.interlaced {
        filters.push("bwdif=mode=send_frame:deint=interlaced".to_owned());
    }
    let (w, h) = info.pixel_shape.unwrap_or((1, 1));
    // The whole number next to it, since scale cuts; the smaller one of the sides that fit.
    let fit = |side: u32, other: &str| format!("'max(1,trunc(min({side},{other})+0.5))'");
    // A change of the shape alone does not make ffmpeg set up its filters again: they look at each frame. An absurd shape is an
    // error of the file here too.
    let ratio = format!("(a*if(between(sar,1/{MOST_SHAPE},{MOST_SHAPE}),sar,1))");
    let mut scale = format!(
        "scale=eval=frame:w={}:h={}",
        fit(*width, &format!("{height}*{ratio}*{h}/{w}")),
        fit(*height, &format!("{width}/{ratio}*{w}/{h}"))
    );
    if info.full_range || info.rgb {
        scale.push_str(":out_range=tv");
    }
    if let Some(matrix) = info.colour[0].as_deref().filter(|_| info.rgb) {
        scale.push_str(&format!(":out_color_matrix={matrix}"));
    }
    filters.push(scale);
    // Where colours are halved, bars could not make a side odd.
    let whole = if width % 2 + height % 2 > 0 { "format=yuv444p," } else { "format=yuv420p," };
    filters
        .push(format!("{whole}pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:eval=frame,format=yuv420p,showinfo=checksum=0"));
    filters.join(",")
}
