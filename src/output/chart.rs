//! Draws the plot of a measurement: a histogram of the latencies, and each frame's latency over time.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::SeriesLabelPosition::{UpperLeft, UpperRight};
use plotters::prelude::*;

use super::latency::{FrameLatency, Report};
use super::times::rounded;
use crate::error::Result;
use crate::plotting::{COLOURS, FINER, INK, Legend, failed, look, reduced, text};

/// Width and height of the plot, pixels.
pub const SIZE: (u32, u32) = (960, 720);
/// Bars of the histogram.
const BARS: usize = 90;
/// The histogram ends at this multiple of the 99th percentile, so that a single late frame does not squeeze all others.
const BEYOND: f64 = 2.5;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Draws the measurement of `source`: above, the histogram with its percentiles; below, each frame's latency over time,
/// with a vertical line where frames were dropped.
///
/// # Errors
/// If the drawing library fails.
pub fn latency(source: &str, report: &Report, frames: &[FrameLatency]) -> Result<RgbImage> {
    let large = (SIZE.0 * FINER, SIZE.1 * FINER);
    let mut picture = RgbImage::new(large.0, large.1);
    {
        let root = BitMapBackend::with_buffer(&mut picture, large).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (upper, lower) = root.split_vertically(large.1 * 11 / 20);
        histogram(&upper, source, report, frames)?;
        time_line(&lower, report, frames)?;
        root.present().map_err(failed)?;
    }
    Ok(reduced(&picture))
}

/// Draws the upper half: how many frames had which latency.
fn histogram(area: &Area<'_>, source: &str, report: &Report, frames: &[FrameLatency]) -> Result<()> {
    let times = report.latency_ms;
    let end = times.max.min(times.p99 * BEYOND).max(0.001) * 1.02;
    let mut bars = [0u32; BARS];
    let mut beyond = 0;
    for frame in frames {
        match bars.get_mut((f64::from(frame.latency) / end * BARS as f64) as usize) {
            Some(bar) => *bar += 1,
            None => beyond += 1,
        }
    }
    let highest = f64::from(bars.iter().copied().max().unwrap_or(0).max(1)) * 1.12;
    let mut title = format!("{source}: {} frames, {} dropped, {:.1} fps", report.frames, report.dropped, report.fps);
    if beyond > 0 {
        title += &format!(" ({beyond} later than shown)");
    }
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(20))
        .margin(20 * FINER)
        .margin_bottom(6 * FINER)
        .x_label_area_size(54 * FINER)
        .y_label_area_size(78 * FINER)
        .build_cartesian_2d(0.0..end, 0.0..highest)
        .map_err(failed)?;
    mesh(&mut chart, "From capture to being shown, ms", "Frames", 12)?;
    let width = end / BARS as f64;
    let bar = |(i, count): (usize, &u32)| {
        let left = width * i as f64;
        let corners = [(left + width * 0.06, 0.0), (left + width * 0.94, f64::from(*count))];
        Rectangle::new(corners, COLOURS[0].filled())
    };
    chart.draw_series(bars.iter().enumerate().filter(|(_, count)| **count > 0).map(bar)).map_err(failed)?;
    let marks = [("p50", times.p50, 2), ("p95", times.p95, 1), ("p99", times.p99, 3)];
    for (name, value, colour) in marks {
        let colour = COLOURS[colour];
        chart
            .draw_series(LineSeries::new([(value, 0.0), (value, highest)], colour.stroke_width(2 * FINER)))
            .map_err(failed)?
            .label(format!("{name} {value:.1} ms"))
            .legend(move |(x, y)| key(x, y, colour));
    }
    let colour = INK;
    chart
        .draw_series(LineSeries::new([(0.0, -1.0); 2], colour.stroke_width(0)))
        .map_err(failed)?
        .label(format!("max {:.1} ms", times.max))
        .legend(move |(x, y)| key(x, y, WHITE));
    // The legend goes to the side with fewer bars.
    legend(&mut chart, if times.p50 > end / 2.0 { UpperLeft } else { UpperRight })
}

/// Draws the lower half: each frame's latency at its capture time.
fn time_line(area: &Area<'_>, report: &Report, frames: &[FrameLatency]) -> Result<()> {
    let end = report.seconds.max(0.001);
    // The upper part is left free for the legend.
    let highest = report.latency_ms.max.max(0.001) * 1.4;
    let mut chart = ChartBuilder::on(area)
        .margin(20 * FINER)
        .margin_top(6 * FINER)
        .x_label_area_size(54 * FINER)
        .y_label_area_size(78 * FINER)
        .build_cartesian_2d(0.0..end, 0.0..highest)
        .map_err(failed)?;
    mesh(&mut chart, "Seconds", "Latency, ms", 6)?;
    let drops = frames.iter().filter(|frame| frame.dropped > 0);
    let colour = COLOURS[1];
    let line = |frame: &FrameLatency| {
        let time = f64::from(frame.time);
        PathElement::new([(time, 0.0), (time, highest)], colour.mix(0.45).stroke_width(FINER))
    };
    let series = chart.draw_series(drops.map(line)).map_err(failed)?;
    if report.dropped > 0 {
        series.label(format!("{} dropped", report.dropped)).legend(move |(x, y)| key(x, y, colour));
    }
    let dot = |frame: &FrameLatency| {
        Circle::new((f64::from(frame.time), f64::from(frame.latency)), 2 * FINER, COLOURS[0].mix(0.8).filled())
    };
    chart
        .draw_series(frames.iter().map(dot))
        .map_err(failed)?
        .label("a frame")
        .legend(move |(x, y)| key(x, y, COLOURS[0]));
    legend(&mut chart, UpperRight)
}

type Chart<'a, 'b> = ChartContext<
    'a,
    BitMapBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Draws the axes, their labels and the grid.
fn mesh(chart: &mut Chart<'_, '_>, x: &str, y: &str, y_labels: usize) -> Result<()> {
    // At most three decimals, without zeros at the end.
    let number = |v: &f64| format!("{}", rounded(*v));
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x).y_desc(y).x_labels(12).y_labels(y_labels / 2);
    mesh.x_label_formatter(&number).y_label_formatter(&number);
    look(&mut mesh, 18, 16);
    mesh.draw().map_err(failed)
}

/// A short line of a colour, as the legend shows it.
fn key(x: i32, y: i32, colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 24 * FINER as i32, y)], colour.stroke_width(4 * FINER))
}

/// Draws the legend into a corner.
fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Result<()> {
    Legend { position, key: 32, margin: 10, text: 16, cover: 0.9 }.draw(chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::latency::tests::measured;

    /// Counts pixels of about this colour; lines have soft edges.
    fn coloured(picture: &RgbImage, colour: RGBColor) -> usize {
        let near = |p: &image::Rgb<u8>| p.0.iter().zip([colour.0, colour.1, colour.2]).all(|(a, b)| a.abs_diff(b) < 60);
        picture.pixels().filter(|p| near(p)).count()
    }

    #[test]
    fn both_parts_show_the_frames_and_percentiles_are_marked() {
        // 50 frames whose percentiles differ: 44 of 5 to 9 ms, 4 of 15 ms, 2 of 30 ms.
        let times: Vec<u64> = (0..22).map(|i| 5 + i % 5).chain([15, 15, 30]).collect();
        let (report, frames) = measured(&times, 50);
        let picture = latency("a source", &report, &frames).unwrap();
        assert_eq!(picture.dimensions(), SIZE);
        let half = |top: u32| image::imageops::crop_imm(&picture, 0, top, SIZE.0, SIZE.1 / 2).to_image();
        let [bars, line] = [half(0), half(SIZE.1 / 2)].map(|half| coloured(&half, COLOURS[0]));
        assert!(bars > 500 && line > 150, "{bars} pixels of bars, {line} of the line");
        for colour in [1, 2, 3] {
            assert!(coloured(&half(0), COLOURS[colour]) > 100, "{colour}");
        }
        assert!(coloured(&picture, INK) > 500);
    }

    #[test]
    fn a_single_frame_gives_a_picture_too() {
        let (report, frames) = measured(&[5], 1);
        assert!(latency("a source", &report, &frames).is_ok());
    }
}
