//! `facecascade eval`: measures the detector on a set of marked pictures.

mod by_label;
mod compared;
mod print;
mod redaction;
mod smile;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use facecascade::dataset::{self, Annotated, Split};
use facecascade::eval::by_label::ByLabel;
use facecascade::eval::report::NamedCurve;
use facecascade::eval::{Detection, Report, detections, plots, report};
use facecascade::train::recipe::{self, Recipe};
use facecascade::{Cascade, Options, parallel, source};

use crate::cli::{Common, Outcome};

/// Least score of the faces that are measured: low, so that the curves are whole.
const WHOLE_CURVE: f32 = 0.02;
/// Number of pictures on which windows are counted after each step of the cascade.
const TRACED: usize = 50;
/// Side of the smallest face without `--min-face`, pixels.
const MIN_FACE: f32 = 20.0;

/// Measure the detector on marked pictures: average precision, recall, speed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  facecascade eval --data DIR
      the shipped cascade on WIDER's validation pictures
  facecascade eval --data DIR --plot --out out
      also pictures of precision-recall and ROC: out/pr-wider-val.png, out/roc-wider-val.png
  facecascade eval --data DIR --cascade runs/article/cascade.toml --every 4 --json
      another cascade on every fourth picture, as one JSON object
  facecascade eval --data DIR --by size,pose,occlusion,blur,light
      also which faces are found and missed at a score of 0.3 (another: --score)
  facecascade eval --data DIR --set smile --plot --out out
      how well smiles are told; also out/roc-smile.png, out/reliability-smile.png
  facecascade eval --data DIR --set fddb --detections found.jsonl --adjust
      boxes that `detect --json` wrote, also mapped to FDDB's box convention
  facecascade eval --data DIR --redaction --beside yunet=yunet.jsonl,score=0.3
      faces that --redact leaves open, by size, beside another detector's
  facecascade eval --redaction --truth known.jsonl --covers run.jsonl
      the same of a film: run.jsonl is the --json of `video --redact`

The data folder holds pictures and what is marked in them (docs/training.md lists the columns):
  wider/  annotations.csv, images.csv                  WIDER FACE, splits val and train
  masks/  annotations.csv, images.csv                  faces with masks, in the format of wider/; every fifth picture
                                                      is measured, training sees the others
  fddb/   FDDB-folds/ and originalPics/ as published,  FDDB
          or ellipses.csv, images.csv

AP is the area under the precision envelope (VOC 2010) at IoU 0.5; faces that are lower, or marked invalid, count \
neither way. FDDB's figures are its discrete score at 100 to 2000 false alarms on its 2,845 pictures, or as many a \
picture on fewer. A false alarm is a box on no face or on one already found.")]
pub(crate) struct EvalArgs {
    /// Data folder: holds wider/, masks/ or fddb/ (see below)
    #[arg(long, value_name = "DIR", required_unless_present_any = ["truth", "compared"])]
    data: Option<PathBuf>,
    /// Which pictures
    #[arg(long, value_enum, default_value_t = Set::WiderVal)]
    set: Set,
    #[command(flatten)]
    model: super::ModelArgs,
    /// Side of the smallest face looked for, pixels [default: 20]
    #[arg(long, value_name = "PX", conflicts_with = "detections")]
    min_face: Option<f32>,
    /// Measure the boxes of this file instead: lines of `facecascade detect --json`
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["cascade", "model"])]
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
    /// Only draw what tools/compare.py measured: accuracy over time, into compare.png
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["data", "plot"])]
    compared: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    by_label: by_label::ByLabelArgs,
    #[command(flatten)]
    redaction: redaction::RedactionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    WiderVal,
    WiderTrain,
    HeldBack,
    Masks,
    Fddb,
    Smile,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::WiderVal => "wider-val",
            Self::WiderTrain => "wider-train",
            Self::HeldBack => "held-back",
            Self::Masks => "masks",
            Self::Fddb => "fddb",
            Self::Smile => "smile",
        }
    }

    fn read(self, data: &Path) -> facecascade::Result<Vec<Annotated>> {
        match self {
            Self::WiderVal => dataset::wider(data, Split::Val),
            Self::WiderTrain => dataset::wider(data, Split::Train),
            Self::HeldBack => held_back(data),
            Self::Masks => dataset::masks(data, Split::Val),
            Self::Fddb => dataset::fddb(data),
            Self::Smile => dataset::mtfl(data, Split::Test),
        }
    }
}

/// The pictures of WIDER's train part that level 1's recipe holds back.
fn held_back(data: &Path) -> facecascade::Result<Vec<Annotated>> {
    let (name, text) = recipe::LEVEL1;
    let recipe = Recipe::parse(text, name)?;
    let mut pictures = dataset::wider(data, Split::Train)?;
    pictures.retain(|picture| recipe.holds_back(picture));
    Ok(pictures)
}

/// What a detector found on the set, and the cost.
struct Measured {
    /// Each picture's boxes, best first.
    found: Vec<Vec<Detection>>,
    /// Time of detection of the pictures where it is known, milliseconds.
    ms: Vec<f64>,
    /// Pictures that could not be read: name and reason.
    failures: Vec<(String, String)>,
    /// Cost of a cascade that ran here; `None` for boxes of a file.
    cost: Option<Cost>,
}

/// What detection costs.
struct Cost {
    /// Number of threads that detected while times were taken, each one picture.
    threads: usize,
    min_face: f32,
    /// Multiply-adds of each level on a frame of 640×480: level 1's, then those of the refiners' windows, averaged over the pictures
    /// and scaled to the frame's area.
    multiply_adds_vga: Vec<f64>,
    /// Mean number of windows a picture after each step.
    windows: Vec<(&'static str, f64)>,
}

/// Everything that is printed.
struct Summary {
    set: &'static str,
    detector: String,
    measured: Measured,
    raw: Report,
    adjusted: Option<Report>,
    by_label: Option<ByLabel>,
    plots: Vec<PathBuf>,
}

pub(crate) fn run(args: EvalArgs, common: &Common) -> anyhow::Result<Outcome> {
    if let Some(truth) = &args.redaction.truth {
        return redaction::run_film(&args.redaction, truth, args.json);
    }
    if let Some(file) = &args.compared {
        return compared::run(file, &args.out);
    }
    if args.set == Set::Smile {
        args.by_label.refuse()?;
        return smile::run(&args, common);
    }
    let load = |options| args.model.load(options);
    let min_face = args.min_face.unwrap_or(MIN_FACE);
    let all = args.set.read(args.data.as_deref().context("--data is missing")?)?;
    let (mut pictures, mut others) = (Vec::new(), Vec::new());
    for (i, picture) in all.into_iter().enumerate() {
        if i % args.every as usize == 0 { pictures.push(picture) } else { others.push(picture) }
    }
    if args.redaction.redaction {
        return redaction::run(&args.redaction, args.set.name(), &load, &pictures, &others, args.json, common);
    }
    let (measured, detector) = match &args.detections {
        Some(file) => (read_detections(file, &pictures, &others)?, file.display().to_string()),
        None => {
            let options = Options { min_face, threshold: WHOLE_CURVE, smile: false, ..Options::default() };
            let name = args.model.name(options.model);
            (detect(&load(options.clone())?, &options, &pictures, common)?, name)
        }
    };
    complain(&measured.failures, common);
    let figures = if args.set == Set::Fddb { report::fddb } else { report::wider };
    let raw = figures(&pictures, &measured.found, false);
    let adjusted = args.adjust.then(|| figures(&pictures, &measured.found, true));
    let by_label = args.by_label.count(&pictures, &measured.found, &raw, min_face)?;
    let plots = if args.plot { plot(&args, &raw, adjusted.as_ref())? } else { Vec::new() };
    let outcome = if measured.failures.is_empty() { Outcome::Done } else { Outcome::PartlyFailed };
    let summary = Summary { set: args.set.name(), detector, measured, raw, adjusted, by_label, plots };
    let text = if args.json { print::json(&summary) } else { print::table(&summary) };
    super::say(text.trim_end()).context("writing to stdout")?;
    Ok(outcome)
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

/// What was found in one picture.
struct PictureResult {
    faces: Vec<Detection>,
    ms: f64,
    cost: Option<PictureCost>,
}

/// What detection in one picture cost.
struct PictureCost {
    /// Number of windows after each step.
    steps: Vec<(&'static str, usize)>,
    /// Multiply-adds of each level.
    multiply_adds: Vec<u64>,
    /// Width × height.
    pixels: f64,
}

fn detect(cascade: &Cascade, options: &Options, pictures: &[Annotated], common: &Common) -> anyhow::Result<Measured> {
    let bar = super::progress_bar(pictures.len(), common);
    let traced = pictures.len().div_ceil(TRACED).max(1);
    let one = |(i, picture): (usize, &Annotated)| {
        (picture.name.clone(), detect_one(cascade, picture, i.is_multiple_of(traced)))
    };
    let mut measured = Measured { found: Vec::new(), ms: Vec::new(), failures: Vec::new(), cost: None };
    let mut costs = Vec::new();
    parallel::in_order(pictures.iter().enumerate(), common.threads(), one, |(name, result)| -> anyhow::Result<()> {
        bar.inc(1);
        match result {
            Ok(one) => {
                costs.extend(one.cost);
                measured.ms.push(one.ms);
                measured.found.push(one.faces);
            }
            Err(reason) => {
                measured.failures.push((name, reason));
                measured.found.push(Vec::new());
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    measured.cost = Some(Cost {
        threads: common.threads(),
        min_face: options.min_face,
        multiply_adds_vga: multiply_adds_vga(cascade, &costs),
        windows: mean_windows(&costs),
    });
    Ok(measured)
}

fn detect_one(cascade: &Cascade, picture: &Annotated, count: bool) -> Result<PictureResult, String> {
    let pixels = source::picture::read(&picture.image).map_err(|e| e.to_string())?;
    if pixels.dimensions() != (picture.width, picture.height) {
        let (width, height) = pixels.dimensions();
        let Annotated { width: w, height: h, image, .. } = picture;
        return Err(format!("{}: is {width}x{height}, the annotations say {w}x{h}", image.display()));
    }
    let start = Instant::now();
    let faces = cascade.detect(&pixels).map_err(|e| e.to_string())?;
    let ms = facecascade::text::ms(start.elapsed());
    let cost = if count { Some(cost(cascade, &pixels).map_err(|e| e.to_string())?) } else { None };
    let mut faces: Vec<Detection> = faces.iter().map(Detection::from).collect();
    detections::sort(&mut faces);
    Ok(PictureResult { faces, ms, cost })
}

/// Counts windows and multiply-adds in one picture.
fn cost(cascade: &Cascade, pixels: &image::RgbImage) -> facecascade::Result<PictureCost> {
    let (_, steps) = cascade.trace(pixels)?;
    let levels = cascade.counts(pixels)?;
    Ok(PictureCost {
        steps: steps.iter().map(|s| (s.name, s.windows.len())).collect(),
        multiply_adds: levels.iter().map(|level| level.multiply_adds).collect(),
        pixels: f64::from(pixels.width()) * f64::from(pixels.height()),
    })
}

fn mean_windows(costs: &[PictureCost]) -> Vec<(&'static str, f64)> {
    let steps = costs.first().map_or(&[][..], |cost| &cost.steps);
    let sum = |i: usize| costs.iter().filter_map(|c| c.steps.get(i)).map(|s| s.1 as f64).sum::<f64>();
    steps.iter().enumerate().map(|(i, &(name, _))| (name, sum(i) / costs.len() as f64)).collect()
}

fn multiply_adds_vga(cascade: &Cascade, costs: &[PictureCost]) -> Vec<f64> {
    let pixels: f64 = costs.iter().map(|c| c.pixels).sum();
    let refiner = |level: usize| {
        let sum: f64 = costs.iter().filter_map(|c| c.multiply_adds.get(level)).map(|&n| n as f64).sum();
        sum / pixels.max(1.0) * 640.0 * 480.0
    };
    std::iter::once(cascade.multiply_adds(640, 480) as f64).chain((1..cascade.levels()).map(refiner)).collect()
}

/// Names the failures on stderr: the first ten, or all with -v.
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
    for (NamedCurve { name, curve }, adjusted) in both {
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
    super::write_plots(&args.out, drawings)
}
