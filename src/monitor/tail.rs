//! Follows a file of lines that another program writes: gives each line once it is whole, and notices when the file is begun anew.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Longest line that is given, bytes; longer ones are passed over.
const LONGEST: usize = 1 << 20;
/// What is remembered of the bytes before the place that was read to: tells a file that grew from one that was begun anew.
const REMEMBERED: usize = 256;

/// What a file gave.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// The file was begun anew: what it gave before no longer holds.
    Anew,
    /// A whole line, without its end.
    Line(&'a [u8]),
    /// A line was too long and is passed over.
    TooLong,
}

/// A file that is followed.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Length and time of change when the file was last looked at.
    seen: Option<(u64, SystemTime)>,
    /// Bytes read so far.
    offset: u64,
    /// The last of them.
    remembered: Vec<u8>,
    /// The beginning of a line that has no end yet.
    partial: Vec<u8>,
    /// The line under way is too long.
    passing: bool,
}

impl Tail {
    /// Share of the file that was read, 0..1.
    pub(super) fn share(&self) -> f64 {
        self.seen.map_or(0.0, |(len, _)| if len == 0 { 1.0 } else { self.offset as f64 / len as f64 })
    }

    /// When the file was changed; `None` while it is missing.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        self.seen.map(|(_, changed)| changed)
    }

    /// Reads on, at most about `most` bytes. Returns whether more is there.
    ///
    /// # Errors
    /// If the file can't be read. A missing file is no error: it may come.
    pub(super) fn poll(&mut self, path: &Path, most: usize, each: &mut dyn FnMut(Piece<'_>)) -> io::Result<bool> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Gone: whatever comes under this name is another file.
                if self.seen.is_some() {
                    *self = Self::default();
                    each(Piece::Anew);
                }
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let now = (metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        if self.seen == Some(now) && self.offset >= now.0 {
            return Ok(false);
        }
        let mut file = File::open(path)?;
        if now.0 < self.offset || !self.goes_on(&mut file)? {
            *self = Self::default();
            each(Piece::Anew);
        }
        self.seen = Some(now);
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        self.remember(&bytes);
        self.split(&bytes, each);
        Ok(self.offset < now.0)
    }

    /// Whether the file still holds what was read last.
    fn goes_on(&self, file: &mut File) -> io::Result<bool> {
        let mut there = vec![0; self.remembered.len()];
        file.seek(SeekFrom::Start(self.offset - there.len() as u64))?;
        match file.read_exact(&mut there) {
            Ok(()) => Ok(there == self.remembered),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.remembered.extend_from_slice(&bytes[bytes.len().saturating_sub(REMEMBERED)..]);
        self.remembered.drain(..self.remembered.len().saturating_sub(REMEMBERED));
    }

    fn split(&mut self, bytes: &[u8], each: &mut dyn FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.passing || self.partial.len() + line.len() > LONGEST {
                each(Piece::TooLong);
            } else if self.partial.is_empty() {
                each(Piece::Line(line));
            } else {
                self.partial.extend_from_slice(line);
                each(Piece::Line(&self.partial));
            }
            self.passing = false;
            self.partial.clear();
        }
        if self.passing || self.partial.len() + rest.len() > LONGEST {
            self.passing = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
    }
}

/// Returns the path of the regular file `name` in `folder`, or an error if the name, or a link on the way, leads out of the folder.
pub(super) fn inside(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let refused = |reason: &str| io::Error::new(io::ErrorKind::PermissionDenied, reason.to_owned());
    if name.is_empty() || !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(refused("not a name within the run's folder"));
    }
    let path = fs::canonicalize(folder.join(name))?;
    if !path.starts_with(fs::canonicalize(folder)?) {
        return Err(refused("a link leads out of the run's folder"));
    }
    // Opening a pipe or a device could wait for ever.
    if fs::metadata(&path)?.is_file() { Ok(path) } else { Err(refused("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Polls until all is read; `!` stands for a new beginning, `…` for a line that is too long.
    fn read(tail: &mut Tail, path: &Path, most: usize) -> String {
        let mut out = String::new();
        while tail
            .poll(path, most, &mut |piece| match piece {
                Piece::Anew => out.push('!'),
                Piece::Line(line) => out += &format!("[{}]", String::from_utf8_lossy(line)),
                Piece::TooLong => out.push('…'),
            })
            .unwrap()
        {}
        out
    }

    fn append(path: &Path, text: &[u8]) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text).unwrap();
    }

    #[test]
    fn lines_come_when_they_are_whole_from_a_file_that_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut tail = Tail::default();
        assert_eq!(read(&mut tail, &path, 100), "");
        append(&path, b"one\ntw");
        assert_eq!(read(&mut tail, &path, 100), "[one]");
        append(&path, b"o\n\n");
        assert_eq!(read(&mut tail, &path, 1), "[two][]");
        assert_eq!(read(&mut tail, &path, 100), "");
    }

    #[test]
    fn a_file_begun_anew_is_read_from_its_beginning_also_when_it_is_longer_than_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut tail = Tail::default();
        for (text, given) in
            [("one\n", "[one]"), ("two\n", "![two]"), ("x\n", "![x]"), ("longer\nfile\n", "![longer][file]")]
        {
            fs::write(&path, text).unwrap();
            // Clocks of file systems are coarse.
            let time = tail.changed().unwrap_or(SystemTime::now()) + std::time::Duration::from_secs(1);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            assert_eq!(read(&mut tail, &path, 100), given);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&mut tail, &path, 100), "!");
    }

    #[test]
    fn a_line_of_ten_megabytes_is_passed_over_and_the_next_one_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut tail = Tail::default();
        append(&path, b"one\n");
        append(&path, &vec![b'x'; 10 << 20]);
        for most in [1 << 16, 64 << 20] {
            assert_eq!(read(&mut tail, &path, most), if most == 1 << 16 { "[one]" } else { "" });
            assert!(tail.partial.len() <= LONGEST);
        }
        append(&path, b"\ntwo\n");
        assert_eq!(read(&mut tail, &path, 100), "…[two]");
    }

    #[test]
    fn only_regular_files_within_the_folder_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::write(folder.join("sub/a.png"), "x").unwrap();
        assert!(inside(&folder, "sub/a.png").is_ok());
        let secret = dir.path().join("secret").display().to_string();
        for name in
            ["", ".", "..", "../secret", "sub/../../secret", "./sub/a.png", "sub", "none", &secret, "sub/a.png/../.."]
        {
            assert!(inside(&folder, name).is_err(), "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", folder.join("out")).unwrap();
            std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
            std::os::unix::fs::symlink("sub/a.png", folder.join("in")).unwrap();
            assert!(inside(&folder, "out").is_err() && inside(&folder, "up/secret").is_err());
            assert!(inside(&folder, "in").is_ok());
        }
    }
}
