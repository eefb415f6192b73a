//! Draws precision–recall and ROC curves.

use image::RgbImage;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::error::Result;
use crate::plotting::{COLOURS, FINER, Legend, failed, look, reduced, text};

/// Width and height of a picture of curves, pixels.
pub const SIZE: (u32, u32) = (960, 720);

/// A line with its name in the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Text in the legend.
    pub name: String,
    /// Points (x, y) along the line.
    pub points: Vec<(f64, f64)>,
}

/// Draws precision (y) over recall (x), both 0..1. Colours repeat after five series.
///
/// # Errors
/// If the drawing library fails.
pub fn precision_recall(title: &str, series: &[Series]) -> Result<RgbImage> {
    let axes = Axes { title, x: "Recall", y: "Precision", legend: SeriesLabelPosition::LowerLeft };
    draw(&axes, 0.0..1.0, |v| format!("{v:.1}"), 11, series, |points| points.to_vec())
}

/// Draws recall (y) over false alarms a picture (x, logarithmic, 0.001 to 10). A curve that ends before 10 is extended at its last
/// recall. Colours repeat after five series.
///
/// # Errors
/// If the drawing library fails.
pub fn roc(title: &str, series: &[Series]) -> Result<RgbImage> {
    const LEAST: f64 = 0.001;
    const MOST: f64 = 10.0;
    let axes = Axes { title, x: "False alarms a picture", y: "Recall", legend: SeriesLabelPosition::LowerRight };
    let shown = |points: &[(f64, f64)]| {
        // A logarithmic axis has no 0: the line starts at the recall reached with fewer false alarms than the axis shows.
        let first = points.iter().rev().find(|p| p.0 <= LEAST).map_or(0.0, |p| p.1);
        let mut line = vec![(LEAST, first)];
        for &(x, y) in points.iter().filter(|p| p.0 > LEAST && p.0 <= MOST) {
            // A stair, because no threshold gives the points between two of the curve.
            line.push((x, line[line.len() - 1].1));
            line.push((x, y));
        }
        let last = line[line.len() - 1].1;
        line.push((MOST, last));
        line
    };
    draw(&axes, (LEAST..MOST).log_scale(), |v| format!("{v}"), 5, series, shown)
}

/// Shares of 0..1 over shares of 0..1: a ROC curve, a reliability diagram.
///
/// # Errors
/// If the drawing library fails.
pub fn shares(title: &str, x: &str, y: &str, series: &[Series]) -> Result<RgbImage> {
    let axes = Axes { title, x, y, legend: SeriesLabelPosition::LowerRight };
    draw(&axes, 0.0..1.0, |v| format!("{v:.1}"), 11, series, |points| points.to_vec())
}

struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    legend: SeriesLabelPosition,
}

fn draw<X>(
    axes: &Axes<'_>,
    x_range: X,
    x_label: impl Fn(&f64) -> String,
    x_labels: usize,
    series: &[Series],
    shown: impl Fn(&[(f64, f64)]) -> Vec<(f64, f64)>,
) -> Result<RgbImage>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let large = (SIZE.0 * FINER, SIZE.1 * FINER);
    let mut picture = RgbImage::new(large.0, large.1);
    let px = |n: u32| n * FINER;
    {
        let root = BitMapBackend::with_buffer(&mut picture, large).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, text(26))
            .margin(px(20))
            .x_label_area_size(px(58))
            .y_label_area_size(px(74))
            .build_cartesian_2d(x_range, 0.0..1.0)
            .map_err(failed)?;
        let y_label = |v: &f64| format!("{v:.1}");
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(axes.x).y_desc(axes.y).x_labels(x_labels).y_labels(11);
        mesh.x_label_formatter(&x_label).y_label_formatter(&y_label);
        look(&mut mesh, 21, 18);
        mesh.draw().map_err(failed)?;
        for (i, line) in series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(shown(&line.points), colour.stroke_width(px(3) - 1)))
                .map_err(failed)?
                .label(line.name.as_str())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 28 * FINER as i32, y)], colour.stroke_width(4 * FINER))
                });
        }
        Legend { position: axes.legend.clone(), key: 38, margin: 14, text: 20, cover: 0.9 }.draw(&mut chart)?;
        root.present().map_err(failed)?;
    }
    Ok(reduced(&picture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plotting::{INK, coloured};

    #[test]
    fn both_pictures_show_every_series_and_text() {
        let name = |n: &str| n.to_owned();
        let series = [
            Series { name: name("faces ≥ 20 px: AP .85"), points: vec![(0.0, 1.0), (0.6, 0.9), (0.9, 0.3)] },
            Series { name: name("faces ≥ 40 px: AP .91"), points: vec![(0.1, 1.0), (0.7, 0.95), (0.95, 0.4)] },
        ];
        for picture in [precision_recall("A", &series).unwrap(), roc("A", &series).unwrap()] {
            assert!(coloured(&picture, COLOURS[0]) > 300 && coloured(&picture, COLOURS[1]) > 300);
            assert!(coloured(&picture, INK) > 500);
        }
    }

    #[test]
    fn no_detections_and_no_series_still_give_a_picture() {
        let empty = Series { name: "nothing".into(), points: Vec::new() };
        assert!(precision_recall("A", std::slice::from_ref(&empty)).is_ok() && roc("A", &[empty]).is_ok());
        assert!(roc("A", &[]).is_ok());
    }
}
