//! The article's illustration: one panel a stage of the cascade, with the windows that it let through.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::draw::{self, GROUND, INK};
use crate::cascade::StepTrace;
use crate::geometry::{Face, Rect};
use crate::text::{counted, ms};

/// Width of a panel, pixels; a picture of any size is scaled to it.
const PANEL: f32 = 480.0;
/// Panels are not higher than this; tall pictures get narrower ones.
const HIGHEST: f32 = 640.0;
const GAP: u32 = 12;
const CAPTION: f32 = 17.0;
const HEADING: f32 = 22.0;
const COLUMNS: u32 = 3;
const WHITE: Rgb<u8> = Rgb([255; 3]);

/// The sheet: panels in rows of three (find, calibrate, filter), each with its stage's name, windows, time and, where
/// `truth` (boxes in pixels of the picture) is given, how many true faces a window covers with an IoU of one half. Windows
/// are coloured by their score, from red to green; true faces are white; `faces` are drawn thick in the last panel.
pub fn sheet(picture: &RgbImage, heading: &str, stages: &[StepTrace], faces: &[Face], truth: &[Rect]) -> RgbImage {
    let (width, height) = (picture.width().max(1) as f32, picture.height().max(1) as f32);
    let scale = (PANEL / width).min(HIGHEST / height);
    let inside = ((width * scale).round().max(1.0) as u32, (height * scale).round().max(1.0) as u32);
    // A caption needs room, however narrow the picture.
    let cell = (inside.0.max(PANEL as u32), inside.1 + CAPTION as u32 + 12);
    let filter = if scale < 1.0 { FilterType::Triangle } else { FilterType::CatmullRom };
    let small = imageops::resize(picture, inside.0, inside.1, filter);
    let mut dim = small.clone();
    draw::fill(&mut dim, &Rect::new(0.0, 0.0, inside.0 as f32, inside.1 as f32), Rgb([0; 3]), 0.35);

    let panels = stages.len().max(1) as u32;
    let (columns, rows) = (COLUMNS.min(panels), panels.div_ceil(COLUMNS));
    let top = HEADING as u32 + 2 * GAP;
    let mut sheet = RgbImage::from_pixel(columns * (cell.0 + GAP) + GAP, top + rows * (cell.1 + GAP), GROUND);
    draw::text(&mut sheet, heading, GAP as f32, GAP as f32, HEADING, INK);
    let scaled = |r: &Rect| Rect::new(r.x * scale, r.y * scale, r.w * scale, r.h * scale);
    for (i, stage) in stages.iter().enumerate() {
        let last = i + 1 == stages.len();
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
            let mut windows = stage.windows.clone();
            windows.sort_by(|a, b| a.score.total_cmp(&b.score));
            // Hundreds of windows over each other: each a little transparent.
            let opacity = if windows.len() > 60 { 0.7 } else { 1.0 };
            for window in &windows {
                draw::outline(&mut panel, &scaled(&window.rect), draw::confidence(window.score), 1.0, opacity);
            }
        }
        let (x, y) = (GAP + (i as u32 % COLUMNS) * (cell.0 + GAP), top + (i as u32 / COLUMNS) * (cell.1 + GAP));
        draw::text(&mut sheet, &caption(stage, last.then_some(faces), truth), x as f32, y as f32, CAPTION, INK);
        imageops::replace(&mut sheet, &panel, x.into(), i64::from(y) + CAPTION as i64 + 8);
    }
    sheet
}

fn caption(stage: &StepTrace, faces: Option<&[Face]>, truth: &[Rect]) -> String {
    let name = if faces.is_some() { format!("{} (global)", stage.name) } else { stage.name.to_owned() };
    let (count, what) = match faces {
        Some(faces) => (faces.len(), "face"),
        None => (stage.windows.len(), "window"),
    };
    let mut text = format!("{name} · {} · {:.2} ms", counted(count, what), ms(stage.elapsed));
    if !truth.is_empty() {
        let rects: Vec<Rect> = match faces {
            Some(faces) => faces.iter().map(|f| f.rect).collect(),
            None => stage.windows.iter().map(|w| w.rect).collect(),
        };
        let covered = truth.iter().filter(|t| rects.iter().any(|r| covers(r, t, faces.is_some()))).count();
        text.push_str(&format!(" · {covered}/{} covered", truth.len()));
    }
    text
}

/// Windows are squares, so they are compared with the true face's square; final boxes with the face itself.
fn covers(found: &Rect, truth: &Rect, final_box: bool) -> bool {
    let truth = if final_box { *truth } else { truth.to_square() };
    found.iou(&truth) >= 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;
    use std::time::Duration;

    fn stages(n: usize) -> Vec<StepTrace> {
        let windows = vec![Window { rect: Rect::new(10.0, 10.0, 20.0, 20.0), score: 3.0 }];
        vec![StepTrace { name: "find-1", windows, elapsed: Duration::from_micros(1500) }; n]
    }

    #[test]
    fn nine_stages_make_three_rows_and_any_size_of_picture_fits() {
        for (width, height) in [(1, 1), (20_000, 1), (1, 3000), (640, 480)] {
            let sheet = sheet(&RgbImage::new(width, height), "heading", &stages(9), &[], &[]);
            assert_eq!(sheet.width(), 3 * (480 + GAP) + GAP);
            assert!(sheet.height() < 2100);
        }
        assert!(sheet(&RgbImage::new(10, 10), "", &[], &[], &[]).width() > 0);
    }

    #[test]
    fn captions_count_windows_and_covered_faces() {
        let stage = &stages(1)[0];
        let truth = [Rect::new(12.0, 10.0, 16.0, 20.0), Rect::new(100.0, 100.0, 20.0, 20.0)];
        assert_eq!(caption(stage, None, &truth), "find-1 · 1 window · 1.50 ms · 1/2 covered");
        assert_eq!(caption(stage, Some(&[]), &[]), "find-1 (global) · 0 faces · 1.50 ms");
    }
}
