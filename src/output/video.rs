//! Video files: frames and their times in, H.264 (or what another encoder makes) out through ffmpeg, with the sound and
//! subtitles of the video they came from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use image::RgbImage;

use super::container::Container;
use super::encoder::Encoder;
use super::planes::{Planes, even};
use super::tracks::{Tracks, unplayable};
use super::{disk, matroska};
use crate::error::{Error, Result};
use crate::files::TempTarget;
use crate::source::process::{Process, command, every_frame_option, file_argument, widen};
use crate::source::video::{LONGEST_PAUSE, VideoInfo, probe};

/// Every so many frames, room on the disk is looked at.
const LOOK: u64 = 4;
/// Units of a second in which times are written; fine enough for any rate.
pub(super) const TIME_BASE: u32 = 90_000;

/// How a video is written.
#[derive(Debug, Clone, Default)]
pub struct VideoOptions {
    /// What is written beside the picture.
    pub tracks: Tracks,
    /// What happens to what the input says of itself.
    pub metadata: Metadata,
    /// What encodes the picture.
    pub encoder: Encoder,
    /// Threads of the encoder; 0 = as many as ffmpeg thinks right.
    pub threads: usize,
}

/// What a file says of itself beside picture and sound: where, when and with what it was taken, titles, comments, chapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metadata {
    /// Taken over from the input.
    #[default]
    Keep,
    /// Left out, all but the languages of sound and subtitles.
    Drop,
}

/// Writes one video file: under a temporary name beside it, renamed when whole. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct VideoWriter {
    /// ffmpeg, from the first frame on.
    running: Option<Running>,
    target: PathBuf,
    /// `None` once it has its name.
    partial: Option<TempTarget>,
    container: Container,
    info: VideoInfo,
    options: VideoOptions,
    planes: Planes,
    first_time: f64,
    last_time: f64,
    count: u64,
}

#[derive(Debug)]
struct Running {
    process: Process,
    pipe: Option<ChildStdin>,
}

impl VideoWriter {
    /// Prepares to write `target` for frames described by `info`; ffmpeg starts with the first frame.
    ///
    /// # Errors
    /// If `target` has an unknown ending or can't be written, or if ffmpeg is not installed.
    pub fn create(target: &Path, info: &VideoInfo, options: VideoOptions) -> Result<Self> {
        let container = Container::of(target)?;
        every_frame_option()?;
        let planes = Planes::new(info.colour[0].as_deref());
        Ok(Self {
            running: None,
            target: target.to_owned(),
            partial: Some(TempTarget::new(target)?),
            container,
            info: info.clone(),
            options,
            planes,
            first_time: 0.0,
            last_time: 0.0,
            count: 0,
        })
    }

    /// Writes the next frame, shown `seconds` after the start.
    ///
    /// # Errors
    /// If the disk is nearly full: the file ends with the frames before, and plays. If ffmpeg ended; nothing is left of the
    /// file then.
    pub fn write(&mut self, frame: &RgbImage, seconds: f64) -> Result<()> {
        let pixels = u64::from(frame.width()) * u64::from(frame.height());
        if self.count.is_multiple_of(LOOK) && disk::is_nearly_full(self.partial_path(), self.count + LOOK, pixels) {
            return Err(self.end_while_there_is_room()?);
        }
        if self.count == 0 {
            self.first_time = seconds;
            self.running = Some(self.start()?);
        }
        if let Err(e) = self.send(frame, seconds) {
            let Some(mut running) = self.running.take() else { return Err(e) };
            running.pipe = None;
            let ended = running.process.wait()?;
            let reason = if ended.complaints.is_empty() { e.to_string() } else { ended.everything() };
            return Err(self.failed(&reason));
        }
        self.last_time = seconds;
        self.count += 1;
        Ok(())
    }

    /// Starts ffmpeg.
    fn start(&self) -> Result<Running> {
        let (tracks, encoder) = (&self.options.tracks, &self.options.encoder);
        let mut command = command("ffmpeg", "error");
        command.args(["-nostdin", "-nostats", "-y", "-dts_delta_threshold", LONGEST_PAUSE]);
        encoder.device(&mut command);
        // A time before the start would be cut off by players, so all begins so much later.
        let late = (-self.first_time).max(0.0);
        command.args(["-itsoffset", &format!("{:.6}", self.first_time + late), "-f", "matroska", "-i", "pipe:0"]);
        if !tracks.is_empty() || self.keeps_metadata() {
            command.args(["-itsoffset", &format!("{late:.6}"), "-i"]).arg(file_argument(tracks.source()));
        }
        command.args(["-map", "0:v:0"]);
        encoder.arguments(&mut command, self.container, &picture_filters(&self.info));
        picture_options(&mut command, &self.info, encoder.most_units())?;
        command.args(["-threads", &self.options.threads.to_string()]);
        tracks.arguments(&mut command);
        if self.keeps_metadata() {
            command.args(["-map_metadata", "1", "-map_chapters", "1"]);
        } else {
            command.args(["-map_metadata", "-1", "-map_metadata:s", "-1", "-map_chapters", "-1"]);
            tracks.languages(&mut command);
        }
        if self.container != Container::Matroska {
            command.args(["-movflags", "+faststart"]);
        }
        // Sound that begins late, or seldom, does not end the picture.
        command.args(["-max_muxing_queue_size", "100000", "-muxing_queue_data_threshold", "200000000"]);
        command.args(["-f", self.container.format()]).arg(file_argument(self.partial_path()));
        if self.info.restarts && !tracks.is_empty() {
            // As where the picture is read: times that start again are joined by the same tracks.
            command.args(["-map", &format!("1:{}", self.info.track), "-c", "copy", "-f", "null", "-"]);
        }
        command.stdin(Stdio::piped());
        let mut process = Process::start("ffmpeg", &mut command, |_| false)?;
        let pipe = process.child.stdin.take().inspect(widen);
        Ok(Running { process, pipe })
    }

    fn keeps_metadata(&self) -> bool {
        self.options.metadata == Metadata::Keep && !self.options.tracks.source().as_os_str().is_empty()
    }

    /// Ends the file, and gives the error that says so.
    fn end_while_there_is_room(&mut self) -> Result<Error> {
        let target = self.target.display().to_string();
        if self.count == 0 {
            return Ok(Error::Process(format!("{target}: the disk is full")));
        }
        self.end_early()?;
        Ok(Error::Process(format!("{target}: the disk is full; the first {} frames are in it", self.count)))
    }

    fn send(&mut self, frame: &RgbImage, seconds: f64) -> Result<()> {
        let size = (even(frame.width()), even(frame.height()));
        let bytes = self.planes.of(frame)?;
        let write = |pipe: &mut ChildStdin| {
            if self.count == 0 {
                pipe.write_all(&matroska::header(size.0, size.1, self.info.rate.per_second()))?;
            }
            matroska::before_frame(pipe, seconds - self.first_time, bytes.len())?;
            pipe.write_all(bytes)
        };
        let closed = || Err(std::io::ErrorKind::BrokenPipe.into());
        let pipe = self.running.as_mut().and_then(|running| running.pipe.as_mut());
        pipe.map_or_else(closed, write).map_err(Error::io(&self.target))
    }

    /// Frames written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// If ffmpeg failed; nothing is left of the file then.
    pub fn finish(mut self) -> Result<()> {
        self.close()?;
        self.listen()?;
        self.commit()
    }

    /// Ends the file early, after the frames written so far: sound and subtitles end with them.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_early(mut self) -> Result<()> {
        self.end_early()
    }

    fn end_early(&mut self) -> Result<()> {
        self.close()?;
        if !self.options.tracks.is_empty()
            && let Ok(shorter) = TempTarget::new(&self.target)
        {
            let seconds = self.last_time + 1.0 / self.info.rate.per_second();
            let mut command = command("ffmpeg", "error");
            command.args(["-nostdin", "-y", "-i"]).arg(file_argument(self.partial_path()));
            command.args(["-t", &format!("{seconds:.6}"), "-map", "0", "-c", "copy", "-f", self.container.format()]);
            command.arg(file_argument(shorter.path()));
            let done = Process::start("ffmpeg", &mut command, |_| false)?.wait()?.status.success();
            // Should this fail, the longer sound is no harm: the file plays.
            if done && self.is_whole(shorter.path()) {
                self.partial = Some(shorter);
            }
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<()> {
        self.partial.take().map_or(Ok(()), TempTarget::commit)
    }

    /// Where the file is while it is written.
    fn partial_path(&self) -> &Path {
        self.partial.as_ref().map_or(&self.target, TempTarget::path)
    }

    fn close(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Err(self.failed("it has no frame")) };
        running.pipe = None;
        let ended = running.process.wait()?;
        let complaints = ended.everything();
        let says_so = ["Error writing", "Error closing", "No space left"].iter().any(|word| complaints.contains(word));
        // ffmpeg may say "no space left" and still exit with 0, so what lies on the disk is looked at.
        if !ended.status.success() || says_so || !self.is_whole(self.partial_path()) {
            return Err(self.failed(&complaints));
        }
        Ok(())
    }

    /// Whether `file` can be opened as a video and, where its index tells, holds all frames that were written.
    fn is_whole(&self, file: &Path) -> bool {
        let told = self.container != Container::Matroska;
        probe(file).is_ok_and(|info| !told || info.frames == Some(self.count))
    }

    /// Warns if the sound that was written can't be played.
    fn listen(&self) -> Result<()> {
        let tracks = self.options.tracks.sounds();
        if tracks > 0
            && let Some(reason) = unplayable(self.partial_path(), tracks)?
        {
            tracing::warn!("{}: its sound may not play ({reason})", self.target.display());
        }
        Ok(())
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Process(format!("{}: could not be written ({reason})", self.target.display()))
    }
}

/// Marks frames with what their numbers mean: they went back through the matrix that they came from.
fn picture_filters(info: &VideoInfo) -> String {
    let mut filters = "setparams=range=tv".to_owned();
    for (option, value) in ["colorspace", "color_primaries", "color_trc"].iter().zip(tags(info)) {
        filters.push_str(&value.map_or(String::new(), |value| format!(":{option}={value}")));
    }
    if let Some((w, h)) = info.pixel_shape {
        filters.push_str(&format!(",setsar={w}/{h}"));
    }
    filters
}

fn picture_options(command: &mut Command, info: &VideoInfo, most_units: u32) -> Result<()> {
    for (option, value) in ["-colorspace", "-color_primaries", "-color_trc"].iter().zip(tags(info)) {
        value.map(|value| command.args([option, value]));
    }
    command.args([
        every_frame_option()?,
        "passthrough",
        "-enc_time_base",
        &format!("1/{}", time_base(info, most_units)),
    ]);
    Ok(())
}

/// Matrix, primaries and transfer that the file gets: those of the input, where it says.
fn tags(info: &VideoInfo) -> [Option<&str>; 3] {
    info.colour.each_ref().map(|name| name.as_deref().filter(|name| !["unknown", "reserved", "gbr"].contains(name)))
}

/// Units of a second for the frames' times, `most` or fewer: a whole number of them for each frame, if its rate is regular.
fn time_base(info: &VideoInfo, most: u32) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let rate = info.rate.frames.max(1);
    let common = u64::from(TIME_BASE / gcd(TIME_BASE, rate)) * u64::from(rate);
    match u32::try_from(common) {
        Ok(base) if base <= most => base,
        _ if TIME_BASE <= most => TIME_BASE,
        _ => most / rate.min(most) * rate.min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::video::Rate;

    #[test]
    fn times_have_a_unit_that_divides_a_frame_or_a_fine_one() {
        let of = |frames, seconds, most| time_base(&VideoInfo::of_frames((2, 2), Rate { frames, seconds }), most);
        let base = |frames, seconds| of(frames, seconds, 1_000_000);
        assert_eq!([base(25, 1), base(24_000, 1001), base(30_000, 1001)], [90_000, 360_000, 90_000]);
        assert_eq!([base(270_000, 9017), base(123_457, 4000)], [270_000, 90_000]);
        assert_eq!([of(10, 1, 65_535), of(30_000, 1001, 65_535), of(123_457, 4000, 65_535)], [65_530, 60_000, 65_535]);
    }

    #[test]
    fn colours_keep_what_the_input_says_of_them() {
        let mut info = VideoInfo::of_frames((2, 2), Rate { frames: 25, seconds: 1 });
        info.colour = [Some("unknown".into()), Some("bt2020".into()), Some("smpte2084".into())];
        assert_eq!(picture_filters(&info), "setparams=range=tv:color_primaries=bt2020:color_trc=smpte2084");
        info.pixel_shape = Some((64, 45));
        info.colour = [Some("bt709".into()), None, None];
        assert_eq!(picture_filters(&info), "setparams=range=tv:colorspace=bt709,setsar=64/45");
    }
}
