//! Mining: runs the levels trained so far on the training pictures and collects the windows that they hand on, hard negatives
//! and badly framed faces, for the next level to learn from.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::pictures::{Picture, is_clear};
use super::windows::{Sources, WindowSettings};
use crate::cascade::Cascade;
use crate::dataset::Truth;
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::nets::weights::{Array, Weights};
use crate::parallel;

/// IoU from which a box fits its face: a little more than counts as found, so that what is learned holds on other pictures.
const FITS: f32 = 0.6;

/// A mined window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MinedWindow {
    /// Index of the window's picture: those with faces first, then those without ([`Sources::indexed`]).
    pub picture: usize,
    /// Index of the face that the window lies on; `None` off all faces.
    pub face: Option<usize>,
    /// The window, a square in pixels of the picture.
    pub window: Rect,
}

/// The windows mined for one net.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct MinedWindows {
    /// Windows on faces.
    pub faces: Vec<MinedWindow>,
    /// Windows on faces that have no box that fits, after the net itself as it was before this round.
    pub missed: Vec<MinedWindow>,
    /// Windows off all faces.
    pub negatives: Vec<MinedWindow>,
    /// Windows off all faces that the net itself, as it was before this round, takes for faces.
    pub hard: Vec<MinedWindow>,
}

/// Pictures looked at, in all, and how far it is.
pub(crate) type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Mines windows for a net on `threads` threads. Windows that `so_far`, the levels before the net, hands on become `faces` and
/// `negatives`. Of those that `whole`, which ends with the net itself, hands on, the ones off all faces become `hard`; the `faces` none of
/// them fits become `missed`, too. Ends early when `stop` is set.
///
/// # Errors
/// If a detection thread fails.
pub(crate) fn mine(
    so_far: &Cascade,
    whole: Option<&Cascade>,
    sources: Sources<'_>,
    settings: &WindowSettings,
    threads: usize,
    stop: &std::sync::atomic::AtomicBool,
    progress: Progress<'_>,
) -> Result<MinedWindows> {
    let of = sources.pictures.len() + sources.negatives.len();
    let work = |index: usize| {
        let mut pool = MinedWindows::default();
        let Some(picture) = sources.indexed(index) else { return Ok(pool) };
        let Some(rgb) = to_rgb(picture) else { return Ok(pool) };
        for window in so_far.windows_after(&rgb, so_far.levels())? {
            sort_in(&mut pool, index, picture, &window.rect.to_square(), settings);
        }
        if let Some(whole) = whole {
            let boxes = whole.windows_after(&rgb, whole.levels())?;
            let fits = |face: &Truth| boxes.iter().any(|found| found.rect.iou(&face.rect) >= FITS);
            let is_missed = |on: &MinedWindow| on.face.is_some_and(|face| !fits(&picture.faces[face]));
            pool.missed = pool.faces.iter().copied().filter(is_missed).collect();
            for window in boxes {
                let window = window.rect.to_square();
                if is_background(picture, &window, settings.negative) {
                    pool.hard.push(MinedWindow { picture: index, face: None, window });
                }
            }
        }
        Ok(pool)
    };
    let (mut all, mut done) = (MinedWindows::default(), 0);
    let indices = (0..of).take_while(|_| !stop.load(Ordering::Relaxed));
    parallel::in_order(indices, threads, work, |part: Result<MinedWindows>| {
        let part = part?;
        all.faces.extend(part.faces);
        all.missed.extend(part.missed);
        all.negatives.extend(part.negatives);
        all.hard.extend(part.hard);
        done += 1;
        progress(done, of);
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Returns the picture itself, the first level of its pyramid.
fn to_rgb(picture: &Picture) -> Option<image::RgbImage> {
    let level = picture.pyramid.levels.first()?;
    image::RgbImage::from_raw(level.width as u32, level.height as u32, level.pixels.clone())
}

/// Adds a window to `faces` or `negatives`, or to neither where its overlap with a face is in between.
fn sort_in(pool: &mut MinedWindows, index: usize, picture: &Picture, window: &Rect, settings: &WindowSettings) {
    let best = (0..picture.faces.len())
        .map(|f| (f, picture.faces[f].rect.to_square().iou(window)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((face, iou)) = best
        && iou >= settings.part.min(settings.negative)
    {
        let truth = &picture.faces[face];
        if iou >= settings.part && is_clear(truth) && truth.rect.h >= settings.smallest {
            pool.faces.push(MinedWindow { picture: index, face: Some(face), window: *window });
        }
    } else if is_background(picture, window, settings.negative) {
        pool.negatives.push(MinedWindow { picture: index, face: None, window: *window });
    }
}

/// Returns whether a window is background: its IoU with every face is below `iou`, and less than half of it lies on a face that
/// is not clear enough to count as either.
fn is_background(picture: &Picture, window: &Rect, iou: f32) -> bool {
    picture.faces.iter().all(|face| {
        let square = face.rect.to_square();
        let unclear = !is_clear(face) || face.rect.h < 10.0;
        square.iou(window) < iou && !(unclear && window.intersection(&square) >= 0.5 * window.area())
    })
}

impl MinedWindows {
    /// Writes the windows, so that a resumed run goes on with the same ones.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut file = Weights::default();
        for (name, list) in
            [("faces", &self.faces), ("missed", &self.missed), ("negatives", &self.negatives), ("hard", &self.hard)]
        {
            let mut data = Vec::with_capacity(list.len() * 5);
            for p in list {
                // Indices are far below 2^24, where 32-bit floats are exact.
                data.extend([p.picture as f32, p.face.map_or(-1.0, |f| f as f32), p.window.x, p.window.y, p.window.w]);
            }
            file.arrays.insert(name.into(), Array { shape: vec![list.len(), 5], data });
        }
        file.save(path)
    }

    /// Reads windows that [`Self::save`] wrote.
    ///
    /// # Errors
    /// If the file can't be read or was not written by [`Self::save`].
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let file = Weights::load(path)?;
        let list = |name: &str| {
            let rows = file.get(name)?.chunks_exact(5);
            Ok::<_, Error>(
                rows.map(|v| MinedWindow {
                    picture: v[0] as usize,
                    face: (v[1] >= 0.0).then_some(v[1] as usize),
                    window: Rect::new(v[2], v[3], v[4], v[4]),
                })
                .collect(),
            )
        };
        Ok(Self { faces: list("faces")?, missed: list("missed")?, negatives: list("negatives")?, hard: list("hard")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mined_windows_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let window =
            |i: usize, face| MinedWindow { picture: i, face, window: Rect::new(i as f32 * 1.5, -3.25, 24.0, 24.0) };
        let pool = MinedWindows {
            faces: (0..5).map(|i| window(i, Some(i * 7))).collect(),
            negatives: (0..9000).map(|i| window(i, None)).collect(),
            missed: (3..5).map(|i| window(i, Some(i * 7))).collect(),
            hard: Vec::new(),
        };
        let path = folder.path().join("mined.safetensors");
        pool.save(&path).unwrap();
        assert_eq!(MinedWindows::load(&path).unwrap(), pool);
    }
}
