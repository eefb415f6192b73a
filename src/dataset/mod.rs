//! Readers of the annotation formats: WIDER FACE, face crops, MTFL, pictures without faces, FDDB. All return [`Annotated`], but
//! FER2013's, whose pictures are tiles of sheets.
//!
//! [`TrueFaces`] gives the true faces of any picture, from any of these or from a file. Every other reader takes the data folder
//! (`--data`), which holds a folder for each set, or the set's own folder. Readers read the annotations only; the caller decodes
//! the pictures.

mod boxes;
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

pub use boxes::TrueFaces;
pub use fddb::read as fddb;
pub use fer::{Tile, read as fer_tiles};
pub use mtfl::{box_from_landmarks, read as mtfl};
pub use negatives::read as negatives;
pub use wider::{masks, read as wider, read_if_any as wider_if_any};
pub use wider_faces::read as wider_faces;

/// A part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Pictures to train on.
    Train,
    /// Pictures to choose nets and settings by (WIDER).
    Val,
    /// Pictures to report on (MTFL).
    Test,
}

impl Split {
    /// Returns the part's name in the column `split` of the CSV files.
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
    /// The picture's file. Absolute, unless the current folder is unknown.
    pub image: PathBuf,
    /// The picture's name in the annotations.
    pub name: String,
    /// Width of the stored picture, pixels.
    pub width: u32,
    /// Height of the stored picture, pixels.
    pub height: u32,
    /// Faces in the picture; may be empty.
    pub faces: Vec<Truth>,
}

/// A face as the set's annotators marked it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    /// Box in pixels of the stored picture, hairline to chin, ear to ear (FDDB: the box round the ellipse).
    pub rect: Rect,
    /// The marked ellipse (FDDB only).
    pub ellipse: Option<Ellipse>,
    /// Marked as invalid: counts neither as a face nor as background.
    pub invalid: bool,
    /// Blur: 0 clear, 1 normal, 2 heavy.
    pub blur: u8,
    /// Occlusion: 0 none, 1 partial, 2 heavy.
    pub occlusion: u8,
    /// Lit extremely: much too bright, too dark or from one side (WIDER only).
    pub light_extreme: bool,
    /// Head turned or tilted far (WIDER), or a full profile (MTFL).
    pub pose_atypical: bool,
    /// Pose (MTFL only): 1 left profile, 2 left, 3 frontal, 4 right, 5 right profile.
    pub pose: Option<u8>,
    /// Whether the face smiles (MTFL only).
    pub smile: Option<bool>,
    /// Eye on the picture's left, eye on its right, nose tip, mouth corner on the left, mouth corner on the right; pixels.
    pub landmarks: Option<[(f32, f32); 5]>,
}

/// An ellipse in pixels, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// Half the longer axis, pixels.
    pub major: f64,
    /// Half the shorter axis, pixels.
    pub minor: f64,
    /// Angle from the x axis to the longer axis, radians, clockwise on the screen.
    pub angle: f64,
    /// x of the centre, pixels.
    pub cx: f64,
    /// y of the centre, pixels.
    pub cy: f64,
}

impl Ellipse {
    /// Returns half the width and half the height of the upright bounding box.
    pub fn half_extent(&self) -> (f64, f64) {
        let (s, c) = self.angle.sin_cos();
        ((self.major * c).hypot(self.minor * s), (self.major * s).hypot(self.minor * c))
    }

    /// Returns the upright bounding box.
    pub fn bounds(&self) -> Rect {
        let (hx, hy) = self.half_extent();
        Rect::new((self.cx - hx) as f32, (self.cy - hy) as f32, 2.0 * hx as f32, 2.0 * hy as f32)
    }
}

/// Finds the folder of the set `name`: `data/name` if that exists, else `data` itself if it holds one of `files`.
///
/// # Errors
/// If there is neither. The error names what the folder must hold.
fn folder_of(data: &Path, name: &str, files: &[&str]) -> Result<PathBuf> {
    let below = data.join(name);
    let found = if below.is_dir() {
        below
    } else if files.iter().any(|file| data.join(file).exists()) {
        data.to_owned()
    } else {
        let what = if data.is_dir() { format!("holds no {name}/") } else { "no such folder".to_owned() };
        let wanted = files.join(" or ");
        return Err(Error::data(
            data,
            format!("{what}; --data must point to a folder that holds {name}/ with {wanted}"),
        ));
    };
    Ok(std::path::absolute(&found).unwrap_or(found))
}

/// Makes a box of left, top, width and height.
///
/// # Errors
/// If a number is not finite, or width or height is not above 0.
fn rect_of(numbers: [f32; 4]) -> std::result::Result<Rect, String> {
    let [x, y, w, h] = numbers;
    if numbers.iter().all(|v| v.is_finite()) && w > 0.0 && h > 0.0 {
        Ok(Rect::new(x, y, w, h))
    } else {
        Err(format!("{x} {y} {w} {h} is no box: x, y, w, h must be finite, w and h above 0; correct or remove the row"))
    }
}

/// Returns the data folder for tests: the one that the environment variable `FACECASCADE_DATA` names, else `../shared/data`
/// beside the clone; `None`, said on stderr, if there is none.
#[cfg(test)]
pub(crate) fn research_data() -> Option<PathBuf> {
    use std::io::Write;
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("FACECASCADE_DATA").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    let _ =
        writeln!(std::io::stderr(), "skipped: {} is not there; FACECASCADE_DATA names a data folder", path.display());
    None
}
