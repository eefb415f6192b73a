//! Grey tiles of 48×48 pixels, each a face, smiling or not, from FER2013.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::{Split, folder_of, table};
use crate::error::{Error, Result};

/// Side of a tile, pixels.
pub const TILE: u32 = 48;
/// Black pixels round a tile, so that the proposer has room for a face that fills the tile.
const BORDER: u32 = TILE / 2;
/// How many times a bordered tile is enlarged, so that its face is no smaller than those in portraits.
const ENLARGED: u32 = 2;

/// A face that fills a tile of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// The sheet's file.
    pub sheet: PathBuf,
    /// `SHEET:COLUMN,ROW`.
    pub name: String,
    /// Left edge in the sheet, pixels.
    pub x: u32,
    /// Top edge in the sheet, pixels.
    pub y: u32,
    /// Whether the face was labelled happy.
    pub smile: bool,
}

#[derive(serde::Deserialize)]
struct Row {
    split: String,
    sheet: String,
    col: u32,
    row: u32,
    smile: u8,
}

/// The tiles of a part: train or test. `data` holds `fer/`.
///
/// # Errors
/// If there is no such folder, or a row is broken.
pub fn read(data: &Path, split: Split) -> Result<Vec<Tile>> {
    let folder = folder_of(data, "fer", &["index.csv"])?;
    let index = folder.join("index.csv");
    let mut list = Vec::new();
    table::for_each(&index, |row: Row| {
        if row.split == split.name() {
            list.push(Tile {
                sheet: folder.join(&row.sheet),
                name: format!("{}:{},{}", row.sheet, row.col, row.row),
                x: row.col * TILE,
                y: row.row * TILE,
                smile: row.smile != 0,
            });
        }
        Ok(())
    })?;
    if list.is_empty() {
        return Err(Error::data(index, format!("has no row of split {}", split.name())));
    }
    Ok(list)
}

/// Tiles as pictures in which a cascade can find the face, in the tiles' order: [`present`] of each.
///
/// # Errors
/// If a sheet can't be read or ends before one of its tiles.
pub fn pictures(tiles: &[Tile]) -> Result<Vec<RgbImage>> {
    let mut sheets: BTreeMap<&Path, RgbImage> = BTreeMap::new();
    tiles
        .iter()
        .map(|tile| {
            let sheet = match sheets.entry(&tile.sheet) {
                std::collections::btree_map::Entry::Occupied(sheet) => sheet.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(crate::source::picture::read(&tile.sheet)?)
                }
            };
            if tile.x + TILE > sheet.width() || tile.y + TILE > sheet.height() {
                return Err(Error::data(&tile.sheet, format!("ends before tile {}", tile.name)));
            }
            Ok(present(&imageops::crop_imm(sheet, tile.x, tile.y, TILE, TILE).to_image()))
        })
        .collect()
}

/// A tile in a black border of half its side, all of it enlarged twice (bilinear): 192×192 pixels, the tile from 48 to 144.
pub fn present(tile: &RgbImage) -> RgbImage {
    let side = TILE + 2 * BORDER;
    let mut bordered = RgbImage::from_pixel(side, side, Rgb([0; 3]));
    imageops::replace(&mut bordered, tile, i64::from(BORDER), i64::from(BORDER));
    imageops::resize(&bordered, side * ENLARGED, side * ENLARGED, FilterType::Triangle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::research_data;

    #[test]
    fn half_of_the_tiles_of_each_part_smile() {
        let Some(data) = research_data() else { return };
        for (split, count) in [(Split::Train, 12_000), (Split::Test, 3_000)] {
            let tiles = read(&data, split).unwrap();
            assert_eq!(tiles.len(), count);
            assert_eq!(tiles.iter().filter(|t| t.smile).count(), count / 2);
        }
    }

    #[test]
    fn a_presented_tile_lies_in_the_middle_of_a_black_border() {
        let picture = present(&RgbImage::from_pixel(TILE, TILE, Rgb([200; 3])));
        assert_eq!(picture.dimensions(), (192, 192));
        let at = |x, y| picture.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(40, 96), at(96, 150), at(191, 191)], [0; 4]);
        assert_eq!([at(52, 52), at(96, 96), at(139, 139)], [200; 3]);
    }

    #[test]
    fn a_sheet_that_ends_before_a_tile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let sheet = folder.path().join("sheet.png");
        RgbImage::new(96, 48).save(&sheet).unwrap();
        let tile = |x| Tile { sheet: sheet.clone(), name: format!("sheet.png:{},0", x / 48), x, y: 0, smile: true };
        assert_eq!(pictures(&[tile(48)]).unwrap().len(), 1);
        let error = pictures(&[tile(48), tile(96)]).unwrap_err().to_string();
        assert!(error.contains("sheet.png") && error.contains("2,0"), "{error}");
    }
}
