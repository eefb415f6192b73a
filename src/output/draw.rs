//! Draws boxes and text into pictures. Whatever lies outside a picture is left out.

use std::ops::Range;

use image::{Rgb, RgbImage};

use super::letters;
use crate::geometry::{Face, Rect};

/// Colour of faces' boxes: a green that skin, clothes and sky rarely have.
pub const FACE: Rgb<u8> = Rgb([64, 255, 120]);

/// Colour of what says that a face smiles.
pub const SMILE: Rgb<u8> = Rgb([255, 208, 56]);

/// Colour of text other than boxes' labels.
pub(crate) const INK: Rgb<u8> = Rgb([236, 238, 240]);
/// Colour of the ground beside pictures.
pub(crate) const GROUND: Rgb<u8> = Rgb([22, 24, 28]);

/// Dark colour under boxes and labels, so that they can be seen on any picture.
pub(super) const SHADE: Rgb<u8> = Rgb([8, 12, 10]);

/// Mixes `colour` into a pixel with the weight `cover` (0..1).
fn blend(pixel: &mut [u8], colour: Rgb<u8>, cover: f32) {
    for (to, from) in pixel.iter_mut().zip(colour.0) {
        // Half up, as `round`, which is a call to a library on processors of no special kind.
        *to = (f32::from(*to) + (f32::from(from) - f32::from(*to)) * cover + 0.5) as u8;
    }
}

/// The pixels `columns` of the row `y`, which must be inside the picture.
fn part(picture: &mut RgbImage, y: i64, columns: Range<i64>) -> impl Iterator<Item = &mut [u8]> {
    let first = y as usize * picture.width() as usize;
    let (from, to) = (first + columns.start as usize, first + columns.end.max(columns.start) as usize);
    picture.as_mut()[3 * from..3 * to].chunks_exact_mut(3)
}

/// Colour for the score (logit) of a window: red for a clear no, yellow for 0, green for a clear face.
pub fn confidence(logit: f32) -> Rgb<u8> {
    let p = 1.0 / (1.0 + (-logit).exp());
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0) as u8;
    Rgb([byte(2.0 - 2.0 * p), byte(0.25 + 1.5 * p), 60])
}

/// Thickness of lines in a picture of this size, pixels, by its shorter side: 2 up to 720 pixels, 3 at 1080, 6 at 2160.
fn line_width(picture: &RgbImage) -> u32 {
    (picture.width().min(picture.height()) / 360).clamp(2, 12)
}

/// Height of text in a picture of this size, pixels: 11 to 64.
fn text_height(picture: &RgbImage) -> f32 {
    (picture.width().min(picture.height()) as f32 / 36.0).clamp(11.0, 64.0).round()
}

/// Draws the outline of `rect` with slightly rounded corners. The line is `thickness` pixels wide, its middle on the
/// rectangle's edge; `opacity` is 0..1. A rectangle that is not finite is not drawn.
pub fn outline(picture: &mut RgbImage, rect: &Rect, colour: Rgb<u8>, thickness: f32, opacity: f32) {
    // Straight lines that cover whole pixels are crisp.
    let snap = |v: f32| if thickness as i32 % 2 == 0 { v.round() } else { v.floor() + 0.5 };
    let (left, top) = (snap(rect.x), snap(rect.y));
    let (right, bottom) = (snap(rect.x + rect.w), snap(rect.y + rect.h));
    if ![left, top, right, bottom].iter().all(|v| v.is_finite()) {
        return;
    }
    let (half_w, half_h) = ((right - left) / 2.0, (bottom - top) / 2.0);
    let (cx, cy) = (left + half_w, top + half_h);
    let radius = (half_w.min(half_h) * 0.25).min(thickness * 2.5).max(0.0);
    let half = thickness / 2.0;
    let reach = half + 1.0;

    // Share of the pixel at (x, y) that the line covers, from the pixel's distance to the rounded rectangle's edge.
    let cover = |x: i64, y: i64| {
        let dx = (x as f32 + 0.5 - cx).abs() - (half_w - radius);
        let dy = (y as f32 + 0.5 - cy).abs() - (half_h - radius);
        let outside = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
        (half + 0.5 - outside.abs()).clamp(0.0, 1.0)
    };
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    let inner = reach + radius;
    let columns = |from: f32, to: f32| (from.floor() as i64).clamp(0, width)..(to.ceil() as i64).clamp(0, width);
    let whole = columns(left - reach, right + reach);
    // Away from the corners the line is the same in every row of its sides, and in every column of its top and bottom.
    let sides = {
        let first = columns(left - reach, left + inner);
        let second = columns((right - inner).max(left + inner), right + reach);
        [first.clone(), second.start.max(first.end)..second.end.max(first.end)]
    };
    let between = sides[0].end..sides[1].start;
    let (middle_x, middle_y) = ((between.start + between.end) / 2, cy as i64);
    let of_sides = sides.clone().map(|columns| columns.map(|x| cover(x, middle_y) * opacity).collect::<Vec<f32>>());
    let rows = ((top - reach) as i64).max(0)..((bottom + reach) as i64 + 1).min(height);
    for y in rows {
        let line = y as f32 + 0.5;
        if line >= top + inner && line <= bottom - inner {
            for (columns, covers) in sides.iter().zip(&of_sides) {
                for (pixel, cover) in part(picture, y, columns.clone()).zip(covers) {
                    blend(pixel, colour, *cover);
                }
            }
            continue;
        }
        let of_row = cover(middle_x, y) * opacity;
        for (x, pixel) in whole.clone().zip(part(picture, y, whole.clone())) {
            let cover = if between.contains(&x) { of_row } else { cover(x, y) * opacity };
            if cover > 0.0 {
                blend(pixel, colour, cover);
            }
        }
    }
}

/// Fills `rect` (cut to whole pixels) with a colour; the picture keeps a weight of 1 − `opacity` (0..1).
pub fn fill(picture: &mut RgbImage, rect: &Rect, colour: Rgb<u8>, opacity: f32) {
    let span = |from: f32, length: f32, most: u32| {
        let end = ((from + length).max(0.0) as usize).min(most as usize);
        (from.max(0.0) as usize).min(end)..end
    };
    let (columns, rows) = (span(rect.x, rect.w, picture.width()), span(rect.y, rect.h, picture.height()));
    // Weights are whole 256ths, for speed: every frame of a live run is filled under its text.
    let share = (opacity.clamp(0.0, 1.0) * 256.0) as u16;
    let added = colour.0.map(|v| u16::from(v) * share + 128);
    let stride = picture.width() as usize * 3;
    for y in rows {
        let row = &mut picture.as_mut()[y * stride..][columns.start * 3..columns.end * 3];
        for pixel in row.chunks_exact_mut(3) {
            for (to, added) in pixel.iter_mut().zip(added) {
                *to = ((u16::from(*to) * (256 - share) + added) >> 8) as u8;
            }
        }
    }
}

/// Returns the width of a line of text that is `height` pixels high, pixels.
pub fn text_width(text: &str, height: f32) -> f32 {
    letters::width(text, height)
}

/// Writes one line of text whose box has its top left corner at (`x`, `y`); `height` is the line's height in pixels.
pub fn text(picture: &mut RgbImage, text: &str, x: f32, y: f32, height: f32, colour: Rgb<u8>) {
    // A base line on a whole pixel keeps the lower edge of letters crisp.
    let (x, base) = (x.round() as i64, (y + letters::ascent(height)).round() as i64);
    let (width, rows) = (i64::from(picture.width()), 0..i64::from(picture.height()));
    letters::each(text, height, |shape, pen| {
        let (left, top) = (x + pen + shape.left, base + shape.top);
        let columns = left.clamp(0, width)..(left + shape.width as i64).clamp(0, width);
        let hidden = (columns.start - left) as usize;
        for (line, y) in shape.cover.chunks_exact(shape.width.max(1)).zip(top..).filter(|(_, y)| rows.contains(y)) {
            for (pixel, cover) in part(picture, y, columns.clone()).zip(line.iter().skip(hidden)) {
                if *cover > 0.0 {
                    blend(pixel, colour, *cover);
                }
            }
        }
    });
}

/// Writes `line` on a dark ground above the top left corner of `rect`, at a distance of `above` pixels; inside `rect`
/// where the picture ends above it.
pub fn label(picture: &mut RgbImage, rect: &Rect, line: &str, height: f32, colour: Rgb<u8>, above: f32) {
    let pad = (height / 5.0).round();
    let (w, h) = (text_width(line, height).ceil() + 2.0 * pad, height.ceil() + pad);
    let (limit_x, limit_y) = (picture.width() as f32 - w, picture.height() as f32 - h);
    let outside = rect.y - above - h;
    let y = if outside >= 0.0 { outside } else { rect.y + above };
    let (x, y) = ((rect.x - above).clamp(0.0, limit_x.max(0.0)).round(), y.clamp(0.0, limit_y.max(0.0)).round());
    fill(picture, &Rect::new(x, y, w, h), SHADE, 0.72);
    text(picture, line, x + pad, y + (pad / 2.0).floor(), height, colour);
}

/// Draws a box with its score for each face; lines and text grow with the picture.
pub fn faces(picture: &mut RgbImage, faces: &[Face]) {
    let marked = |f: &Face| Marked {
        rect: f.rect,
        opacity: 1.0,
        words: format!("{:.2}", f.score),
        smile: f.smile.map(|p| (p, p >= 0.5)),
    };
    boxes(picture, &faces.iter().map(marked).collect::<Vec<_>>());
}

/// A box to be drawn.
pub(super) struct Marked {
    pub(super) rect: Rect,
    /// Opacity, 0..1.
    pub(super) opacity: f32,
    /// The label over the box.
    pub(super) words: String,
    /// Probability of a smile, and whether it counts as one.
    pub(super) smile: Option<(f32, bool)>,
}

/// Draws boxes with their labels and smiles. The first is drawn on top.
pub(super) fn boxes(picture: &mut RgbImage, boxes: &[Marked]) {
    let thickness = line_width(picture) as f32;
    let height = text_height(picture);
    for marked in boxes.iter().rev() {
        outline(picture, &marked.rect, SHADE, thickness + 2.0, 0.45 * marked.opacity);
        outline(picture, &marked.rect, FACE, thickness, marked.opacity);
    }
    for Marked { rect, words, smile, .. } in boxes.iter().rev() {
        let colour = if smile.is_some_and(|(_, smiling)| smiling) { SMILE } else { FACE };
        label(picture, rect, words, height, colour, thickness / 2.0);
        if let Some((share, smiling)) = smile {
            meter(picture, rect, *share, if *smiling { SMILE } else { INK }, thickness);
        }
    }
}

/// A bar along the lower edge of `rect`, inside it, filled from the left by `share`.
fn meter(picture: &mut RgbImage, rect: &Rect, share: f32, colour: Rgb<u8>, thickness: f32) {
    let (height, gap) = (2.0 * thickness, 1.5 * thickness);
    let width = rect.w - 2.0 * gap;
    if width < height || rect.h < 3.0 * height {
        return;
    }
    let ground = Rect::new(rect.x + gap, rect.y + rect.h - gap - height, width, height);
    fill(picture, &ground, SHADE, 0.62);
    fill(picture, &Rect { w: width * share.clamp(0.0, 1.0), ..ground }, colour, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_lines_are_crisp_and_lie_on_the_edge() {
        let mut picture = RgbImage::new(40, 40);
        outline(&mut picture, &Rect::new(10.0, 10.0, 20.0, 20.0), FACE, 2.0, 1.0);
        let row: Vec<bool> = (0..40).map(|x| picture.get_pixel(x, 20).0 != [0; 3]).collect();
        let lit: Vec<usize> = (0..40).filter(|x| row[*x]).collect();
        assert_eq!(lit, [9, 10, 29, 30]);
        assert_eq!(picture.get_pixel(9, 20), &FACE);
        assert_eq!(picture.get_pixel(9, 9).0, [0; 3], "corners are rounded");
    }

    #[test]
    fn rectangles_beyond_the_border_or_not_finite_do_not_panic() {
        let rects = [
            Rect::new(-50.0, -50.0, 400.0, 300.0),
            Rect::new(5.0, 5.0, 0.0, 0.0),
            Rect::new(f32::NAN, 0.0, 5.0, 5.0),
            Rect::new(-1e9, 0.0, 2e9, 5.0),
            Rect::new(1e9, 1e9, 3.0, 3.0),
        ];
        for (width, height) in [(1, 1), (200, 1), (1, 200), (64, 48)] {
            let mut picture = RgbImage::new(width, height);
            for rect in rects {
                faces(
                    &mut picture,
                    &[Face { rect, score: 0.5, smile: None }, Face { rect, score: 0.5, smile: Some(0.7) }],
                );
            }
        }
    }

    #[test]
    fn the_meter_is_filled_by_the_probability_and_in_the_colour_of_a_smile_only_if_it_is_one() {
        let rect = Rect::new(20.0, 20.0, 106.0, 106.0);
        let lit = |smile: Option<f32>, colour: Rgb<u8>| {
            let mut picture = RgbImage::new(160, 160);
            faces(&mut picture, &[Face { rect, score: 0.5, smile }]);
            (0..160).filter(|x| *picture.get_pixel(*x, 120) == colour).count()
        };
        assert_eq!([lit(Some(0.9), SMILE), lit(Some(0.9), INK)], [90, 0]);
        assert_eq!([lit(Some(0.3), SMILE), lit(Some(0.3), INK)], [0, 30]);
        assert_eq!([lit(None, SMILE), lit(None, INK)], [0, 0]);
    }

    #[test]
    fn text_is_as_wide_as_measured() {
        let mut picture = RgbImage::new(200, 40);
        text(&mut picture, "0.97 ü", 5.0, 5.0, 20.0, FACE);
        let lit: Vec<u32> = picture.enumerate_pixels().filter(|(_, _, p)| p.0[1] > 60).map(|(x, _, _)| x).collect();
        let (first, last) = (*lit.iter().min().unwrap() as f32, *lit.iter().max().unwrap() as f32);
        let width = text_width("0.97 ü", 20.0);
        assert!(first >= 4.0 && last <= 5.0 + width && last > 5.0 + width * 0.9, "{first} {last} {width}");
    }
}
