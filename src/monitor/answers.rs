//! What the page asks for: curves, as points and as a table, recipes, pictures.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::curve::{Curve, Drawn, bucket};
use super::run::{Album, Figure, Recipe, Run, TRAINING};
use super::tail::inside;
use super::watch::Watch;

/// Buckets of a curve at most.
const MOST_POINTS: usize = 4000;
/// Largest picture that is served, bytes.
const LARGEST_PICTURE: u64 = 20 << 20;

/// Which curves.
#[derive(Debug, Deserialize)]
pub(super) struct CurveQuery {
    stage: String,
    /// Without it: all figures (in tables).
    figure: Option<Figure>,
    /// Numbers of runs, behind each other with commas between.
    runs: String,
    from: Option<u32>,
    to: Option<u32>,
    #[serde(default)]
    points: usize,
    /// Steps that are smoothed over.
    #[serde(default)]
    smooth: f64,
}

/// Which stage.
#[derive(Debug, Deserialize)]
pub(super) struct StageQuery {
    stage: String,
    runs: String,
}

/// Which picture.
#[derive(Debug, Deserialize)]
pub(super) struct PictureQuery {
    run: usize,
    file: String,
}

/// Curves of several runs, over the same steps.
#[derive(Debug, Serialize)]
pub(super) struct Curves {
    from: u32,
    to: u32,
    /// Steps of a bucket.
    bucket: u32,
    curves: Vec<OneCurve>,
}

#[derive(Debug, Serialize)]
struct OneCurve {
    run: usize,
    /// Empty for training.
    set: String,
    #[serde(flatten)]
    drawn: Drawn,
}

/// The runs whose numbers stand in a list.
fn chosen<'a>(watch: &'a Watch, list: &str) -> impl Iterator<Item = &'a Run> {
    let ids: Vec<usize> = list.split(',').filter_map(|id| id.parse().ok()).collect();
    watch.runs.iter().filter(move |run| ids.contains(&run.id))
}

/// The curves of a figure: run, set and curve.
fn named<'a>(
    watch: &'a Watch,
    query: &'a CurveQuery,
    figure: Figure,
) -> impl Iterator<Item = (&'a Run, &'a str, &'a Curve)> {
    let stored = if figure == Figure::Error { Figure::Accuracy } else { figure };
    chosen(watch, &query.runs).flat_map(move |run| {
        let curves = run.stage(&query.stage).into_iter().flat_map(|stage| &stage.curves);
        curves.filter(move |((f, _), _)| *f == stored).map(move |((_, set), curve)| (run, set.as_str(), curve))
    })
}

pub(super) fn curves(watch: &Watch, query: &CurveQuery) -> Curves {
    let figure = query.figure.unwrap_or(Figure::Loss);
    let curves: Vec<_> = named(watch, query, figure).collect();
    // Without a range: all that there is.
    let whole = curves.iter().filter_map(|(_, _, curve)| curve.extent()).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (first, last) = whole.unwrap_or((0, 0));
    let (from, to) = (query.from.unwrap_or(first), query.to.unwrap_or(last));
    let points = query.points.clamp(10, MOST_POINTS);
    let draw = |(run, set, curve): &(&Run, &str, &Curve)| {
        // Validation has few points, and each is a mean already.
        let smooth = if *set == TRAINING { query.smooth } else { 0.0 };
        let drawn = curve.draw(from, to, points, smooth);
        let drawn = if figure == Figure::Error { drawn.complement() } else { drawn };
        OneCurve { run: run.id, set: (*set).to_owned(), drawn }
    };
    Curves { from, to, bucket: bucket(from, to, points), curves: curves.iter().map(draw).collect() }
}

/// All values of the curves, a row each; `None` if they can't be written.
pub(super) fn table(watch: &Watch, query: &CurveQuery) -> Option<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["run", "stage", "figure", "set", "step", "value"]).ok()?;
    let all = [
        Figure::Loss,
        Figure::Accuracy,
        Figure::ApH20,
        Figure::ApH40,
        Figure::RecallH20,
        Figure::Rate,
        Figure::GradientNorm,
        Figure::SamplesPerSecond,
    ];
    for figure in query.figure.map_or(all.to_vec(), |figure| vec![figure]) {
        let name = serde_json::to_value(figure).ok()?;
        for (run, set, curve) in named(watch, query, figure) {
            let set = if set == TRAINING { "training" } else { set };
            for (step, value) in curve.within(query.from.unwrap_or(0), query.to.unwrap_or(u32::MAX)) {
                let value = if figure == Figure::Error { 1.0 - value } else { value };
                let (step, value) = (step.to_string(), value.to_string());
                out.write_record([&run.name, &query.stage, name.as_str()?, set, &step, &value]).ok()?;
            }
        }
    }
    out.into_inner().ok()
}

/// The recipe of the stage's net in each run.
pub(super) fn recipes<'a>(watch: &'a Watch, query: &StageQuery) -> Vec<(usize, Option<&'a Recipe>)> {
    // The second round of refine24 is the stage refine24-2.
    let net = match query.stage.rsplit_once('-') {
        Some((net, round)) if round.parse::<u32>().is_ok() => net,
        _ => &query.stage,
    };
    chosen(watch, &query.runs).map(|run| (run.id, run.recipes.iter().find(|recipe| recipe.net == net))).collect()
}

/// The pictures of the stage in each run, by the steps done.
pub(super) fn pictures<'a>(watch: &'a Watch, query: &StageQuery) -> Vec<(usize, &'a Album)> {
    chosen(watch, &query.runs).filter_map(|run| Some((run.id, &run.stage(&query.stage)?.pictures))).collect()
}

/// A picture that the record of its run names: its type and its bytes.
pub(super) fn picture(watch: &Watch, query: &PictureQuery) -> Option<(&'static str, Vec<u8>)> {
    let run = watch.runs.iter().find(|run| run.id == query.run)?;
    let kind = match Path::new(&query.file).extension()?.to_str()? {
        "png" => "image/png",
        "jpg" => "image/jpeg",
        _ => return None,
    };
    let named =
        |stage: &super::run::Stage| stage.pictures.iter().any(|(_, all)| all.iter().any(|p| p.file == query.file));
    if !run.stages.iter().any(named) {
        return None;
    }
    let path = inside(&run.folder, &query.file).ok()?;
    if std::fs::metadata(&path).ok()?.len() > LARGEST_PICTURE {
        return None;
    }
    Some((kind, std::fs::read(path).ok()?))
}
