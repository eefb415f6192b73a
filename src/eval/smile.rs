//! How well smiles are told: accuracy, ROC, confusion and calibration, end to end. A face that the cascade does not find
//! counts as wrong: in the ROC a smile that was not found ranks below all others, another face above.

use crate::geometry::Face;

/// Smallest face looked for in a portrait (`mtfl/`), pixels.
pub const PORTRAIT_FACE: f32 = 20.0;
/// Smallest face looked for in a presented tile (`fer/`; [`crate::dataset::fer::present`]), pixels: half the tile.
pub const TILE_FACE: f32 = 48.0;
/// Faces with a lower score do not count as found.
pub const LEAST_SCORE: f32 = 0.02;

/// A face, what it shows and what was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Judged {
    /// Whether it smiles.
    pub smile: bool,
    /// Probability of a smile, 0..1; `None`: the face was not found.
    pub probability: Option<f32>,
    /// Head pose where the set says it: 1 left profile, 2 left, 3 frontal, 4 right, 5 right profile.
    pub pose: Option<u8>,
}

impl Judged {
    /// A face without a pose.
    pub fn new(smile: bool, probability: Option<f32>) -> Self {
        Self { smile, probability, pose: None }
    }

    /// Whether the decision at probability .5 is right.
    fn is_right(&self) -> bool {
        self.probability.is_some_and(|p| (p >= 0.5) == self.smile)
    }

    /// What it ranks by in the ROC.
    fn rank(&self) -> f32 {
        self.probability.unwrap_or(if self.smile { f32::NEG_INFINITY } else { f32::INFINITY })
    }
}

/// The face of a portrait: the highest score among those whose box covers the middle of a picture of this width and height.
pub fn middle_face(faces: &[Face], (width, height): (u32, u32)) -> Option<Face> {
    let (x, y) = (width as f32 / 2.0, height as f32 / 2.0);
    let covers = |f: &&Face| {
        let r = &f.rect;
        r.x <= x && x <= r.x + r.w && r.y <= y && y <= r.y + r.h
    };
    faces.iter().filter(covers).max_by(|a, b| a.score.total_cmp(&b.score)).copied()
}

/// Faces by what they show and what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Confusion {
    /// Smiles taken for smiles.
    pub smiles_right: usize,
    /// Smiles taken for none.
    pub smiles_wrong: usize,
    /// Smiles whose face was not found.
    pub smiles_not_found: usize,
    /// Other faces taken for such.
    pub others_right: usize,
    /// Other faces taken for smiles.
    pub others_wrong: usize,
    /// Other faces that were not found.
    pub others_not_found: usize,
}

impl Confusion {
    /// Counts at probability .5.
    pub fn of(list: &[Judged]) -> Self {
        let mut c = Self::default();
        for face in list {
            let place = match (face.smile, face.probability, face.is_right()) {
                (true, None, _) => &mut c.smiles_not_found,
                (true, _, true) => &mut c.smiles_right,
                (true, _, false) => &mut c.smiles_wrong,
                (false, None, _) => &mut c.others_not_found,
                (false, _, true) => &mut c.others_right,
                (false, _, false) => &mut c.others_wrong,
            };
            *place += 1;
        }
        c
    }

    /// Smiles in all.
    pub fn smiles(&self) -> usize {
        self.smiles_right + self.smiles_wrong + self.smiles_not_found
    }

    /// Other faces in all.
    pub fn others(&self) -> usize {
        self.others_right + self.others_wrong + self.others_not_found
    }

    /// Share of faces found, 0..1.
    pub fn found(&self) -> f64 {
        let all = self.smiles() + self.others();
        1.0 - (self.smiles_not_found + self.others_not_found) as f64 / all.max(1) as f64
    }

    /// Mean of the shares of smiles and of other faces that were told right, 0..1; of the one class where only one is there.
    pub fn balanced_accuracy(&self) -> f64 {
        let shares = [(self.smiles_right, self.smiles()), (self.others_right, self.others())];
        let shares: Vec<f64> = shares.iter().filter(|s| s.1 > 0).map(|s| s.0 as f64 / s.1 as f64).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }
}

/// [`Confusion::balanced_accuracy`] of a list.
pub fn balanced_accuracy(list: &[Judged]) -> f64 {
    Confusion::of(list).balanced_accuracy()
}

/// The ROC: (share of other faces taken for smiles, share of smiles told), from (0, 0) to (1, 1).
pub fn roc(list: &[Judged]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<&Judged> = list.iter().collect();
    sorted.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
    let smiles = list.iter().filter(|f| f.smile).count().max(1) as f64;
    let others = list.iter().filter(|f| !f.smile).count().max(1) as f64;
    let (mut x, mut y) = (0.0, 0.0);
    let mut points = vec![(0.0, 0.0)];
    for same in sorted.chunk_by(|a, b| a.rank() == b.rank()) {
        y += same.iter().filter(|f| f.smile).count() as f64 / smiles;
        x += same.iter().filter(|f| !f.smile).count() as f64 / others;
        points.push((x, y));
    }
    points
}

/// Area under the ROC, 0..1: the share of pairs of a smile and another face in which the smile ranks higher.
pub fn auc(list: &[Judged]) -> f64 {
    roc(list).windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum()
}

/// The faces whose probability lies in one tenth of 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Bin {
    /// Mean probability.
    pub said: f64,
    /// Share that smiles.
    pub smiled: f64,
    /// Faces.
    pub faces: usize,
}

/// The reliability diagram in ten bins; of faces found only.
pub fn reliability(list: &[Judged]) -> [Bin; 10] {
    let mut bins = [Bin::default(); 10];
    for (p, smile) in list.iter().filter_map(|f| Some((f.probability?, f.smile))) {
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        bin.said += f64::from(p);
        bin.smiled += f64::from(u8::from(smile));
        bin.faces += 1;
    }
    for bin in &mut bins {
        bin.said /= bin.faces.max(1) as f64;
        bin.smiled /= bin.faces.max(1) as f64;
    }
    bins
}

/// Expected calibration error: the mean distance of what was said from what was there, weighted by the bins' faces.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let all: usize = bins.iter().map(|b| b.faces).sum();
    bins.iter().map(|b| (b.said - b.smiled).abs() * b.faces as f64).sum::<f64>() / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    fn judged(list: &[(bool, f32)]) -> Vec<Judged> {
        list.iter().map(|(smile, p)| Judged::new(*smile, (*p >= 0.0).then_some(*p))).collect()
    }

    #[test]
    fn a_face_that_is_not_found_counts_as_wrong_in_every_figure() {
        let whole = judged(&[(true, 0.9), (true, 0.8), (false, 0.1), (false, 0.3)]);
        assert_eq!((balanced_accuracy(&whole), auc(&whole)), (1.0, 1.0));
        let lost = judged(&[(true, 0.9), (true, -1.0), (false, 0.1), (false, -1.0)]);
        assert_eq!(balanced_accuracy(&lost), 0.5);
        // Of four pairs only that of the two found ones is right.
        assert_eq!(auc(&lost), 0.25);
        let c = Confusion::of(&lost);
        assert_eq!((c.smiles_not_found, c.others_not_found, c.found()), (1, 1, 0.5));
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_the_right_order_and_ties_count_half() {
        let list = judged(&[(true, 0.9), (true, 0.4), (false, 0.4), (false, 0.2), (false, 0.95)]);
        // 0.9 beats two of three; 0.4 beats one and ties with one.
        assert!((auc(&list) - (2.0 + 1.5) / 6.0).abs() < 1e-12);
        assert_eq!(roc(&list).last(), Some(&(1.0, 1.0)));
    }

    #[test]
    fn a_calibration_error_is_the_distance_of_what_was_said_from_what_was_there() {
        let list = judged(&[(true, 0.75), (false, 0.75), (true, 0.75), (true, 0.75), (false, 0.05), (false, -1.0)]);
        let bins = reliability(&list);
        assert_eq!((bins[7].faces, bins[7].smiled, bins[0].faces), (4, 0.75, 1));
        assert!((calibration_error(&bins) - 0.05 / 5.0).abs() < 1e-6);
    }

    #[test]
    fn the_middle_face_is_the_best_of_those_that_cover_the_middle() {
        let face = |x: f32, score| Face { rect: Rect::new(x, 20.0, 40.0, 60.0), score, smile: None };
        let faces = [face(0.0, 0.99), face(20.0, 0.6), face(40.0, 0.8)];
        assert_eq!(middle_face(&faces, (100, 100)), Some(faces[2]));
        assert_eq!(middle_face(&faces[..1], (100, 100)), None);
    }
}
