//! Draws the sheet: a panel for each step, the list of lost faces and, if asked for, the faces one by one.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::Inspection;
use super::fates::Fate;
use super::followed::{AtLevel, Followed};
use crate::geometry::{Face, Rect};
use crate::output::draw::{self, GROUND, INK};
use crate::output::panels;

/// Width of a panel's picture, pixels, unless the picture is very tall.
const PANEL: f32 = 516.0;
/// Largest height of a panel's picture, pixels; tall pictures are drawn narrower.
const HIGHEST: f32 = 680.0;
/// Space round panels, pixels.
const GAP: u32 = 12;
/// Height of a panel's caption, pixels.
const CAPTION: f32 = 17.0;
/// Height of the sheet's headings, pixels.
const HEADING: f32 = 22.0;
/// Height of a line of a list, pixels.
const LINE: f32 = 16.0;
/// Side of the picture of a face, pixels.
const TILE: u32 = 116;
/// Width of a face's name beside its pictures, pixels.
const NAME: u32 = 112;
/// What a face's picture shows round it, sides.
const AROUND: f32 = 0.6;
/// Colour of true faces.
const WHITE: Rgb<u8> = Rgb([255; 3]);
/// Colour of what is lost: no window has it.
pub(super) const LOST: Rgb<u8> = Rgb([255, 64, 255]);
/// Colour of a window before its calibration.
pub(super) const BEFORE: Rgb<u8> = Rgb([255, 150, 40]);
/// Colour of details.
const QUIET: Rgb<u8> = Rgb([170, 178, 186]);

/// Draws the sheet of `inspection`, which is of `picture`.
pub(super) fn draw(inspection: &Inspection, picture: &RgbImage, faces: bool) -> RgbImage {
    let (columns, _) = panels::grid(inspection.steps.len());
    let mut parts = vec![stages(inspection, picture)];
    let width = parts[0].width().max(columns * (PANEL as u32 + GAP) + GAP);
    parts.extend(lost_list(inspection, width));
    if faces {
        parts.extend(face_by_face(inspection, picture, width));
    }
    let height = parts.iter().map(RgbImage::height).sum();
    let mut sheet = RgbImage::from_pixel(width, height, GROUND);
    let mut top = 0;
    for part in parts {
        imageops::replace(&mut sheet, &part, 0, top);
        top += i64::from(part.height());
    }
    sheet
}

/// The panels, in rows of three.
fn stages(inspection: &Inspection, picture: &RgbImage) -> RgbImage {
    let steps = &inspection.steps;
    let (width, height) = (picture.width().max(1) as f32, picture.height().max(1) as f32);
    let scale = (PANEL / width).min(HIGHEST / height);
    let inside = ((width * scale).round().max(1.0) as u32, (height * scale).round().max(1.0) as u32);
    // Captions of narrow pictures need the full width, too.
    let cell = (inside.0.max(PANEL as u32), inside.1 + CAPTION as u32 + 12);
    let filter = if scale < 1.0 { FilterType::Triangle } else { FilterType::CatmullRom };
    let small = imageops::resize(picture, inside.0, inside.1, filter);
    let mut dark = small.clone();
    panels::darken(&mut dark);

    let (columns, rows) = panels::grid(steps.len());
    let top = HEADING as u32 + 2 * GAP;
    let mut sheet = RgbImage::from_pixel(columns * (cell.0 + GAP) + GAP, top + rows * (cell.1 + GAP), GROUND);
    line(&mut sheet, &heading(inspection), GAP as f32, GAP as f32, HEADING, INK);
    let scaled = |r: &Rect| Rect::new(r.x * scale, r.y * scale, r.w * scale, r.h * scale);
    for (i, step) in steps.iter().enumerate() {
        let last = i + 1 == steps.len();
        let mut panel = if last { small.clone() } else { dark.clone() };
        if last {
            found(&mut panel, &inspection.faces, scaled);
        } else {
            panels::windows(&mut panel, step, scaled);
        }
        truth(&mut panel, inspection, i, scaled);
        let (x, y) = (GAP + (i as u32 % columns) * (cell.0 + GAP), top + (i as u32 / columns) * (cell.1 + GAP));
        let words = caption(inspection, i);
        let size = CAPTION.min(CAPTION * cell.0 as f32 / draw::text_width(&words, CAPTION).max(1.0));
        draw::text(&mut sheet, &words, x as f32, y as f32, size, INK);
        imageops::replace(&mut sheet, &panel, x.into(), i64::from(y) + CAPTION as i64 + 8);
    }
    sheet
}

fn heading(inspection: &Inspection) -> String {
    let Inspection { name, size: (width, height), min_face, .. } = inspection;
    let mut text = format!("{name} · {width}×{height} · smallest face {min_face} px · {:.1} ms", inspection.ms());
    if !inspection.truth.is_empty() {
        let (faces, found) = inspection.counts();
        text += &format!(" · {found} of {faces} true faces found");
    }
    text
}

/// Writes the caption of the panel of step `i`, with the number of true faces that a window is on and of those that the step lost.
fn caption(inspection: &Inspection, i: usize) -> String {
    let (step, last) = (&inspection.steps[i], i + 1 == inspection.steps.len());
    let mut text = panels::caption(step);
    if last {
        let count = crate::text::counted(inspection.faces.len(), "face");
        text = text.replacen(step.name, &format!("{} (global)", step.name), 1).replacen(&step.counted(), &count, 1);
    }
    let (faces, found) = inspection.counts();
    if faces > 0 {
        let covered = if last { found } else { faces - inspection.lost().filter(|(_, loss)| loss.step <= i).count() };
        let lost = inspection.lost().filter(|(_, loss)| loss.step == i).count();
        text += &format!(" · {covered}/{faces} faces");
        if lost > 0 {
            text += &format!(", {lost} lost here");
        }
    }
    text
}

/// Draws the faces found, with thick lines.
fn found(panel: &mut RgbImage, faces: &[Face], scaled: impl Fn(&Rect) -> Rect) {
    for face in faces.iter().rev() {
        let rect = scaled(&face.rect);
        draw::outline(panel, &rect, Rgb([0; 3]), 5.0, 0.5);
        draw::outline(panel, &rect, draw::FACE, 3.0, 1.0);
    }
    // In a crowd the scores would hide the faces.
    if faces.len() <= 20 {
        for face in faces.iter().rev() {
            draw::label(panel, &scaled(&face.rect), &format!("{:.2}", face.score), 13.0, draw::FACE, 2.0);
        }
    }
}

/// Draws the true faces: white; those that step `step` lost with a thick line and their number; those lost before, and those that do not
/// count, faintly.
fn truth(panel: &mut RgbImage, inspection: &Inspection, step: usize, scaled: impl Fn(&Rect) -> Rect) {
    let mut number = 0;
    let mut marks = Vec::new();
    for (face, fate) in &inspection.truth {
        let rect = scaled(&face.rect);
        match fate {
            Fate::NotCounted => draw::outline(panel, &rect, WHITE, 1.0, 0.35),
            Fate::Found(_) => draw::outline(panel, &rect, WHITE, 2.0, 1.0),
            Fate::Lost(loss) => {
                number += 1;
                match loss.step.cmp(&step) {
                    std::cmp::Ordering::Less => draw::outline(panel, &rect, LOST, 1.0, 0.6),
                    std::cmp::Ordering::Equal => marks.push((rect, number)),
                    std::cmp::Ordering::Greater => draw::outline(panel, &rect, WHITE, 2.0, 1.0),
                }
            }
        }
    }
    for (rect, number) in marks {
        draw::outline(panel, &rect, Rgb([0; 3]), 5.0, 0.6);
        draw::outline(panel, &rect, LOST, 3.0, 1.0);
        draw::label(panel, &rect, &number.to_string(), 13.0, LOST, 2.0);
    }
}

/// Writes a line of text, smaller if it would be wider than the picture.
fn line(sheet: &mut RgbImage, words: &str, x: f32, y: f32, height: f32, colour: Rgb<u8>) {
    let room = sheet.width() as f32 - x - GAP as f32;
    let height = height.min(height * room / draw::text_width(words, height).max(1.0));
    draw::text(sheet, words, x, y, height, colour);
}

/// The list of the lost faces, in two columns; `None` if none is lost.
fn lost_list(inspection: &Inspection, width: u32) -> Option<RgbImage> {
    let lines: Vec<String> = inspection
        .lost()
        .enumerate()
        .map(|(i, (face, loss))| format!("{}   {}", i + 1, inspection.describe(face, loss)))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let (column, step) = ((width - GAP) / 2, LINE as u32 + 6);
    let rows = lines.len().div_ceil(2) as u32;
    let top = HEADING as u32 + 2 * GAP;
    let mut part = RgbImage::from_pixel(width, top + rows * step + GAP, GROUND);
    let title = format!("Lost: {}", crate::text::counted(lines.len(), "true face"));
    line(&mut part, &title, GAP as f32, GAP as f32, HEADING, LOST);
    for (i, words) in (0..).zip(&lines) {
        let (x, y) = (GAP + i / rows * column, top + i % rows * step);
        let room = (column - GAP) as f32;
        let height = LINE.min(LINE * room / draw::text_width(words, LINE).max(1.0));
        draw::text(&mut part, words, x as f32, y as f32, height, INK);
    }
    Some(part)
}

/// Each face with the window on it before and after the calibration of every level; `None` without any face.
fn face_by_face(inspection: &Inspection, picture: &RgbImage, width: u32) -> Option<RgbImage> {
    let all = &inspection.followed;
    let levels = all.first()?.levels.len() as u32;
    let cell = (NAME + levels * (TILE + 8) + GAP, TILE + 2 * LINE as u32 + GAP);
    let columns = ((width - GAP) / cell.0).max(1);
    let rows = (all.len() as u32).div_ceil(columns);
    let top = HEADING as u32 + LINE as u32 + 3 * GAP;
    let mut part = RgbImage::from_pixel(width.max(cell.0 + GAP), top + rows * cell.1, GROUND);
    let (x, y) = (GAP as f32, GAP as f32);
    line(&mut part, "Face by face: the window on each face at every level", x, y, HEADING, INK);
    let y = y + HEADING + GAP as f32 / 2.0;
    let mut x = x;
    let key = [
        ("before calibration", BEFORE),
        ("after it", draw::FACE),
        ("true face", WHITE),
        ("IoU with the face below", QUIET),
    ];
    for (words, colour) in key {
        draw::text(&mut part, words, x, y, LINE, colour);
        x += draw::text_width(words, LINE) + 2.0 * GAP as f32;
    }
    for (i, followed) in (0..).zip(all) {
        let (x, y) = (GAP + i % columns * cell.0, top + i / columns * cell.1);
        describe(&mut part, followed, (x as f32, y as f32));
        for (level, at) in (0..).zip(&followed.levels) {
            let left = x + NAME + level * (TILE + 8);
            tile(&mut part, picture, inspection, followed, at, (left, y));
        }
    }
    Some(part)
}

/// Writes a face's name, size and score.
fn describe(part: &mut RgbImage, followed: &Followed, (x, y): (f32, f32)) {
    let r = followed.rect;
    let colour = if followed.found.is_some() { draw::FACE } else { LOST };
    draw::text(part, &followed.subject.name(), x, y, LINE, colour);
    let score = followed.found.map_or("not found".to_owned(), |face| format!("score {:.2}", face.score));
    for (i, words) in [format!("{:.0}×{:.0}", r.w, r.h), score].iter().enumerate() {
        draw::text(part, words, x, y + (i + 1) as f32 * (LINE + 4.0), LINE - 2.0, QUIET);
    }
}

/// Draws what a level did with the window on a face, and writes how well the window fitted before and after.
fn tile(
    part: &mut RgbImage,
    picture: &RgbImage,
    inspection: &Inspection,
    followed: &Followed,
    at: &AtLevel,
    (x, y): (u32, u32),
) {
    let words = match at {
        AtLevel::Nothing => "no window".to_owned(),
        AtLevel::Accepted => "accepted before".to_owned(),
        AtLevel::Moved { before, after } => {
            format!("{:.2} → {:.2}", followed.overlap(before), followed.overlap(after))
        }
    };
    let (mut shown, place) = cut_out(picture, &followed.rect);
    if let AtLevel::Moved { before, after } = at {
        draw::outline(&mut shown, &place(&before.rect), BEFORE, 2.0, 1.0);
        draw::outline(&mut shown, &place(&after.rect), draw::FACE, 2.0, 1.0);
    } else {
        panels::darken(&mut shown);
    }
    if inspection.truth.iter().any(|(t, _)| t.rect == followed.rect) {
        draw::outline(&mut shown, &place(&followed.rect), WHITE, 1.0, 1.0);
    }
    imageops::replace(part, &shown, x.into(), y.into());
    draw::text(part, &words, x as f32, (y + TILE) as f32 + 2.0, LINE - 2.0, INK);
}

/// Cuts out the square round a face, [`TILE`] pixels wide, with how the picture's rectangles lie in it. Grey beyond the picture.
fn cut_out(picture: &RgbImage, face: &Rect) -> (RgbImage, impl Fn(&Rect) -> Rect) {
    let side = (face.w.max(face.h) * (1.0 + 2.0 * AROUND)).max(1.0);
    let (cx, cy) = face.center();
    let (left, top, scale) = (cx - side / 2.0, cy - side / 2.0, TILE as f32 / side);
    let shown = RgbImage::from_fn(TILE, TILE, |x, y| {
        let (x, y) = (left + (x as f32 + 0.5) / scale, top + (y as f32 + 0.5) / scale);
        let inside = x >= 0.0 && y >= 0.0 && x < picture.width() as f32 && y < picture.height() as f32;
        if inside { bilinear(picture, x - 0.5, y - 0.5) } else { Rgb([119; 3]) }
    });
    (shown, move |r: &Rect| Rect::new((r.x - left) * scale, (r.y - top) * scale, r.w * scale, r.h * scale))
}

/// The colour at a place between pixels' centres.
fn bilinear(picture: &RgbImage, x: f32, y: f32) -> Rgb<u8> {
    let (x, y) = (x.clamp(0.0, (picture.width() - 1) as f32), y.clamp(0.0, (picture.height() - 1) as f32));
    imageops::interpolate_bilinear(picture, x, y).unwrap_or(Rgb([119; 3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::StepTrace;
    use crate::dataset::Truth;
    use crate::geometry::Window;
    use crate::inspection::fates::{Loss, Reason};
    use std::time::Duration;

    /// An inspection with this many steps, two of them a level's.
    fn inspection(steps: usize, size: (u32, u32)) -> Inspection {
        let windows = vec![Window { rect: Rect::new(10.0, 10.0, 20.0, 20.0), score: 3.0 }];
        let names = ["find-1", "calibrate-1", "filter-1"];
        let step = |i: usize| StepTrace {
            name: names[i % 3],
            windows: windows.clone(),
            accepted: Vec::new(),
            dropped: Vec::new(),
            elapsed: Duration::from_micros(1500),
        };
        let face = Face { rect: Rect::new(10.0, 10.0, 20.0, 20.0), score: 0.9, smile: None };
        let truth = |x: f32| Truth { rect: Rect::new(x, 10.0, 20.0, 20.0), ..Truth::default() };
        let loss = Loss { step: 1, best: Some(windows[0]), reason: Reason::Moved };
        let truth =
            vec![(truth(10.0), Fate::Found(0)), (truth(50.0), Fate::Lost(loss)), (truth(80.0), Fate::NotCounted)];
        let at = AtLevel::Moved { before: windows[0], after: windows[0] };
        let subject = crate::inspection::followed::Subject::Found(0);
        let followed = Followed { subject, rect: face.rect, found: Some(face), levels: vec![at, AtLevel::Nothing] };
        Inspection {
            name: "a.jpg".into(),
            size,
            min_face: 20.0,
            steps: (0..steps).map(step).collect(),
            thresholds: vec![Some(-1.0); steps],
            faces: vec![face],
            truth,
            followed: vec![followed],
        }
    }

    fn coloured(picture: &RgbImage, colour: Rgb<u8>) -> usize {
        picture.pixels().filter(|p| **p == colour).count()
    }

    #[test]
    fn any_number_of_steps_and_any_size_of_picture_fits_within_1600_pixels() {
        for steps in [1, 3, 4, 6, 9] {
            for (width, height) in [(1, 1), (20_000, 1), (1, 3000), (640, 480)] {
                let sheet = draw(&inspection(steps, (width, height)), &RgbImage::new(width, height), true);
                let columns = panels::grid(steps).0;
                assert_eq!(sheet.width(), columns * (PANEL as u32 + GAP) + GAP, "{steps} steps");
                assert!(sheet.width() <= 1600 && sheet.height() < 3000);
            }
        }
        let none = Inspection {
            steps: Vec::new(),
            faces: Vec::new(),
            truth: Vec::new(),
            followed: Vec::new(),
            ..inspection(1, (9, 9))
        };
        assert!(draw(&none, &RgbImage::new(9, 9), true).width() > 0);
    }

    #[test]
    fn a_lost_face_is_marked_at_the_step_that_lost_it_and_listed() {
        let inspection = inspection(3, (100, 60));
        assert_eq!(caption(&inspection, 0), "find-1 · 1 window · 1.50 ms · 2/2 faces");
        assert_eq!(caption(&inspection, 1), "calibrate-1 · 1 window · 1.50 ms · 1/2 faces, 1 lost here");
        assert_eq!(caption(&inspection, 2), "filter-1 (global) · 1 face · 1.50 ms · 1/2 faces");
        assert!(heading(&inspection).ends_with("1 of 2 true faces found"), "{}", heading(&inspection));
        let picture = RgbImage::from_pixel(100, 60, Rgb([90; 3]));
        let panel = |step: usize| {
            let mut panel = picture.clone();
            truth(&mut panel, &inspection, step, |r| *r);
            (coloured(&panel, LOST), coloured(&panel, WHITE))
        };
        let [find, calibrate, filter] = [0, 1, 2].map(panel);
        assert!(find.0 == 0 && calibrate.0 > 100 && filter.0 < calibrate.0, "{find:?} {calibrate:?} {filter:?}");
        assert!(find.1 > calibrate.1 && calibrate.1 > 50);
        let list = lost_list(&inspection, 1600).unwrap();
        assert!(coloured(&list, LOST) > 50 && coloured(&list, INK) > 50);
    }

    #[test]
    fn faces_one_by_one_show_the_window_before_and_after() {
        let inspection = inspection(6, (100, 60));
        let part = face_by_face(&inspection, &RgbImage::from_pixel(100, 60, Rgb([90; 3])), 1600).unwrap();
        assert!(coloured(&part, draw::FACE) > 150, "the window after it lies over the one before");
        assert!(coloured(&part, BEFORE) > 20, "the key");
        let plain = draw(&inspection, &RgbImage::new(100, 60), false);
        assert_eq!(draw(&inspection, &RgbImage::new(100, 60), true).height(), plain.height() + part.height());
    }
}
