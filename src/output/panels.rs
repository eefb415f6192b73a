//! Draws the article's illustration: a sheet with one panel for each step of the cascade and the windows after that step.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::draw::{self, GROUND, INK};
use crate::cascade::StepTrace;
use crate::geometry::{Face, Rect};
use crate::text::{counted, ms};

/// Width of a panel's picture, pixels, unless the picture is very tall.
const PANEL: f32 = 480.0;
/// Largest height of a panel's picture, pixels; tall pictures are drawn narrower.
const HIGHEST: f32 = 640.0;
/// Space round panels, pixels.
const GAP: u32 = 12;
/// Height of a panel's caption, pixels.
const CAPTION: f32 = 17.0;
/// Height of the sheet's heading, pixels.
const HEADING: f32 = 22.0;
/// Panels in a row.
const COLUMNS: u32 = 3;
/// Colour of true faces.
const WHITE: Rgb<u8> = Rgb([255; 3]);

/// Draws the sheet: panels in rows of three (find, calibrate, filter). Each caption gives the step's name, the number of
/// windows after it and of those that are accepted as faces already, its time and, if `truth` (true faces, in pixels of the picture) is not empty, how many true faces a
/// window covers with an IoU of at least 0.5. Windows are coloured by their score, from red to green; true faces are
/// white; the last panel shows `faces` instead of windows, with thick lines.
pub fn sheet(picture: &RgbImage, heading: &str, steps: &[StepTrace], faces: &[Face], truth: &[Rect]) -> RgbImage {
    let (width, height) = (picture.width().max(1) as f32, picture.height().max(1) as f32);
    let scale = (PANEL / width).min(HIGHEST / height);
    let inside = ((width * scale).round().max(1.0) as u32, (height * scale).round().max(1.0) as u32);
    // Captions of narrow pictures need the full width, too.
    let cell = (inside.0.max(PANEL as u32), inside.1 + CAPTION as u32 + 12);
    let filter = if scale < 1.0 { FilterType::Triangle } else { FilterType::CatmullRom };
    let small = imageops::resize(picture, inside.0, inside.1, filter);
    let mut dim = small.clone();
    draw::fill(&mut dim, &Rect::new(0.0, 0.0, inside.0 as f32, inside.1 as f32), Rgb([0; 3]), 0.35);

    let panels = steps.len().max(1) as u32;
    let (columns, rows) = (COLUMNS.min(panels), panels.div_ceil(COLUMNS));
    let top = HEADING as u32 + 2 * GAP;
    let mut sheet = RgbImage::from_pixel(columns * (cell.0 + GAP) + GAP, top + rows * (cell.1 + GAP), GROUND);
    draw::text(&mut sheet, heading, GAP as f32, GAP as f32, HEADING, INK);
    let scaled = |r: &Rect| Rect::new(r.x * scale, r.y * scale, r.w * scale, r.h * scale);
    for (i, step) in steps.iter().enumerate() {
        let last = i + 1 == steps.len();
        let mut panel = if last { small.clone() } else { dim.clone() };
        for box_ in truth {
            draw::outline(&mut panel, &scaled(box_), WHITE, 2.0, 1.0);
        }
        if last {
            for face in faces.iter().rev() {
                let rect = scaled(&face.rect);
                draw::outline(&mut panel, &rect, Rgb([0; 3]), 5.0, 0.5);
                draw::outline(&mut panel, &rect, draw::FACE, 3.0, 1.0);
                draw::label(&mut panel, &rect, &format!("{:.2}", face.score), 13.0, draw::FACE, 2.0);
            }
        } else {
            let mut windows = [step.windows.as_slice(), &step.accepted].concat();
            windows.sort_by(|a, b| a.score.total_cmp(&b.score));
            // Many windows that overlap are drawn slightly transparent.
            let opacity = if windows.len() > 60 { 0.7 } else { 1.0 };
            for window in &windows {
                draw::outline(&mut panel, &scaled(&window.rect), draw::confidence(window.score), 1.0, opacity);
            }
        }
        let (x, y) = (GAP + (i as u32 % COLUMNS) * (cell.0 + GAP), top + (i as u32 / COLUMNS) * (cell.1 + GAP));
        draw::text(&mut sheet, &caption(step, last.then_some(faces), truth), x as f32, y as f32, CAPTION, INK);
        imageops::replace(&mut sheet, &panel, x.into(), i64::from(y) + CAPTION as i64 + 8);
    }
    sheet
}

/// Writes the caption of a panel; `faces` is `Some` for the last one.
fn caption(step: &StepTrace, faces: Option<&[Face]>, truth: &[Rect]) -> String {
    let name = if faces.is_some() { format!("{} (global)", step.name) } else { step.name.to_owned() };
    let count = faces.map_or_else(|| step.counted(), |faces| counted(faces.len(), "face"));
    let mut text = format!("{name} · {count} · {:.2} ms", ms(step.elapsed));
    if !truth.is_empty() {
        let rects: Vec<Rect> = match faces {
            Some(faces) => faces.iter().map(|f| f.rect).collect(),
            None => step.windows.iter().chain(&step.accepted).map(|w| w.rect).collect(),
        };
        let covered = truth.iter().filter(|t| rects.iter().any(|r| covers(r, t, faces.is_some()))).count();
        text.push_str(&format!(" · {covered}/{} covered", truth.len()));
    }
    text
}

/// Whether `found` covers the true face `truth` with an IoU of at least 0.5. Windows are squares and are compared with the
/// square of the true face; final boxes with the true face itself.
fn covers(found: &Rect, truth: &Rect, final_box: bool) -> bool {
    let truth = if final_box { *truth } else { truth.to_square() };
    found.iou(&truth) >= 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;
    use std::time::Duration;

    fn steps(n: usize) -> Vec<StepTrace> {
        let windows = vec![Window { rect: Rect::new(10.0, 10.0, 20.0, 20.0), score: 3.0 }];
        vec![StepTrace { name: "find-1", windows, accepted: Vec::new(), elapsed: Duration::from_micros(1500) }; n]
    }

    #[test]
    fn nine_steps_make_three_rows_and_any_size_of_picture_fits() {
        for (width, height) in [(1, 1), (20_000, 1), (1, 3000), (640, 480)] {
            let sheet = sheet(&RgbImage::new(width, height), "heading", &steps(9), &[], &[]);
            assert_eq!(sheet.width(), 3 * (480 + GAP) + GAP);
            assert!(sheet.height() < 2100);
        }
        assert!(sheet(&RgbImage::new(10, 10), "", &[], &[], &[]).width() > 0);
    }

    #[test]
    fn captions_count_windows_and_covered_faces() {
        let step = &steps(1)[0];
        let truth = [Rect::new(12.0, 10.0, 16.0, 20.0), Rect::new(100.0, 100.0, 20.0, 20.0)];
        assert_eq!(caption(step, None, &truth), "find-1 · 1 window · 1.50 ms · 1/2 covered");
        let sure = StepTrace { accepted: step.windows.clone(), windows: Vec::new(), ..step.clone() };
        assert_eq!(caption(&sure, None, &truth), "find-1 · 0 windows + 1 accepted · 1.50 ms · 1/2 covered");
        assert_eq!(caption(step, Some(&[]), &[]), "find-1 (global) · 0 faces · 1.50 ms");
    }
}
