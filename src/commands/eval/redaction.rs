//! `eval --redaction`: what covers leave open.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use facecascade::dataset::Annotated;
use facecascade::eval::redaction::{ENOUGH, Leaks, SIZES, boxed, leaks};
use facecascade::eval::{Detection, detections};
use facecascade::output::redact::MARGIN;
use facecascade::output::replay::Replay;
use facecascade::track::coverage::{Scores, smallest_face};
use facecascade::{Cascade, Model, Options, parallel, source};
use serde_json::json;

use crate::cli::{Common, Outcome};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RedactionArgs {
    /// Count faces that --redact leaves open, and covers on no face
    #[arg(long)]
    pub(super) redaction: bool,
    /// Beside it, another detector's boxes: lines of JSON as for --detections, from SCORE on, grown by MARGIN sides
    #[arg(long, value_name = "NAME=FILE.jsonl[,score=SCORE][,margin=MARGIN]", requires = "redaction", value_parser = beside)]
    beside: Vec<Beside>,
    /// With --covers: the known faces of a film, lines of JSON as `video --json` writes them
    #[arg(long, value_name = "TRUTH.jsonl", requires_all = ["redaction", "covers"])]
    pub(super) truth: Option<PathBuf>,
    /// What was covered of it: the --json of `video --redact`
    #[arg(long, value_name = "RUN.jsonl", requires = "truth")]
    covers: Option<PathBuf>,
    /// Cover so much more on each side, in sides of the face
    #[arg(long, value_name = "SHARE", default_value_t = MARGIN, value_parser = super::super::redaction::margin, requires = "redaction")]
    redact_margin: f32,
}

/// Another detector's boxes.
#[derive(Debug, Clone, PartialEq)]
struct Beside {
    name: String,
    file: PathBuf,
    score: f64,
    margin: Option<f64>,
}

fn beside(text: &str) -> Result<Beside, String> {
    let (name, rest) = text.split_once('=').ok_or("must be NAME=FILE.jsonl")?;
    let mut parts = rest.split(',');
    let mut beside =
        Beside { name: name.into(), file: parts.next().unwrap_or("").into(), score: f64::NEG_INFINITY, margin: None };
    for part in parts {
        let number = |v: &str| v.parse::<f64>().map_err(|_| format!("{part}: {v} is not a number"));
        match part.split_once('=') {
            Some(("score", v)) => beside.score = number(v)?,
            Some(("margin", v)) => beside.margin = Some(number(v)?),
            _ => return Err(format!("{part}: there are only score=SCORE and margin=MARGIN")),
        }
    }
    Ok(beside)
}

/// Loads the cascade that is measured, with these options but for the precision.
pub(super) type Load<'a> = dyn Fn(Options) -> facecascade::Result<Cascade> + 'a;

/// A line of the table.
struct DetectorLeaks {
    name: String,
    leaks: Leaks,
}

/// Measures `pictures` of `set`; `others` may be in the files of other detectors too.
pub(super) fn run(
    args: &RedactionArgs,
    set: &str,
    load: &Load,
    pictures: &[Annotated],
    others: &[Annotated],
    json: bool,
    common: &Common,
) -> anyhow::Result<Outcome> {
    let margin = f64::from(args.redact_margin);
    let found = detect(load, pictures, common)?;
    let mut rows = vec![DetectorLeaks { name: "facecascade".into(), leaks: leaks(pictures, &found, margin) }];
    for Beside { name, file, score, margin: own } in &args.beside {
        let read = detections::read(file, pictures, others)?;
        let kept = |found: detections::PictureDetections| -> Vec<Detection> {
            found.detections.into_iter().filter(|d| d.score >= *score).collect()
        };
        let found: Vec<_> = read.into_iter().map(kept).collect();
        rows.push(DetectorLeaks { name: name.clone(), leaks: leaks(pictures, &found, own.unwrap_or(margin)) });
    }
    let head = format!("{set}: {} pictures", pictures.len());
    print(&head, "wrong covers a picture", &rows, json)?;
    Ok(Outcome::Done)
}

/// Measures what was covered of a film whose faces are known.
pub(super) fn run_film(args: &RedactionArgs, truth: &Path, json: bool) -> anyhow::Result<Outcome> {
    let covers = args.covers.as_deref().context("--truth needs --covers")?;
    let (known, run) = (Replay::read(truth)?, Replay::read(covers)?);
    if let (Some(a), Some(b)) = (known.size, run.size) {
        anyhow::ensure!(
            a == b,
            "{}: is of {}x{}, but {} of {}x{}",
            truth.display(),
            a.0,
            a.1,
            covers.display(),
            b.0,
            b.1
        );
    }
    let mut leaks = Leaks::default();
    let mut frames = Vec::new();
    for number in 0..known.frames() {
        let boxes = |replay: &Replay| -> Vec<_> {
            replay.faces(number).unwrap_or_default().iter().map(|t| boxed(&t.face.rect)).collect()
        };
        if !leaks.add(&boxes(&known), &[], &boxes(&run), args.redact_margin.into()).is_empty() {
            frames.push(number);
        }
    }
    let open: usize = leaks.open.iter().sum();
    let head = format!("{}: {} frames, {open} uncovered face-frames", truth.display(), known.frames());
    print(&head, "wrong covers a frame", &[DetectorLeaks { name: "facecascade".into(), leaks }], json)?;
    if !frames.is_empty() && !json {
        let list: Vec<String> = frames.iter().take(20).map(ToString::to_string).collect();
        let more = if frames.len() > 20 { ", …" } else { "" };
        crate::commands::say(&format!("open in frames {}{more}", list.join(", ")))?;
    }
    Ok(Outcome::Done)
}

/// What `--redact` covers at its defaults.
fn detect(load: &Load, pictures: &[Annotated], common: &Common) -> anyhow::Result<Vec<Vec<Detection>>> {
    let scores = Scores::default();
    let mut cascades: HashMap<u32, Cascade> = HashMap::new();
    for picture in pictures {
        let min_face = smallest_face(picture.height);
        if let std::collections::hash_map::Entry::Vacant(place) = cascades.entry(min_face.to_bits()) {
            let (model, threshold) = (Model::Sure, scores.lowest());
            let options = Options { model, min_face, threshold, smile: false, ..Options::default() };
            place.insert(load(options)?);
        }
    }
    let one = |picture: &Annotated| -> anyhow::Result<Vec<Detection>> {
        let pixels = source::picture::read(&picture.image)?;
        let faces = cascades[&smallest_face(picture.height).to_bits()].detect(&pixels)?;
        Ok(faces.iter().filter(|face| scores.picture.takes(face, 1.0)).map(Detection::from).collect())
    };
    let mut found = Vec::with_capacity(pictures.len());
    parallel::in_order(pictures, common.threads(), one, |faces| -> anyhow::Result<()> {
        found.push(faces?);
        Ok(())
    })?;
    Ok(found)
}

fn size_names() -> [String; 4] {
    SIZES.map(|(from, below)| if below.is_finite() { format!("{from}-{below}") } else { format!("{from}+") })
}

fn print(head: &str, wrong: &str, rows: &[DetectorLeaks], as_json: bool) -> anyhow::Result<()> {
    let names = size_names();
    let mut text = String::new();
    if as_json {
        let row = |row: &DetectorLeaks| {
            let sizes: serde_json::Map<_, _> = (0..SIZES.len())
                .map(|i| (names[i].clone(), json!({"faces": row.leaks.faces[i], "open": row.leaks.open[i]})))
                .collect();
            json!({"name": row.name, "sizes": sizes, "wrong": row.leaks.wrong, "pictures": row.leaks.pictures})
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let _ = writeln!(text, "{}", json!({"redaction": rows, "enough": ENOUGH}));
    } else {
        let _ = writeln!(
            text,
            "{head}\nA face is open if less than {:.0} % of its inner ellipse is covered.\n",
            ENOUGH * 100.0
        );
        let _ = write!(text, "{:<22}", "open faces, %");
        for name in &names {
            let _ = write!(text, "{name:>9}");
        }
        let _ = writeln!(text, "   {wrong}");
        for DetectorLeaks { name, leaks } in rows {
            let _ = write!(text, "{name:<22}");
            for rate in leaks.rates() {
                let _ = write!(text, "{:>9.1}", rate * 100.0);
            }
            let _ = writeln!(text, "   {:.2}", leaks.wrong_each());
        }
        if let Some(first) = rows.first() {
            let _ = write!(text, "{:<22}", "faces");
            for count in first.leaks.faces {
                let _ = write!(text, "{count:>9}");
            }
            let _ = writeln!(text);
        }
    }
    super::super::say(text.trim_end()).context("writing to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_detector_is_named_with_its_file_score_and_margin() {
        let of = |score, margin| Beside { name: "a".into(), file: "b.jsonl".into(), score, margin };
        assert_eq!(beside("a=b.jsonl"), Ok(of(f64::NEG_INFINITY, None)));
        assert_eq!(beside("a=b.jsonl,score=0.3,margin=0"), Ok(of(0.3, Some(0.0))));
        for wrong in ["a", "a=b,score", "a=b,score=x", "a=b,size=1"] {
            assert!(beside(wrong).is_err(), "{wrong}");
        }
    }
}
