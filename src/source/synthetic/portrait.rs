//! Draws the synthetic camera's faces: two heads, cut out of the portraits in `assets/`, at any size.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

use image::RgbImage;
use image::imageops;

use crate::geometry::Rect;
use crate::pyramid::cpu::Resizer;
use crate::source::picture;

/// A head, cut out of its picture.
pub(super) struct Portrait {
    /// The head at full, half and quarter size, of which the smallest one that is not smaller than the drawing is drawn; and the same
    /// mirrored.
    levels: [Vec<RgbImage>; 2],
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
            levels.push(imageops::resize(&levels[0], w, h, imageops::FilterType::Triangle));
        }
        let mirrored = levels.iter().map(imageops::flip_horizontal).collect();
        let inside =
            Rect::new((face.x - head.x) / head.w, (face.y - head.y) / head.h, face.w / head.w, face.h / head.h);
        Self { levels: [levels, mirrored], face: inside }
    }

    /// Width of the face over its height.
    pub(super) fn aspect(&self) -> f32 {
        let (w, h) = self.levels[0][0].dimensions();
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
        let levels = &self.levels[usize::from(mirror)];
        let source = levels.iter().rev().find(|level| level.width() as f32 >= w).unwrap_or(&levels[0]);
        let (across, down) = (Along::new(left, w, into.width()), Along::new(top, h, into.height()));
        RESIZED.with_borrow_mut(|resized| {
            if let Some(head) = resized.from(source, &across, &down) {
                blend(into, head, &across, &down, share);
            }
        });
    }
}

/// Where a head lies along one side of a picture, pixels.
struct Along {
    start: f32,
    length: f32,
    /// The picture's pixels that lie in it whole.
    pixels: Range<usize>,
}

impl Along {
    /// In a picture of `room` pixels.
    fn new(start: f32, length: f32, room: u32) -> Self {
        let first = start.ceil().clamp(0.0, room as f32);
        let end = (start + length).floor().clamp(first, room as f32);
        Self { start, length, pixels: first as usize..end as usize }
    }

    /// Where the pixels begin in a head of `size` pixels, and how many of its pixels they cover.
    fn source(&self, size: u32) -> (f64, f64) {
        let scale = f64::from(size) / f64::from(self.length);
        let begin = ((self.pixels.start as f64 - f64::from(self.start)) * scale).max(0.0);
        (begin, (self.pixels.len() as f64 * scale).min(f64::from(size) - begin))
    }

    /// Where the middle of a pixel lies: from −1 at the head's beginning to 1 at its end.
    fn position(&self, pixel: usize) -> f32 {
        (pixel as f32 + 0.5 - self.start) / self.length * 2.0 - 1.0
    }

    /// The pixels up to `half` pixels from the head's middle.
    fn middle(&self, half: f32) -> Range<usize> {
        let (middle, Range { start, end }) = (self.start + self.length / 2.0, self.pixels.clone());
        let first = ((middle - half).floor().max(0.0) as usize).clamp(start, end);
        first..((middle + half).ceil().max(0.0) as usize).clamp(first, end)
    }
}

/// A head at the size in which it is drawn. The buffers are used again, so that a frame costs no fresh memory.
#[derive(Default)]
struct Resized {
    resizer: Resizer,
    pixels: Vec<u8>,
}

thread_local! {
    static RESIZED: RefCell<Resized> = RefCell::default();
}

impl Resized {
    /// The whole pixels of `head`, RGB, row by row. There is nothing if it has none.
    fn from(&mut self, head: &RgbImage, across: &Along, down: &Along) -> Option<&[u8]> {
        let (width, height) = (across.pixels.len(), down.pixels.len());
        if width * height == 0 {
            return None;
        }
        let ((x, source_w), (y, source_h)) = (across.source(head.width()), down.source(head.height()));
        self.pixels.resize(width * height * 3, 0);
        let from = (head.width() as usize, head.height() as usize, head.as_raw().as_slice());
        self.resizer.draw(from, (x, y, source_w, source_h), (width, height, &mut self.pixels));
        Some(&self.pixels)
    }
}

/// Draws the pixels of `head` where they lie in the picture, as [`Portrait::draw`] says.
fn blend(into: &mut RgbImage, head: &[u8], across: &Along, down: &Along, share: f32) {
    let width = into.width() as usize;
    let rows = into.as_mut().chunks_exact_mut(width * 3).skip(down.pixels.start);
    for ((y, head), row) in down.pixels.clone().zip(head.chunks_exact(across.pixels.len() * 3)).zip(rows) {
        let row = &mut row[across.pixels.start * 3..across.pixels.end * 3];
        let reach = 1.0 - down.position(y).powi(2);
        // The part of the row within the ellipse, and the part a little within it, where the head hides what is there.
        let part = |reach: f32, room: f32| across.middle(reach.max(0.0).sqrt() * across.length / 2.0 + room);
        let (drawn, hidden) = (part(reach, 0.0), part(if share < 1.0 { 0.0 } else { reach - 1.0 / FADE }, -2.0));
        let bytes = |x: Range<usize>| (x.start - across.pixels.start) * 3..(x.end - across.pixels.start) * 3;
        row[bytes(hidden.clone())].copy_from_slice(&head[bytes(hidden.clone())]);
        for x in (drawn.start..hidden.start).chain(hidden.end..drawn.end) {
            // Weight of the head in 256ths: 0 at the ellipse, growing to 256 inside.
            let cover = (((reach - across.position(x).powi(2)) * FADE).clamp(0.0, 1.0) * share * 256.0) as i32;
            for (to, head) in row[bytes(x..x + 1)].iter_mut().zip(&head[bytes(x..x + 1)]) {
                let (ground, head) = (i32::from(*to), i32::from(*head));
                *to = (ground + (((head - ground) * cover + 128) >> 8)) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_outside_the_picture_or_smaller_than_a_pixel_draws_nothing() {
        let grey = RgbImage::from_pixel(40, 30, image::Rgb([90; 3]));
        for place in
            [Rect::new(-300.0, 4.0, 20.0, 25.0), Rect::new(10.0, 300.0, 20.0, 25.0), Rect::new(3.2, 3.2, 0.1, 0.1)]
        {
            let mut picture = grey.clone();
            PORTRAITS[0].draw(&mut picture, &place, true, 1.0);
            assert!(picture == grey, "{place:?}");
        }
        let mut empty = RgbImage::new(0, 0);
        PORTRAITS[0].draw(&mut empty, &Rect::new(0.0, 0.0, 20.0, 25.0), false, 1.0);
    }

    #[test]
    fn a_mirrored_head_is_the_other_ones_mirror_image() {
        let drawn = |mirror| {
            let mut picture = RgbImage::new(120, 150);
            PORTRAITS[0].draw(&mut picture, &PORTRAITS[0].fitted(&Rect::new(40.0, 40.0, 40.0, 60.0)), mirror, 1.0);
            picture
        };
        // Between the pixels of a face's two halves there is no difference but that of rounding.
        let (head, mirrored) = (drawn(false), imageops::flip_horizontal(&drawn(true)));
        let apart = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
        let mean = head.iter().zip(mirrored.iter()).map(apart).sum::<f64>() / head.len() as f64;
        assert!(mean < 1.0, "{mean}");
    }

    #[test]
    fn the_built_in_portraits_can_be_read() {
        for portrait in PORTRAITS.iter() {
            let head = &portrait.levels[0][0];
            let first = head.get_pixel(0, 0);
            assert!(head.pixels().any(|p| p != first), "a picture, not the grey that stands in for one");
        }
    }
}
