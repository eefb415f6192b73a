//! Draws accuracy over time: a line for each detector through its smallest faces.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Result;
use crate::plotting::{COLOURS, FINER, GRID, INK, failed, look, reduced, text};

/// Width and height of the picture, pixels.
pub const SIZE: (u32, u32) = (1600, 760);
/// Width of the key at the right, pixels.
const KEY: u32 = 330;
/// Average precision at the lower edge; what lies below is named in the key.
const LEAST: f64 = 0.5;
/// Colours of further detectors, after [`COLOURS`].
const MORE: [RGBColor; 3] = [RGBColor(20, 20, 20), RGBColor(230, 159, 0), RGBColor(120, 94, 50)];

/// A way of running a detector: one point.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Measured {
    /// Name of the detector; points of one name are joined.
    pub detector: String,
    /// Whether it is this project's, which is drawn thicker.
    pub ours: bool,
    /// Side of the smallest face looked for, pixels; 0 where there is no choice.
    pub smallest: u32,
    /// Processor time of a frame, milliseconds.
    pub ms: f64,
    /// Average precision of faces of at least 20 pixels, 0..1.
    pub h20: f64,
    /// Average precision of faces of at least 40 pixels, 0..1.
    pub h40: f64,
}

/// A detector with its colour and the shape of its points.
struct Series<'a> {
    name: &'a str,
    ours: bool,
    points: Vec<&'a Measured>,
    colour: RGBColor,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Triangle,
    Cross,
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// Returns the average precision of a point.
type Accuracy = fn(&Measured) -> f64;

/// Draws average precision over processor time (logarithmic): at the left of faces of at least 20 pixels, at the right of at least 40.
///
/// # Errors
/// If nothing was measured, or the drawing library fails.
pub fn accuracy_over_time(measured: &[Measured]) -> Result<RgbImage> {
    let times = || measured.iter().map(|m| m.ms).filter(|ms| ms.is_finite() && *ms > 0.0);
    let (least, most) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    if least > most {
        return Err(failed("no detector has a time"));
    }
    let range = least / 1.25..most * 1.25;
    let series = series(measured);
    let large = (SIZE.0 * FINER, SIZE.1 * FINER);
    let mut picture = RgbImage::new(large.0, large.1);
    {
        let root = BitMapBackend::with_buffer(&mut picture, large).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (charts, key_area) = root.split_horizontally(large.0 - KEY * FINER);
        let (left, right) = charts.split_horizontally((large.0 - KEY * FINER) / 2);
        chart(&left, "Faces of 20 pixels or more", range.clone(), &series, |m| m.h20)?;
        chart(&right, "Faces of 40 pixels or more", range, &series, |m| m.h40)?;
        key(&key_area, &series)?;
        root.present().map_err(failed)?;
    }
    Ok(reduced(&picture))
}

/// Joins the points of each detector, in the order in which detectors come first. Ours have colours of their own.
fn series(measured: &[Measured]) -> Vec<Series<'_>> {
    let mut all: Vec<Series<'_>> = Vec::new();
    for point in measured {
        match all.iter_mut().find(|s| s.name == point.detector) {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                name: &point.detector,
                ours: point.ours,
                points: vec![point],
                colour: INK,
                shape: Shape::Circle,
            }),
        }
    }
    let palette: Vec<RGBColor> = COLOURS.iter().chain(&MORE).copied().collect();
    let ours = all.iter().filter(|s| s.ours).count().min(palette.len() - 1);
    for (i, series) in all.iter_mut().filter(|s| s.ours).enumerate() {
        series.colour = palette[i % palette.len()];
    }
    for (i, series) in all.iter_mut().filter(|s| !s.ours).enumerate() {
        let others = &palette[ours..];
        series.colour = others[i % others.len()];
        series.shape = if (i / others.len()).is_multiple_of(2) { Shape::Triangle } else { Shape::Cross };
    }
    all
}

fn chart(
    area: &Area<'_>,
    title: &str,
    range: std::ops::Range<f64>,
    series: &[Series<'_>],
    accuracy: Accuracy,
) -> Result<()> {
    let px = |n: u32| n * FINER;
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(22))
        .margin(px(16))
        .x_label_area_size(px(56))
        .y_label_area_size(px(66))
        .build_cartesian_2d(range.log_scale(), LEAST..1.0)
        .map_err(failed)?;
    let (time, precision) = (|v: &f64| format!("{v}"), |v: &f64| format!("{v:.2}"));
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("Processor time of a VGA frame, ms").y_desc("Average precision").y_labels(11).y_max_light_lines(1);
    mesh.x_label_formatter(&time).y_label_formatter(&precision);
    look(&mut mesh, 18, 16);
    mesh.light_line_style(GRID.mix(0.5).stroke_width(FINER)).draw().map_err(failed)?;
    // Ours are drawn last, over the others.
    for series in series.iter().filter(|s| !s.ours).chain(series.iter().filter(|s| s.ours)) {
        let shown = || series.points.iter().filter(|m| accuracy(m) >= LEAST);
        let mut line: Vec<(f64, f64)> = shown().map(|m| (m.ms, accuracy(m))).collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        let stroke = series.colour.stroke_width(if series.ours { px(3) } else { px(3) / 2 });
        chart.draw_series(LineSeries::new(line.iter().copied(), stroke)).map_err(failed)?;
        let (size, style) = (if series.ours { px(5) } else { px(4) }, series.colour.filled());
        match series.shape {
            Shape::Circle => chart.draw_series(line.iter().map(|&at| Circle::new(at, size, style))),
            Shape::Triangle => chart.draw_series(line.iter().map(|&at| TriangleMarker::new(at, size, style))),
            Shape::Cross => {
                chart.draw_series(line.iter().map(|&at| Cross::new(at, size, series.colour.stroke_width(px(2)))))
            }
        }
        .map_err(failed)?;
        if series.ours {
            let style = text(13).pos(Pos::new(HPos::Center, VPos::Bottom)).color(&series.colour);
            let label = |m: &Measured| {
                let at = EmptyElement::at((m.ms, accuracy(m)));
                at + Text::new(m.smallest.to_string(), (0, -(px(6) as i32)), style.clone())
            };
            chart.draw_series(shown().map(|m| label(m))).map_err(failed)?;
        }
    }
    Ok(())
}

/// Draws which line is which detector, with those that lie below the charts named.
fn key(area: &Area<'_>, series: &[Series<'_>]) -> Result<()> {
    let px = |n: u32| (n * FINER) as i32;
    let mut y = px(70);
    for s in series {
        let ends = [(px(6), y), (px(40), y)];
        let width = if s.ours { 3 * FINER } else { 3 * FINER / 2 };
        area.draw(&PathElement::new(ends, s.colour.stroke_width(width))).map_err(failed)?;
        let (at, size, style) = ((px(23), y), px(if s.ours { 5 } else { 4 }), s.colour.filled());
        match s.shape {
            Shape::Circle => area.draw(&Circle::new(at, size, style)),
            Shape::Triangle => area.draw(&TriangleMarker::new(at, size, style)),
            Shape::Cross => area.draw(&Cross::new(at, size, s.colour.stroke_width(2 * FINER))),
        }
        .map_err(failed)?;
        let style = text(16).pos(Pos::new(HPos::Left, VPos::Center));
        let below = if s.points.iter().all(|m| m.h20 < LEAST) { format!(" (below {LEAST})") } else { String::new() };
        area.draw(&Text::new(format!("{}{below}", s.name), (px(50), y), style)).map_err(failed)?;
        y += px(28);
    }
    let lines = ["Each point is a smallest face,", "the smaller the further right;", "ours are numbered by it."];
    for (i, line) in (0..).zip(lines) {
        area.draw(&Text::new(line, (px(6), y + px(16) + i * px(22)), text(15))).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(detector: &str, ours: bool, smallest: u32, ms: f64, h20: f64) -> Measured {
        Measured { detector: detector.into(), ours, smallest, ms, h20, h40: (h20 + 0.05).min(1.0) }
    }

    /// Pixels of about this colour in the columns from..to: reduced lines have soft edges.
    fn coloured(picture: &RgbImage, colour: RGBColor, columns: std::ops::Range<u32>) -> usize {
        let near = |p: &image::Rgb<u8>| p.0.iter().zip([colour.0, colour.1, colour.2]).all(|(a, b)| a.abs_diff(b) < 40);
        picture.enumerate_pixels().filter(|(x, _, p)| columns.contains(x) && near(p)).count()
    }

    #[test]
    fn every_detector_has_its_line_in_both_charts_and_in_the_key() {
        let list = [
            measured("ours", true, 20, 9.0, 0.89),
            measured("ours", true, 40, 3.0, 0.7),
            measured("other", false, 20, 4.0, 0.85),
            measured("other", false, 40, 1.0, 0.6),
        ];
        let picture = accuracy_over_time(&list).unwrap();
        assert_eq!(picture.dimensions(), SIZE);
        let middle = (SIZE.0 - KEY) / 2;
        for colour in &COLOURS[..2] {
            for columns in [0..middle, middle..2 * middle, 2 * middle..SIZE.0] {
                assert!(coloured(&picture, *colour, columns.clone()) > 40, "{colour:?} in {columns:?}");
            }
        }
    }

    #[test]
    fn detectors_that_are_too_bad_for_the_chart_do_not_stop_it_and_none_at_all_do() {
        assert!(accuracy_over_time(&[measured("a", false, 0, 2.0, 0.1)]).is_ok());
        assert!(accuracy_over_time(&[]).is_err());
        assert!(accuracy_over_time(&[measured("a", false, 0, f64::NAN, 0.9)]).is_err());
        // More detectors than colours.
        let many: Vec<Measured> =
            (0..20).map(|i| measured(&i.to_string(), i == 3, 20, 1.0 + f64::from(i), 0.9)).collect();
        assert!(accuracy_over_time(&many).is_ok());
    }
}
