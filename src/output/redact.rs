//! Makes faces unrecognisable. An ellipse round each face is covered, in every frame in which the face is followed: also in
//! those where it was not found but must be, or may be. Rather too much than too little.
//!
//! Of a face, a grid of [`CELLS`] × [`CELLS`] mean colours is left (one more where the face lies across their borders), however
//! large the face is, so that it can't be reckoned back from a frame: a blur is these colours, smoothed, and no filter over the
//! pixels.

use std::ops::Range;

use image::{Rgb, RgbImage};

use crate::geometry::{Face, Rect};
use crate::track::{Basis, Tracked};

/// Cells across what is covered of one face, at most.
pub const CELLS: f32 = 7.0;
/// The smallest cell, pixels: of small faces fewer cells are left.
const LEAST_CELL: f32 = 8.0;
/// What solid ellipses are filled with.
pub const SOLID: Rgb<u8> = Rgb([24, 24, 24]);
/// The margin, in sides of the face, that covers hair, chin and ears with some to spare.
pub const MARGIN: f32 = 0.3;
/// Where a face was not seen, as much more margin: it may have moved otherwise than thought.
const UNSURE: f32 = 0.15;

/// What faces are covered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A few mean colours that run into each other.
    Blur,
    /// A few squares of mean colours.
    Mosaic,
    /// One colour that has nothing to do with the face.
    Solid,
}

/// Covers faces; buffers are used again.
#[derive(Debug)]
pub struct Redactor {
    style: Style,
    margin: f32,
    grid: Vec<[f32; 3]>,
    line: Vec<[f32; 3]>,
}

impl Redactor {
    /// Covers with `style` the ellipse in each face's box, grown on each side by `margin` of its longer side.
    pub fn new(style: Style, margin: f32) -> Self {
        Self { style, margin, grid: Vec::new(), line: Vec::new() }
    }

    /// Covers all `faces`, shown or not.
    pub fn cover(&mut self, picture: &mut RgbImage, faces: &[Tracked]) {
        for face in faces {
            if let Some(ellipse) = Ellipse::round(face, self.margin) {
                self.cover_shape(picture, &ellipse);
            }
        }
    }

    /// Covers faces of one picture, as they were found.
    pub fn cover_found(&mut self, picture: &mut RgbImage, faces: &[Face]) {
        for face in faces {
            let tracked = Tracked { id: 0, face: *face, smiling: None, basis: Basis::Seen(face.rect), shown: true };
            self.cover(picture, &[tracked]);
        }
    }

    /// Covers a whole rectangle, pixels, without a margin.
    pub fn cover_region(&mut self, picture: &mut RgbImage, region: &Rect) {
        let (x, y) = region.center();
        let shape = Ellipse { x, y, half_w: region.w / 2.0, half_h: region.h / 2.0, rectangle: true };
        if [x, y, region.w, region.h].iter().all(|v| v.is_finite()) && region.w > 0.0 && region.h > 0.0 {
            self.cover_shape(picture, &shape);
        }
    }

    fn cover_shape(&mut self, picture: &mut RgbImage, ellipse: &Ellipse) {
        match self.style {
            Style::Solid => ellipse.fill(picture, SOLID),
            Style::Mosaic => ellipse.mosaic(picture),
            Style::Blur => self.blur(picture, ellipse),
        }
    }

    fn blur(&mut self, picture: &mut RgbImage, ellipse: &Ellipse) {
        let side = ellipse.cell();
        let (columns, rows) = (ellipse.columns(side, picture.width()), ellipse.rows(side, picture.height()));
        let width = columns.len();
        self.grid.clear();
        for row in rows.clone() {
            self.grid.extend(columns.clone().map(|column| mean(picture, column, row, side)));
        }
        smooth(&mut self.grid, &mut self.line, width);
        // Between the cells' centres, colours run straight; outside them they stay.
        let between = |at: usize, first: usize, count: usize| {
            let place = ((at as f32 + 0.5) / side as f32 - 0.5 - first as f32).clamp(0.0, (count - 1) as f32);
            let cell = (place as usize).min(count.saturating_sub(2));
            (cell, (cell + 1).min(count - 1), place - cell as f32)
        };
        for y in ellipse.lines(picture.height()) {
            let span = ellipse.span(y, picture.width());
            if span.is_empty() || width == 0 {
                continue;
            }
            let (above, below, share) = between(y, rows.start, rows.len());
            self.line.clear();
            self.line.extend((0..width).map(|column| {
                let (a, b) = (self.grid[above * width + column], self.grid[below * width + column]);
                std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share)
            }));
            let pixels = row_mut(picture, y, span.clone());
            for (x, pixel) in span.zip(pixels.chunks_exact_mut(3)) {
                let (left, right, share) = between(x, columns.start, width);
                let (a, b) = (self.line[left], self.line[right]);
                for c in 0..3 {
                    pixel[c] = (a[c] + (b[c] - a[c]) * share + 0.5) as u8;
                }
            }
        }
    }
}

/// What is covered of a face, pixels: an ellipse, or the whole rectangle round it.
#[derive(Debug, Clone, Copy)]
struct Ellipse {
    x: f32,
    y: f32,
    half_w: f32,
    half_h: f32,
    rectangle: bool,
}

impl Ellipse {
    /// Round a face's box and what was found of it; `None` if they are no numbers.
    fn round(face: &Tracked, margin: f32) -> Option<Self> {
        let Rect { x, y, w, h } = face.face.rect;
        let (mut left, mut top, mut right, mut bottom) = (x, y, x + w, y + h);
        let mut margin = margin;
        match face.basis {
            Basis::Seen(found) => {
                (left, top) = (left.min(found.x), top.min(found.y));
                (right, bottom) = (right.max(found.x + found.w), bottom.max(found.y + found.h));
            }
            Basis::Between | Basis::Guess => margin += UNSURE,
        }
        let more = margin * w.max(h);
        let (half_w, half_h) = ((right - left) / 2.0 + more, (bottom - top) / 2.0 + more);
        let ellipse = Self { x: (left + right) / 2.0, y: (top + bottom) / 2.0, half_w, half_h, rectangle: false };
        let all = [ellipse.x, ellipse.y, half_w, half_h];
        (all.iter().all(|v| v.is_finite()) && half_w > 0.0 && half_h > 0.0).then_some(ellipse)
    }

    /// Side of a cell. In few steps, so that cells stay where they are while a face grows slowly.
    fn cell(&self) -> usize {
        let least = (2.0 * self.half_w.max(self.half_h) / CELLS).clamp(LEAST_CELL, 1e4);
        (2f32.powf((least.log2() * 4.0).ceil() / 4.0)).ceil() as usize
    }

    fn columns(&self, side: usize, width: u32) -> Range<usize> {
        cells(self.x - self.half_w, self.x + self.half_w, side, width)
    }

    fn rows(&self, side: usize, height: u32) -> Range<usize> {
        cells(self.y - self.half_h, self.y + self.half_h, side, height)
    }

    /// The picture's lines that it touches.
    fn lines(&self, height: u32) -> Range<usize> {
        pixels(self.y - self.half_h, self.y + self.half_h, height)
    }

    /// The pixels of line `y` that it touches.
    fn span(&self, y: usize, width: u32) -> Range<usize> {
        // The nearest point of the line to the centre.
        let from_centre = (self.y - y as f32).clamp(0.0, 1.0) + y as f32 - self.y;
        if self.rectangle {
            return pixels(self.x - self.half_w, self.x + self.half_w, width);
        }
        let half = self.half_w * (1.0 - (from_centre / self.half_h).powi(2)).max(0.0).sqrt();
        pixels(self.x - half, self.x + half, width)
    }

    fn fill(&self, picture: &mut RgbImage, colour: Rgb<u8>) {
        for y in self.lines(picture.height()) {
            let span = self.span(y, picture.width());
            row_mut(picture, y, span).chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour.0));
        }
    }

    /// Whole cells, all that the ellipse touches.
    fn mosaic(&self, picture: &mut RgbImage) {
        let side = self.cell();
        for row in self.rows(side, picture.height()) {
            for column in self.columns(side, picture.width()) {
                let nearest =
                    |centre: f32, cell: usize| centre.clamp((cell * side) as f32, ((cell + 1) * side) as f32) - centre;
                let (dx, dy) = (nearest(self.x, column) / self.half_w, nearest(self.y, row) / self.half_h);
                if !self.rectangle && dx * dx + dy * dy > 1.0 {
                    continue;
                }
                let colour = mean(picture, column, row, side).map(|v| (v + 0.5) as u8);
                for y in within(row, side, picture.height()) {
                    let span = within(column, side, picture.width());
                    row_mut(picture, y, span).chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
                }
            }
        }
    }
}

/// Whole pixels from `from` to `to`, those touched, in 0 … `most`.
fn pixels(from: f32, to: f32, most: u32) -> Range<usize> {
    let end = (to.ceil().max(0.0) as usize).min(most as usize);
    (from.floor().max(0.0) as usize).min(end)..end
}

/// The same in cells of `side` pixels, counted from the picture's corner.
fn cells(from: f32, to: f32, side: usize, most: u32) -> Range<usize> {
    let pixels = pixels(from, to, most);
    pixels.start / side..pixels.end.div_ceil(side)
}

/// A cell's pixels along one side of a picture `most` long.
fn within(cell: usize, side: usize, most: u32) -> Range<usize> {
    cell * side..((cell + 1) * side).min(most as usize)
}

fn row_mut(picture: &mut RgbImage, y: usize, span: Range<usize>) -> &mut [u8] {
    let start = y * picture.width() as usize;
    &mut picture.as_mut()[(start + span.start) * 3..(start + span.end) * 3]
}

/// A cell's mean colour.
fn mean(picture: &RgbImage, column: usize, row: usize, side: usize) -> [f32; 3] {
    let (columns, rows) = (within(column, side, picture.width()), within(row, side, picture.height()));
    let mut sum = [0_u64; 3];
    for y in rows.clone() {
        let start = y * picture.width() as usize;
        let mut line = [0_u32; 3];
        for pixel in picture.as_raw()[(start + columns.start) * 3..(start + columns.end) * 3].chunks_exact(3) {
            (0..3).for_each(|c| line[c] += u32::from(pixel[c]));
        }
        (0..3).for_each(|c| sum[c] += u64::from(line[c]));
    }
    let count = (columns.len() * rows.len()).max(1) as f32;
    sum.map(|v| v as f32 / count)
}

/// Each cell becomes a mean of itself and its neighbours (1:2:1), those at the border of fewer.
fn smooth(grid: &mut [[f32; 3]], line: &mut Vec<[f32; 3]>, width: usize) {
    let height = grid.len() / width.max(1);
    let mut along = |count: usize, lines: usize, at: &dyn Fn(usize, usize) -> usize| {
        for other in 0..lines {
            line.clear();
            line.extend((0..count).map(|i| grid[at(i, other)]));
            for i in 0..count {
                let (a, b, c) = (line[i.saturating_sub(1)], line[i], line[(i + 1).min(count - 1)]);
                grid[at(i, other)] = std::array::from_fn(|k| (a[k] + 2.0 * b[k] + c[k]) / 4.0);
            }
        }
    };
    along(width, height, &|i, row| row * width + i);
    along(height, width, &|i, column| i * width + column);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STYLES: [Style; 3] = [Style::Blur, Style::Mosaic, Style::Solid];

    fn face(rect: Rect, basis: Basis) -> Tracked {
        Tracked { id: 1, face: Face { rect, score: 0.1, smile: None }, smiling: None, basis, shown: false }
    }

    fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
        let mut state = seed;
        RgbImage::from_fn(width, height, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Rgb([(state >> 8) as u8, (state >> 16) as u8, (state >> 24) as u8])
        })
    }

    /// Root mean square of the differences between neighbours in the ellipse in `rect`.
    fn detail(picture: &RgbImage, rect: &Rect) -> f64 {
        let ((cx, cy), mut sum, mut count) = (rect.center(), 0.0, 0.0);
        for (x, y, pixel) in picture.enumerate_pixels() {
            let (dx, dy) = ((x as f32 + 0.5 - cx) / rect.w * 2.0, (y as f32 + 0.5 - cy) / rect.h * 2.0);
            if dx * dx + dy * dy < 1.0 && x > 0 {
                let left = picture.get_pixel(x - 1, y);
                sum += (0..3).map(|c| (f64::from(pixel.0[c]) - f64::from(left.0[c])).powi(2)).sum::<f64>();
                count += 3.0;
            }
        }
        f64::sqrt(sum / f64::max(count, 1.0))
    }

    #[test]
    fn in_a_face_no_detail_is_left_and_far_from_it_all() {
        let rect = Rect::new(115.0, 95.0, 90.0, 110.0);
        for style in STYLES {
            for basis in [Basis::Seen(rect), Basis::Between, Basis::Guess] {
                let before = noise(320, 300, 1);
                let mut after = before.clone();
                Redactor::new(style, MARGIN).cover(&mut after, &[face(rect, basis)]);
                // Noise differs by 100; what is left are the steps from cell to cell.
                let left = detail(&after, &rect);
                assert!(detail(&before, &rect) > 90.0 && left < 8.0, "{style:?} {basis:?}: {left}");
                for (x, y) in [(5, 5), (315, 150), (160, 295), (5, 290)] {
                    assert_eq!(before.get_pixel(x, y), after.get_pixel(x, y), "{style:?} {basis:?} {x} {y}");
                }
            }
        }
    }

    #[test]
    fn faces_that_differ_only_within_cells_become_the_same() {
        let rect = Rect::new(30.0, 30.0, 90.0, 90.0);
        let side = Ellipse::round(&face(rect, Basis::Seen(rect)), MARGIN).unwrap().cell() as u32;
        // Light in the cell's upper half or in its lower: the means are equal.
        let half = |upper: bool| {
            RgbImage::from_fn(160, 160, move |x, y| {
                let (row, column) = (y % side, x / side);
                let light = if side % 2 == 1 && row == side / 2 {
                    5
                } else if (row < side / 2) == upper {
                    9
                } else {
                    1
                };
                Rgb([light * 20, column as u8 * 9, light * 10])
            })
        };
        for style in STYLES {
            let [mut a, mut b] = [half(true), half(false)];
            for picture in [&mut a, &mut b] {
                Redactor::new(style, MARGIN).cover(picture, &[face(rect, Basis::Seen(rect))]);
            }
            for (x, y) in [(75, 75), (40, 75), (75, 112), (60, 50), (100, 100)] {
                let (a, b) = (a.get_pixel(x, y).0, b.get_pixel(x, y).0);
                assert!((0..3).all(|c| a[c].abs_diff(b[c]) <= 1), "{style:?} at {x}, {y}: {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_was_found_and_what_is_followed_are_both_covered() {
        let (found, followed) = (Rect::new(40.0, 40.0, 40.0, 40.0), Rect::new(60.0, 40.0, 40.0, 40.0));
        let mut picture = RgbImage::from_pixel(160, 120, Rgb([200; 3]));
        Redactor::new(Style::Solid, 0.0).cover(&mut picture, &[face(followed, Basis::Seen(found))]);
        for x in [41, 60, 99] {
            assert_eq!(picture.get_pixel(x, 60), &SOLID, "{x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_pixel_of_the_ellipse_is_covered(
            x in -60f32..120.0, y in -60f32..90.0, w in 1f32..90.0, h in 1f32..90.0, seed in 0u32..99,
        ) {
            let rect = Rect::new(x, y, w, h);
            for style in STYLES {
                let before = noise(120, 90, seed);
                let mut after = before.clone();
                Redactor::new(style, 0.0).cover(&mut after, &[face(rect, Basis::Seen(rect))]);
                let (cx, cy) = rect.center();
                let (mut inside, mut same) = (0, 0);
                for (px, py, pixel) in after.enumerate_pixels() {
                    let (dx, dy) = ((px as f32 + 0.5 - cx) / w * 2.0, (py as f32 + 0.5 - cy) / h * 2.0);
                    if dx * dx + dy * dy < 1.0 {
                        inside += 1;
                        same += usize::from(pixel == before.get_pixel(px, py));
                    }
                }
                // A random pixel is by chance nearly never the mean; at a corner of the picture cells are tiny.
                prop_assert!(same <= 1 + inside / 50, "{style:?}: {same} of {inside} pixels as they were");
            }
        }
    }

    #[test]
    fn nothing_odd_about_boxes_panics() {
        let odd = [0.0, -1e9, 1e9, 1e30, f32::NAN, f32::INFINITY, 3.0];
        for style in STYLES {
            for (width, height) in [(1, 1), (2, 90), (90, 3), (64, 48)] {
                for (i, x) in odd.into_iter().enumerate() {
                    let rect = Rect::new(x, odd[(i + 1) % 7], odd[(i + 2) % 7], odd[(i + 3) % 7]);
                    for rect in [rect, Rect::new(x, x, 1e6, 40.0), Rect::new(-5.0, -5.0, 2000.0, 3000.0)] {
                        let mut picture = noise(width, height, 1);
                        Redactor::new(style, 0.3).cover(&mut picture, &[face(rect, Basis::Guess)]);
                    }
                }
            }
        }
    }
}
