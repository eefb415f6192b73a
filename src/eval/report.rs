//! Measures a detector on a set.

use super::convention::{Convention, fit, fitting_sample, plausible};
use super::curves::Curve;
use super::detections::{Box64, Detection, exact, iou};
use super::ellipses::Region;
use super::matching::{self, Label, counts};
use crate::dataset::Annotated;

/// Least face height of each range in recall by size, pixels.
pub const SIZES: [f64; 7] = [10.0, 14.0, 20.0, 28.0, 40.0, 80.0, 160.0];

/// A curve with its name.
#[derive(Debug, Clone)]
pub struct NamedCurve {
    /// `h20`, `h40`: WIDER's faces at least 20 or 40 pixels high; `ellipses`: FDDB's.
    pub name: &'static str,
    /// The curve.
    pub curve: Curve,
}

/// Recall of the faces of one range of heights.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SizeRecall {
    /// Least height, pixels.
    pub from: f64,
    /// Heights of this range are below this, pixels; `None`: no limit.
    pub below: Option<f64>,
    /// Faces that count.
    pub faces: usize,
    /// Share of these faces that was found, 0..1; 0 without faces.
    pub recall: f64,
}

/// The measures of a detector on a set.
#[derive(Debug, Clone)]
pub struct Report {
    /// Pictures of the set.
    pub pictures: usize,
    /// Marked faces, also those that do not count.
    pub faces: usize,
    /// Detections.
    pub detections: usize,
    /// The mapping that was applied to the boxes.
    pub convention: Convention,
    /// Curves.
    pub curves: Vec<NamedCurve>,
    /// Recall by size at the threshold where `h20` has one false alarm a picture; empty for FDDB.
    pub by_size: Vec<SizeRecall>,
}

/// Measures detections after WIDER's protocol; `found` holds each picture's detections, best first. With `adjust`, the boxes are
/// first mapped to the set's convention.
pub fn wider(pictures: &[Annotated], found: &[Vec<Detection>], adjust: bool) -> Report {
    let convention = if adjust { fit_boxes(pictures, found) } else { Convention::IDENTITY };
    let found: Vec<Vec<Detection>> = found.iter().map(|list| convention.apply_all(list)).collect();
    let labelled = |least_height: f64| {
        let labels: Vec<Vec<Label>> =
            pictures.iter().zip(&found).map(|(p, d)| matching::wider(&p.faces, d, least_height)).collect();
        let changes = found.iter().zip(&labels).flat_map(|(d, l)| matching::count_changes(d, l)).collect();
        let faces = pictures.iter().flat_map(|p| &p.faces).filter(|f| counts(f, least_height)).count();
        (Curve::new(changes, faces, pictures.len()), labels)
    };
    let (h20, _) = labelled(20.0);
    let (_, labels) = labelled(SIZES[0]);
    let threshold = h20.threshold_at_each(1.0).unwrap_or(f64::INFINITY);
    let mut hits = [0; SIZES.len()];
    for ((picture, detections), labels) in pictures.iter().zip(&found).zip(&labels) {
        for (detection, label) in detections.iter().zip(labels) {
            if let Label::Hit(face) = label
                && detection.score >= threshold
                && let Some(size) = size_of(f64::from(picture.faces[*face].rect.h))
            {
                hits[size] += 1;
            }
        }
    }
    let heights = pictures.iter().flat_map(|p| &p.faces).filter(|f| !f.invalid).map(|f| f64::from(f.rect.h));
    Report {
        curves: vec![NamedCurve { name: "h20", curve: h20 }, NamedCurve { name: "h40", curve: labelled(40.0).0 }],
        by_size: by_size(&hits, heights),
        ..counts_only(pictures, &found, convention)
    }
}

/// Measures detections after FDDB's discrete score; arguments as in [`wider`]. Returns no recall by size, because which face a
/// detection finds depends on the threshold.
pub fn fddb(pictures: &[Annotated], found: &[Vec<Detection>], adjust: bool) -> Report {
    let regions: Vec<Vec<Region>> = pictures
        .iter()
        .map(|p| p.faces.iter().filter_map(|f| f.ellipse.map(|e| Region::new(&e, p.width, p.height))).collect())
        .collect();
    let convention = if adjust { fit_ellipses(pictures, &regions, found) } else { Convention::IDENTITY };
    let found: Vec<Vec<Detection>> = found.iter().map(|list| convention.apply_all(list)).collect();
    let changes = regions.iter().zip(&found).flat_map(|(r, d)| matching::fddb(r, d)).collect();
    let faces = regions.iter().map(Vec::len).sum();
    Report {
        curves: vec![NamedCurve { name: "ellipses", curve: Curve::new(changes, faces, pictures.len()) }],
        ..counts_only(pictures, &found, convention)
    }
}

/// Counts pictures, faces and detections.
fn counts_only(pictures: &[Annotated], found: &[Vec<Detection>], convention: Convention) -> Report {
    Report {
        pictures: pictures.len(),
        faces: pictures.iter().map(|p| p.faces.len()).sum(),
        detections: found.iter().map(Vec::len).sum(),
        convention,
        curves: Vec::new(),
        by_size: Vec::new(),
    }
}

/// Returns the index in [`SIZES`] of the range that a height lies in; `None` below the least one.
fn size_of(height: f64) -> Option<usize> {
    SIZES.iter().rposition(|&from| height >= from)
}

fn by_size(hits: &[usize; SIZES.len()], heights: impl Iterator<Item = f64>) -> Vec<SizeRecall> {
    let mut faces = [0; SIZES.len()];
    heights.filter_map(size_of).for_each(|size| faces[size] += 1);
    (0..SIZES.len())
        .map(|i| SizeRecall {
            from: SIZES[i],
            below: SIZES.get(i + 1).copied(),
            faces: faces[i],
            recall: if faces[i] == 0 { 0.0 } else { hits[i] as f64 / faces[i] as f64 },
        })
        .collect()
}

/// Fits the convention to the counted faces of WIDER and their detections.
fn fit_boxes(pictures: &[Annotated], found: &[Vec<Detection>]) -> Convention {
    let mut pairs: Vec<(Box64, Box64)> = Vec::new();
    for i in fitting_sample(pictures.len()) {
        for face in pictures[i].faces.iter().filter(|f| counts(f, 20.0)) {
            let face = exact(&face.rect);
            pairs.extend(plausible(&face, &found[i]).map(|d| (face, d.rect)));
        }
    }
    pairs.truncate(600);
    fit(&pairs, iou)
}

/// Fits the convention to FDDB's ellipses and their detections.
fn fit_ellipses(pictures: &[Annotated], regions: &[Vec<Region>], found: &[Vec<Detection>]) -> Convention {
    let mut pairs: Vec<(&Region, Box64)> = Vec::new();
    for i in fitting_sample(pictures.len()) {
        let ellipses = pictures[i].faces.iter().filter_map(|f| f.ellipse);
        for (ellipse, region) in ellipses.zip(&regions[i]) {
            let (hx, hy) = ellipse.half_extent();
            let bounds = [ellipse.cx - hx, ellipse.cy - hy, 2.0 * hx, 2.0 * hy];
            pairs.extend(plausible(&bounds, &found[i]).map(|d| (region, d.rect)));
        }
    }
    fit(&pairs, |region, rect| region.iou(rect))
}
