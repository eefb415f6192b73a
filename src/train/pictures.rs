//! The pictures that training draws from: decoded once and kept in memory, each with its image pyramid.

use crate::cascade::crops::Crop;
use crate::dataset::{Annotated, Truth};
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::parallel;
use crate::pyramid::Pyramid;

/// A decoded picture with its faces.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The picture and its copies at half the size, a quarter and so on.
    pub pyramid: Pyramid,
    /// Marked faces, in pixels of the picture.
    pub faces: Vec<Truth>,
    /// Whether other faces may be in it that are not marked: nothing is learned from it about backgrounds.
    pub partly_marked: bool,
}

impl Picture {
    /// Returns width and height, pixels.
    pub(crate) fn size(&self) -> (f32, f32) {
        self.pyramid.levels.first().map_or((0.0, 0.0), |l| (l.width as f32, l.height as f32))
    }
}

/// Decodes pictures on `threads` threads, down to levels whose shorter side is `shortest` pixels; `progress` is told how
/// many are done.
///
/// # Errors
/// If a picture can't be read.
pub(crate) fn load(
    list: &[Annotated],
    shortest: usize,
    threads: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Picture>> {
    let read = |item: &Annotated| -> Result<Picture> {
        let picture = crate::source::picture::read(&item.image)?;
        let pyramid = Pyramid::of(&picture, shortest);
        Ok(Picture { pyramid, faces: item.faces.clone(), partly_marked: false })
    };
    let mut all = Vec::with_capacity(list.len());
    parallel::in_order(list, threads, read, |picture: Result<Picture>| {
        all.push(picture?);
        progress(all.len());
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Maps the box of a face to a crop of `n` × `n` pixels. In a turned crop, the result is the bounding box of the turned ellipse
/// inside the face's box.
pub(crate) fn box_in_crop(face: &Rect, at: &Crop, n: usize) -> Rect {
    let (cx, cy) = face.center();
    let (x, y) = at.to_crop(cx, cy, n);
    let scale = n as f32 / at.side;
    let (w, h) = turned_extent(face.w * scale, face.h * scale, at.angle);
    Rect::new(x - w / 2.0, y - h / 2.0, w, h)
}

/// Returns width and height of the upright bounding box of an ellipse of width `w` and height `h` turned by `angle` radians.
fn turned_extent(w: f32, h: f32, angle: f32) -> (f32, f32) {
    let (sin, cos) = angle.sin_cos();
    ((w * cos).hypot(h * sin), (w * sin).hypot(h * cos))
}

/// Returns whether a face is clear enough to learn from as a face: valid, and not both heavily occluded and below 32 pixels.
pub(crate) fn is_clear(face: &Truth) -> bool {
    !(face.invalid || face.occlusion == 2 && face.rect.h < 32.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upright_box_in_an_upright_crop_is_scaled_and_moved_only() {
        let at = Crop::upright(50.0, 40.0, 20.0);
        let in_crop = box_in_crop(&Rect::new(45.0, 35.0, 10.0, 6.0), &at, 40);
        assert_eq!(in_crop, Rect::new(10.0, 10.0, 20.0, 12.0));
        let mirrored = box_in_crop(&Rect::new(41.0, 35.0, 10.0, 6.0), &Crop { mirror: true, ..at }, 40);
        assert_eq!(mirrored, Rect::new(18.0, 10.0, 20.0, 12.0));
    }

    #[test]
    fn a_quarter_turn_swaps_width_and_height() {
        let at = Crop { angle: std::f32::consts::FRAC_PI_2, ..Crop::upright(50.0, 40.0, 20.0) };
        let r = box_in_crop(&Rect::new(45.0, 37.0, 10.0, 6.0), &at, 20);
        assert!((r.w - 6.0).abs() < 1e-4 && (r.h - 10.0).abs() < 1e-4);
    }
}
