//! Readers of the annotation formats: WIDER FACE, face crops, MTFL, pictures without faces, FDDB. All give one type, but FER2013,
//! whose pictures are tiles of sheets.
//!
//! Every reader takes the data folder (`--data`) and looks for its set below it, or takes the set's own folder. Only the
//! annotations are read; pictures stay on the disk until somebody decodes them.

mod fddb;
pub mod fer;
mod mtfl;
mod negatives;
mod table;
mod wider;
mod wider_faces;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::geometry::Rect;

pub use fddb::read as fddb;
pub use fer::{Tile, read as fer_tiles};
pub use mtfl::{box_from_landmarks, read as mtfl};
pub use negatives::read as negatives;
pub use wider::read as wider;
pub use wider_faces::read as wider_faces;

/// Part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose between nets and settings (WIDER).
    Val,
    /// To report (MTFL).
    Test,
}

impl Split {
    /// Its name in the CSV files' column `split`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// A picture and the faces in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated {
    /// The picture's file: absolute if the data folder was given so or could be made so.
    pub image: PathBuf,
    /// Its name in the annotations.
    pub name: String,
    /// Width of the stored picture, pixels.
    pub width: u32,
    /// Height of the stored picture, pixels.
    pub height: u32,
    /// Faces; none is right.
    pub faces: Vec<Truth>,
    /// Left, top, right, bottom: pixels at each side that replicate the border because the crop reached over it. Zeros
    /// for whole pictures.
    pub padding: [f32; 4],
}

/// A face as somebody marked it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    /// Box in pixels of the stored picture, hairline to chin, ear to ear (FDDB: the box round the ellipse).
    pub rect: Rect,
    /// FDDB's ellipse.
    pub ellipse: Option<Ellipse>,
    /// Marked as unfit to count: neither face nor background.
    pub invalid: bool,
    /// 0 clear, 1 normal, 2 heavy.
    pub blur: u8,
    /// 0 none, 1 partial, 2 heavy.
    pub occlusion: u8,
    /// Turned or tilted far (WIDER), or a full profile (MTFL).
    pub pose_atypical: bool,
    /// MTFL: 1 left profile, 2 left, 3 frontal, 4 right, 5 right profile.
    pub pose: Option<u8>,
    /// MTFL: smiling.
    pub smile: Option<bool>,
    /// Eye on the picture's left, eye on its right, nose tip, mouth corner on the left, mouth corner on the right; pixels.
    pub landmarks: Option<[(f32, f32); 5]>,
    /// Height in the picture that the crop was cut from, pixels (`wider_faces`: how sharp the face is at most).
    pub original_height: Option<f32>,
}

/// An ellipse in pixels, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// Half the longer axis.
    pub major: f64,
    /// Half the shorter axis.
    pub minor: f64,
    /// From the x axis to the major axis, radians, clockwise as seen (y down).
    pub angle: f64,
    /// Centre, x.
    pub cx: f64,
    /// Centre, y.
    pub cy: f64,
}

impl Ellipse {
    /// Half the width and half the height of the upright box round it.
    pub fn half_extent(&self) -> (f64, f64) {
        let (s, c) = self.angle.sin_cos();
        ((self.major * c).hypot(self.minor * s), (self.major * s).hypot(self.minor * c))
    }

    /// The upright box round it.
    pub fn bounds(&self) -> Rect {
        let (hx, hy) = self.half_extent();
        Rect::new((self.cx - hx) as f32, (self.cy - hy) as f32, 2.0 * hx as f32, 2.0 * hy as f32)
    }
}

/// The folder of a set: `data/name` if it is there, else `data` itself if it holds one of the files `markers`.
fn folder_of(data: &Path, name: &str, markers: &[&str]) -> Result<PathBuf> {
    let below = data.join(name);
    let found = if below.is_dir() {
        below
    } else if markers.iter().any(|m| data.join(m).exists()) {
        data.to_owned()
    } else if data.is_dir() {
        return Err(Error::data(data, format!("holds no {name}/; --data must point to a folder that holds {name}/")));
    } else {
        return Err(Error::data(data, format!("no such folder; --data must point to a folder that holds {name}/")));
    };
    Ok(std::path::absolute(&found).unwrap_or(found))
}

/// Checks a box that was read: finite, of positive size.
fn rect_of(numbers: [f32; 4]) -> std::result::Result<Rect, String> {
    let [x, y, w, h] = numbers;
    if numbers.iter().all(|v| v.is_finite()) && w > 0.0 && h > 0.0 {
        Ok(Rect::new(x, y, w, h))
    } else {
        Err(format!("{x} {y} {w} {h} is no box: x, y, w, h must be finite, w and h above 0; correct or remove the row"))
    }
}

/// The research data beside the crate, or `None` with a word on stderr.
#[cfg(test)]
pub(crate) fn research_data() -> Option<PathBuf> {
    use std::io::Write;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if path.is_dir() {
        return Some(path);
    }
    let _ = writeln!(std::io::stderr(), "skipped: ../shared/data is not here");
    None
}
