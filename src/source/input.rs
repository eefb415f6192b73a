//! What a video is read from: a file, a pipe, an address, or pictures. What can be read only once (a pipe, a stream) is first
//! stored in a temporary file: its picture and its sound are read by two programs.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempPath};

use super::Source;
use super::process::{Process, command, file_argument};
use super::sequence::{Sequence, in_folder, of_pattern};
use super::video::{Frames, Rate, VideoInfo, probe_as};
use crate::error::{Error, Result};

/// How long a pipe or a stream may give nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a wish to stop is heard.
const TICK: Duration = Duration::from_millis(50);
/// Addresses whose bytes are those of a file; of others, ffmpeg makes one.
const PLAIN: [&str; 8] = ["http", "https", "ftp", "sftp", "udp", "tcp", "srt", "rist"];

/// A video that was found and can be read as often as needed.
#[derive(Debug)]
pub struct Input {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(PathBuf),
    /// Removed when dropped.
    Stored(TempPath),
    Pictures(Vec<PathBuf>),
}

impl Input {
    /// Finds what `named` names: `-` (standard input), a pipe, an address (`https://…`), a folder of pictures, a pattern of
    /// pictures' names (`%05d.png`), or a file. Setting `stop` ends the reading of a pipe or stream: what came is the video.
    ///
    /// # Errors
    /// If a pipe or stream gives nothing for 30 seconds, or can't be read or stored; if there are no pictures.
    pub fn open(named: &Path, stop: &AtomicBool) -> Result<Self> {
        let mut name = named.display().to_string();
        let about = std::fs::metadata(named);
        let kind = if named == Path::new("-") {
            if std::io::stdin().is_terminal() {
                return Err(Error::Process("-: standard input is a terminal, not a video".to_owned()));
            }
            Kind::Stored(store(&name, || Ok(std::io::stdin()), stop, PATIENCE)?)
        } else if is_address(named) {
            let stored = fetch(&name, stop, PATIENCE);
            name = without_password(&name);
            Kind::Stored(stored?)
        } else if about.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            Kind::Pictures(in_folder(named)?)
        } else if about.as_ref().is_ok_and(is_pipe) {
            let path = named.to_owned();
            Kind::Stored(store(&name, move || File::open(path), stop, PATIENCE)?)
        } else {
            match of_pattern(named).filter(|_| about.is_err()) {
                Some(pictures) => Kind::Pictures(pictures?),
                None => Kind::File(named.to_owned()),
            }
        };
        Ok(Self { name, kind })
    }

    /// The video file; `None` if it is pictures.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            Kind::Stored(path) => Some(path),
            Kind::Pictures(_) => None,
        }
    }

    /// What the video is; pictures are shown at `rate`.
    ///
    /// # Errors
    /// If it is no video.
    pub fn info(&self, rate: Rate) -> Result<VideoInfo> {
        match &self.kind {
            Kind::File(path) => probe_as(path, &self.name),
            Kind::Stored(path) => probe_as(path, &self.name),
            Kind::Pictures(pictures) => Ok(Sequence::new(pictures.clone(), &self.name, rate)?.info().clone()),
        }
    }

    /// Its frames, decoded with `threads` threads (0 = as many as ffmpeg thinks right).
    ///
    /// # Errors
    /// If ffmpeg can't be started.
    pub fn frames(&self, info: &VideoInfo, threads: usize) -> Result<Box<dyn Source>> {
        Ok(match &self.kind {
            Kind::File(path) => Box::new(Frames::open(path, info, threads)?),
            Kind::Stored(path) => Box::new(Frames::open(path, info, threads)?),
            Kind::Pictures(pictures) => Box::new(Sequence::new(pictures.clone(), &self.name, info.rate)?),
        })
    }
}

/// A path whose folder and name say where results of `named` go and what they are called.
pub fn place(named: &Path) -> PathBuf {
    let text = named.to_string_lossy();
    if named == Path::new("-") {
        "stdin".into()
    } else if is_address(named) {
        let path = text.split_once("://").map_or("", |(_, rest)| rest).split(['?', '#']).next().unwrap_or("");
        let last = path.rsplit('/').next().filter(|last| path.contains('/') && !last.is_empty());
        last.unwrap_or("stream").replace([':', '\\'], "-").into()
    } else if text.starts_with("/dev/") || text.starts_with("/proc/") {
        "pipe".into()
    } else if named.is_dir() {
        std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned())
    } else if of_pattern(named).is_some() && !named.exists() {
        named.with_file_name("frames")
    } else {
        named.to_owned()
    }
}

/// Whether it is an address, not a file.
pub fn is_address(named: &Path) -> bool {
    let scheme = named.to_str().and_then(|text| text.split_once("://")).map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && !named.exists()
}

/// `rtsp://user:secret@host/` → `rtsp://host/`
pub(super) fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

#[cfg(unix)]
fn is_pipe(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.file_type().is_fifo() || about.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

fn temporary(name: &str) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix("facecascade-input-").tempfile();
    file.map_err(|e| Error::Process(format!("{name}: can't be stored in {}: {e}", std::env::temp_dir().display())))
}

fn silent(name: &str, patience: Duration) -> Error {
    Error::Process(format!("{name}: has given nothing for {} seconds", patience.as_secs()))
}

fn stopped(name: &str) -> Error {
    Error::Process(format!("{name}: stopped before anything came"))
}

/// Stores what `open` gives, up to its end.
fn store<R: Read>(
    name: &str,
    open: impl FnOnce() -> std::io::Result<R> + Send + 'static,
    stop: &AtomicBool,
    patience: Duration,
) -> Result<TempPath> {
    let mut file = temporary(name)?;
    let (send, chunks) = sync_channel(8);
    // A pipe that nobody writes to holds whoever opens or reads it: this thread, which ends with the program.
    std::thread::spawn(move || {
        let mut read = match open() {
            Ok(read) => read,
            Err(e) => return drop(send.send(Err(e))),
        };
        loop {
            let mut chunk = vec![0; 1 << 16];
            let sent = match read.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => {
                    chunk.truncate(n);
                    send.send(Ok(chunk))
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(()),
                Err(e) => send.send(Err(e)),
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let (mut since, mut any) = (Instant::now(), false);
    loop {
        match chunks.recv_timeout(TICK) {
            Ok(chunk) => {
                let chunk = chunk.map_err(Error::io(name))?;
                file.write_all(&chunk).map_err(|e| Error::Process(format!("{name}: can't be stored: {e}")))?;
                (since, any) = (Instant::now(), true);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if since.elapsed() > patience => {
                if !any {
                    return Err(silent(name, patience));
                }
                tracing::warn!("{}; it ends there", silent(name, patience));
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.swap(false, Ordering::Relaxed) {
            if !any {
                return Err(stopped(name));
            }
            break;
        }
    }
    Ok(file.into_temp_path())
}

/// Stores what ffmpeg reads from an address, up to its end.
fn fetch(address: &str, stop: &AtomicBool, patience: Duration) -> Result<TempPath> {
    let name = without_password(address);
    let file = temporary(&name)?.into_temp_path();
    let scheme = address.split("://").next().unwrap_or("").to_lowercase();
    let path = address.split(['?', '#']).next().unwrap_or("").to_lowercase();
    let playlist = [".m3u8", ".mpd", ".sdp"].iter().any(|ending| path.ends_with(ending));
    let mut command = command("ffmpeg", "error");
    command.args(["-nostats", "-y"]);
    if PLAIN.contains(&scheme.as_str()) && !playlist {
        command.args(["-f", "data", "-i", address, "-map", "0", "-c", "copy", "-f", "data"]);
    } else {
        if scheme == "rtsp" {
            command.args(["-rtsp_flags", "prefer_tcp"]);
        }
        command.args(["-i", address, "-map", "0:v", "-map", "0:a?", "-c", "copy", "-f", "matroska"]);
    }
    command.args(["-flush_packets", "1"]).arg(file_argument(&file)).stdin(Stdio::piped());
    let mut process = Process::start("ffmpeg", &mut command, |_| false)?;
    let size = || std::fs::metadata(&file).map_or(0, |about| about.len());
    let (mut since, mut last, mut asked) = (Instant::now(), 0, false);
    while process.child.try_wait().is_ok_and(|status| status.is_none()) {
        std::thread::sleep(TICK);
        let now = size();
        if now != last {
            (since, last) = (Instant::now(), now);
        }
        if stop.swap(false, Ordering::Relaxed) && !asked {
            // What a person would press. One that does not listen is ended below.
            if let Some(mut stdin) = process.child.stdin.take() {
                let _ = stdin.write_all(b"q");
            }
            (since, asked) = (Instant::now(), true);
        }
        let most = if asked { Duration::from_secs(2) } else { patience };
        if since.elapsed() > most {
            let _ = process.child.kill();
            if last == 0 {
                return Err(if asked { stopped(&name) } else { silent(&name, patience) });
            }
            break;
        }
    }
    let ended = process.wait()?;
    let reason = || ended.reason().replace(address, &name);
    match size() {
        0 if asked => return Err(stopped(&name)),
        0 => return Err(Error::Process(format!("{name}: can't be read ({})", reason()))),
        _ if !asked && !ended.complaints.is_empty() => tracing::warn!("{name}: {}", reason()),
        _ => {}
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    /// Gives its parts, then nothing more, but no end either.
    struct Endless(Vec<&'static [u8]>);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                std::thread::sleep(Duration::from_secs(600));
            }
            let part = self.0.remove(0);
            into[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    #[test]
    fn a_pipe_is_stored_up_to_its_end_or_to_where_it_falls_silent() {
        let never = AtomicBool::new(false);
        let stored = store("-", || Ok(&b"abc"[..]), &never, PATIENCE).unwrap();
        assert_eq!(std::fs::read(&stored).unwrap(), b"abc");
        let stored = store("-", || Ok(Endless(vec![b"ab", b"c"])), &never, SHORT).unwrap();
        assert_eq!(std::fs::read(&stored).unwrap(), b"abc");
        let error = store("p", || Ok(Endless(Vec::new())), &never, SHORT).unwrap_err();
        assert!(error.to_string().contains("p: has given nothing"), "{error}");
        let stop = AtomicBool::new(true);
        let stored = store("-", || Ok(Endless(vec![b"ab"])), &stop, PATIENCE).unwrap();
        assert!(std::fs::read(&stored).unwrap() == b"ab" && !stop.into_inner());
    }

    #[test]
    fn results_have_a_name_whatever_is_read() {
        for (named, want) in [
            ("-", "stdin"),
            ("https://a.b/c/film.mp4?key=1", "film.mp4"),
            ("rtsp://user:pw@host:554", "stream"),
            ("/dev/fd/63", "pipe"),
            ("no/such/%05d.png", "no/such/frames"),
            ("dir/a.mp4", "dir/a.mp4"),
        ] {
            assert_eq!(place(Path::new(named)), Path::new(want), "{named}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_never_shown() {
        assert_eq!(without_password("rtsp://me:pw@host/a@b"), "rtsp://host/a@b");
        assert_eq!(without_password("http://host"), "http://host");
        assert!(is_address(Path::new("udp://@239.0.0.1:5000")) && !is_address(Path::new("a/b://c")));
    }
}
