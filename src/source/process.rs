//! ffmpeg and ffprobe as child processes: whose complaints are kept (but not without bound), who never outlive us, and who
//! are not hit by the terminal's Ctrl-C (we end them in order, so that files being written are whole).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// Lines of a child's stderr that are kept: the last ones say why it ended.
const LINES_KEPT: usize = 12;

/// Bytes of one line of stderr that are kept.
const LINE_LENGTH: u64 = 1000;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    program: &'static str,
    complaints: Option<JoinHandle<Vec<String>>>,
}

/// How a child ended, and the last lines of its stderr.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) complaints: Vec<String>,
}

impl Process {
    /// Starts `program` with stderr captured; what `line` takes of it (returning true) is not kept as a complaint.
    pub(crate) fn start(
        program: &'static str,
        command: &mut Command,
        line: impl FnMut(&str) -> bool + Send + 'static,
    ) -> Result<Self> {
        command.stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = command.spawn().map_err(|e| cannot_start(program, &e))?;
        let complaints = child.stderr.take().map(|stderr| std::thread::spawn(move || listen(stderr, line)));
        Ok(Self { child, program, complaints })
    }

    /// Waits for it to end.
    pub(crate) fn wait(&mut self) -> Result<Ended> {
        let status = self.child.wait().map_err(|e| Error::Process(format!("{}: {e}", self.program)))?;
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ended { status, complaints })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail on a child that has been waited for, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its last complaint, without ffmpeg's addresses of objects, or its exit status.
    pub(crate) fn reason(&self) -> String {
        self.complaints.last().map_or_else(|| self.status.to_string(), |line| line.clone())
    }

    /// All complaints that were kept.
    pub(crate) fn everything(&self) -> String {
        if self.complaints.is_empty() { self.status.to_string() } else { self.complaints.join("; ") }
    }
}

/// Reads stderr to its end, so that the child never blocks on it.
fn listen(stderr: ChildStderr, mut take: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut reader = BufReader::new(stderr);
    let mut kept = VecDeque::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.by_ref().take(LINE_LENGTH).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return kept.into(),
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim();
        if line.is_empty() || take(line) {
            continue;
        }
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(without_address(line).to_owned());
    }
}

/// `[mp4 @ 0x5581] [error] moov atom not found` → `moov atom not found`.
fn without_address(line: &str) -> &str {
    match line.split_once("] ") {
        Some((before, rest))
            if before.starts_with('[') && before.contains(" @ 0x") || ["[error", "[fatal"].contains(&before) =>
        {
            without_address(rest)
        }
        _ => line,
    }
}

fn cannot_start(program: &str, error: &std::io::Error) -> Error {
    Error::Process(if error.kind() == std::io::ErrorKind::NotFound {
        format!(
            "{program} is not installed (videos are read and written through it); install ffmpeg: apt-get install ffmpeg"
        )
    } else {
        format!("{program} can't be started: {error}")
    })
}

/// A path as ffmpeg takes it: with `file:`, so that a name with a colon or a leading dash is still a name.
pub(crate) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// What ffmpeg reads: a file or an address, and options that stand before it.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    options: &'static [&'static str],
    argument: OsString,
}

impl Origin {
    pub(crate) fn file(path: &Path) -> Self {
        Self { options: &[], argument: file_argument(path) }
    }

    /// An address that gives frames as they come. One that gives nothing for 10 seconds has failed.
    #[cfg(feature = "camera")]
    pub(crate) fn live(address: &str) -> Self {
        let scheme = address.split("://").next().unwrap_or("").to_lowercase();
        let options: &[&str] = match scheme.as_str() {
            "rtsp" | "rtsps" => &["-rtsp_flags", "prefer_tcp", "-timeout", "10000000"],
            "http" | "https" | "tcp" | "tls" | "ftp" => &["-rw_timeout", "10000000"],
            "udp" => &["-timeout", "10000000"],
            _ => &[],
        };
        Self { options, argument: address.into() }
    }

    /// Its options, `-i`, and itself.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        let options = self.options.iter().map(OsStr::new);
        options.chain([OsStr::new("-i"), self.argument.as_os_str()])
    }

    /// Whether it is a file, not an address.
    pub(crate) fn is_file(&self) -> bool {
        self.argument.as_encoded_bytes().starts_with(b"file:")
    }

    /// Whether it is a file that begins as an animated WebP does.
    pub(crate) fn is_animated_webp(&self) -> bool {
        let name = self.argument.to_str().and_then(|name| name.strip_prefix("file:"));
        let mut head = Vec::with_capacity(32);
        let read =
            name.and_then(|name| std::fs::File::open(name).ok()).map(|file| file.take(32).read_to_end(&mut head));
        // An extended header, with the bit that says so.
        read.is_some_and(|read| read.is_ok())
            && head.get(8..16) == Some(b"WEBPVP8X")
            && head.get(20).is_some_and(|flags| flags & 2 != 0)
    }

    /// Itself, as ffmpeg puts it into messages.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        self.argument.to_string_lossy()
    }
}

/// A command of ffmpeg's family that never reads the terminal and says nothing but errors.
pub(crate) fn command(program: &str, log_level: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-v", log_level]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Makes a pipe that frames go through as large as may be. With the 64 KiB that it has, reader and writer wake each other dozens of
/// times for one frame. Where that can't be, it stays as it is.
#[cfg(target_os = "linux")]
pub(crate) fn widen(pipe: &impl std::os::fd::AsRawFd) {
    // What everyone may have; more is for the administrator.
    const SIZE: libc::c_int = 1 << 20;
    // SAFETY: this request takes a number and no memory of ours, and the descriptor is open while `pipe` is borrowed.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, SIZE) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn widen<T>(_: &T) {}

/// What `program` prints with `arguments`.
pub(crate) fn output(program: &'static str, arguments: &[&OsStr]) -> Result<(Vec<u8>, Ended)> {
    let mut command = command(program, "error");
    command.args(arguments).stdout(Stdio::piped());
    let mut process = Process::start(program, &mut command, |_| false)?;
    let mut bytes = Vec::new();
    if let Some(mut stdout) = process.child.stdout.take() {
        stdout.read_to_end(&mut bytes).map_err(|e| Error::Process(format!("{program}: {e}")))?;
    }
    Ok((bytes, process.wait()?))
}

/// The option that makes ffmpeg hand every frame on as it is: newer versions know it under another name.
pub(crate) fn every_frame_option() -> Result<&'static str> {
    static OPTION: OnceLock<&str> = OnceLock::new();
    if let Some(option) = OPTION.get() {
        return Ok(option);
    }
    let (text, _) = output("ffmpeg", &[OsStr::new("-version")])?;
    let text = String::from_utf8_lossy(&text);
    let version = text.strip_prefix("ffmpeg version ").unwrap_or("");
    let major = version.trim_start_matches('n').split(['.', '-']).next().and_then(|v| v.parse::<u32>().ok());
    let minor = version.split(['.', '-']).nth(1).and_then(|v| v.parse::<u32>().ok());
    // 5.1 brought it; builds from git have no number and are newer.
    let old = major.is_some_and(|major| (major, minor.unwrap_or(0)) < (5, 1));
    Ok(OPTION.get_or_init(|| if old { "-vsync" } else { "-fps_mode" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_remedy() {
        let mut command = command("no-such-ffmpeg", "error");
        let error = Process::start("ffmpeg", &mut command, |_| false).unwrap_err();
        assert!(error.to_string().contains("apt-get install ffmpeg"), "{error}");
    }

    #[test]
    fn complaints_are_kept_within_bounds_and_without_addresses() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "for i in $(seq 500); do echo \"[mp4 @ 0x55aa] [h264 @ 0x1] line $i\" >&2; done; head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 3"]);
        let mut process = Process::start("sh", &mut shell, |_| false).unwrap();
        let ended = process.wait().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(ended.complaints.len() <= LINES_KEPT && ended.everything().len() <= LINES_KEPT * 1100);
        assert!(ended.reason().ends_with("end"));
        assert_eq!(without_address("[mp4 @ 0x55aa] [h264 @ 0x1] [error] moov"), "moov");
    }

    #[test]
    fn a_dropped_child_is_dead() {
        let mut sleep = Command::new("sleep");
        let process = Process::start("sleep", sleep.arg("600"), |_| false).unwrap();
        let id = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
