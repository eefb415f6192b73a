//! `eval --by`: faces found and missed at one score, by size and by the labels of the set.

use std::fmt::Write as _;

use anyhow::Context;
use clap::ValueEnum;
use facecascade::dataset::Annotated;
use facecascade::eval::by_label::{self, Attribute, ByLabel, FoundCount};
use facecascade::eval::{Detection, Report};
use serde_json::{Value, json};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ByLabelArgs {
    /// Also count faces found and missed by these (WIDER's labels), several with commas between
    #[arg(long, value_name = "LABEL,…", value_enum, value_delimiter = ',', conflicts_with = "redaction")]
    by: Vec<By>,
    /// Least score of the faces that --by counts as found [default: 0.3]
    #[arg(long, value_name = "T", requires = "by")]
    score: Option<f64>,
    /// Instead, the score at which this detector has so many false alarms a picture (boxes from 20 pixels on): 0.1 compares
    /// detectors whose scores mean different things
    #[arg(long, value_name = "N", requires = "by", conflicts_with = "score")]
    false_alarms: Option<f64>,
    /// Least height of the faces that --by counts, pixels; by size, all from 10 on count [default: --min-face, or 20]
    #[arg(long, value_name = "PX", requires = "by")]
    least_height: Option<f64>,
}

/// Score without `--score` and `--false-alarms`.
const SCORE: f64 = 0.3;
const NO_LABELS: &str = "--by: this set has no labels; wider-val, wider-train and masks have";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Size,
    Pose,
    Occlusion,
    Blur,
    Light,
}

impl ByLabelArgs {
    /// Refuses to count by labels, if that was asked for, on a set that has none.
    pub(super) fn refuse(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.by.is_empty(), NO_LABELS);
        Ok(())
    }

    /// Counts, if that was asked for; `min_face`: the side of the smallest face looked for, pixels.
    pub(super) fn count(
        &self,
        pictures: &[Annotated],
        found: &[Vec<Detection>],
        report: &Report,
        min_face: f32,
    ) -> anyhow::Result<Option<ByLabel>> {
        if self.by.is_empty() {
            return Ok(None);
        }
        let score = match self.false_alarms {
            None => self.score.unwrap_or(SCORE),
            // No score has so few false alarms: nothing counts as found.
            Some(each) => wider_curve(report)?.threshold_at_each(each).unwrap_or(f64::INFINITY),
        };
        wider_curve(report)?;
        let least_height = self.least_height.unwrap_or(f64::from(min_face));
        let attributes: Vec<Attribute> = self.by.iter().map(|by| Attribute::ALL[*by as usize]).collect();
        Ok(Some(by_label::by_label(pictures, found, score, least_height, &attributes)))
    }
}

fn wider_curve(report: &Report) -> anyhow::Result<&facecascade::eval::curves::Curve> {
    let curve = report.curves.iter().find(|c| c.name == "h20").map(|c| &c.curve);
    curve.context(NO_LABELS)
}

/// Appends the table. Writing to a string can't fail.
pub(super) fn table(text: &mut String, counts: &ByLabel) {
    let ByLabel { score, least_height, all, false_alarms, rows } = counts;
    let head = format!("score at least {score:.4}");
    let _ = writeln!(text, "\n{head:<26}{:>8}{:>8}{:>8}{:>8}", "faces", "found", "missed", "recall");
    let mut row = |name: &str, count: &FoundCount| {
        let FoundCount { faces, found } = count;
        let _ = writeln!(text, "{name:<26}{faces:>8}{found:>8}{:>8}{:>8.3}", count.missed(), count.recall());
    };
    row(&format!("faces ≥ {least_height} px"), all);
    for (attribute, counts) in rows {
        for (value, count) in attribute.values().iter().zip(counts) {
            row(&format!("  {} {value}", attribute.name()), count);
        }
    }
    let _ = writeln!(text, "{:<26}{false_alarms:>8}", format!("false alarms ≥ {least_height} px"));
}

/// The counts as JSON, the values of a label in their order.
pub(super) fn json(counts: &ByLabel) -> Value {
    let count = |c: &FoundCount| json!({"faces": c.faces, "found": c.found, "missed": c.missed()});
    let attribute = |(attribute, counts): &(Attribute, Vec<FoundCount>)| {
        let value = |(value, c): (String, &FoundCount)| json!({"value": value, "faces": c.faces, "found": c.found, "missed": c.missed()});
        (attribute.name().to_owned(), attribute.values().into_iter().zip(counts).map(value).collect())
    };
    json!({
        "score": if counts.score.is_finite() { json!(counts.score) } else { Value::Null },
        "least_height": counts.least_height,
        "all": count(&counts.all),
        "false_alarms": counts.false_alarms,
        "labels": counts.rows.iter().map(attribute).collect::<serde_json::Map<_, _>>(),
    })
}
