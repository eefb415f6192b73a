//! Detections in double precision, and the reader of their JSON lines: those of `facecascade detect --json`, and
//! `{"image", "width", "height", "ms", "boxes": [[x, y, w, h, score], …]}` of other detectors.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use crate::dataset::Annotated;
use crate::error::{Error, Result};
use crate::geometry::{Face, Rect};

/// A rectangle in double precision, so that no measure hinges on rounding: left, top, width, height, pixels.
pub type Box64 = [f64; 4];

/// A box with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Box in pixels of the picture.
    pub rect: Box64,
    /// Confidence on any scale; greater is surer.
    pub score: f64,
}

impl From<&Face> for Detection {
    fn from(face: &Face) -> Self {
        Self { rect: exact(&face.rect), score: f64::from(face.score) }
    }
}

/// Converts a rectangle to double precision.
pub fn exact(rect: &Rect) -> Box64 {
    [rect.x, rect.y, rect.w, rect.h].map(f64::from)
}

/// Returns the area that two boxes share, square pixels.
pub fn intersection(a: &Box64, b: &Box64) -> f64 {
    let w = (a[0] + a[2]).min(b[0] + b[2]) - a[0].max(b[0]);
    let h = (a[1] + a[3]).min(b[1] + b[3]) - a[1].max(b[1]);
    w.max(0.0) * h.max(0.0)
}

/// Returns intersection over union of two boxes, 0..1.
pub fn iou(a: &Box64, b: &Box64) -> f64 {
    let shared = intersection(a, b);
    shared / (a[2] * a[3] + b[2] * b[3] - shared)
}

/// Sorts detections, best first; equal scores keep their order.
pub fn sort(detections: &mut [Detection]) {
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// The detections of one picture, as a file gives them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PictureDetections {
    /// Detections, best first.
    pub detections: Vec<Detection>,
    /// Time of detection, milliseconds; `None` if the file does not say.
    pub ms: Option<f64>,
    /// Why the detector could not read the picture; `None` if it could.
    pub error: Option<String>,
}

#[derive(serde::Deserialize)]
struct DetectionLine {
    image: String,
    width: Option<f64>,
    height: Option<f64>,
    ms: Option<f64>,
    boxes: Option<Vec<[f64; 5]>>,
    faces: Option<Vec<FaceLine>>,
    error: Option<String>,
}

#[derive(serde::Deserialize)]
struct FaceLine {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
    score: f64,
}

/// Reads the detections on `pictures` from JSON lines and returns them in the order of `pictures`. A line belongs to the picture
/// whose name is the end of the line's `image`, without extensions. Lines of pictures in `others` are skipped; boxes that are not
/// finite or have no positive size are dropped.
///
/// # Errors
/// If a line can't be read, belongs to no picture or states another size than the picture's, or if a picture has no line or two.
/// The error names the line.
pub fn read(path: &Path, pictures: &[Annotated], others: &[Annotated]) -> Result<Vec<PictureDetections>> {
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut wanted: HashMap<&str, Option<usize>> = others.iter().map(|p| (stem(&p.name), None)).collect();
    for (i, picture) in pictures.iter().enumerate() {
        if let Some(Some(first)) = wanted.insert(stem(&picture.name), Some(i)) {
            let names = format!("{} and {}", pictures[first].name, picture.name);
            return Err(Error::data(path, format!("{names} differ by their extension only: they can't be told apart")));
        }
    }
    let mut found: Vec<Option<PictureDetections>> = vec![None; pictures.len()];
    for (number, text) in std::io::BufReader::new(file).lines().enumerate() {
        let text = text.map_err(Error::io(path))?;
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| Error::data(path, format!("line {}: {reason}", number + 1));
        let line: DetectionLine = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("{e}; wanted are the lines of `facecascade detect --json`")))?;
        let name = line.image.replace('\\', "/");
        let at = tails(stem(&name)).find_map(|tail| wanted.get(tail));
        let at = match at {
            None => return Err(wrong(format!("{} is no picture of this set", line.image))),
            Some(None) => continue,
            Some(Some(at)) => *at,
        };
        if found[at].is_some() {
            return Err(wrong(format!("a second line for {}", line.image)));
        }
        found[at] = Some(line.check(&pictures[at]).map_err(wrong)?);
    }
    if let Some(missing) = found.iter().position(Option::is_none) {
        let count = found.iter().filter(|f| f.is_none()).count();
        let reason = format!("{count} pictures have no line, e.g. {}; detect them too", pictures[missing].name);
        return Err(Error::data(path, reason));
    }
    Ok(found.into_iter().flatten().collect())
}

impl DetectionLine {
    /// Checks the line's numbers against the picture's size and sorts its boxes.
    fn check(self, picture: &Annotated) -> std::result::Result<PictureDetections, String> {
        if self.error.is_some() {
            return Ok(PictureDetections { error: self.error, ..PictureDetections::default() });
        }
        if let (Some(w), Some(h)) = (self.width, self.height)
            && (w, h) != (f64::from(picture.width), f64::from(picture.height))
        {
            let (width, height) = (picture.width, picture.height);
            return Err(format!("{} was detected at {w}x{h}, but the set says {width}x{height}", self.image));
        }
        let mut detections: Vec<Detection> = match (self.boxes, self.faces) {
            (Some(boxes), _) => {
                boxes.into_iter().map(|[x, y, w, h, score]| Detection { rect: [x, y, w, h], score }).collect()
            }
            (None, Some(faces)) => {
                faces.into_iter().map(|f| Detection { rect: [f.x, f.y, f.w, f.h], score: f.score }).collect()
            }
            (None, None) => return Err("has neither `faces` nor `boxes` nor `error`".into()),
        };
        detections.retain(|d| {
            d.score.is_finite() && d.rect.iter().all(|v| v.is_finite()) && d.rect[2] > 0.0 && d.rect[3] > 0.0
        });
        sort(&mut detections);
        Ok(PictureDetections { detections, ms: self.ms, error: None })
    }
}

/// Removes the extension of a picture from a path.
fn stem(path: &str) -> &str {
    let known = ["jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm"];
    match path.rsplit_once('.') {
        Some((stem, extension)) if known.iter().any(|k| extension.eq_ignore_ascii_case(k)) => stem,
        _ => path,
    }
}

/// Returns the ends of a path, longest first: `a/b/c`, `b/c`, `c`.
fn tails(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once(path).chain(path.match_indices('/').map(|(i, _)| &path[i + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str) -> Annotated {
        let (width, height) = (20, 10);
        Annotated { image: name.into(), name: name.into(), width, height, faces: Vec::new() }
    }

    fn read_text(text: &str, pictures: &[Annotated], others: &[Annotated]) -> Result<Vec<PictureDetections>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), pictures, others)
    }

    #[test]
    fn both_forms_of_lines_are_read_in_the_order_of_the_pictures() {
        let lines = r#"{"image":"/data/val/b.png","width":20,"height":10,"ms":2.5,"faces":[{"x":1,"y":2,"w":3,"h":4,"score":0.5},{"x":1,"y":2,"w":3,"h":4,"score":0.75,"smile":0.1}]}

{"image":"other.jpg","error":"gone"}
{"image":"val\\a","boxes":[[1,2,3,4,9.5],[1,2,0,4,3]]}"#;
        let pictures = [picture("val/a.webp"), picture("val/b.webp")];
        let found = read_text(lines, &pictures, &[picture("other.webp")]).unwrap();
        assert_eq!(found[0].detections, [Detection { rect: [1.0, 2.0, 3.0, 4.0], score: 9.5 }]);
        assert_eq!(found[1].detections.iter().map(|d| d.score).collect::<Vec<_>>(), [0.75, 0.5]);
        assert_eq!(found[1].ms, Some(2.5));
    }

    #[test]
    fn wrong_files_are_refused_with_the_reason() {
        let refused = |text: &str| read_text(text, &[picture("a.webp")], &[]).unwrap_err().to_string();
        assert!(refused(r#"{"image":"b.jpg","faces":[]}"#).contains("line 1: b.jpg is no picture of this set"));
        assert!(refused("").contains("1 pictures have no line, e.g. a.webp"));
        let line = r#"{"image":"a.jpg","faces":[]}"#;
        assert!(refused(&format!("{line}\n{line}")).contains("line 2: a second line"));
        let size = refused(r#"{"image":"a.jpg","width":10,"height":20,"faces":[]}"#);
        assert!(size.contains("detected at 10x20, but the set says 20x10"), "{size}");
        assert!(refused("[").contains("line 1: "));
        assert!(refused(r#"{"image":"a.jpg"}"#).contains("neither"));
    }

    #[test]
    fn a_picture_that_could_not_be_read_keeps_its_error() {
        let found = read_text(r#"{"image":"a.webp","error":"cut"}"#, &[picture("a.webp")], &[]).unwrap();
        assert_eq!(found[0].error.as_deref(), Some("cut"));
    }
}
