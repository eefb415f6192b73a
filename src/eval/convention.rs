//! Box conventions: a detector whose boxes reach up to the hair is not worse than one whose boxes stop at the brow. Fits four
//! constants that map a detector's boxes to those of a set, so that detectors can be compared without the difference.

use super::detections::{Box64, Detection};

/// Maps boxes: centre (cx, cy) and size (w, h) become (cx + dx·w, cy + dy·h) and (sw·w, sh·h).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Convention {
    /// Shift to the right, in widths of the box.
    pub dx: f64,
    /// Shift down, in heights of the box.
    pub dy: f64,
    /// Factor of the width.
    pub sw: f64,
    /// Factor of the height.
    pub sh: f64,
}

impl Convention {
    /// Leaves boxes as they are.
    pub const IDENTITY: Self = Self { dx: 0.0, dy: 0.0, sw: 1.0, sh: 1.0 };

    /// Maps a box to the set's convention.
    pub fn apply(&self, rect: &Box64) -> Box64 {
        let [x, y, w, h] = *rect;
        let (cx, cy) = (x + w / 2.0 + self.dx * w, y + h / 2.0 + self.dy * h);
        let (w, h) = (w * self.sw, h * self.sh);
        [cx - w / 2.0, cy - h / 2.0, w, h]
    }

    /// Maps the boxes of all detections to the set's convention.
    pub fn apply_all(&self, detections: &[Detection]) -> Vec<Detection> {
        detections.iter().map(|d| Detection { rect: self.apply(&d.rect), ..*d }).collect()
    }

    /// Changes constant `index` (dx, dy, sw, sh) by one step of the search.
    fn moved(self, index: usize, by: f64, up: bool) -> Self {
        let mut moved = self;
        let shift = if up { by } else { -by };
        let factor = if up { 1.0 + by } else { 1.0 / (1.0 + by) };
        match index {
            0 => moved.dx += shift,
            1 => moved.dy += shift,
            2 => moved.sw *= factor,
            _ => moved.sh *= factor,
        }
        moved
    }
}

/// Fits the constants to `pairs` of a face and its detection by coordinate search: maximises the share of overlaps above 0.5 plus
/// the mean overlap. With fewer than 20 pairs, returns [`Convention::IDENTITY`].
pub(crate) fn fit<T>(pairs: &[(T, Box64)], overlap: impl Fn(&T, &Box64) -> f64) -> Convention {
    if pairs.len() < 20 {
        return Convention::IDENTITY;
    }
    let gain = |convention: &Convention| {
        let overlaps = pairs.iter().map(|(face, rect)| overlap(face, &convention.apply(rect)));
        let (good, sum) = overlaps.fold((0.0, 0.0), |(n, sum), v| (n + f64::from(u8::from(v > 0.5)), sum + v));
        (good + sum) / pairs.len() as f64
    };
    let mut best = (Convention::IDENTITY, gain(&Convention::IDENTITY));
    for step in [0.16, 0.08, 0.04, 0.02, 0.01] {
        let mut moved = true;
        while moved {
            moved = false;
            for (index, up) in (0..4).flat_map(|i| [(i, true), (i, false)]) {
                // As in evaluate.py, each try starts from the best so far, within one pass too.
                let candidate = best.0.moved(index, step, up);
                let value = gain(&candidate);
                if value > best.1 + 1e-9 {
                    best = (candidate, value);
                    moved = true;
                }
            }
        }
    }
    let round = |v: f64| (v * 1e4).round() / 1e4;
    let Convention { dx, dy, sw, sh } = best.0;
    Convention { dx: round(dx), dy: round(dy), sw: round(sw), sh: round(sh) }
}

/// Returns the detection of highest score that plausibly shows the face in the box `face`: its centre lies in the ellipse inside
/// the box, and its width is 0.4 to 2.5 times that of the box.
pub(crate) fn plausible<'a>(face: &Box64, detections: &'a [Detection]) -> Option<&'a Detection> {
    let [x, y, w, h] = *face;
    let mut best: Option<&Detection> = None;
    for detection in detections {
        let r = &detection.rect;
        let (dx, dy) = (r[0] + r[2] / 2.0 - x - w / 2.0, r[1] + r[3] / 2.0 - y - h / 2.0);
        let inside = (dx / (w / 2.0)).powi(2) + (dy / (h / 2.0)).powi(2) < 1.0;
        if inside && r[2] > 0.4 * w && r[2] < 2.5 * w && best.is_none_or(|b| detection.score > b.score) {
            best = Some(detection);
        }
    }
    best
}

/// Returns the indices of the pictures that constants are fitted on: at most 200, evenly spread over the set.
pub(crate) fn fitting_sample(pictures: usize) -> impl Iterator<Item = usize> {
    (0..pictures).step_by((pictures / 200).max(1)).take(200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::detections::iou;

    #[test]
    fn a_shifted_and_stretched_convention_is_found_again() {
        let wanted = Convention { dx: 0.05, dy: -0.1, sw: 0.8, sh: 1.2 };
        let boxes: Vec<Box64> = (0..30).map(|i| [f64::from(i), 5.0, 30.0 + f64::from(i), 40.0]).collect();
        let pairs: Vec<(Box64, Box64)> = boxes.iter().map(|b| (wanted.apply(b), *b)).collect();
        let fitted = fit(&pairs, iou);
        assert!((fitted.dx - wanted.dx).abs() < 0.02 && (fitted.dy - wanted.dy).abs() < 0.02, "{fitted:?}");
        assert!((fitted.sw / wanted.sw - 1.0).abs() < 0.03 && (fitted.sh / wanted.sh - 1.0).abs() < 0.03, "{fitted:?}");
        assert_eq!(fit(&pairs[..19], iou), Convention::IDENTITY);
    }

    #[test]
    fn the_surest_detection_about_the_right_size_is_paired() {
        let at = |x: f64, side: f64, score: f64| Detection { rect: [x, 0.0, side, side], score };
        let list = [at(0.0, 40.0, 0.5), at(2.0, 40.0, 0.6), at(0.0, 10.0, 0.9), at(90.0, 40.0, 0.9)];
        assert_eq!(plausible(&[0.0, 0.0, 40.0, 40.0], &list), Some(&list[1]));
    }
}
