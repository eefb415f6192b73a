//! The faces that the smile net learns from, with their boxes as the cascade finds them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;

use crate::cascade::{Cascade, crops};
use crate::dataset::{self, Split, fer};
use crate::error::{Error, Result};
use crate::eval::smile::{PORTRAIT_FACE, TILE_FACE, middle_face};
use crate::geometry::Rect;
use crate::parallel;
use crate::pyramid::Pyramid;

/// Of this many faces the last one is held back.
const HELD_BACK: usize = 10;
/// The box in a presented tile where the cascade finds none: about the median of those found, pixels.
const TILE_BOX: Rect = Rect::new(57.0, 47.0, 77.0, 98.0);

/// Where a face comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// `mtfl/`
    Portraits,
    /// `fer/`
    Tiles,
}

/// A face to learn from.
#[derive(Debug)]
pub(crate) struct SmileFace {
    /// The picture and its halves; of tiles the halves alone, since crops are never taken from what was only enlarged.
    pub pyramid: Pyramid,
    /// The face's box, picture pixels.
    pub rect: Rect,
    /// Whether the cascade found it; else the box is the annotations' or a usual one.
    pub found: bool,
    /// Whether it smiles.
    pub smile: bool,
    /// Its set.
    pub set: Set,
    /// Kept from training, to fit the probability and to choose by.
    pub held_back: bool,
}

/// Reads the train parts of `mtfl/` and `fer/` below `data` and finds every face on `threads` threads, with a cascade that
/// `cascade` makes for a smallest face; `done` counts them. An absent `fer/` is left out.
///
/// # Errors
/// If the annotations or a picture can't be read.
pub(crate) fn load(
    data: &Path,
    cascade: &(dyn Fn(f32) -> Result<Cascade> + Sync),
    threads: usize,
    done: &AtomicUsize,
) -> Result<Vec<SmileFace>> {
    let finder = cascade(PORTRAIT_FACE)?;
    let portraits = dataset::mtfl(data, Split::Train)?;
    let mut all = on_threads(portraits.len(), threads, done, |i| {
        let (item, face) = (&portraits[i], &portraits[i].faces[0]);
        let picture = crate::source::picture::read(&item.image)?;
        let held_back = i % HELD_BACK == HELD_BACK - 1;
        face_of(&finder, &picture, face.rect, face.smile.unwrap_or(false), Set::Portraits, held_back)
    })?;
    if data.join("fer").is_dir() {
        let tiles = fer::read(data, Split::Train)?;
        let pictures = fer::pictures(&tiles)?;
        let finder = cascade(TILE_FACE)?;
        all.extend(on_threads(tiles.len(), threads, done, |i| {
            let held_back = i % HELD_BACK == HELD_BACK - 1;
            let mut face = face_of(&finder, &pictures[i], TILE_BOX, tiles[i].smile, Set::Tiles, held_back)?;
            face.pyramid.levels.remove(0);
            Ok(face)
        })?);
    }
    Ok(all)
}

/// How many faces [`load`] finds.
///
/// # Errors
/// If the annotations can't be read.
pub(crate) fn count(data: &Path) -> Result<usize> {
    let tiles = if data.join("fer").is_dir() { fer::read(data, Split::Train)?.len() } else { 0 };
    Ok(dataset::mtfl(data, Split::Train)?.len() + tiles)
}

fn face_of(
    cascade: &Cascade,
    picture: &RgbImage,
    otherwise: Rect,
    smile: bool,
    set: Set,
    held_back: bool,
) -> Result<SmileFace> {
    let found = middle_face(&cascade.detect(picture)?, picture.dimensions());
    let pyramid = Pyramid::of(picture, crops::SHORTEST);
    Ok(SmileFace { pyramid, rect: found.map_or(otherwise, |f| f.rect), found: found.is_some(), smile, set, held_back })
}

/// `work` of 0..`of` on threads, in order; `done` counts.
fn on_threads(
    of: usize,
    threads: usize,
    done: &AtomicUsize,
    work: impl Fn(usize) -> Result<SmileFace> + Sync,
) -> Result<Vec<SmileFace>> {
    let mut all = Vec::with_capacity(of);
    parallel::in_order(0..of, threads, work, |face| {
        all.push(face?);
        done.fetch_add(1, Ordering::Relaxed);
        Ok::<(), Error>(())
    })?;
    Ok(all)
}
