//! Pictures taken by themselves: of the moment at which those before the camera smile.

use std::path::{Path, PathBuf};

use facecascade::Error;
use facecascade::geometry::Rect;
use facecascade::smile::{Moment, Trigger, Who};
use facecascade::track::Tracked;
use image::RgbImage;

/// Who has to smile, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum WhoArg {
    /// All faces that are followed
    All,
    /// One of them; each smile once
    Any,
}

impl From<WhoArg> for Who {
    fn from(who: WhoArg) -> Self {
        match who {
            WhoArg::All => Self::All,
            WhoArg::Any => Self::Any,
        }
    }
}

/// Waits for smiles, and keeps the sharpest frame of each until it is saved.
pub(super) struct Snapper {
    trigger: Trigger,
    best: Option<(f64, RgbImage)>,
}

impl Snapper {
    pub(super) fn new(who: WhoArg) -> Self {
        Self { trigger: Trigger::new(who.into()), best: None }
    }

    /// Looks at a frame; when a smile has lasted, saves its sharpest frame as it came, without boxes, in `folder` and gives
    /// its path.
    pub(super) fn frame(
        &mut self,
        picture: &RgbImage,
        tracked: &[Tracked],
        time: f64,
        folder: &Path,
    ) -> anyhow::Result<Option<PathBuf>> {
        let shown = || tracked.iter().filter(|t| t.shown);
        let faces: Vec<(u64, bool)> = shown().map(|t| (t.id, t.smiling == Some(true))).collect();
        let moment = self.trigger.push(&faces, time);
        if moment == Moment::None {
            self.best = None;
            return Ok(None);
        }
        let sharpness: f64 = shown().map(|t| sharpness(picture, &t.face.rect)).sum();
        if self.best.as_ref().is_none_or(|(best, _)| sharpness > *best) {
            // The buffer of the frame before is used again.
            let mut kept = self.best.take().map(|(_, picture)| picture).unwrap_or_default();
            kept.clone_from(picture);
            self.best = Some((sharpness, kept));
        }
        match self.best.take_if(|_| moment == Moment::Take) {
            Some((_, picture)) => save(&picture, folder).map(Some),
            None => Ok(None),
        }
    }
}

/// Mean squared difference of green between neighbours across and down, inside the face's box.
fn sharpness(picture: &RgbImage, face: &Rect) -> f64 {
    let span = |from: f32, length: f32, most: u32| {
        let end = (from + length).clamp(0.0, most.saturating_sub(1) as f32) as u32;
        (from.clamp(0.0, end as f32) as u32)..end
    };
    let (columns, rows) = (span(face.x, face.w, picture.width()), span(face.y, face.h, picture.height()));
    let pixels = (columns.len() * rows.len()).max(1);
    let green = |x, y| f64::from(picture.get_pixel(x, y).0[1]);
    let mut sum = 0.0;
    for y in rows {
        for x in columns.clone() {
            let here = green(x, y);
            sum += (green(x + 1, y) - here).powi(2) + (green(x, y + 1) - here).powi(2);
        }
    }
    sum / pixels as f64
}

/// Under the first free name.
fn save(picture: &RgbImage, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let free = (1..=9999).map(|i| folder.join(format!("smile-{i:04}.jpg"))).find(|path| !path.exists());
    let path = free.ok_or_else(|| anyhow::anyhow!("{}: is full of pictures", folder.display()))?;
    super::super::detect::save(picture, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use facecascade::Face;
    use facecascade::track::Basis;

    fn face(smiling: bool) -> Tracked {
        let rect = Rect::new(10.0, 10.0, 30.0, 30.0);
        let face = Face { rect, score: 0.9, smile: Some(0.9) };
        Tracked { id: 1, face, smiling: Some(smiling), basis: Basis::Seen(rect), shown: true }
    }

    /// Stripes whose contrast is `contrast`.
    fn picture(contrast: u8) -> RgbImage {
        RgbImage::from_fn(60, 60, |x, _| image::Rgb([100 + contrast * (x % 2) as u8; 3]))
    }

    #[test]
    fn the_sharpest_frame_of_a_smile_is_saved_once_when_it_has_lasted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new");
        let mut snapper = Snapper::new(WhoArg::All);
        let mut saved = Vec::new();
        for i in 0..40 {
            // The sharpest of all does not smile; of those that do, frame 12 is the sharpest.
            let contrast = match i {
                3 => 120,
                12 => 90,
                _ => 10,
            };
            let tracked = [face(i >= 10)];
            let path = snapper.frame(&picture(contrast), &tracked, f64::from(i) / 20.0, &folder).unwrap();
            saved.extend(path.map(|path| (i, path)));
        }
        assert_eq!(saved, [(20, folder.join("smile-0001.jpg"))]);
        let picture = image::open(&saved[0].1).unwrap().to_rgb8();
        let row: Vec<u8> = picture.rows().next().unwrap().map(|p| p.0[1]).collect();
        let contrast = row.iter().max().unwrap() - row.iter().min().unwrap();
        assert!(contrast.abs_diff(90) < 20, "{contrast}");
    }

    #[test]
    fn boxes_beyond_the_picture_have_a_sharpness() {
        for rect in
            [Rect::new(-50.0, -50.0, 500.0, 500.0), Rect::new(90.0, 90.0, 5.0, 5.0), Rect::new(f32::NAN, 0.0, 1.0, 1.0)]
        {
            assert!(sharpness(&picture(9), &rect).is_finite());
        }
        assert_eq!(sharpness(&RgbImage::new(0, 0), &Rect::new(0.0, 0.0, 9.0, 9.0)), 0.0);
    }
}
