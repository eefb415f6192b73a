//! Draws the picture of a live run: the frame with boxes and ids, and figures in the corner; or the windows after each
//! step of the cascade; or the image pyramid. Everything is drawn at the window's size, so that lines and text are crisp
//! in a window of any size.

use std::time::Duration;

use image::{Rgb, RgbImage, imageops};

use super::draw::{self, GROUND, INK, SHADE};
use super::figures::Snapshot;
use super::panels;
use crate::cascade;
use crate::geometry::Rect;
use crate::pyramid::{Pyramid, cpu::Resizer};
use crate::text::ms;
use crate::track::{Basis, Tracked};

/// Colour of details.
const QUIET: Rgb<u8> = Rgb([170, 178, 186]);
/// Colour of figures that are worse than they should be: late or dropped frames.
const ALARM: Rgb<u8> = Rgb([255, 170, 60]);

/// Draws one picture after the other for a window. Keeps its buffers between pictures.
#[derive(Default)]
pub struct Canvas {
    picture: RgbImage,
    small: RgbImage,
    panel: RgbImage,
    resizer: Resizer,
}

impl std::fmt::Debug for Canvas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canvas").field("size", &self.picture.dimensions()).finish_non_exhaustive()
    }
}

/// Largest width and height of a new window, pixels; larger pictures are shown smaller.
const LARGEST: (f32, f32) = (1280.0, 960.0);

/// Width and height of the window for pictures of `width` × `height` pixels, at least 64 each.
pub fn fitting((width, height): (u32, u32)) -> (u32, u32) {
    let shrink = (LARGEST.0 / width.max(1) as f32).min(LARGEST.1 / height.max(1) as f32).min(1.0);
    let side = |v: u32| ((v as f32 * shrink) as u32).max(64);
    (side(width), side(height))
}

/// Where a picture lies within another: scaled by `scale`, then moved right by `left` and down by `top` pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    scale: f32,
    left: f32,
    top: f32,
}

impl Fit {
    /// Fits a picture into another, as large as possible, in the middle, on whole pixels. Returns its size there, too.
    fn of((width, height): (u32, u32), (into_w, into_h): (u32, u32)) -> (Self, (u32, u32)) {
        let scale = (into_w as f32 / width.max(1) as f32).min(into_h as f32 / height.max(1) as f32);
        let side = |v: u32, most: u32| ((v as f32 * scale).round() as u32).clamp(1, most.max(1));
        let (w, h) = (side(width, into_w), side(height, into_h));
        let middle = |outer: u32, inner: u32| (outer.saturating_sub(inner) / 2) as f32;
        (Self { scale, left: middle(into_w, w), top: middle(into_h, h) }, (w, h))
    }

    /// Maps a rectangle of the inner picture to the outer one.
    fn rect(&self, r: &Rect) -> Rect {
        let s = self.scale;
        Rect::new(self.left + r.x * s, self.top + r.y * s, r.w * s, r.h * s)
    }
}

impl Canvas {
    /// The picture that was drawn last.
    pub fn picture(&self) -> &RgbImage {
        &self.picture
    }

    /// The picture that was drawn last, to draw more onto it.
    pub fn picture_mut(&mut self) -> &mut RgbImage {
        &mut self.picture
    }

    /// Draws the frame, fitted into `size` (width, height in pixels), with boxes round faces.
    pub fn faces(&mut self, frame: &RgbImage, tracked: &[Tracked], size: (u32, u32)) {
        let fit = self.place(frame, size);
        boxes(&mut self.picture, tracked, &fit);
    }

    /// Draws a panel for each step of the cascade with the windows after it, in rows of three.
    pub fn steps(&mut self, frame: &RgbImage, steps: &[cascade::StepTrace], size: (u32, u32)) {
        self.blank(size);
        let (columns, rows) = panels::grid(steps.len());
        let (cell_w, cell_h) = (size.0 / columns, size.1 / rows);
        let line = text_height(&self.picture);
        let caption = line as u32 + 6;
        if cell_w < 16 || cell_h < caption + 16 {
            return;
        }
        let (fit, inside) = Fit::of(frame.dimensions(), (cell_w - 4, cell_h - caption - 2));
        self.shrink(frame, inside);
        panels::darken(&mut self.small);
        for (i, step) in steps.iter().enumerate() {
            let (x, y) = (i as u32 % columns * cell_w, i as u32 / columns * cell_h);
            let (left, top) = (x + 2 + fit.left as u32, y + caption + fit.top as u32);
            self.panel.clone_from(&self.small);
            let inner = Fit { left: 0.0, top: 0.0, ..fit };
            panels::windows(&mut self.panel, step, |r| inner.rect(r));
            imageops::replace(&mut self.picture, &self.panel, left.into(), top.into());
            let words = panels::caption(step);
            // A caption wider than its panel is written smaller.
            let line = line.min(line * (cell_w - 8) as f32 / draw::text_width(&words, line).max(1.0));
            draw::text(&mut self.picture, &words, (x + 4) as f32, (y + 2) as f32, line, INK);
        }
    }

    /// Draws the image pyramid: the first level at the left, the smaller ones in a column beside it, as many as fit.
    pub fn pyramid(&mut self, pyramid: &Pyramid, size: (u32, u32)) {
        self.blank(size);
        let line = text_height(&self.picture);
        let caption = line as u32 + 6;
        let Some(first) = pyramid.levels.first() else { return };
        // The first level takes two thirds of the width.
        let whole = (first.width as u32 * 3 / 2 + 4, first.height as u32 + caption);
        let (fit, _) = Fit::of(whole, size);
        let (mut left, mut top) = (0, 0);
        for (i, level) in pyramid.levels.iter().enumerate() {
            let side = |v: usize| ((v as f32 * fit.scale) as u32).max(1);
            let inside = (side(level.width), side(level.height));
            if top + caption + inside.1 > size.1 {
                break;
            }
            if let Some(picture) = RgbImage::from_raw(level.width as u32, level.height as u32, level.pixels.clone()) {
                self.shrink(&picture, inside);
                imageops::replace(&mut self.picture, &self.small, left.into(), (top + caption).into());
            }
            let words = format!("{}×{}", level.width, level.height);
            draw::text(&mut self.picture, &words, (left + 2) as f32, (top + 2) as f32, line, INK);
            if i == 0 {
                left = inside.0 + 4;
            } else {
                top += caption + inside.1;
            }
        }
    }

    /// Fills the picture with the ground's colour.
    fn blank(&mut self, size: (u32, u32)) {
        if self.picture.dimensions() != size {
            self.picture = RgbImage::new(size.0, size.1);
        }
        self.picture.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&GROUND.0));
    }

    /// Scales `frame` to the size `to` into `small`.
    fn shrink(&mut self, frame: &RgbImage, to: (u32, u32)) {
        if self.small.dimensions() != to {
            self.small = RgbImage::new(to.0, to.1);
        }
        resize(&mut self.resizer, frame, &mut self.small);
    }

    /// Draws `frame` fitted into `size`, and returns where it lies.
    fn place(&mut self, frame: &RgbImage, size: (u32, u32)) -> Fit {
        let (fit, inside) = Fit::of(frame.dimensions(), size);
        if inside == size {
            if self.picture.dimensions() != size {
                self.picture = RgbImage::new(size.0, size.1);
            }
            resize(&mut self.resizer, frame, &mut self.picture);
        } else {
            self.blank(size);
            self.shrink(frame, inside);
            imageops::replace(&mut self.picture, &self.small, fit.left as i64, fit.top as i64);
        }
        fit
    }
}

fn resize(resizer: &mut Resizer, from: &RgbImage, to: &mut RgbImage) {
    let side = |v: u32| v as usize;
    let ((from_w, from_h), (to_w, to_h)) = (from.dimensions(), to.dimensions());
    if from_w == 0 || from_h == 0 {
        return to.fill(0);
    }
    resizer.resize((side(from_w), side(from_h), from.as_raw()), (side(to_w), side(to_h), to.as_mut()));
}

/// Height of text in a window, pixels. Smaller than in pictures, because a window shows more text.
fn text_height(picture: &RgbImage) -> f32 {
    (picture.width().min(picture.height()) as f32 / 36.0).clamp(12.0, 26.0).round()
}

/// Draws boxes with ids into a picture of the frame's own size.
pub fn tracked(picture: &mut RgbImage, tracked: &[Tracked]) {
    boxes(picture, tracked, &Fit { scale: 1.0, left: 0.0, top: 0.0 });
}

fn boxes(picture: &mut RgbImage, tracked: &[Tracked], fit: &Fit) {
    let marked = |t: &Tracked| {
        // A box that was predicted, not seen in this frame, is drawn fainter.
        let opacity = if matches!(t.basis, Basis::Seen(_)) { 1.0 } else { 0.55 };
        draw::Marked {
            rect: fit.rect(&t.face.rect),
            opacity,
            words: format!("#{}  {:.2}", t.id, t.face.score),
            smile: t.face.smile.zip(t.smiling),
        }
    };
    let shown: Vec<_> = tracked.iter().filter(|t| t.shown).map(marked).collect();
    draw::boxes(picture, &shown);
}

/// Writes the frame's age (its latency so far), the frame rate and the drops into the top left corner; below them, with
/// `details`, the times of each pipeline stage.
pub fn readout(picture: &mut RgbImage, figures: &Snapshot, age: Duration, details: bool) {
    let height = text_height(picture);
    let late = ms(figures.age_p95) > 100.0;
    let mut lines = vec![
        (format!("{:.1} ms old", ms(age)), if late { ALARM } else { draw::FACE }),
        (format!("{:.1} fps", figures.rate), INK),
        (format!("{} dropped", figures.dropped), if figures.dropped > 0 { ALARM } else { INK }),
    ];
    if details {
        lines.push((format!("p95 {:.1}  max {:.1} ms", ms(figures.age_p95), ms(figures.age_max)), QUIET));
        lines.push(("work + wait, ms".to_owned(), QUIET));
        for (stage, time) in figures.ran() {
            lines.push((format!("{} {:.1} + {:.1}", stage.name(), ms(time.work), ms(time.wait)), QUIET));
        }
    }
    let pad = (height / 2.0).round();
    let width = lines.iter().map(|(line, _)| draw::text_width(line, height)).fold(0.0, f32::max).ceil();
    let step = (height * 1.2).round();
    let ground = Rect::new(0.0, 0.0, width + 2.0 * pad, step * lines.len() as f32 + pad);
    draw::fill(picture, &ground, SHADE, 0.62);
    for (i, (line, colour)) in lines.iter().enumerate() {
        draw::text(picture, line, pad, (pad / 2.0).round() + step * i as f32, height, *colour);
    }
}

/// Writes a line of text in the middle of the lower edge: paused, saved, waiting.
pub fn notice(picture: &mut RgbImage, words: &str) {
    let height = (text_height(picture) * 1.2).round();
    let (width, pad) = (draw::text_width(words, height).ceil(), height);
    let (x, y) = ((picture.width() as f32 - width) / 2.0, picture.height() as f32 - 2.5 * height);
    draw::fill(picture, &Rect::new(x - pad, y, width + 2.0 * pad, height * 1.5), SHADE, 0.72);
    draw::text(picture, words, x, y + height * 0.2, height, INK);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Face, Window};

    fn face(x: f32, shown: bool) -> Tracked {
        let rect = Rect::new(x, 20.0, 40.0, 40.0);
        Tracked { id: 7, face: Face { rect, score: 0.9, smile: None }, smiling: None, basis: Basis::Seen(rect), shown }
    }

    fn green(picture: &RgbImage) -> Vec<(u32, u32)> {
        picture.enumerate_pixels().filter(|(_, _, p)| **p == draw::FACE).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn boxes_lie_round_faces_at_any_size_of_the_window() {
        let frame = RgbImage::from_pixel(160, 120, Rgb([90; 3]));
        // Twice as large; and letterboxed: 160×120 in 320×400 leaves 80 above.
        for (size, top) in [((320, 240), 0), ((320, 400), 80)] {
            let mut canvas = Canvas::default();
            canvas.faces(&frame, &[face(30.0, true)], size);
            assert_eq!(canvas.picture().dimensions(), size);
            let row: Vec<u32> = green(canvas.picture()).iter().filter(|p| p.1 == top + 80).map(|p| p.0).collect();
            assert_eq!(row, [59, 60, 139, 140], "{size:?}");
        }
    }

    #[test]
    fn faces_that_are_not_confirmed_yet_are_not_shown() {
        let mut canvas = Canvas::default();
        canvas.faces(&RgbImage::new(160, 120), &[face(30.0, false)], (160, 120));
        assert!(green(canvas.picture()).is_empty());
    }

    #[test]
    fn every_view_fits_every_window() {
        let step = |name| cascade::StepTrace {
            name,
            windows: vec![Window { rect: Rect::new(-5.0, 4.0, 30.0, 30.0), score: 2.0 }],
            accepted: vec![Window { rect: Rect::new(50.0, 4.0, 30.0, 30.0), score: 9.0 }],
            dropped: Vec::new(),
            elapsed: Duration::from_millis(1),
        };
        let steps = ["find-1", "calibrate-1", "filter-1", "find-2"].map(step);
        let mut canvas = Canvas::default();
        for size in [(1, 1), (3, 900), (900, 3), (64, 48), (333, 777), (1280, 960)] {
            for frame in [RgbImage::new(160, 120), RgbImage::new(1, 1), RgbImage::new(500, 20)] {
                canvas.faces(&frame, &[face(30.0, true)], size);
                readout(&mut canvas.picture, &Snapshot::default(), Duration::from_millis(5), true);
                notice(&mut canvas.picture, "paused");
                canvas.steps(&frame, &steps, size);
                canvas.pyramid(&Pyramid::of(&frame, 8), size);
                assert_eq!(canvas.picture().dimensions(), size);
            }
        }
    }

    #[test]
    fn the_view_of_steps_has_a_panel_for_each_step() {
        let windows = vec![Window { rect: Rect::new(40.0, 30.0, 60.0, 60.0), score: 9.0 }];
        let steps = [1, 2, 3, 4].map(|_| cascade::StepTrace {
            name: "find-1",
            windows: windows.clone(),
            accepted: Vec::new(),
            dropped: Vec::new(),
            elapsed: Duration::ZERO,
        });
        let mut canvas = Canvas::default();
        canvas.steps(&RgbImage::from_pixel(160, 120, Rgb([200; 3])), &steps, (600, 400));
        // The frame's grey 200, darkened, is 125; the ground is another colour.
        for (x, y, panel) in [(100, 120, true), (300, 120, true), (500, 120, true), (100, 320, true), (300, 320, false)]
        {
            assert_eq!(canvas.picture().get_pixel(x, y).0 == [125; 3], panel, "{x} {y}");
        }
    }
}
