//! Compares how a face looks from frame to frame, so that it can be followed where the search does not find it: in a fade, a
//! dissolve, turned away.
//!
//! Pictures are compared by normalised cross-correlation of grey values, 1 for pictures that differ by brightness and contrast
//! only. That is what a fade changes.

use image::RgbImage;

use crate::geometry::Rect;

/// Cells across a patch.
const SIDE: usize = 16;
/// Standard deviation of grey values, levels of 255, under which a patch shows nothing to compare.
const FLAT: f32 = 0.7;
/// Correlation from which no better place is looked for.
const SAME: f32 = 0.985;

/// Grey values of a part of a picture: mean 0, norm 1.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    values: [f32; SIDE * SIDE],
    flat: bool,
}

impl Patch {
    /// The patch in `rect`, pixels; parts outside the picture repeat its border.
    pub(super) fn of(picture: &RgbImage, rect: &Rect) -> Self {
        let mut values = [0.0; SIDE * SIDE];
        sample(picture, rect, (SIDE, SIDE), &mut values);
        let flat = normalise(&mut values) < FLAT;
        Self { values, flat }
    }

    /// Whether there is nothing to compare: a black frame, a white one.
    pub(super) fn is_flat(&self) -> bool {
        self.flat
    }

    fn likeness(&self, picture: &RgbImage, rect: &Rect) -> f32 {
        let mut values = [0.0; SIDE * SIDE];
        sample(picture, rect, (SIDE, SIDE), &mut values);
        normalise(&mut values);
        correlation(&self.values, &values)
    }

    /// Where this patch, which was in `rect` in a neighbouring frame, is in `picture`: the best place within 0.4 sides, and the
    /// correlation there, −1..1.
    pub(super) fn locate(&self, picture: &RgbImage, rect: &Rect) -> (Rect, f32) {
        let (mut best, mut most) = (*rect, self.likeness(picture, rect));
        if most >= SAME {
            return (best, most);
        }
        let mut improve = |candidate: Rect, best: &mut Rect| {
            let likeness = self.likeness(picture, &candidate);
            // A tie goes to the nearer place.
            if likeness > most + 1e-3 {
                (*best, most) = (candidate, likeness);
            }
        };
        for (reach, share) in [(3, 1.0 / 8.0), (1, 1.0 / 16.0), (1, 1.0 / 32.0)] {
            let centre = best;
            for row in -reach..=reach {
                for column in -reach..=reach {
                    let (dx, dy) = (column as f32 * share * rect.w, row as f32 * share * rect.h);
                    improve(Rect { x: centre.x + dx, y: centre.y + dy, ..centre }, &mut best);
                }
            }
        }
        for scale in [0.95, 1.05] {
            let (cx, cy) = best.center();
            let (w, h) = (best.w * scale, best.h * scale);
            improve(Rect::new(cx - w / 2.0, cy - h / 2.0, w, h), &mut best);
        }
        (best, most)
    }
}

/// Mean grey values of cells, from four pixels each.
fn sample(picture: &RgbImage, rect: &Rect, (columns, rows): (usize, usize), out: &mut [f32]) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if width == 0 || height == 0 {
        return;
    }
    let place = |start: f32, length: f32, cell: usize, cells: usize, quarter: f32, most: usize| {
        // As integers, what is no number is 0.
        ((start + (cell as f32 + quarter) / cells as f32 * length).max(0.0) as usize).min(most - 1)
    };
    let pixels = picture.as_raw();
    for (row, line) in out.chunks_exact_mut(columns).take(rows).enumerate() {
        let ys = [0.25, 0.75].map(|quarter| place(rect.y, rect.h, row, rows, quarter, height));
        for (column, cell) in line.iter_mut().enumerate() {
            let xs = [0.25, 0.75].map(|quarter| place(rect.x, rect.w, column, columns, quarter, width));
            let mut sum = 0_u32;
            for y in ys {
                for x in xs {
                    let at = (y * width + x) * 3;
                    sum += u32::from(pixels[at]) + 2 * u32::from(pixels[at + 1]) + u32::from(pixels[at + 2]);
                }
            }
            *cell = sum as f32 / 16.0;
        }
    }
}

/// Makes the mean 0 and the norm 1; gives the standard deviation before.
pub(super) fn normalise(values: &mut [f32]) -> f32 {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    values.iter_mut().for_each(|v| *v -= mean);
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 0.0 {
        values.iter_mut().for_each(|v| *v /= norm);
    }
    norm / count.sqrt()
}

pub(super) fn correlation(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::Rgb;

    /// A textured square of 60 pixels at `x`, `y` in a frame with a texture of its own; `light` 0..1 fades all.
    pub(in super::super) fn frame(scene: u32, square: Option<(f32, f32)>, light: f32) -> RgbImage {
        let wave =
            |x: f32, y: f32, k: f32| ((x * 0.21 * k).sin() + (y * 0.17 * k).cos() + (x * y * 0.003 * k).sin()) * 30.0;
        RgbImage::from_fn(240, 160, |x, y| {
            let (x, y) = (x as f32, y as f32);
            let inside = square.filter(|(sx, sy)| (0.0..60.0).contains(&(x - sx)) && (0.0..60.0).contains(&(y - sy)));
            let value = match inside {
                // As coarse as a face: a few waves across.
                Some((sx, sy)) => 130.0 + wave(x - sx + 300.0, y - sy, 1.1),
                None => 110.0 + wave(x + 977.0 * scene as f32, y + 613.0 * scene as f32, 0.35 + 0.2 * scene as f32),
            };
            Rgb([(value * light) as u8; 3])
        })
    }

    #[test]
    fn a_patch_is_found_where_it_went_however_dark_it_became() {
        let before = Rect::new(80.0, 50.0, 60.0, 60.0);
        let patch = Patch::of(&frame(0, Some((80.0, 50.0)), 1.0), &before);
        for (dx, dy, light) in [(0.0, 0.0, 1.0), (11.0, -6.0, 1.0), (-18.0, 4.0, 0.5), (5.0, 9.0, 0.2)] {
            let (found, likeness) = patch.locate(&frame(0, Some((80.0 + dx, 50.0 + dy)), light), &before);
            let error = (found.x - before.x - dx).abs().max((found.y - before.y - dy).abs());
            assert!(likeness > 0.8 && error < 4.0, "{dx}, {dy}, {light}: {found:?}, {likeness}");
        }
        assert!(patch.locate(&frame(1, None, 1.0), &before).1 < 0.6);
        assert!(Patch::of(&frame(0, None, 0.0), &before).is_flat());
    }

    #[test]
    fn nothing_odd_about_boxes_or_pictures_panics() {
        for picture in [RgbImage::new(0, 0), RgbImage::new(1, 1), frame(0, None, 1.0)] {
            for v in [f32::NAN, f32::INFINITY, -1e30, 0.0, 1e9] {
                let rect = Rect::new(v, v, v, 3.0);
                Patch::of(&picture, &rect).locate(&picture, &rect);
            }
        }
    }
}
