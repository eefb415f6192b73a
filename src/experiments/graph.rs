//! Draws records: curves of validation, a panel for each group of sides; mean IoU as bars; times by size of batch.

use image::RgbImage;
use plotters::chart::SeriesLabelPosition::{self, LowerLeft, LowerRight, UpperLeft, UpperRight};
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;

use super::results::{BatchRow, Findings, Results, RunResults, SideResults};
use crate::error::Result;
use crate::plotting::{COLOURS, FINER, Legend, failed, look, reduced, text};

/// Width and height of a panel, pixels.
const PANEL: (u32, u32) = (560, 460);
/// Height of the headline.
const HEAD: u32 = 54;
/// Panels side by side.
const ACROSS: usize = 2;
/// Share of the samples at the start that does not set the scale: errors fall steeply there.
const START: f64 = 0.15;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A line of a panel.
struct Line {
    name: String,
    colour: usize,
    /// Thin: one of several seeds. Thick: their mean, or the only one.
    thick: bool,
    points: Vec<(f64, f64)>,
}

/// What a panel shows.
enum Panel {
    Lines { title: String, x: &'static str, y: &'static str, lines: Vec<Line>, from_zero: bool },
    Bars { title: String, y: &'static str, groups: Vec<String>, bars: Vec<(String, Vec<Option<f64>>)> },
}

/// Draws a record; `None` if there is nothing to draw.
///
/// # Errors
/// If the drawing library fails.
pub fn graph(results: &Results) -> Result<Option<RgbImage>> {
    let panels = match &results.findings {
        Findings::Training(sides) => panels(sides),
        Findings::Batches { rows, .. } => vec![batches(rows)],
        Findings::Cascade { .. } => Vec::new(),
    };
    if panels.is_empty() {
        return Ok(None);
    }
    let (columns, rows) = (panels.len().min(ACROSS), panels.len().div_ceil(ACROSS));
    let size = (FINER * PANEL.0 * columns as u32, FINER * (PANEL.1 * rows as u32 + HEAD));
    let mut picture = RgbImage::new(size.0, size.1);
    {
        let root = BitMapBackend::with_buffer(&mut picture, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let rest = root.margin(px(12), 0, 0, 0).titled(&results.title, text(24)).map_err(failed)?;
        for (panel, area) in panels.iter().zip(rest.split_evenly((rows, columns))) {
            draw(panel, &area)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(Some(reduced(&picture)))
}

fn panels(sides: &[SideResults]) -> Vec<Panel> {
    let mut titles: Vec<&str> = sides.iter().map(|side| side.panel.as_str()).collect();
    titles.dedup();
    let mut panels: Vec<Panel> = titles
        .iter()
        .map(|title| {
            let shown: Vec<&SideResults> = sides.iter().filter(|side| side.panel == *title).collect();
            let faces = shown.iter().flat_map(|side| &side.runs).all(|run| run.measured.error.is_some());
            let lines = shown.iter().enumerate().flat_map(|(i, side)| lines(side, i, faces)).collect();
            let y = if faces { "Validation error, %" } else { "Validation loss" };
            Panel::Lines { title: (*title).into(), x: "Samples, thousands", y, lines, from_zero: faces }
        })
        .collect();
    let known = ["before", "weighted mean", "plain mean", "best class", "regression"];
    let mean = |side: &SideResults, way: &str| {
        let values: Vec<f64> = side.runs.iter().filter_map(|run| run.measured.iou.get(way).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let groups: Vec<&str> =
        known.into_iter().filter(|way| sides.iter().any(|side| mean(side, way).is_some())).collect();
    if !groups.is_empty() {
        let bars = sides.iter().map(|side| (side.name.clone(), groups.iter().map(|way| mean(side, way)).collect()));
        panels.push(Panel::Bars {
            title: "Windows and faces at the end".into(),
            y: "Mean IoU",
            bars: bars.collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
        });
    }
    panels
}

/// The lines of one side: each seed's, and their mean where there are several.
fn lines(side: &SideResults, colour: usize, faces: bool) -> Vec<Line> {
    let points = |run: &RunResults| -> Vec<(f64, f64)> {
        let values = if faces { &run.validation.error } else { &run.validation.loss };
        let scale = if faces { 100.0 } else { 1.0 };
        run.validation.samples.iter().zip(values).map(|(n, v)| (*n as f64 / 1e3, v * scale)).collect()
    };
    let all: Vec<Vec<(f64, f64)>> = side.runs.iter().map(points).collect();
    let shortest = all.iter().map(Vec::len).min().unwrap_or(0);
    let mean =
        (0..shortest).map(|i| (all[0][i].0, all.iter().map(|p| p[i].1).sum::<f64>() / all.len() as f64)).collect();
    let line = |name: &str, thick, points| Line { name: name.into(), colour, thick, points };
    let mut lines = vec![line(&side.name, true, mean)];
    if all.len() > 1 {
        lines.extend(all.into_iter().map(|points| line("", false, points)));
    }
    lines
}

fn batches(rows: &[BatchRow]) -> Panel {
    let line = |(i, row): (usize, &BatchRow)| {
        let alone = row.ms.first().copied().unwrap_or(f64::NAN);
        let points = row.windows.iter().zip(&row.ms).map(|(n, ms)| (f64::from(*n as u32).log2(), 100.0 * ms / alone));
        Line { name: row.name.clone(), colour: i, thick: true, points: points.collect() }
    };
    let lines = rows.iter().enumerate().map(line).collect();
    Panel::Lines {
        title: "The whole of detection".into(),
        x: "Windows in a batch, as a power of 2",
        y: "Processor time, % of one by one",
        lines,
        from_zero: true,
    }
}

fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}

fn px(n: u32) -> u32 {
    n * FINER
}

fn draw(panel: &Panel, area: &Area<'_>) -> Result<()> {
    match panel {
        Panel::Lines { title, x, y, lines, from_zero } => draw_lines(area, title, (x, y), lines, *from_zero),
        Panel::Bars { title, y, groups, bars } => draw_bars(area, title, y, groups, bars),
    }
}

fn draw_lines(area: &Area<'_>, title: &str, (x, y): (&str, &str), lines: &[Line], from_zero: bool) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().map(|p| p.0).fold(0.0, f64::max);
    let settled = || points().filter(|p| p.0 >= START * end).map(|p| p.1).filter(|v| v.is_finite());
    let (least, most) = (settled().fold(f64::INFINITY, f64::min), settled().fold(f64::NEG_INFINITY, f64::max));
    let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
    let room = 0.06 * (most - least).max(1e-3);
    let range = if from_zero { 0.0..1.1 * most } else { least - room..most + room };
    let (bottom, top) = (range.start, range.end);
    let end = end.max(1e-3);
    let names = lines.iter().filter(|line| line.thick).count();
    let corner = emptiest(points().map(|p| (p.0 / end, (p.1 - bottom) / (top - bottom))), names);
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(20))
        .margin(px(12))
        .x_label_area_size(px(50))
        .y_label_area_size(px(64))
        .build_cartesian_2d(0.0..end, range)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x).y_desc(y).x_labels(8).y_labels(8).x_label_formatter(&number).y_label_formatter(&number);
    look(&mut mesh, 17, 15);
    mesh.draw().map_err(failed)?;
    for line in lines.iter().filter(|line| !line.thick).chain(lines.iter().filter(|line| line.thick)) {
        let colour = colour(line.colour);
        let style = if line.thick { colour.stroke_width(px(3)) } else { colour.mix(0.45).stroke_width(px(1)) };
        // What lies above the panel is cut off at its edge.
        let points = line.points.iter().map(|p| (p.0, p.1.min(top)));
        let drawn = chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
        if line.thick {
            drawn.label(&line.name).legend(move |(x, y)| {
                let width = px(26) as i32;
                PathElement::new([(x, y), (x + width, y)], colour.stroke_width(px(3)))
            });
        }
    }
    legend(&mut chart, corner, 16)
}

/// The corner in which a legend of `names` lines hides fewest of `points`, shares of the panel from its left and its bottom edge.
fn emptiest(points: impl Iterator<Item = (f64, f64)> + Clone, names: usize) -> SeriesLabelPosition {
    let (width, height) = (0.6, 0.05 + 0.055 * names as f64);
    let hidden = |right: bool, upper: bool| {
        let within = |p: &(f64, f64)| {
            let (across, up) = (if right { 1.0 - p.0 } else { p.0 }, if upper { 1.0 - p.1 } else { p.1 });
            across < width && up < height
        };
        points.clone().filter(within).count()
    };
    let corners =
        [(UpperRight, true, true), (LowerRight, true, false), (LowerLeft, false, false), (UpperLeft, false, true)];
    corners.into_iter().min_by_key(|(_, right, upper)| hidden(*right, *upper)).map_or(UpperRight, |corner| corner.0)
}

fn draw_bars(
    area: &Area<'_>,
    title: &str,
    y: &str,
    groups: &[String],
    bars: &[(String, Vec<Option<f64>>)],
) -> Result<()> {
    let most = bars.iter().flat_map(|bar| bar.1.iter().flatten()).copied().fold(0.0, f64::max);
    let width = 1.0 / (bars.len() + 1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(20))
        .margin(px(12))
        .x_label_area_size(px(50))
        .y_label_area_size(px(64))
        // Above the bars there is room for their names.
        .build_cartesian_2d(-0.5..groups.len() as f64 - 0.5, 0.0..most * (1.15 + 0.07 * bars.len() as f64))
        .map_err(failed)?;
    let group = |v: &f64| {
        let named = (v - v.round()).abs() < 1e-6 && *v >= 0.0;
        if named { groups.get(v.round() as usize).cloned().unwrap_or_default() } else { String::new() }
    };
    let mut mesh = chart.configure_mesh();
    mesh.y_desc(y).x_labels(groups.len() + 1).x_label_formatter(&group).y_label_formatter(&number).disable_x_mesh();
    look(&mut mesh, 17, 15);
    mesh.draw().map_err(failed)?;
    for (i, (name, values)) in bars.iter().enumerate() {
        let colour = colour(i);
        let bar = |(group, value): (usize, &Option<f64>)| {
            let left = group as f64 - 0.5 + width * (i as f64 + 0.5);
            value.map(|value| Rectangle::new([(left, 0.0), (left + 0.9 * width, value)], colour.filled()))
        };
        chart.draw_series(values.iter().enumerate().filter_map(bar)).map_err(failed)?.label(name).legend(
            move |(x, y)| {
                Rectangle::new([(x, y - px(6) as i32), (x + px(22) as i32, y + px(6) as i32)], colour.filled())
            },
        );
    }
    legend(&mut chart, UpperRight, 15)
}

/// Draws the legend into a corner, with names `text` pixels high.
fn legend<'a, 'b: 'a>(
    chart: &mut ChartContext<'a, BitMapBackend<'b>, impl CoordTranslate>,
    position: SeriesLabelPosition,
    text: u32,
) -> Result<()> {
    Legend { position, key: 32, margin: 8, text, cover: 0.85 }.draw(chart)
}

/// A number at an axis, without zeros that say nothing.
fn number(v: &f64) -> String {
    let text = format!("{v:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::results::{Curve, Measured};
    use crate::plotting::coloured;

    fn side(name: &str, panel: &str, measured: &Measured) -> SideResults {
        let curve = Curve { samples: vec![10, 500, 1000], loss: vec![3.0, 2.0, 1.5], error: vec![0.9, 0.2, 0.1] };
        let run = |seed| RunResults {
            seed,
            samples: 1000,
            seconds: 1.0,
            training: curve.clone(),
            validation: curve.clone(),
            measured: measured.clone(),
        };
        SideResults {
            name: name.into(),
            panel: panel.into(),
            net: "net12".into(),
            multiply_adds: 1,
            pictures: 1,
            faces: 1,
            runs: vec![run(1), run(2)],
        }
    }

    #[test]
    fn every_side_has_its_line_and_ious_are_bars() {
        let faces = Measured { windows: 10, error: Some(0.1), ..Measured::default() };
        let iou = [("before".to_owned(), 0.6), ("regression".to_owned(), 0.8)].into();
        let moved = Measured { windows: 10, error: None, iou };
        for (measured, panels) in [(&faces, 1), (&moved, 2)] {
            let sides = vec![side("a", "P", measured), side("b", "P", measured)];
            let picture = graph(&Results::new("T", 1, Some(1.0), Findings::Training(sides))).unwrap().unwrap();
            assert_eq!(picture.dimensions(), (PANEL.0 * panels, PANEL.1 + HEAD));
            assert!(coloured(&picture, COLOURS[1]) > 300, "{}", coloured(&picture, COLOURS[1]));
        }
    }

    #[test]
    fn the_legend_lies_where_it_hides_fewest_points() {
        let falling: Vec<_> = (0..20).map(|i| f64::from(i) / 20.0).map(|x| (x, 1.0 - x)).collect();
        assert!(matches!(emptiest(falling.iter().copied(), 3), UpperRight));
        let high = falling.iter().map(|p| (p.0, 0.8 + 0.1 * p.1));
        assert!(matches!(emptiest(high, 5), LowerRight));
        let rising = falling.iter().map(|p| (1.0 - p.0, p.1));
        assert!(matches!(emptiest(rising.chain([(0.1, 0.1)]), 3), LowerRight | UpperLeft));
    }

    #[test]
    fn numbers_that_are_none_do_not_stop_a_graph() {
        let mut broken = side("a", "P", &Measured { windows: 1, error: Some(f64::NAN), ..Measured::default() });
        broken.runs[0].validation.error = vec![f64::NAN; 3];
        assert!(graph(&Results::new("T", 1, Some(1.0), Findings::Training(vec![broken]))).unwrap().is_some());
        assert!(graph(&Results::new("T", 1, Some(1.0), Findings::Training(Vec::new()))).unwrap().is_none());
    }
}
