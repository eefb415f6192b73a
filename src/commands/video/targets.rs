//! Which files are written for which videos.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use facecascade::files::same_file;
use facecascade::source::input::place as place_of;

/// Bytes of a file's name that every usual file system takes.
const LONGEST_NAME: usize = 255;

/// A video to do, and where its results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) input: PathBuf,
    pub(super) video: Option<Target>,
    pub(super) json: Option<PathBuf>,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// Where nobody asked for this place: the one to take if its folder is read-only.
    pub(super) otherwise: Option<PathBuf>,
}

/// What the command line says of results: files for one input, folders for any number; nothing: beside the inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Results<'a> {
    pub(super) video: bool,
    pub(super) output: Option<&'a Path>,
    pub(super) json: Option<&'a Path>,
    /// `-faces`: what is added to an input's name.
    pub(super) suffix: &'a str,
}

/// Where the results of all `inputs` go. No two go to one place, none where an input lies.
///
/// # Errors
/// If that can't be; if several inputs are to become one file, it is one of the command line (`clap::Error`).
pub(super) fn plan(inputs: &[PathBuf], results: &Results) -> anyhow::Result<Vec<Job>> {
    for (option, file) in [("-o", results.output), ("--json", results.json)] {
        let Some(file) = file else { continue };
        if inputs.len() > 1 && !file.is_dir() {
            return Err(super::super::usage(&format!(
                "{option} {}: several videos need a folder that exists, not a file",
                file.display()
            )));
        }
    }
    let mut taken: HashSet<String> = inputs.iter().map(|input| key(input)).collect();
    let jobs = inputs.iter().map(|named| {
        let input = &place_of(named);
        let mut place = |named: Option<&Path>, suffix: &str, extension: &str| match named {
            Some(file) if !file.is_dir() => file.to_owned(),
            Some(folder) => free(folder, input, suffix, extension, &mut taken),
            None => free(input.parent().unwrap_or(Path::new("")), input, suffix, extension, &mut taken),
        };
        let video = results.video.then(|| {
            let path = place(results.output, results.suffix, "mp4");
            let here = path.file_name().map(PathBuf::from).filter(|here| *here != path);
            Target { otherwise: here.filter(|_| results.output.is_none()), path }
        });
        Job { input: named.clone(), video, json: results.json.map(|json| place(Some(json), "-faces", "jsonl")) }
    });
    let jobs: Vec<Job> = jobs.collect();
    jobs.iter().try_for_each(|job| refuse_clashes(job, inputs))?;
    Ok(jobs)
}

/// # Errors
/// If one of a job's results would be written over an input, or over the other.
fn refuse_clashes(job: &Job, inputs: &[PathBuf]) -> anyhow::Result<()> {
    let videos = || job.video.iter().flat_map(|target| std::iter::once(&target.path).chain(&target.otherwise));
    for result in videos().chain(&job.json) {
        if inputs.iter().any(|input| same_file(result, input)) {
            let name = result.display();
            return Err(super::super::usage(&format!("{name}: would overwrite a video that is read")));
        }
    }
    if let Some(json) = job.json.as_ref().filter(|json| videos().any(|video| same_file(video, json))) {
        return Err(super::super::usage(&format!("{}: is named for video and records", json.display())));
    }
    Ok(())
}

/// The first free one of `IN-faces.mp4`, `IN-faces-2.mp4`, … in `folder`.
fn free(folder: &Path, input: &Path, suffix: &str, extension: &str, taken: &mut HashSet<String>) -> PathBuf {
    let stem = input.file_stem().unwrap_or(input.as_os_str());
    let mut number = 1;
    loop {
        let counted = if number > 1 { format!("-{number}") } else { String::new() };
        let end = format!("{suffix}{counted}.{extension}");
        let mut name = shortened(stem, LONGEST_NAME - end.len());
        name.push(end);
        let path = folder.join(name);
        if taken.insert(key(&path)) {
            return path;
        }
        number += 1;
    }
}

/// `name`, or its beginning if it is longer than `most` bytes.
fn shortened(name: &OsStr, most: usize) -> OsString {
    if name.len() <= most {
        return name.to_owned();
    }
    let mut text = name.to_string_lossy().into_owned();
    while text.len() > most {
        text.pop();
    }
    text.into()
}

/// What tells files apart, also where one of them is not there yet. Some file systems do not tell cases apart.
fn key(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    folder.join(path.file_name().unwrap_or_default()).to_string_lossy().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_videos_go_to_one_place_and_none_where_an_input_lies() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let inputs = ["a.mp4", "b/A.mov", "a-faces.mp4"].map(|name| dir.path().join(name));
        let names = |output: Option<&Path>| -> Vec<PathBuf> {
            let results = Results { video: true, output, json: None, suffix: "-faces" };
            let jobs = plan(&inputs, &results).unwrap();
            jobs.into_iter().map(|job| job.video.unwrap().path).collect()
        };
        assert_eq!(
            names(None),
            ["a-faces-2.mp4", "b/A-faces.mp4", "a-faces-faces.mp4"].map(|name| dir.path().join(name))
        );
        assert_eq!(names(Some(&out)), ["a-faces.mp4", "A-faces-2.mp4", "a-faces-faces.mp4"].map(|name| out.join(name)));
    }

    #[test]
    fn a_result_has_a_name_that_fits_however_long_the_inputs_is() {
        for letter in ["x", "ä", "\u{1F600}"] {
            let input = PathBuf::from(letter.repeat(251 / letter.len()) + ".mp4");
            let results = Results { video: true, output: None, json: None, suffix: "-redacted" };
            let path = plan(&[input], &results).unwrap().remove(0).video.unwrap().path;
            let name = path.to_str().unwrap();
            assert!((250..=LONGEST_NAME).contains(&name.len()) && name.ends_with("-redacted.mp4"), "{name}");
        }
    }

    #[test]
    fn results_that_are_one_file_or_an_input_are_an_error_of_the_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a.mp4"), "x").unwrap();
        std::fs::hard_link(at("a.mp4"), at("hard.mp4")).unwrap();
        let refused = |output: Option<&str>, json: Option<&str>| {
            let (output, json) = (output.map(at), json.map(at));
            let results = Results { video: true, output: output.as_deref(), json: json.as_deref(), suffix: "-faces" };
            plan(&[at("a.mp4")], &results).err().is_some_and(|e| e.downcast_ref::<clap::Error>().is_some())
        };
        assert!(refused(Some("hard.mp4"), None) && refused(Some("b.mp4"), Some("hard.mp4")));
        assert!(refused(Some("new.mp4"), Some("./new.mp4")) && refused(Some("no/../new.mp4"), Some("new.mp4")));
        assert!(refused(None, Some("a-faces.mp4")) && !refused(Some("b.mp4"), Some("b.jsonl")));
    }

    #[test]
    fn several_videos_in_one_file_are_an_error_of_the_command_line() {
        let inputs = ["a.mp4", "b.mp4"].map(PathBuf::from);
        let results = Results { video: true, output: Some(Path::new("no.mp4")), json: None, suffix: "-faces" };
        assert!(plan(&inputs, &results).unwrap_err().downcast_ref::<clap::Error>().is_some());
        let one = plan(&inputs[..1], &results).unwrap();
        assert_eq!(one[0].video, Some(Target { path: "no.mp4".into(), otherwise: None }));
    }
}
