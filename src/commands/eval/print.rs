//! Prints the measures as a table or as JSON.

use std::fmt::Write;

use facecascade::eval::Report;
use facecascade::eval::curves::Curve;
use facecascade::eval::report::NamedCurve;
use serde_json::{Map, Value, json};

use super::Summary;

/// Numbers of false alarms, on all of FDDB's pictures, at which its recall is published.
const FDDB_TOTALS: [u32; 4] = [100, 500, 1000, 2000];
const FDDB_PICTURES: f64 = 2845.0;

/// Returns the curve's name for people.
pub(super) fn curve_name(name: &str) -> &str {
    match name {
        "h20" => "faces ≥ 20 px",
        "h40" => "faces ≥ 40 px",
        other => other,
    }
}

/// Returns the table. Writing to a string can't fail, so results of `writeln!` are dropped.
pub(super) fn table(summary: &Summary) -> String {
    let Summary { set, detector, measured, raw, adjusted, by_label, plots } = summary;
    let mut text = String::new();
    let Report { pictures, faces, detections, .. } = raw;
    let _ = writeln!(text, "{set}, {detector}: {pictures} pictures, {faces} faces, {detections} boxes");
    if !measured.failures.is_empty() {
        let _ = writeln!(text, "{} pictures failed; they count as if nothing had been found", measured.failures.len());
    }
    let heading = if raw.curves.iter().any(|c| c.name == "ellipses") { fddb_heading } else { wider_heading };
    heading(&mut text);
    rows(&mut text, raw, "");
    if let Some(report) = adjusted {
        rows(&mut text, report, ", adjusted");
        let c = report.convention;
        let _ = writeln!(
            text,
            "adjusted: boxes moved by {} of their width and {} of their height, then {} times as wide and {} times as high",
            c.dx, c.dy, c.sw, c.sh
        );
    }
    sizes(&mut text, raw);
    if let Some(counts) = by_label {
        super::by_label::table(&mut text, counts);
    }
    costs(&mut text, summary);
    for path in plots {
        let _ = writeln!(text, "wrote {}", path.display());
    }
    text
}

fn wider_heading(text: &mut String) {
    let _ = writeln!(
        text,
        "\n{:<26}{:>8}{:>14}{:>14}{:>14}{:>14}{:>8}",
        "", "AP", "recall at 1", "recall at 0.1", "score for 0.1", "final recall", "faces"
    );
}

fn fddb_heading(text: &mut String) {
    let _ = write!(text, "\n{:<26}", "recall, false alarms");
    for total in FDDB_TOTALS {
        let _ = write!(text, "{:>8}", total);
    }
    let _ = writeln!(text, "{:>16}{:>14}{:>14}{:>8}", "at 1 a picture", "score for 0.1", "final recall", "faces");
}

fn rows(text: &mut String, report: &Report, suffix: &str) {
    for NamedCurve { name, curve } in &report.curves {
        let _ = write!(text, "{:<26}", format!("{}{suffix}", curve_name(name)));
        let score = curve.threshold_at_each(0.1).map_or("none".to_owned(), |t| format!("{t:.4}"));
        if *name == "ellipses" {
            for total in FDDB_TOTALS {
                let _ = write!(text, "{:>8.3}", curve.recall_at(scaled(total, curve)));
            }
            let _ = write!(text, "{:>16.3}", curve.recall_at_each(1.0));
        } else {
            let _ = write!(
                text,
                "{:>8.4}{:>14.3}{:>14.3}",
                curve.average_precision(),
                curve.recall_at_each(1.0),
                curve.recall_at_each(0.1)
            );
        }
        let _ = writeln!(text, "{score:>14}{:>14.3}{:>8}", curve.final_recall(), curve.faces);
    }
}

/// Scales `total` false alarms on all of FDDB to the number of pictures of the curve.
fn scaled(total: u32, curve: &Curve) -> f64 {
    f64::from(total) * curve.pictures as f64 / FDDB_PICTURES
}

fn sizes(text: &mut String, report: &Report) {
    if report.by_size.is_empty() {
        return;
    }
    let mut lines = ["face height, pixels", "faces", "recall at 1 false alarm"].map(|head| format!("{head:<26}"));
    for size in &report.by_size {
        let range = size.below.map_or(format!("{}+", size.from), |below| format!("{}–{below}", size.from));
        let _ = write!(lines[0], "{range:>8}");
        let _ = write!(lines[1], "{:>8}", size.faces);
        let _ = write!(lines[2], "{:>8.2}", size.recall);
    }
    let _ = writeln!(text, "\n{}", lines.join("\n"));
}

fn costs(text: &mut String, summary: &Summary) {
    let measured = &summary.measured;
    let _ = writeln!(text);
    if let Some(median) = quantile(&measured.ms, 0.5) {
        let p90 = quantile(&measured.ms, 0.9).unwrap_or(median);
        let busy = measured.cost.as_ref().map_or(String::new(), |c| format!(", {} threads busy", c.threads));
        let _ = writeln!(text, "{:<26}median {median:.2}, 90th percentile {p90:.2}{busy}", "ms a picture");
    }
    if let Some(cost) = &measured.cost {
        let _ = writeln!(
            text,
            "{:<26}{:.1} million ({}), smallest face {} pixels",
            "multiply-adds a VGA frame",
            cost.multiply_adds_vga.iter().sum::<f64>() / 1e6,
            cost.multiply_adds_vga.iter().map(|n| format!("{:.1}", n / 1e6)).collect::<Vec<_>>().join(" + "),
            cost.min_face
        );
        let windows: Vec<String> = cost.windows.iter().map(|(name, count)| format!("{name} {count:.0}")).collect();
        let _ = writeln!(text, "{:<26}{}", "windows a picture", windows.join(", "));
    }
}

/// Returns the measures as one line of JSON.
pub(super) fn json(summary: &Summary) -> String {
    let Summary { set, detector, measured, raw, adjusted, by_label, plots } = summary;
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("set", json!(set));
    put("detector", json!(detector));
    put("pictures", json!(raw.pictures));
    put("faces", json!(raw.faces));
    put("detections", json!(raw.detections));
    let failures: Vec<Value> =
        measured.failures.iter().map(|(name, reason)| json!({"image": name, "error": reason})).collect();
    put("failed", json!(failures));
    put("raw", curves(raw));
    if let Some(report) = adjusted {
        put("convention", json!(report.convention));
        put("adjusted", curves(report));
    }
    if !raw.by_size.is_empty() {
        let sizes = raw
            .by_size
            .iter()
            .map(|s| json!({"from": s.from, "below": s.below, "faces": s.faces, "recall_1fppi": round(s.recall)}));
        put("by_size", sizes.collect());
    }
    if let Some(counts) = by_label {
        put("by", super::by_label::json(counts));
    }
    if let Some(median) = quantile(&measured.ms, 0.5) {
        put("ms", json!({"median": round(median), "p90": quantile(&measured.ms, 0.9).map(round)}));
    }
    if let Some(cost) = &measured.cost {
        put("threads", json!(cost.threads));
        put("min_face", json!(cost.min_face));
        let levels: Vec<f64> = cost.multiply_adds_vga.iter().map(|n| n.round()).collect();
        put("multiply_adds_vga", json!(levels.iter().sum::<f64>()));
        put("multiply_adds_vga_by_level", json!(levels));
        let windows: Map<String, Value> =
            cost.windows.iter().map(|(name, count)| ((*name).to_owned(), json!(round(*count)))).collect();
        put("windows", Value::Object(windows));
    }
    if !plots.is_empty() {
        put("plots", json!(plots));
    }
    format!("{}\n", Value::Object(object))
}

fn curves(report: &Report) -> Value {
    let curve = |NamedCurve { name, curve }: &NamedCurve| {
        let mut figures = Map::new();
        let mut put = |key: String, value: f64| figures.insert(key, json!(round(value)));
        if *name == "ellipses" {
            for total in FDDB_TOTALS {
                put(format!("recall@{total}"), curve.recall_at(f64::from(total)));
                put(format!("recall@{total}_scaled"), curve.recall_at(scaled(total, curve)));
            }
        } else {
            put("ap".into(), curve.average_precision());
        }
        put("recall_1fppi".into(), curve.recall_at_each(1.0));
        put("recall_0.1fppi".into(), curve.recall_at_each(0.1));
        put("max_recall".into(), curve.final_recall());
        for rate in [1.0, 0.1] {
            let threshold = curve.threshold_at_each(rate);
            figures.insert(format!("score_at_{rate}fppi"), json!(threshold));
        }
        figures.insert("faces".into(), json!(curve.faces));
        ((*name).to_owned(), Value::Object(figures))
    };
    Value::Object(report.curves.iter().map(curve).collect())
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Returns the value below which `share` (0..1) of the values lie, interpolated; `None` without values.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_lie_between_the_values() {
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[4.0, 1.0], 0.0), Some(1.0));
        assert_eq!(quantile(&[7.0], 0.9), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
