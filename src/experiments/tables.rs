//! Writes records as tables (Markdown).

use super::results::{BatchRow, CascadeRow, Curve, Findings, Results, RunResults, SideResults, Stage};

/// Writes a record as tables, with what is to be known of the run.
pub fn tables(results: &Results) -> String {
    let Results { machine, threads, steps, findings, .. } = results;
    let tables = match findings {
        Findings::Training(sides) => training(sides),
        Findings::Cascade { rows, stages } => format!("{}\n{}", cascades(rows), trained(stages)),
        Findings::Batches { pictures, rounds, rows } => {
            let table = batches(rows);
            format!(
                "{table}\nLeast of {rounds} rounds, mean of {pictures} pictures of wider/val, smallest face 20 pixels.\n"
            )
        }
    };
    let part = if matches!(findings, Findings::Training(_)) {
        "steps"
    } else {
        "steps of the article's cascade, and of the pictures,"
    };
    let short = match steps {
        Some(share) if *share < 1.0 => {
            format!(" Only {share} of the {part} that its file asks for (`--steps {share}`).")
        }
        Some(_) => String::new(),
        None => " A trial of the program (`--quick`); its figures say nothing.".into(),
    };
    format!("{tables}\n{machine}; threads used: {threads}.{short}\n")
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let rule = format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    line(&head) + &rule + &rows
}

fn training(sides: &[SideResults]) -> String {
    let with_error = sides.iter().any(|side| side.runs.iter().any(|run| run.measured.error.is_some()));
    let ways = ways(sides);
    let mut head = vec!["", "multiply-adds", "pictures", "faces", "samples", "seeds"];
    if with_error {
        head.extend(["error at the end", "mean error on the way", "fluctuation"]);
    }
    head.extend(ways.iter().map(String::as_str));
    head.push("minutes a run");
    let rows = sides.iter().map(|side| {
        let first = side.runs.first();
        let mut row = vec![
            side.name.clone(),
            format!("{:.2} M", side.multiply_adds as f64 / 1e6),
            side.pictures.to_string(),
            side.faces.to_string(),
            first.map_or_else(String::new, |run| run.samples.to_string()),
            side.runs.len().to_string(),
        ];
        if with_error {
            row.push(spread(side, |run| run.measured.error.map(|error| 100.0 * error), 2, " %"));
            row.push(spread(side, |run| mean_error(&run.validation), 2, " %"));
            row.push(spread(side, |run| fluctuation(&run.validation), 2, ""));
        }
        row.extend(ways.iter().map(|way| spread(side, |run| run.measured.iou.get(way).copied(), 4, "")));
        row.push(spread(side, |run| Some(run.seconds / 60.0), 1, ""));
        row
    });
    let mut text = table(&head, rows);
    let windows = sides.iter().flat_map(|side| &side.runs).map(|run| run.measured.windows).max().unwrap_or(0);
    if with_error {
        let errors: Vec<f64> = sides.iter().flat_map(|side| &side.runs).filter_map(|run| run.measured.error).collect();
        let error = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
        text += &format!(
            "\nErrors in percent of {windows} windows at the end, and of fewer on the way; which windows these are makes such an error \
             uncertain by {:.2} (one deviation), for all alike. Fluctuation is the mean change from one validation to the next in the second \
             half, in points. ",
            100.0 * (error * (1.0 - error) / windows.max(1) as f64).sqrt()
        );
    } else {
        text += &format!("\nMean IoU with the face's square over {windows} windows. ");
    }
    if sides.iter().any(|side| side.runs.len() > 1) {
        text += "Of several seeds: the mean, least and most.";
    }
    text.trim_end().to_owned() + "\n"
}

/// The ways to calibrate that any side has, the window as it is first.
fn ways(sides: &[SideResults]) -> Vec<String> {
    let known = ["before", "weighted mean", "plain mean", "best class", "regression"];
    let any = |way: &&&str| sides.iter().any(|side| side.runs.iter().any(|run| run.measured.iou.contains_key(**way)));
    known.iter().filter(any).map(ToString::to_string).collect()
}

/// A figure of all runs of a side: the mean, and the least and the most of several.
fn spread(side: &SideResults, of: impl Fn(&RunResults) -> Option<f64>, digits: usize, unit: &str) -> String {
    let values: Vec<f64> = side.runs.iter().filter_map(of).collect();
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    match values.len() {
        0 => "–".into(),
        1 => format!("{mean:.digits$}{unit}"),
        _ => format!("{mean:.digits$}{unit} ({least:.digits$}–{most:.digits$})"),
    }
}

/// The mean of all validations, percent: the less, the sooner a net is good.
fn mean_error(curve: &Curve) -> Option<f64> {
    (!curve.error.is_empty()).then(|| 100.0 * curve.error.iter().sum::<f64>() / curve.error.len() as f64)
}

/// The mean change from one validation to the next in the second half, percent.
fn fluctuation(curve: &Curve) -> Option<f64> {
    let half = &curve.error[curve.error.len() / 2..];
    let steps = half.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    (half.len() > 1).then(|| 100.0 * steps.sum::<f64>() / (half.len() - 1) as f64)
}

fn cascades(rows: &[CascadeRow]) -> String {
    let head = [
        "cascade",
        "AP, faces ≥ 20 px",
        "AP, faces ≥ 40 px",
        "recall at any score, ≥ 20 px",
        "multiply-adds a picture",
        "processor ms a picture",
    ];
    let (pictures, timed) = rows.first().map_or((0, 0), |row| (row.pictures, row.timed));
    let table = table(
        &head,
        rows.iter().map(|row| {
            vec![
                row.name.clone(),
                format!("{:.4}", row.ap_h20),
                format!("{:.4}", row.ap_h40),
                format!("{:.3}", row.recall_h20),
                format!("{:.0} M", row.multiply_adds / 1e6),
                format!("{:.1}", row.ms),
            ]
        }),
    );
    format!(
        "{table}\n{pictures} pictures of wider/val, smallest face 20 pixels; the last two columns are means of {timed} of them.\n"
    )
}

fn trained(stages: &[Stage]) -> String {
    let what = |stage: &Stage| if stage.name.starts_with("mining") { "windows" } else { "samples" };
    let row = |stage: &Stage| {
        vec![stage.name.clone(), format!("{} {}", stage.samples, what(stage)), format!("{:.1}", stage.seconds / 60.0)]
    };
    format!("How the article's was trained:\n\n{}", table(&["", "", "minutes"], stages.iter().map(row)))
}

fn batches(rows: &[BatchRow]) -> String {
    let sizes = rows.first().map_or(&[][..], |row| &row.windows);
    let mut head = vec!["cascade".to_owned(), "windows a picture".to_owned()];
    head.extend(sizes.iter().map(|n| if *n == 1 { "one by one, ms".into() } else { format!("by {n}, ms") }));
    head.push("saved at best".into());
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(
        &head,
        rows.iter().map(|row| {
            let mut cells = vec![row.name.clone(), format!("{:.0}", row.looked_at)];
            cells.extend(row.ms.iter().map(|ms| format!("{ms:.2}")));
            cells.push(format!("{:.0} %", 100.0 * saved(row)));
            cells
        }),
    )
}

/// Share of the time one by one that the best batch saves.
fn saved(row: &BatchRow) -> f64 {
    let alone = row.windows.iter().zip(&row.ms).find(|(n, _)| **n == 1).map_or(f64::NAN, |(_, ms)| *ms);
    1.0 - row.ms.iter().copied().fold(f64::INFINITY, f64::min) / alone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::results::Measured;

    fn run(seed: u64, error: &[f64], last: f64) -> RunResults {
        let curve = Curve { samples: (1..=error.len() as u64).collect(), loss: error.to_vec(), error: error.to_vec() };
        let measured = Measured { windows: 4096, error: Some(last), ..Measured::default() };
        RunResults { seed, samples: 640, seconds: 90.0, training: curve.clone(), validation: curve, measured }
    }

    fn results(runs: Vec<RunResults>) -> Results {
        let side = SideResults {
            name: "a third".into(),
            panel: "small".into(),
            net: "net12".into(),
            multiply_adds: 1_500_000,
            pictures: 30,
            faces: 40,
            runs,
        };
        Results::new("T", 1, Some(1.0), Findings::Training(vec![side]))
    }

    #[test]
    fn a_table_has_mean_and_spread_of_the_seeds() {
        let text = tables(&results(vec![run(1, &[0.4, 0.1, 0.03, 0.05], 0.04), run(2, &[0.4, 0.1, 0.06, 0.06], 0.06)]));
        assert!(text.contains("| a third | 1.50 M | 30 | 40 | 640 | 2 | 5.00 % (4.00–6.00) |"), "{text}");
        // Fluctuation: of 3 to 5 and of 6 to 6 percent.
        assert!(text.contains("| 1.00 (0.00–2.00) | 1.5 (1.5–1.5) |"), "{text}");
    }

    #[test]
    fn the_best_batch_is_compared_with_one_by_one() {
        let row = BatchRow { name: "a".into(), windows: vec![1, 16, 64], ms: vec![10.0, 7.5, 8.0], looked_at: 99.4 };
        let findings = Findings::Batches { pictures: 3, rounds: 2, rows: vec![row] };
        let text = tables(&Results::new("T", 1, Some(1.0), findings));
        assert!(text.contains("| a | 99 | 10.00 | 7.50 | 8.00 | 25 % |"), "{text}");
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, results) = (folder.path().join("a.json"), results(vec![run(1, &[0.4, 0.1], 0.04)]));
        results.save(&file).unwrap();
        assert_eq!(Results::load(&file).unwrap(), results);
        std::fs::write(&file, "{}").unwrap();
        assert!(Results::load(&file).unwrap_err().to_string().contains("a.json"));
    }
}
