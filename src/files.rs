//! Files that are written whole or not at all, and paths that name one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// Beginning of a temporary file's name, before eight random letters: says who left the file if the machine loses power.
const PREFIX: &str = ".facecascade-partial-";

/// A file under way: written under a name of its own in the target's folder, given the target's name by [`Self::commit`],
/// removed if dropped before.
///
/// The temporary file is created new, so neither a file of another run nor the file behind a link is ever touched, and its
/// name is short, so a target's name may be as long as the file system allows. A target that is no regular file (a pipe,
/// `/dev/stdout`) has nothing to rename: it is written in place. A target that is a link is replaced, not followed.
#[derive(Debug)]
pub struct TempTarget {
    target: PathBuf,
    /// `None`: the target is written in place.
    temporary: Option<TempPath>,
}

impl TempTarget {
    /// Creates the temporary file, empty, with the permissions of any new file.
    ///
    /// # Errors
    /// If the folder is missing or can't be written to, or if `target` is a folder or has a name that the file system
    /// refuses. The error names `target`.
    pub fn new(target: &Path) -> Result<Self> {
        let temporary = create(target).map_err(Error::io(target))?;
        Ok(Self { target: target.to_owned(), temporary })
    }

    /// The file to write, for child processes: it exists. Its name has no extension, so name the format to the child.
    pub fn path(&self) -> &Path {
        self.temporary.as_deref().unwrap_or(&self.target)
    }

    /// The name that the file gets at the end.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Opens the file to write from its beginning.
    ///
    /// # Errors
    /// If it can't be opened. The error names the target.
    pub fn open(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).truncate(true).open(self.path()).map_err(Error::io(&self.target))
    }

    /// Flushes what was written to the disk and gives it the target's name, in place of a file of that name, whose
    /// permissions it keeps.
    ///
    /// # Errors
    /// If the disk is full or the name can't be given; then nothing is left of the file. The error names the target.
    pub fn commit(self) -> Result<()> {
        let Some(temporary) = self.temporary else { return Ok(()) };
        let commit = || -> io::Result<()> {
            OpenOptions::new().write(true).open(&temporary)?.sync_all()?;
            if let Ok(replaced) = fs::symlink_metadata(&self.target)
                && replaced.is_file()
            {
                fs::set_permissions(&temporary, replaced.permissions())?;
            }
            temporary.persist(&self.target).map_err(|e| e.error)
        };
        commit().map_err(Error::io(&self.target))
    }
}

/// The temporary file of `target`; `None` if `target` is to be written in place.
fn create(target: &Path) -> io::Result<Option<TempPath>> {
    match fs::metadata(target) {
        Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() || is_open_already(target) => return Ok(None),
        // A link to nothing is replaced like any link.
        Err(e) if e.kind() != ErrorKind::NotFound && fs::symlink_metadata(target).is_err() => return Err(e),
        _ => {}
    }
    let temporary = tempfile::Builder::new()
        .prefix(PREFIX)
        .rand_bytes(8)
        .make_in(folder(target), |path| OpenOptions::new().write(true).create_new(true).open(path))?;
    Ok(Some(temporary.into_temp_path()))
}

/// Whether `target` is a name for a file that this process has open: even one that is a regular file has no folder there.
fn is_open_already(target: &Path) -> bool {
    cfg!(unix) && ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc"].iter().any(|open| target.starts_with(open))
}

/// Writes a file whole or not at all, as [`TempTarget`] does.
///
/// # Errors
/// If the folder is missing or can't be written to, or if the disk is full. The error names `target`.
pub fn write_whole(target: &Path, bytes: &[u8]) -> Result<()> {
    let file = TempTarget::new(target)?;
    file.open()?.write_all(bytes).map_err(Error::io(target))?;
    file.commit()
}

/// Whether two paths name one file, by any spelling and also by links; of files that are not there yet, whether they would
/// be one.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (identity(a), identity(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => resolved(a) == resolved(b),
        _ => false,
    }
}

/// What a file that is there has alone. (The crate `same-file` opens the files for it, which waits for ever on a pipe.)
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// The one spelling of the path of a file that is not there yet: its folder without links, `.` and `..`, then its name; a
/// link to nothing stands for what it names. File systems of macOS and Windows do not tell cases apart.
fn resolved(path: &Path) -> PathBuf {
    /// Links that follow each other in a chain, at most, as in Linux.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(named) = fs::read_link(&path) else { break };
        path = folder(&path).join(named);
    }
    let path = without_links(&path);
    if cfg!(any(windows, target_os = "macos")) { path.to_string_lossy().to_lowercase().into() } else { path }
}

/// An absolute path without links, `.` and `..`; its end may be missing on the disk.
fn without_links(path: &Path) -> PathBuf {
    if let Ok(whole) = fs::canonicalize(path) {
        return whole;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(parent), Some(last)) = (absolute.parent(), absolute.components().next_back()) else { return absolute };
    let parent = without_links(parent);
    match last {
        Component::ParentDir => parent.parent().map(Path::to_owned).unwrap_or(parent),
        last => parent.join(last),
    }
}

/// The folder that holds `path`.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_at_commit_and_nothing_is_left_of_one_that_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.txt");
        fs::write(&target, "before").unwrap();
        let file = TempTarget::new(&target).unwrap();
        file.open().unwrap().write_all(b"half").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"before");
        assert_eq!(file.path().parent(), target.parent());
        drop(file);
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["a.txt".into()], b"before".to_vec()));
        // As a child process does it: by name.
        let file = TempTarget::new(&target).unwrap();
        fs::write(file.path(), "after").unwrap();
        file.commit().unwrap();
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["a.txt".into()], b"after".to_vec()));
    }

    #[test]
    fn two_runs_with_one_target_do_not_meet_and_the_last_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.txt");
        let (first, second) = (TempTarget::new(&target).unwrap(), TempTarget::new(&target).unwrap());
        first.open().unwrap().write_all(b"first").unwrap();
        second.open().unwrap().write_all(b"second").unwrap();
        second.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        first.commit().unwrap();
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["a.txt".into()], b"first".to_vec()));
    }

    #[test]
    fn a_file_named_partial_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let [target, partial] = ["a.txt", "a.txt.partial"].map(|name| dir.path().join(name));
        fs::write(&partial, "precious").unwrap();
        write_whole(&target, b"new").unwrap();
        assert_eq!((fs::read(&partial).unwrap(), fs::read(&target).unwrap()), (b"precious".to_vec(), b"new".to_vec()));
    }

    #[test]
    fn names_may_be_as_long_as_the_file_system_allows_and_longer_ones_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for (letter, count) in [("x", 251), ("ä", 125)] {
            let target = dir.path().join(letter.repeat(count) + ".mp4");
            write_whole(&target, b"x").unwrap();
            assert!(target.is_file());
        }
        let error = TempTarget::new(&dir.path().join("x".repeat(256))).unwrap_err();
        assert!(error.to_string().contains("xxx"), "{error}");
    }

    #[test]
    fn an_error_names_the_target_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/a.txt");
        let error = write_whole(&missing, b"x").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", missing.display())) && !error.contains("partial"), "{error}");
        let error = write_whole(dir.path(), b"x").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", dir.path().display())), "{error}");
        // The target becomes a folder while it is written.
        let target = dir.path().join("b");
        let file = TempTarget::new(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert!(file.commit().is_err());
        assert_eq!(names(dir.path()), ["b"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_a_new_files_or_those_of_the_file_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let [plain, target] = ["plain", "a.txt"].map(|name| dir.path().join(name));
        fs::write(&plain, "x").unwrap();
        write_whole(&target, b"x").unwrap();
        assert_eq!(mode(&target), mode(&plain));
        for kept in [0o640, 0o444] {
            fs::set_permissions(&target, fs::Permissions::from_mode(kept)).unwrap();
            write_whole(&target, b"y").unwrap();
            assert_eq!((mode(&target), fs::read(&target).unwrap()), (kept, b"y".to_vec()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_a_device_is_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, link, nowhere] = ["victim", "link", "nowhere"].map(|name| dir.path().join(name));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        std::os::unix::fs::symlink(dir.path().join("missing"), &nowhere).unwrap();
        for target in [&link, &nowhere] {
            write_whole(target, b"new").unwrap();
            assert!(fs::symlink_metadata(target).unwrap().is_file());
        }
        assert_eq!(
            (names(dir.path()), fs::read(&victim).unwrap().len()),
            (vec!["link".into(), "nowhere".into(), "victim".into()], 8)
        );
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let in_place = TempTarget::new(Path::new("/dev/stdout")).unwrap();
        assert_eq!(in_place.path(), Path::new("/dev/stdout"));
    }

    #[test]
    fn one_file_is_known_by_any_spelling_also_when_it_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("there"), "").unwrap();
        for (a, b) in [
            ("there", "./sub/../there"),
            ("new", "sub/.././new"),
            ("sub/new", "sub//new"),
            ("no/such/file", "no/./other/../such/file"),
        ] {
            assert!(same_file(&at(a), &at(b)) && same_file(&at(b), &at(a)), "{a} {b}");
        }
        for (a, b) in [("there", "new"), ("new", "newer"), ("new", "sub/new"), ("there", "sub")] {
            assert!(!same_file(&at(a), &at(b)) && !same_file(&at(b), &at(a)), "{a} {b}");
        }
        assert!(same_file(Path::new("not-there-yet"), &std::env::current_dir().unwrap().join("not-there-yet")));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_a_file_to_its_folder_and_to_nothing_are_that_file() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("there"), "").unwrap();
        symlink("there", at("link")).unwrap();
        fs::hard_link(at("there"), at("hard")).unwrap();
        symlink("sub", at("folder")).unwrap();
        symlink("sub/new", at("nothing")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (a, b) in [("there", "link"), ("there", "hard"), ("sub/new", "folder/new"), ("sub/new", "nothing")] {
            assert!(same_file(&at(a), &at(b)), "{a} {b}");
        }
        assert!(!same_file(&at("loop"), &at("sub/new")));
    }
}
