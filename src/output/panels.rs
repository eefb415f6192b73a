//! Draws one step of the cascade: the darkened picture with the windows behind the step. The sheet of `inspect` and the live view of
//! the steps share it.

use image::RgbImage;

use super::draw;
use crate::cascade::StepTrace;
use crate::geometry::{Rect, Window};
use crate::text::ms;

/// Panels in a row: find, calibrate, filter.
const COLUMNS: u32 = 3;

/// Columns and rows of `panels` panels.
pub fn grid(panels: usize) -> (u32, u32) {
    let panels = panels.max(1) as u32;
    (panels.min(COLUMNS), panels.div_ceil(COLUMNS))
}

/// Darkens a picture, so that windows are easier to see on it.
pub fn darken(picture: &mut RgbImage) {
    picture.iter_mut().for_each(|v| *v = (u16::from(*v) * 5 / 8) as u8);
}

/// Draws the windows behind a step, coloured by their score from red to green, the best on top; `place` maps the picture to the panel.
pub fn windows(panel: &mut RgbImage, step: &StepTrace, place: impl Fn(&Rect) -> Rect) {
    let mut windows: Vec<&Window> = step.windows.iter().chain(&step.accepted).collect();
    windows.sort_by(|a, b| a.score.total_cmp(&b.score));
    // Many windows that overlap are drawn transparent, so that the picture and the best of them show.
    let opacity = match windows.len() {
        0..=60 => 1.0,
        61..=600 => 0.7,
        _ => 0.35,
    };
    for window in windows {
        draw::outline(panel, &place(&window.rect), draw::confidence(window.score), 1.0, opacity);
    }
}

/// Writes what came out of a step and how long it took: `find-1 · 12 windows · 1.50 ms`.
pub fn caption(step: &StepTrace) -> String {
    format!("{} · {} · {:.2} ms", step.name, step.counted(), ms(step.elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn panels_stand_in_rows_of_three() {
        let grids = [0, 1, 2, 3, 4, 6, 9].map(grid);
        assert_eq!(grids, [(1, 1), (1, 1), (2, 1), (3, 1), (3, 2), (3, 2), (3, 3)]);
    }

    #[test]
    fn the_best_window_lies_on_top_and_accepted_ones_are_drawn_too() {
        let window = |x, score| Window { rect: Rect::new(x, 4.0, 12.0, 12.0), score };
        let step = StepTrace {
            name: "find-1",
            windows: vec![window(4.0, 9.0), window(4.0, -9.0)],
            accepted: vec![window(24.0, 9.0)],
            dropped: Vec::new(),
            elapsed: Duration::from_micros(1500),
        };
        let mut panel = RgbImage::new(40, 20);
        windows(&mut panel, &step, |r| *r);
        let colours = [(4, 10), (24, 10)].map(|(x, y)| *panel.get_pixel(x, y));
        assert_eq!(colours, [draw::confidence(9.0); 2]);
        assert_eq!(caption(&step), "find-1 · 2 windows + 1 accepted · 1.50 ms");
    }
}
