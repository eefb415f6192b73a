//! Video files: frames in, H.264 out through ffmpeg, with the sound and subtitles of the video they came from.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use image::RgbImage;

use super::planes::{Planes, even};
use super::{disk, matroska};
use crate::error::{Error, Result};
use crate::files::same_file;
use crate::source::process::{Process, command, every_frame_option, file_argument, widen};
use crate::source::video::{VideoInfo, probe};

/// Every so many frames, room on the disk is looked at.
const LOOK: u64 = 4;

/// Writes one video file: under a temporary name beside it, renamed when whole. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct VideoWriter {
    process: Process,
    pipe: Option<ChildStdin>,
    target: PathBuf,
    partial: PathBuf,
    container: Container,
    info: VideoInfo,
    planes: Planes,
    first_time: Option<f64>,
    last_time: f64,
    count: u64,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Mp4,
    Mov,
    Matroska,
}

impl Container {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("mp4" | "m4v") => Ok(Self::Mp4),
            Some("mov") => Ok(Self::Mov),
            Some("mkv") => Ok(Self::Matroska),
            _ => Err(Error::Setting(format!("{}: name the video to write .mp4, .mov or .mkv", path.display()))),
        }
    }

    fn format(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Matroska => "matroska",
        }
    }

    /// Whether sound of this codec can be kept as it is; else it becomes AAC.
    fn takes_audio(self, codec: &str) -> bool {
        match self {
            Self::Mp4 => ["aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus"].contains(&codec),
            Self::Mov => ["aac", "mp3", "ac3", "eac3", "alac"].contains(&codec) || codec.starts_with("pcm_"),
            Self::Matroska => true,
        }
    }

    /// The codec that subtitles of codec `codec` get in here; `None` if they have no place.
    fn subtitles(self, codec: &str) -> Option<&'static str> {
        match self {
            Self::Matroska if codec == "mov_text" => Some("srt"),
            Self::Matroska => Some("copy"),
            _ if ["subrip", "ass", "ssa", "webvtt", "text", "mov_text"].contains(&codec) => Some("mov_text"),
            _ => None,
        }
    }
}

impl VideoWriter {
    /// Starts to write `target` for frames of `source` (`None`: a camera, without sound), described by `info`, with `threads`
    /// threads (0 = as many as ffmpeg thinks right).
    ///
    /// # Errors
    /// If `target` is `source` itself, has an unknown ending or can't be written, or if ffmpeg is not installed.
    pub fn create(target: &Path, source: Option<&Path>, info: &VideoInfo, threads: usize) -> Result<Self> {
        if source.is_some_and(|source| same_file(target, source)) {
            return Err(Error::Setting(format!("{}: would overwrite the video that is read", target.display())));
        }
        let container = Container::of(target)?;
        let mut info = info.clone();
        // A start is no whole number of frames, so it needs times that are finer: those of variable rates.
        info.variable |= info.start > 0.0;
        let mut partial = target.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // So that a folder that is missing or not writable is named by the system, not by ffmpeg.
        std::fs::File::create(&partial).map_err(Error::io(target))?;

        let mut command = command("ffmpeg", "error");
        command.args(["-nostdin", "-nostats", "-y"]);
        input_arguments(&mut command, &info);
        if let Some(source) = source {
            command.arg("-i").arg(file_argument(source));
            command.args(["-map_metadata", "1", "-map_chapters", "1"]);
        }
        command.args(["-map", "0:v:0"]);
        picture_arguments(&mut command, &info)?;
        command.args(["-threads", &threads.to_string()]);
        sound_arguments(&mut command, &info, container);
        if container != Container::Matroska {
            command.args(["-movflags", "+faststart"]);
        }
        command.args(["-max_muxing_queue_size", "9999", "-f", container.format()]).arg(file_argument(&partial));
        command.stdin(Stdio::piped());
        let started = Process::start("ffmpeg", &mut command, |_| false);
        let mut process = started.inspect_err(|_| drop(std::fs::remove_file(&partial)))?;
        let pipe = process.child.stdin.take().inspect(widen);
        let target = target.to_owned();
        let (planes, last_time) = (Planes::new(info.colour[0].as_deref()), info.start);
        Ok(Self {
            process,
            pipe,
            target,
            partial,
            container,
            info,
            planes,
            first_time: None,
            last_time,
            count: 0,
            finished: false,
        })
    }

    /// Writes the next frame, shown `seconds` after the start.
    ///
    /// # Errors
    /// If the disk is nearly full: the file ends with the frames before, and plays. If ffmpeg ended; nothing is left of the
    /// file then.
    pub fn write(&mut self, frame: &RgbImage, seconds: f64) -> Result<()> {
        let pixels = u64::from(frame.width()) * u64::from(frame.height());
        if self.count.is_multiple_of(LOOK) && disk::is_nearly_full(&self.partial, self.count + LOOK, pixels) {
            return Err(self.end_while_there_is_room()?);
        }
        let written = self.send(frame, seconds);
        if let Err(e) = written {
            self.pipe = None;
            let ended = self.process.wait()?;
            let reason = if ended.complaints.is_empty() { e.to_string() } else { ended.everything() };
            return Err(self.failed(&reason));
        }
        self.last_time = seconds;
        self.count += 1;
        Ok(())
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
            if self.info.variable {
                if self.first_time.is_none() {
                    pipe.write_all(&matroska::header(size.0, size.1))?;
                }
                matroska::before_frame(pipe, seconds - self.first_time.unwrap_or(seconds), bytes.len())?;
            }
            pipe.write_all(bytes)
        };
        let closed = || Err(std::io::ErrorKind::BrokenPipe.into());
        self.pipe.as_mut().map_or_else(closed, write).map_err(Error::io(&self.target))?;
        self.first_time.get_or_insert(seconds);
        Ok(())
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
        self.rename()
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
        if !self.info.audio.is_empty() || !self.info.subtitles.is_empty() {
            let mut shorter = self.partial.as_os_str().to_owned();
            shorter.push(".partial");
            let shorter = PathBuf::from(shorter);
            let seconds = self.last_time + 1.0 / self.info.rate.per_second();
            let mut command = command("ffmpeg", "error");
            command.args(["-nostdin", "-y", "-i"]).arg(file_argument(&self.partial));
            command.args(["-t", &format!("{seconds:.6}"), "-map", "0", "-c", "copy", "-f", self.container.format()]);
            command.arg(file_argument(&shorter));
            let done = Process::start("ffmpeg", &mut command, |_| false)?.wait()?.status.success();
            // Should this fail, the longer sound is no harm: the file plays.
            if !done || !self.is_whole(&shorter) || std::fs::rename(&shorter, &self.partial).is_err() {
                let _ = std::fs::remove_file(&shorter);
            }
        }
        self.rename()
    }

    fn close(&mut self) -> Result<()> {
        self.pipe = None;
        let ended = self.process.wait()?;
        let complaints = ended.everything();
        let says_so = ["Error writing", "Error closing", "No space left"].iter().any(|word| complaints.contains(word));
        // ffmpeg may say "no space left" and still exit with 0, so what lies on the disk is looked at.
        if !ended.status.success() || says_so || !self.is_whole(&self.partial) {
            return Err(self.failed(&complaints));
        }
        Ok(())
    }

    /// Whether `file` can be opened as a video and, where its index tells, holds all frames that were written.
    fn is_whole(&self, file: &Path) -> bool {
        let told = self.container != Container::Matroska;
        probe(file).is_ok_and(|info| !told || info.frames == Some(self.count))
    }

    fn rename(&mut self) -> Result<()> {
        std::fs::rename(&self.partial, &self.target).map_err(Error::io(&self.target))?;
        self.finished = true;
        Ok(())
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Process(format!("{}: could not be written ({reason})", self.target.display()))
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.pipe = None;
            let _ = self.process.child.kill();
            let _ = self.process.child.wait();
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn input_arguments(command: &mut Command, info: &VideoInfo) {
    // Where sound starts before the picture, it still does.
    command.args(["-itsoffset", &format!("{:.6}", info.start)]);
    if info.variable {
        command.args(["-f", "matroska"]);
    } else {
        let size = format!("{}x{}", even(info.width), even(info.height));
        let rate = format!("{}/{}", info.rate.frames, info.rate.seconds);
        command.args(["-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", &size, "-framerate", &rate]);
    }
    command.args(["-i", "pipe:0"]);
}

fn picture_arguments(command: &mut Command, info: &VideoInfo) -> Result<()> {
    // Frames went back through the matrix that they came from; the file says so, else colours shift.
    let [matrix, primaries, transfer] = &info.colour;
    let names = ["bt709", "smpte170m", "bt470bg", "smpte240m", "fcc", "bt2020nc"];
    let known = matrix.as_deref().filter(|m| names.contains(m));
    let mut filters = format!("setparams=range=tv{}", known.map_or(String::new(), |m| format!(":colorspace={m}")));
    if let Some((w, h)) = info.pixel_shape {
        filters.push_str(&format!(",setsar={w}/{h}"));
    }
    command.args(["-vf", &filters, "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"]);
    if known.is_some() {
        for (option, value) in [("-colorspace", matrix), ("-color_primaries", primaries), ("-color_trc", transfer)] {
            if let Some(value) = value.as_deref().filter(|v| !["unknown", "reserved"].contains(v)) {
                command.args([option, value]);
            }
        }
    }
    command.args([every_frame_option()?, "passthrough"]);
    if info.variable {
        // Else times are rounded to the mean rate.
        command.args(["-enc_time_base", "1/90000"]);
    }
    Ok(())
}

fn sound_arguments(command: &mut Command, info: &VideoInfo, container: Container) {
    for (i, codec) in info.audio.iter().enumerate() {
        command.arg("-map").arg(format!("1:a:{i}")).arg(format!("-c:a:{i}"));
        command.arg(if container.takes_audio(codec) { "copy" } else { "aac" });
    }
    let mut place = 0;
    for (i, codec) in info.subtitles.iter().enumerate() {
        match container.subtitles(codec) {
            Some(becomes) => {
                command.arg("-map").arg(format!("1:s:{i}")).arg(format!("-c:s:{place}")).arg(OsString::from(becomes));
                place += 1;
            }
            None => tracing::warn!("subtitles ({codec}) have no place in .{}: left out", container.format()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_kept_where_the_container_takes_it() {
        assert!(Container::Mp4.takes_audio("aac") && !Container::Mp4.takes_audio("pcm_s16le"));
        assert!(Container::Mov.takes_audio("pcm_s16le") && Container::Matroska.takes_audio("vorbis"));
        assert_eq!(Container::Mp4.subtitles("hdmv_pgs_subtitle"), None);
        assert!(Container::of(Path::new("a.webm")).is_err());
    }
}
