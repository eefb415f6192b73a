//! `facecascade eval`: how good the detector is on a set of marked pictures.

mod print;
mod smile;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use facecascade::dataset::{self, Annotated, Split};
use facecascade::eval::report::Named;
use facecascade::eval::{Detection, Report, detections, plots, report};
use facecascade::files::write_whole;
use facecascade::{Cascade, Options, source};
use rayon::prelude::*;

use crate::cli::{Common, Outcome};

/// Faces down to this score, so that the whole curve is drawn.
const WHOLE_CURVE: f32 = 0.02;
/// Pictures on which windows are counted stage by stage.
const TRACED: usize = 50;
/// Faces without `--min-face` are looked for from this side on, pixels.
const MIN_FACE: f32 = 20.0;

/// Measure the detector on marked pictures: average precision, recall, speed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  facecascade eval --data ../shared/data
      the shipped cascade on WIDER's validation pictures
  facecascade eval --data ../shared/data --plot --out out
      also pictures of precision-recall and ROC: out/pr-wider-val.png, out/roc-wider-val.png
  facecascade eval --data ../shared/data --cascade runs/article/cascade.toml --every 4 --json
      another cascade on every fourth picture, as one JSON object
  facecascade eval --data ../shared/data --set smile --plot --out out
      how well smiles are told; also out/roc-smile.png, out/reliability-smile.png
  facecascade eval --data data --set fddb --detections found.jsonl --adjust
      boxes that `detect --json` wrote, also mapped to FDDB's box convention

AP is the area under the precision envelope (VOC 2010) at IoU 0.5; faces that are lower, or marked invalid, count \
neither way. FDDB's figures are its discrete score at 100 to 2000 false alarms on its 2,845 pictures, or as many a \
picture on fewer. A false alarm is a box on no face or on one already found.")]
pub(crate) struct EvalArgs {
    /// Data folder: holds wider/ (annotations.csv) or fddb/ (ellipses.csv, or FDDB-folds/ and originalPics/)
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which pictures
    #[arg(long, value_enum, default_value_t = Set::WiderVal)]
    set: Set,
    /// Settings of another cascade than the shipped one; its weights lie beside them
    #[arg(long, value_name = "SETTINGS.toml", conflicts_with = "detections")]
    cascade: Option<PathBuf>,
    /// Side of the smallest face looked for, pixels [default: 20]
    #[arg(long, value_name = "PX", conflicts_with = "detections")]
    min_face: Option<f32>,
    /// Measure the boxes of this file instead: lines of `facecascade detect --json`
    #[arg(long, value_name = "FILE.jsonl")]
    detections: Option<PathBuf>,
    /// Only every Nth picture
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Also with boxes mapped to the set's convention by four fitted constants
    #[arg(long)]
    adjust: bool,
    /// Draw the precision-recall and ROC curves
    #[arg(long)]
    plot: bool,
    /// Folder for the pictures of curves
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    WiderVal,
    WiderTrain,
    Fddb,
    Smile,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::WiderVal => "wider-val",
            Self::WiderTrain => "wider-train",
            Self::Fddb => "fddb",
            Self::Smile => "smile",
        }
    }

    fn read(self, data: &Path) -> facecascade::Result<Vec<Annotated>> {
        match self {
            Self::WiderVal => dataset::wider(data, Split::Val),
            Self::WiderTrain => dataset::wider(data, Split::Train),
            Self::Fddb => dataset::fddb(data),
            Self::Smile => dataset::mtfl(data, Split::Test),
        }
    }
}

/// What a detector found on the set, and what it took.
struct Measured {
    /// Each picture's boxes, best first.
    found: Vec<Vec<Detection>>,
    /// Milliseconds of detection, of the pictures where they are known.
    ms: Vec<f64>,
    /// Pictures that could not be read, and why.
    failures: Vec<(String, String)>,
    /// Only of a cascade that ran here.
    cost: Option<Cost>,
}

/// What a picture costs.
struct Cost {
    /// Threads that were busy while `ms` was taken, one picture each.
    threads: usize,
    min_face: f32,
    /// Multiply-adds of each level on a frame of 640×480: level 1's, and those of the windows that these pictures have on
    /// average, scaled to its area.
    multiply_adds_vga: Vec<f64>,
    /// Mean windows a picture after each stage.
    windows: Vec<(&'static str, f64)>,
}

/// All that is printed.
struct Summary {
    set: &'static str,
    detector: String,
    measured: Measured,
    raw: Report,
    adjusted: Option<Report>,
    plots: Vec<PathBuf>,
}

pub(crate) fn run(args: EvalArgs, common: &Common) -> anyhow::Result<Outcome> {
    if args.set == Set::Smile {
        return smile::run(&args, common);
    }
    let all = args.set.read(&args.data)?;
    let (mut pictures, mut others) = (Vec::new(), Vec::new());
    for (i, picture) in all.into_iter().enumerate() {
        if i % args.every as usize == 0 { pictures.push(picture) } else { others.push(picture) }
    }
    let (measured, detector) = match &args.detections {
        Some(file) => (read_detections(file, &pictures, &others)?, file.display().to_string()),
        None => {
            let options = Options { min_face: args.min_face.unwrap_or(MIN_FACE), threshold: WHOLE_CURVE, smile: false };
            tracing::info!("smallest face {} pixels, score at least {WHOLE_CURVE}", options.min_face);
            let (cascade, name) = match &args.cascade {
                Some(file) => (Cascade::load(file, options.clone())?, file.display().to_string()),
                None => (Cascade::shipped(options.clone())?, "shipped".to_owned()),
            };
            (detect(&cascade, &options, &pictures, common)?, name)
        }
    };
    complain(&measured.failures, common);
    let figures = if args.set == Set::Fddb { report::fddb } else { report::wider };
    let raw = figures(&pictures, &measured.found, false);
    let adjusted = args.adjust.then(|| figures(&pictures, &measured.found, true));
    let plots = if args.plot { plot(&args, &raw, adjusted.as_ref())? } else { Vec::new() };
    let outcome = if measured.failures.is_empty() { Outcome::Done } else { Outcome::PartlyFailed };
    let summary = Summary { set: args.set.name(), detector, measured, raw, adjusted, plots };
    let text = if args.json { print::json(&summary) } else { print::table(&summary) };
    print(&text)?;
    Ok(outcome)
}

/// Text to stdout; a closed pipe is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("writing to stdout"),
        _ => Ok(()),
    }
}

fn read_detections(file: &Path, pictures: &[Annotated], others: &[Annotated]) -> anyhow::Result<Measured> {
    let mut measured = Measured { found: Vec::new(), ms: Vec::new(), failures: Vec::new(), cost: None };
    for (picture, found) in pictures.iter().zip(detections::read(file, pictures, others)?) {
        measured.found.push(found.detections);
        measured.ms.extend(found.ms);
        measured.failures.extend(found.error.map(|reason| (picture.name.clone(), reason)));
    }
    Ok(measured)
}

/// What one picture gave.
struct One {
    faces: Vec<Detection>,
    ms: f64,
    work: Option<Work>,
}

/// What was counted on one picture.
struct Work {
    /// Windows after each stage.
    stages: Vec<(&'static str, usize)>,
    /// Multiply-adds of each level.
    multiply_adds: Vec<u64>,
    /// Width times height.
    pixels: f64,
}

fn detect(cascade: &Cascade, options: &Options, pictures: &[Annotated], common: &Common) -> anyhow::Result<Measured> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(common.threads).build().context("starting threads")?;
    let bar = progress_bar(pictures.len(), common);
    let traced = pictures.len().div_ceil(TRACED).max(1);
    let results: Vec<Result<One, String>> = pool.install(|| {
        let one = |(i, picture): (usize, &Annotated)| {
            let result = detect_one(cascade, picture, i % traced == 0);
            bar.inc(1);
            result
        };
        pictures.par_iter().enumerate().map(one).collect()
    });
    bar.finish_and_clear();
    let mut measured = Measured { found: Vec::new(), ms: Vec::new(), failures: Vec::new(), cost: None };
    let mut works = Vec::new();
    for (picture, result) in pictures.iter().zip(results) {
        match result {
            Ok(one) => {
                works.extend(one.work);
                measured.ms.push(one.ms);
                measured.found.push(one.faces);
            }
            Err(reason) => {
                measured.failures.push((picture.name.clone(), reason));
                measured.found.push(Vec::new());
            }
        }
    }
    measured.cost = Some(Cost {
        threads: pool.current_num_threads(),
        min_face: options.min_face,
        multiply_adds_vga: multiply_adds_vga(cascade, &works),
        windows: mean_windows(&works),
    });
    Ok(measured)
}

fn detect_one(cascade: &Cascade, picture: &Annotated, count: bool) -> Result<One, String> {
    let pixels = source::picture::read(&picture.image).map_err(|e| e.to_string())?;
    if pixels.dimensions() != (picture.width, picture.height) {
        let (width, height) = pixels.dimensions();
        let Annotated { width: w, height: h, image, .. } = picture;
        return Err(format!("{}: is {width}x{height}, the annotations say {w}x{h}", image.display()));
    }
    let start = Instant::now();
    let faces = cascade.detect(&pixels).map_err(|e| e.to_string())?;
    let ms = facecascade::text::ms(start.elapsed());
    let work = if count { Some(work(cascade, &pixels).map_err(|e| e.to_string())?) } else { None };
    let mut faces: Vec<Detection> = faces.iter().map(Detection::from).collect();
    detections::sort(&mut faces);
    Ok(One { faces, ms, work })
}

fn work(cascade: &Cascade, pixels: &image::RgbImage) -> facecascade::Result<Work> {
    let (_, stages) = cascade.trace(pixels)?;
    let levels = cascade.counts(pixels)?;
    Ok(Work {
        stages: stages.iter().map(|s| (s.name, s.windows.len())).collect(),
        multiply_adds: levels.iter().map(|level| level.multiply_adds).collect(),
        pixels: f64::from(pixels.width()) * f64::from(pixels.height()),
    })
}

fn mean_windows(works: &[Work]) -> Vec<(&'static str, f64)> {
    let stages = works.first().map_or(&[][..], |work| &work.stages);
    let sum = |i: usize| works.iter().filter_map(|w| w.stages.get(i)).map(|s| s.1 as f64).sum::<f64>();
    stages.iter().enumerate().map(|(i, &(name, _))| (name, sum(i) / works.len() as f64)).collect()
}

fn multiply_adds_vga(cascade: &Cascade, works: &[Work]) -> Vec<f64> {
    let pixels: f64 = works.iter().map(|w| w.pixels).sum();
    let refiner = |level: usize| {
        let sum: f64 = works.iter().filter_map(|w| w.multiply_adds.get(level)).map(|&n| n as f64).sum();
        sum / pixels.max(1.0) * 640.0 * 480.0
    };
    std::iter::once(cascade.multiply_adds(640, 480) as f64).chain((1..cascade.levels()).map(refiner)).collect()
}

fn progress_bar(pictures: usize, common: &Common) -> indicatif::ProgressBar {
    if common.quiet {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {per_sec:.1}, {eta} left");
    let bar = indicatif::ProgressBar::new(pictures as u64);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// The failures on stderr, not more than anybody reads.
fn complain(failures: &[(String, String)], common: &Common) {
    let most = if common.verbose > 0 { usize::MAX } else { 10 };
    for (name, reason) in failures.iter().take(most) {
        crate::commands::complain(&anyhow::anyhow!("{name}: {reason}"));
    }
    if failures.len() > most {
        let rest = failures.len() - most;
        crate::commands::complain(&anyhow::anyhow!("{rest} more pictures failed (-v names them)"));
    }
}

fn plot(args: &EvalArgs, raw: &Report, adjusted: Option<&Report>) -> anyhow::Result<Vec<PathBuf>> {
    let both = raw
        .curves
        .iter()
        .map(|c| (c, ""))
        .chain(adjusted.iter().flat_map(|r| r.curves.iter().map(|c| (c, ", adjusted"))));
    let (mut precision, mut roc) = (Vec::new(), Vec::new());
    for (Named { name, curve }, adjusted) in both {
        let what = format!("{}{adjusted}", print::curve_name(name));
        let figure = if *name == "ellipses" { String::new() } else { format!(": AP {:.3}", curve.average_precision()) };
        precision.push(plots::Series { name: format!("{what}{figure}"), points: curve.precision_recall() });
        let at = format!("{what}: {:.3} at 1, {:.3} at 0.1", curve.recall_at_each(1.0), curve.recall_at_each(0.1));
        roc.push(plots::Series { name: at, points: curve.roc() });
    }
    let set = args.set.name();
    let title = format!("{set}, {} pictures", raw.pictures);
    let drawings = [
        (format!("pr-{set}.png"), plots::precision_recall(&format!("Precision and recall: {title}"), &precision)?),
        (format!("roc-{set}.png"), plots::roc(&format!("Recall and false alarms: {title}"), &roc)?),
    ];
    write_plots(&args.out, drawings)
}

/// Writes pictures as PNG into a folder, which is made if missing; gives their paths.
fn write_plots(folder: &Path, drawings: [(String, image::RgbImage); 2]) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: making the folder", folder.display()))?;
    let mut paths = Vec::new();
    for (name, picture) in drawings {
        let path = folder.join(name);
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png).context("encoding a PNG")?;
        write_whole(&path, png.get_ref())?;
        paths.push(path);
    }
    Ok(paths)
}
