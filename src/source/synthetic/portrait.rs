//! Draws the synthetic camera's faces: two heads, cut out of the portraits in `assets/`, at any size.

use std::sync::LazyLock;

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::geometry::Rect;
use crate::source::picture;

/// A head, cut out of its picture.
pub(super) struct Portrait {
    /// The head at full, half and quarter size; the smallest one that is not smaller than the drawing is drawn.
    levels: Vec<RgbImage>,
    /// The face within the head, as shares (0..1) of the head's width and height.
    face: Rect,
}

/// The two heads.
pub(super) static PORTRAITS: LazyLock<[Portrait; 2]> = LazyLock::new(|| {
    // Head and face were measured in each picture, pixels.
    [
        Portrait::cut(
            include_bytes!("../../../assets/grace_hopper.jpg"),
            Rect::new(124.0, 12.0, 286.0, 352.0),
            Rect::new(164.0, 128.0, 202.0, 204.0),
        ),
        Portrait::cut(
            include_bytes!("../../../assets/astronaut.jpg"),
            Rect::new(146.0, 6.0, 160.0, 196.0),
            Rect::new(177.0, 70.0, 96.0, 112.0),
        ),
    ]
});

/// How fast a head fades in from the ellipse round it.
const FADE: f32 = 4.0;

impl Portrait {
    /// Cuts `head` out of a picture's `file`; `face` is the face in that picture. Both in pixels.
    fn cut(file: &[u8], head: Rect, face: Rect) -> Self {
        // The pictures are built into the program, and a test decodes them. A grey picture stands in for one that can't be
        // read.
        let whole = picture::decode(file).unwrap_or_else(|_| RgbImage::from_pixel(640, 640, image::Rgb([128; 3])));
        let full = imageops::crop_imm(&whole, head.x as u32, head.y as u32, head.w as u32, head.h as u32).to_image();
        let mut levels = vec![full];
        for divisor in [2, 4] {
            let (w, h) = (head.w as u32 / divisor, head.h as u32 / divisor);
            levels.push(imageops::resize(&levels[0], w, h, FilterType::Triangle));
        }
        let inside =
            Rect::new((face.x - head.x) / head.w, (face.y - head.y) / head.h, face.w / head.w, face.h / head.h);
        Self { levels, face: inside }
    }

    /// Width of the face over its height.
    pub(super) fn aspect(&self) -> f32 {
        let (w, h) = self.levels[0].dimensions();
        self.face.w * w as f32 / (self.face.h * h as f32)
    }

    /// The rectangle of this face's shape with the middle and height of `place`.
    pub(super) fn fitted(&self, place: &Rect) -> Rect {
        let w = place.h * self.aspect();
        Rect::new(place.x + (place.w - w) / 2.0, place.y, w, place.h)
    }

    /// Draws the head, mirrored if so asked, so that its face fills the rectangle `place`. Towards an ellipse round the
    /// head it fades into what is there, and everywhere by 1 − `share`.
    pub(super) fn draw(&self, into: &mut RgbImage, place: &Rect, mirror: bool, share: f32) {
        let (w, h) = (place.w / self.face.w, place.h / self.face.h);
        let face_x = if mirror { 1.0 - self.face.x - self.face.w } else { self.face.x };
        let (left, top) = (place.x - face_x * w, place.y - self.face.y * h);
        let enough = |level: &&RgbImage| level.width() as f32 >= w;
        let source = self.levels.iter().rev().find(enough).unwrap_or(&self.levels[0]);
        let (source_w, source_h) = (source.width() as usize, source.height() as usize);
        let (scale_x, scale_y) = (source_w as f32 / w, source_h as f32 / h);
        let (width, height) = (into.width() as i64, into.height() as i64);
        let start = (left.floor() as i64).clamp(0, width);
        let across = start..((left + w).ceil() as i64).clamp(start, width);
        let columns: Vec<Column> = across
            .clone()
            .map(|x| {
                let at = x as f32 + 0.5 - left;
                let (first, weight) = position(if mirror { w - at } else { at } * scale_x, source_w);
                Column { at: first * 3, weight, middle: at / w * 2.0 - 1.0 }
            })
            .collect();
        // A row interpolated between two rows of the source, with its last pixel repeated.
        let mut row = vec![0u16; (source_w + 1) * 3];
        let down = (top.floor() as i64).max(0)..((top + h).ceil() as i64).min(height);
        for y in down {
            let v = (y as f32 + 0.5 - top) / h * 2.0 - 1.0;
            let reach = 1.0 - v * v;
            if reach <= 0.0 {
                continue;
            }
            let (upper, weight) = position((y as f32 + 0.5 - top) * scale_y, source_h);
            let source_row = |y: usize| &source.as_raw()[y.min(source_h - 1) * source_w * 3..][..source_w * 3];
            let pairs = source_row(upper).iter().zip(source_row(upper + 1));
            for (to, (a, b)) in row.iter_mut().zip(pairs) {
                *to = u16::from(*a) * (255 - weight) + u16::from(*b) * weight;
            }
            row.copy_within((source_w - 1) * 3..source_w * 3, source_w * 3);
            // Only the part of the row within the ellipse is drawn. A little within it, the head hides what is there.
            let span = |reach: f32, room: f32| {
                let (middle, half) = (left + w / 2.0, reach.max(0.0).sqrt() * w / 2.0 + room);
                let start = ((middle - half).floor() as i64).clamp(across.start, across.end);
                start..((middle + half).ceil() as i64).clamp(start, across.end)
            };
            let whole = if share < 1.0 { 0.0 } else { reach - 1.0 / FADE };
            let (drawn, hidden) = (span(reach, 0.0), span(whole, -2.0));
            let target = &mut into.as_mut()[(y * width + drawn.start) as usize * 3..][..3 * drawn.clone().count()];
            let columns = &columns[(drawn.start - across.start) as usize..];
            for ((to, column), x) in target.chunks_exact_mut(3).zip(columns).zip(drawn) {
                let head = column.of(&row);
                if hidden.contains(&x) {
                    to.copy_from_slice(&head);
                    continue;
                }
                // Weight of the head in 256ths: 0 at the ellipse, growing to 256 inside.
                let cover = (((reach - column.middle * column.middle) * FADE).clamp(0.0, 1.0) * share * 256.0) as i32;
                for (to, head) in to.iter_mut().zip(head) {
                    let (ground, head) = (i32::from(*to), i32::from(head));
                    *to = (ground + (((head - ground) * cover + 128) >> 8)) as u8;
                }
            }
        }
    }
}

/// Position of a column of the picture within the head.
struct Column {
    /// Offset of the first byte of the pixel to its left, in a row of the head.
    at: usize,
    /// Weight of the pixel to its right, in 255ths.
    weight: u16,
    /// Position from −1 at the head's left edge to 1 at its right edge.
    middle: f32,
}

impl Column {
    /// The head's colour here, from a row of its source in 255ths.
    #[inline(always)]
    fn of(&self, row: &[u16]) -> [u8; 3] {
        let pixels: &[u16; 6] = row[self.at..self.at + 6].try_into().expect("six");
        let (left, right) = (u32::from(255 - self.weight), u32::from(self.weight));
        std::array::from_fn(|c| {
            let value = u32::from(pixels[c]) * left + u32::from(pixels[c + 3]) * right;
            // Divided by 255 · 255, rounded.
            ((value + (value >> 8) + (value >> 7) + (1 << 15)) >> 16).min(255) as u8
        })
    }
}

/// Returns the pixel before a continuous position in a row of `size` pixels, and the weight of the next pixel in 255ths.
fn position(at: f32, size: usize) -> (usize, u16) {
    let at = (at - 0.5).clamp(0.0, (size - 1) as f32);
    let first = at as usize;
    (first, ((at - first as f32) * 255.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_portraits_can_be_read() {
        for portrait in PORTRAITS.iter() {
            let head = &portrait.levels[0];
            let first = head.get_pixel(0, 0);
            assert!(head.pixels().any(|p| p != first), "a picture, not the grey that stands in for one");
        }
    }
}
