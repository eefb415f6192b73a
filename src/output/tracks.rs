//! Which sound and subtitle tracks of a video get into the file that is written, and how. None vanishes without a warning that
//! names it, and none stops the picture: what has to be encoded anew is tried before the run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::container::Container;
use crate::error::Result;
use crate::source::process::{file_argument, output};
use crate::source::video::{Track, VideoInfo};

/// Bits a second for each channel of sound that is encoded anew, thousands.
const BITS_PER_CHANNEL: u32 = 96;

/// The tracks of one video that are written beside its picture.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    /// The file that they come from.
    source: PathBuf,
    sound: Vec<Kept>,
    subtitles: Vec<Kept>,
}

/// A track and the options that it is written with.
#[derive(Debug, Clone)]
struct Kept {
    index: usize,
    language: Option<String>,
    /// A codec, or `copy`.
    codec: &'static str,
    /// Options of ffmpeg and their values.
    options: Vec<(&'static str, String)>,
}

impl Tracks {
    /// What is kept of the sound and subtitles of `source` in `container`. Tracks that can't be kept are named in a warning.
    ///
    /// # Errors
    /// If ffmpeg can't be started.
    pub fn plan(source: &Path, info: &VideoInfo, container: Container) -> Result<Self> {
        let mut tracks = Self { source: source.to_owned(), ..Self::default() };
        let of = container.format();
        for (i, track) in info.sound.iter().enumerate() {
            let name = || named("sound track", i, track);
            let kept = |codec, options| Kept { index: track.index, language: track.language.clone(), codec, options };
            if track.known && container.takes_sound(&track.codec) {
                tracks.sound.push(kept("copy", Vec::new()));
            } else if let Some(options) = encoding(source, track)? {
                tracing::info!("{}: {} becomes AAC: .{of} does not take it as it is", info.name, name());
                tracks.sound.push(kept("aac", options));
            } else {
                tracing::warn!("{}: {} can't be decoded by this ffmpeg: left out", info.name, name());
            }
        }
        for (i, track) in info.subtitles.iter().enumerate() {
            let name = named("subtitles", i, track);
            match container.subtitles(&track.codec).filter(|_| track.known) {
                Some(codec) => tracks.subtitles.push(Kept {
                    index: track.index,
                    language: track.language.clone(),
                    codec,
                    options: Vec::new(),
                }),
                None => tracing::warn!("{}: {name} have no place in .{of}: left out", info.name),
            }
        }
        Ok(tracks)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sound.is_empty() && self.subtitles.is_empty()
    }

    /// How many of them are sound.
    pub(super) fn sounds(&self) -> usize {
        self.sound.len()
    }

    /// Whether the track with this number in its file is among them.
    pub fn holds(&self, index: usize) -> bool {
        self.sound.iter().chain(&self.subtitles).any(|kept| kept.index == index)
    }

    /// The file that they come from.
    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    /// Adds ffmpeg's options that read the tracks from input 1 and write them.
    pub(super) fn arguments(&self, command: &mut Command) {
        for (kind, kept) in [("a", &self.sound), ("s", &self.subtitles)] {
            for (i, track) in kept.iter().enumerate() {
                command.arg("-map").arg(format!("1:{}", track.index)).arg(format!("-c:{kind}:{i}")).arg(track.codec);
                for (option, value) in &track.options {
                    command.arg(format!("{option}:{kind}:{i}")).arg(value);
                }
            }
        }
    }

    /// Adds ffmpeg's options that keep the tracks' languages where all else that the input says is dropped.
    pub(super) fn languages(&self, command: &mut Command) {
        for (kind, kept) in [("a", &self.sound), ("s", &self.subtitles)] {
            for (i, track) in kept.iter().enumerate() {
                if let Some(language) = &track.language {
                    command.arg(format!("-metadata:s:{kind}:{i}")).arg(format!("language={language}"));
                }
            }
        }
    }
}

/// `sound track 2 (apac, ger)`, counted from 1.
fn named(kind: &str, number: usize, track: &Track) -> String {
    let codec = if track.codec.is_empty() { "unknown codec" } else { &track.codec };
    let language = track.language.as_ref().map_or(String::new(), |language| format!(", {language}"));
    format!("{kind} {} ({codec}{language})", number + 1)
}

/// The options with which a track can be encoded as AAC; `None` if it can't be decoded.
fn encoding(source: &Path, track: &Track) -> Result<Option<Vec<(&'static str, String)>>> {
    let bits = |channels: u32| ("-b", format!("{}k", BITS_PER_CHANNEL * channels.clamp(1, 6)));
    // Some arrangements of channels have no place in AAC; two channels always do.
    for options in [vec![bits(track.channels)], vec![bits(2), ("-ac", "2".to_owned())]] {
        if can_encode(source, track.index, &options)? {
            return Ok(Some(options));
        }
    }
    Ok(None)
}

/// Encodes the beginning of a track.
fn can_encode(source: &Path, index: usize, options: &[(&'static str, String)]) -> Result<bool> {
    let file = file_argument(source);
    let map = format!("0:{index}");
    let mut arguments: Vec<&OsStr> = ["-nostdin", "-t", "60", "-i"].map(OsStr::new).to_vec();
    arguments.push(&file);
    arguments.extend(["-map", &map, "-frames:a", "4", "-c:a", "aac"].map(OsStr::new));
    let named: Vec<(String, &String)> = options.iter().map(|(o, value)| (format!("{o}:a"), value)).collect();
    arguments.extend(named.iter().flat_map(|(option, value)| [OsStr::new(option), OsStr::new(value)]));
    arguments.extend(["-f", "adts", "pipe:1"].map(OsStr::new));
    let (bytes, ended) = output("ffmpeg", &arguments)?;
    Ok(ended.status.success() && !bytes.is_empty())
}

/// What keeps the sound of `file`, which should hold `tracks` sound tracks, from being played; `None` if nothing does.
pub(super) fn unplayable(file: &Path, tracks: usize) -> Result<Option<String>> {
    let info = crate::source::video::probe(file)?;
    if info.sound.len() != tracks || info.sound.iter().any(|track| !track.known) {
        let playable = info.sound.iter().filter(|track| track.known).count();
        return Ok(Some(format!("{playable} of {tracks} sound tracks can be played")));
    }
    let file = file_argument(file);
    let arguments = ["-nostdin", "-xerror", "-i"].map(OsStr::new).into_iter().chain([file.as_os_str()]);
    let rest = ["-map", "0:a", "-frames:a", "4", "-f", "null", "-"].map(OsStr::new);
    let (_, ended) = output("ffmpeg", &arguments.chain(rest).collect::<Vec<_>>())?;
    Ok((!ended.status.success()).then(|| ended.reason()))
}
