//! `facecascade detect`: faces in pictures.

mod redact;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use facecascade::files::write_whole;
use facecascade::output::records::{self, DetectionTime};
use facecascade::output::{draw, machine};
use facecascade::source::picture;
use facecascade::text::ms;
use facecascade::{Cascade, Error, Face, parallel};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};

use self::redact::Redaction;
use super::DetectorArgs;
use super::redaction::RedactArgs;
use crate::cli::{Common, Outcome};

/// Find faces in pictures, or in folders of them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade detect group.jpg
  facecascade detect --json holiday/ portrait.png > faces.jsonl
  facecascade detect --list pictures.txt --out annotated --min-face 40
  facecascade detect holiday/ --redact mosaic --out safe
  facecascade detect --json --repeat 20 --no-smile frame.png
      the least processor time of 20 searches, as cpu_ms

Pictures: JPEG, PNG, WebP, BMP, TIFF, GIF, known by their content; AVIF, HEIC, JPEG XL and JPEG 2000 where ffmpeg reads them. \
Of a file with several pages, frames or pictures the first one is searched, and a warning says so. Up to 200 megapixels, large ones one at a time: with 108, about 2 GB of memory are needed. Boxes are in pixels after EXIF \
orientation. A picture that can't be read is named, the rest go on, and the exit status is 1.

--redact writes each picture again in its own format and quality, with its colour profile and upright, and with nothing else \
of the file: no EXIF, place, date or preview. All pages of a TIFF are covered and written; animations are refused, since `video` \
covers them. What is read through ffmpeg becomes PNG. Inputs are never written over.")]
pub(crate) struct DetectArgs {
    /// Pictures, or folders (the pictures right in them, by name)
    #[arg(required_unless_present = "list", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A file with one path a line, after those named here; - is standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Write pictures with boxes drawn into this folder (made if missing)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object a picture
    #[arg(long)]
    json: bool,
    /// To measure: search each picture N times after one time that does not count, all on one thread; the times are the least, and
    /// cpu_ms in --json is processor time
    #[arg(long, value_name = "N", conflicts_with = "redact", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    #[command(flatten)]
    redaction: RedactArgs,
    /// Side of the smallest face looked for, pixels [default: 20; with --redact 1/50 of the height, at least 12]
    #[arg(long, value_name = "PX", value_parser = super::face_side)]
    min_face: Option<f32>,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Side of the smallest face looked for, pixels.
const MIN_FACE: f32 = 20.0;
/// Pictures with more pixels are done one at a time, so that memory stays within bounds.
const LARGE: u64 = 24_000_000;

/// What is printed of one picture.
struct Report {
    line: Option<String>,
    /// What of the file was passed over.
    warning: Option<String>,
    complaint: Option<String>,
    unreadable: bool,
}

pub(crate) fn run(args: DetectArgs, common: &Common) -> anyhow::Result<Outcome> {
    let redact = args.redaction.redact.is_some();
    if redact && args.out.is_none() {
        return Err(super::usage("--redact: needs --out DIR, the folder to write the pictures into"));
    }
    let pictures = picture::list(&args.paths, args.list.as_deref())?;
    let finder = if redact {
        Finder::Redaction(Redaction::new(&args.detector, args.min_face, &args.redaction)?)
    } else {
        Finder::Cascade(Box::new(args.detector.build(args.min_face.unwrap_or(MIN_FACE))?))
    };
    let targets = match &args.out {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
            targets(&pictures, dir, if redact { same_ending } else { ending })
        }
        None => Vec::new(),
    };
    let threads = common.threads() + finder.waiting_threads();
    // Processor time is the program's, so nothing else may run while it is measured.
    let threads = if args.repeat.is_some() { 1 } else { threads.min(pictures.len().max(1)) };
    let bar = progress(pictures.len(), common.quiet);
    let (mut failed, mut unreadable) = (false, 0);
    let work = |(i, path): (usize, &PathBuf)| finder.one(path, targets.get(i), args.json, args.repeat);
    parallel::in_order(pictures.iter().enumerate(), threads, work, |report: Report| -> anyhow::Result<()> {
        failed |= report.complaint.is_some() || report.unreadable;
        unreadable += usize::from(report.unreadable);
        bar.suspend(|| -> std::io::Result<()> {
            if let Some(warning) = &report.warning {
                tracing::warn!("{warning}");
            }
            if let Some(complaint) = &report.complaint {
                super::complain(&anyhow::Error::msg(complaint.clone()));
            }
            match &report.line {
                Some(line) => writeln!(std::io::stdout().lock(), "{line}"),
                None => Ok(()),
            }
        })?;
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    if unreadable > 0 && pictures.len() > 1 {
        super::complain(&anyhow::anyhow!("{unreadable} of {} pictures could not be read", pictures.len()));
    }
    Ok(if failed { Outcome::PartlyFailed } else { Outcome::Done })
}

/// What is done with each picture.
enum Finder<'a> {
    Cascade(Box<Cascade>),
    Redaction(Redaction<'a>),
}

impl Finder<'_> {
    fn waiting_threads(&self) -> usize {
        match self {
            Self::Cascade(cascade) => cascade.waiting_threads(),
            Self::Redaction(_) => 0,
        }
    }

    fn one(&self, path: &Path, target: Option<&PathBuf>, json: bool, repeat: Option<u32>) -> Report {
        static TURN: Mutex<()> = Mutex::new(());
        let large = picture::size(path).is_some_and(|(w, h)| u64::from(w) * u64::from(h) > LARGE);
        let _turn = large.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        match (self, target) {
            (Self::Redaction(redaction), Some(target)) => redaction.one(path, target, json),
            (Self::Redaction(_), None) => Report { line: None, warning: None, complaint: None, unreadable: false },
            (Self::Cascade(cascade), _) => one(cascade, path, target, json, repeat),
        }
    }
}

impl Report {
    fn unreadable(name: &str, error: &Error, json: bool) -> Self {
        let error = error.to_string();
        let line = json.then(|| records::unreadable(name, &error));
        Self { line, warning: None, complaint: Some(error).filter(|_| !json), unreadable: true }
    }
}

fn one(cascade: &Cascade, path: &Path, target: Option<&PathBuf>, json: bool, repeat: Option<u32>) -> Report {
    let name = path.to_string_lossy();
    let found = picture::read_first(path).and_then(|(picture, holdings)| {
        let (faces, time) = find(cascade, &picture, repeat)?;
        Ok((picture, holdings.unsearched(), faces, time))
    });
    let (picture, unsearched, faces, time) = match found {
        Ok(found) => found,
        Err(error) => return Report::unreadable(&name, &error, json),
    };
    let line = if json {
        records::picture(&name, picture.dimensions(), time, &faces)
    } else {
        readable(&name, &faces, time.ms)
    };
    let complaint = target.and_then(|target| annotate(picture, &faces, target).err()).map(|e| super::explain(&e));
    let warning = unsearched.map(|what| format!("{name}: {what}"));
    Report { line: Some(line), warning, complaint, unreadable: false }
}

fn find(cascade: &Cascade, picture: &RgbImage, repeat: Option<u32>) -> facecascade::Result<(Vec<Face>, DetectionTime)> {
    if repeat.is_some() {
        cascade.detect(picture)?;
    }
    let (start, cpu) = (Instant::now(), machine::process_time());
    let faces = cascade.detect(picture)?;
    let since = |cpu: Option<Duration>| Some(ms(machine::process_time()? - cpu?));
    let mut time = DetectionTime { cpu_ms: since(cpu), ms: ms(start.elapsed()) };
    for _ in 1..repeat.unwrap_or(1) {
        let (start, cpu) = (Instant::now(), machine::process_time());
        cascade.detect(picture)?;
        time.cpu_ms = since(cpu).zip(time.cpu_ms).map(|(again, least)| again.min(least));
        time.ms = time.ms.min(ms(start.elapsed()));
    }
    // Other pictures may be searched at the same time, which process time would count.
    time.cpu_ms = time.cpu_ms.filter(|_| repeat.is_some());
    Ok((faces, time))
}

/// `a.jpg: 2 faces in 4.1 ms: 48×50 at 12,30 (0.997); …`
fn readable(name: &str, faces: &[Face], ms: f64) -> String {
    const SHOWN: usize = 5;
    let count = match faces.len() {
        0 => "no face".to_owned(),
        1 => "1 face".to_owned(),
        n => format!("{n} faces"),
    };
    let describe = |f: &Face| {
        let r = f.rect;
        let smile = f.smile.map_or(String::new(), |s| format!(", smile {s:.2}"));
        format!("{:.0}×{:.0} at {:.0},{:.0} ({:.3}{smile})", r.w, r.h, r.x, r.y, f.score)
    };
    let list: Vec<String> = faces.iter().take(SHOWN).map(describe).collect();
    let colon = if faces.is_empty() { "" } else { ": " };
    let more = if faces.len() > SHOWN { "; …" } else { "" };
    format!("{name}: {count} in {ms:.1} ms{colon}{}{more}", list.join("; "))
}

fn annotate(mut picture: RgbImage, faces: &[Face], target: &Path) -> anyhow::Result<()> {
    draw::faces(&mut picture, faces);
    save(&picture, target)
}

/// Writes a picture, whole or not at all: JPEG if its name says so, else PNG.
pub(super) fn save(picture: &RgbImage, target: &Path) -> anyhow::Result<()> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoded = if is_jpeg(target) {
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 92).encode_image(picture)
    } else {
        picture.write_to(&mut bytes, image::ImageFormat::Png)
    };
    encoded.with_context(|| format!("{}: can't be written in this format", target.display()))?;
    Ok(write_whole(target, bytes.get_ref())?)
}

fn is_jpeg(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpg") || e.eq_ignore_ascii_case("jpeg"))
}

/// The ending of a picture with boxes: `png` for formats without loss, else `jpg`.
fn ending(extension: &str) -> String {
    let lossless = ["png", "bmp", "gif", "tif", "tiff"];
    if lossless.contains(&extension.to_lowercase().as_str()) { "png" } else { "jpg" }.to_owned()
}

/// The ending of a redacted picture: its own if it is written in its own format.
fn same_ending(extension: &str) -> String {
    let own = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];
    match extension.to_lowercase().as_str() {
        lower if own.contains(&lower) => extension.to_owned(),
        "mpo" => "jpg".to_owned(),
        "btf" => "tif".to_owned(),
        _ => "png".to_owned(),
    }
}

/// Where each picture goes: its name in `dir` with the ending that `ending` gives for its own. Of pictures with the same
/// name the later ones are numbered; none goes where one of the pictures themselves lies, or a link that names one.
pub(super) fn targets(pictures: &[PathBuf], dir: &Path, ending: impl Fn(&str) -> String) -> Vec<PathBuf> {
    let canonical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir_itself = canonical(dir);
    // Some file systems do not tell cases apart.
    let key = |path: &Path| path.to_string_lossy().to_lowercase();
    let named = |path: &PathBuf| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        key(&canonical(folder).join(path.file_name().unwrap_or_default()))
    };
    let mut taken: HashSet<String> = pictures.iter().flat_map(|p| [key(&canonical(p)), named(p)]).collect();
    let mut choose = |picture: &PathBuf| {
        let extension = ending(&picture.extension().map(|e| e.to_string_lossy()).unwrap_or_default());
        let stem = picture.file_stem().unwrap_or(picture.as_os_str());
        let mut number = 1;
        loop {
            let mut name = stem.to_owned();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(format!(".{extension}"));
            if taken.insert(key(&dir_itself.join(&name))) {
                return dir.join(name);
            }
            number += 1;
        }
    };
    pictures.iter().map(&mut choose).collect()
}

fn progress(pictures: usize, quiet: bool) -> ProgressBar {
    if quiet || pictures < 2 {
        return ProgressBar::hidden();
    }
    // indicatif draws on stderr, and only if that is a terminal.
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {per_sec}, {eta} left");
    ProgressBar::new(pictures as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_are_numbered_and_never_written_over_an_input() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("b.jpg");
        std::fs::write(&inside, "x").unwrap();
        let pictures = ["x/a.jpg", "y/A.webp", "y/a.bmp"].map(PathBuf::from).into_iter().chain([inside]);
        let names: Vec<String> = targets(&pictures.collect::<Vec<_>>(), dir.path(), ending)
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.jpg", "A-2.jpg", "a.png", "b-2.jpg"]);
    }

    #[cfg(unix)]
    #[test]
    fn no_picture_takes_the_place_of_a_link_to_an_input() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("b.jpg"), "x").unwrap();
        std::os::unix::fs::symlink("b.jpg", at("c.jpg")).unwrap();
        std::os::unix::fs::symlink(".", at("same")).unwrap();
        for (picture, folder) in [("c.jpg", "."), ("c.jpg", "same"), ("same/c.jpg", "."), ("same/b.jpg", "same")] {
            let target = targets(&[at(picture)], &at(folder), ending).remove(0);
            assert!(!target.exists(), "{picture} into {folder}: {}", target.display());
        }
    }
}
