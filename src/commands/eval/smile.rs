//! `facecascade eval --set smile`: how well smiles are told, from the picture to the probability.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use facecascade::dataset::{self, Annotated, Split, fer};
use facecascade::eval::plots::{self, Series};
use facecascade::eval::smile::{
    self, Bin, Confusion, Judged, LEAST_SCORE, PORTRAIT_FACE, TILE_FACE, auc, calibration_error, reliability, roc,
};
use facecascade::source::picture;
use facecascade::{Cascade, Options, parallel};
use image::RgbImage;
use image::imageops::{self, FilterType};
use serde_json::{Value, json};

use super::EvalArgs;
use crate::cli::{Common, Outcome};

/// Face heights, pixels, to which the pictures are brought.
const HEIGHTS: [f32; 4] = [24.0, 36.0, 48.0, 96.0];
/// Usual height of the face in a presented tile, pixels.
const TILE_HEIGHT: f32 = 98.0;
/// Smallest face looked for, as a share of the height that faces are brought to.
const SMALLEST: f32 = 0.6;
const POSES: [&str; 5] = ["left profile", "left", "frontal", "right", "right profile"];

/// A picture of one face.
struct Portrait {
    picture: RgbImage,
    /// Height of the face, pixels.
    height: f32,
    smile: bool,
    pose: Option<u8>,
}

/// A named list of judged faces.
struct Group {
    name: String,
    faces: Vec<Judged>,
}

pub(super) fn run(args: &EvalArgs, common: &Common) -> anyhow::Result<Outcome> {
    let every = |i: usize| i.is_multiple_of(args.every as usize);
    let data = args.data.as_deref().context("--data is missing")?;
    let portraits = portraits(dataset::mtfl(data, Split::Test)?, every, common.threads())?;
    let tiles = tiles(&fer::read(data, Split::Test)?, every)?;
    let sets = [("mtfl/test", portraits, args.min_face.unwrap_or(PORTRAIT_FACE)), ("fer/test", tiles, TILE_FACE)];
    let (mut whole, mut by_height) = (Vec::new(), Vec::new());
    for (name, set, min_face) in &sets {
        let bar = super::super::progress_bar(set.len() * (1 + HEIGHTS.len()), common);
        let judged = |min_face: f32, height: Option<f32>| {
            let cascade = cascade(args, min_face)?;
            let one = |portrait: &Portrait| {
                let result = judge(&cascade, portrait, height);
                bar.inc(1);
                result
            };
            on_threads(set, common.threads(), one)
        };
        whole.push(Group { name: (*name).to_owned(), faces: judged(*min_face, None)? });
        for height in HEIGHTS {
            let faces = judged((height * SMALLEST).max(8.0), Some(height))?;
            by_height.push(Group { name: format!("{name}, {height} px"), faces });
        }
        bar.finish_and_clear();
    }
    let by_pose = (1..=POSES.len() as u8).map(|pose| Group {
        name: POSES[usize::from(pose) - 1].to_owned(),
        faces: whole[0].faces.iter().filter(|f| f.pose == Some(pose)).copied().collect(),
    });
    let by_pose: Vec<Group> = by_pose.collect();
    let plots = if args.plot { plot(args, &whole)? } else { Vec::new() };
    let text =
        if args.json { as_json(&whole, &by_height, &by_pose) } else { table(&whole, &by_height, &by_pose, &plots) };
    crate::commands::say(text.trim_end())?;
    Ok(Outcome::Done)
}

fn cascade(args: &EvalArgs, min_face: f32) -> facecascade::Result<Cascade> {
    let options = Options { min_face, threshold: LEAST_SCORE, ..Options::default() };
    let cascade = args.model.load(options)?;
    if cascade.settings().smile.is_none() {
        let reason = "this cascade has no [smile] in its settings, and so tells no smile";
        return Err(facecascade::Error::Setting(reason.into()));
    }
    Ok(cascade)
}

/// The probability for the face in the middle of the picture, which is first scaled so that its face is `height` pixels high.
fn judge(cascade: &Cascade, portrait: &Portrait, height: Option<f32>) -> facecascade::Result<Judged> {
    let scale = height.map_or(1.0, |h| h / portrait.height);
    let side = |v: u32| ((v as f32 * scale).round() as u32).max(1);
    let (w, h) = portrait.picture.dimensions();
    let faces = if height.is_some() {
        let scaled = imageops::resize(&portrait.picture, side(w), side(h), FilterType::Triangle);
        smile::middle_face(&cascade.detect(&scaled)?, scaled.dimensions())
    } else {
        smile::middle_face(&cascade.detect(&portrait.picture)?, (w, h))
    };
    Ok(Judged { smile: portrait.smile, probability: faces.and_then(|f| f.smile), pose: portrait.pose })
}

fn portraits(
    list: Vec<Annotated>,
    every: impl Fn(usize) -> bool,
    threads: usize,
) -> facecascade::Result<Vec<Portrait>> {
    let list: Vec<Annotated> = list.into_iter().enumerate().filter(|(i, _)| every(*i)).map(|(_, item)| item).collect();
    let one = |item: &Annotated| {
        let face = &item.faces[0];
        let picture = picture::read(&item.image)?;
        Ok(Portrait { picture, height: face.rect.h, smile: face.smile.unwrap_or(false), pose: face.pose })
    };
    on_threads(&list, threads, one)
}

/// Returns `work` of each item, in order.
fn on_threads<I: Sync, T: Send>(
    list: &[I],
    threads: usize,
    work: impl Fn(&I) -> facecascade::Result<T> + Sync,
) -> facecascade::Result<Vec<T>> {
    let mut all = Vec::with_capacity(list.len());
    parallel::in_order(list, threads, work, |result| {
        all.push(result?);
        Ok::<(), facecascade::Error>(())
    })?;
    Ok(all)
}

fn tiles(list: &[fer::Tile], every: impl Fn(usize) -> bool) -> facecascade::Result<Vec<Portrait>> {
    let list: Vec<fer::Tile> = list.iter().enumerate().filter(|(i, _)| every(*i)).map(|(_, t)| t.clone()).collect();
    let pictures = fer::pictures(&list)?;
    let portrait = |(picture, tile): (RgbImage, &fer::Tile)| Portrait {
        picture,
        height: TILE_HEIGHT,
        smile: tile.smile,
        pose: None,
    };
    Ok(pictures.into_iter().zip(&list).map(portrait).collect())
}

/// The table. Writing to a string can't fail, so results of `writeln!` are dropped.
fn table(whole: &[Group], by_height: &[Group], by_pose: &[Group], plots: &[PathBuf]) -> String {
    let mut text = "smile: faces as the cascade finds them; one that is not found counts as wrong\n".to_owned();
    let heading = |text: &mut String, name: &str| {
        let _ = writeln!(text, "\n{name:<22}{:>10}{:>8}{:>8}{:>7}", "balanced", "AUC", "found", "faces");
    };
    let row = |text: &mut String, g: &Group| {
        let c = Confusion::of(&g.faces);
        let (balanced, found) = (c.balanced_accuracy(), c.found());
        let _ = writeln!(
            text,
            "{:<22}{balanced:>10.4}{:>8.4}{found:>8.3}{:>7}",
            g.name,
            auc(&g.faces),
            c.smiles() + c.others()
        );
    };
    heading(&mut text, "");
    whole.iter().for_each(|g| row(&mut text, g));
    let _ = writeln!(text, "\n{:<22}{:>24}{:>24}", "", "smiles", "other faces");
    let _ = writeln!(text, "{0:<22}{1:>8}{2:>8}{3:>8}{1:>8}{2:>8}{3:>8}", "", "right", "wrong", "lost");
    for g in whole {
        let c = Confusion::of(&g.faces);
        let _ = writeln!(
            text,
            "{:<22}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}",
            g.name,
            c.smiles_right,
            c.smiles_wrong,
            c.smiles_not_found,
            c.others_right,
            c.others_wrong,
            c.others_not_found
        );
    }
    let _ = writeln!(text, "\nprobability said, and share that smiled (faces)");
    for g in whole {
        let bins = reliability(&g.faces);
        let _ = write!(text, "{:<12}", g.name);
        for bin in bins.iter().filter(|b| b.faces > 0) {
            let _ = write!(text, " {:.2}:{:.2} ({})", bin.said, bin.smiled, bin.faces);
        }
        let _ = writeln!(text, "\n{:<12} expected calibration error {:.3}", "", calibration_error(&bins));
    }
    heading(&mut text, "by face height");
    by_height.iter().for_each(|g| row(&mut text, g));
    heading(&mut text, "mtfl/test by pose");
    by_pose.iter().for_each(|g| row(&mut text, g));
    for path in plots {
        let _ = writeln!(text, "wrote {}", path.display());
    }
    text
}

fn as_json(whole: &[Group], by_height: &[Group], by_pose: &[Group]) -> String {
    let group = |g: &Group| {
        let (confusion, bins) = (Confusion::of(&g.faces), reliability(&g.faces));
        json!({
            "name": g.name,
            "balanced_accuracy": confusion.balanced_accuracy(),
            "auc": auc(&g.faces),
            "found": confusion.found(),
            "confusion": confusion,
            "calibration_error": calibration_error(&bins),
            "reliability": bins,
        })
    };
    let groups = |list: &[Group]| list.iter().map(group).collect::<Vec<Value>>();
    format!(
        "{}\n",
        json!({"set": "smile", "sets": groups(whole), "by_height": groups(by_height), "by_pose": groups(by_pose)})
    )
}

fn plot(args: &EvalArgs, whole: &[Group]) -> anyhow::Result<Vec<PathBuf>> {
    let curves = whole.iter().map(|g| {
        let figures =
            format!("{}: AUC {:.3}, balanced {:.3}", g.name, auc(&g.faces), smile::balanced_accuracy(&g.faces));
        Series { name: figures, points: roc(&g.faces) }
    });
    let said = whole.iter().map(|g| {
        let bins = reliability(&g.faces);
        let name = format!("{}: expected calibration error {:.3}", g.name, calibration_error(&bins));
        let there = bins.iter().filter(|b| b.faces > 0);
        Series { name, points: there.map(|b: &Bin| (b.said, b.smiled)).collect() }
    });
    let right = Series { name: "as said".into(), points: vec![(0.0, 0.0), (1.0, 1.0)] };
    let (curves, said): (Vec<_>, Vec<_>) = (curves.collect(), said.chain([right]).collect());
    let drawings = [
        ("roc-smile.png", plots::shares("Smiles: ROC", "Other faces taken for smiles", "Smiles told", &curves)?),
        (
            "reliability-smile.png",
            plots::shares("Smiles: reliability", "Probability said", "Share that smiled", &said)?,
        ),
    ];
    crate::commands::write_plots(&args.out, drawings.map(|(name, picture)| (name.to_owned(), picture)))
}
