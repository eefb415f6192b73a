//! ROC and precision–recall curves: hits and false alarms as the threshold falls.

use super::matching::CountChange;

/// The counts at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Least score of the detections that are counted.
    pub threshold: f64,
    /// Hits: faces found.
    pub hits: i64,
    /// False alarms.
    pub false_alarms: i64,
}

/// The counts of a detector on a set: one point for each distinct score, best score first.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Points; empty if nothing was detected.
    pub points: Vec<Point>,
    /// Faces that count.
    pub faces: usize,
    /// Pictures of the set.
    pub pictures: usize,
}

impl Curve {
    /// Makes the curve of the changes on all pictures, in any order. Changes of equal score make one point.
    pub fn new(mut changes: Vec<CountChange>, faces: usize, pictures: usize) -> Self {
        changes.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut points: Vec<Point> = Vec::new();
        let (mut hits, mut false_alarms) = (0, 0);
        for change in changes {
            hits += change.hits;
            false_alarms += change.false_alarms;
            let point = Point { threshold: change.score, hits, false_alarms };
            match points.last_mut() {
                Some(last) if last.threshold == change.score => *last = point,
                _ => points.push(point),
            }
        }
        Self { points, faces, pictures }
    }

    /// Returns recall at a point, the share of faces found, 0..1; 0 without faces.
    pub fn recall(&self, point: &Point) -> f64 {
        if self.faces == 0 { 0.0 } else { point.hits as f64 / self.faces as f64 }
    }

    /// Returns precision at a point, the share of detections that are hits, 0..1.
    pub fn precision(&self, point: &Point) -> f64 {
        point.hits as f64 / (point.hits + point.false_alarms).max(1) as f64
    }

    /// Returns average precision, 0..1: the area under the precision envelope over recall (VOC 2010 and later); 0 without faces.
    pub fn average_precision(&self) -> f64 {
        let (mut area, mut envelope) = (0.0, 0f64);
        for (i, point) in self.points.iter().enumerate().rev() {
            envelope = envelope.max(self.precision(point));
            let before = if i == 0 { 0.0 } else { self.recall(&self.points[i - 1]) };
            area += (self.recall(point) - before).max(0.0) * envelope;
        }
        area
    }

    /// Returns the highest recall, 0..1, with at most this many false alarms in the whole set; 0 if the first point already has
    /// more.
    pub fn recall_at(&self, false_alarms: f64) -> f64 {
        let within = self.points.iter().filter(|p| p.false_alarms as f64 <= false_alarms);
        within.map(|p| self.recall(p)).fold(0.0, f64::max)
    }

    /// Returns the highest recall, 0..1, with at most this many false alarms a picture.
    pub fn recall_at_each(&self, false_alarms_a_picture: f64) -> f64 {
        self.recall_at(false_alarms_a_picture * self.pictures as f64)
    }

    /// Returns the lowest threshold with at most this many false alarms a picture; `None` if the first point already has more.
    pub fn threshold_at_each(&self, false_alarms_a_picture: f64) -> Option<f64> {
        let most = false_alarms_a_picture * self.pictures as f64;
        self.points.iter().take_while(|p| p.false_alarms as f64 <= most).last().map(|p| p.threshold)
    }

    /// Returns recall at the lowest threshold, 0..1.
    pub fn final_recall(&self) -> f64 {
        self.points.last().map_or(0.0, |p| self.recall(p))
    }

    /// Returns (recall, precision) at each point.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|p| (self.recall(p), self.precision(p))).collect()
    }

    /// Returns (false alarms a picture, recall) at each point.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        let pictures = self.pictures.max(1) as f64;
        self.points.iter().map(|p| (p.false_alarms as f64 / pictures, self.recall(p))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(score: f64) -> CountChange {
        CountChange { score, hits: 1, false_alarms: 0 }
    }

    fn miss(score: f64) -> CountChange {
        CountChange { score, hits: 0, false_alarms: 1 }
    }

    proptest! {
        #[test]
        fn average_precision_is_between_0_and_1_and_a_worst_false_alarm_never_raises_it(
            labels in prop::collection::vec((any::<bool>(), 0u8..20), 0..40), missed in 0usize..5,
        ) {
            let mut changes: Vec<CountChange> = labels
                .iter()
                .map(|&(right, score)| if right { hit(f64::from(score)) } else { miss(f64::from(score)) })
                .collect();
            let faces = labels.iter().filter(|l| l.0).count() + missed;
            let before = Curve::new(changes.clone(), faces, 3);
            let precision = before.average_precision();
            prop_assert!((0.0..=1.0 + 1e-12).contains(&precision));
            prop_assert!(before.recall_at_each(1.0) >= before.recall_at_each(0.1));
            changes.push(miss(-1.0));
            prop_assert!(Curve::new(changes, faces, 3).average_precision() <= precision + 1e-12);
        }

        #[test]
        fn the_order_of_the_changes_does_not_matter(scores in prop::collection::vec((any::<bool>(), 0u8..9), 1..20)) {
            let changes: Vec<CountChange> = scores
                .iter()
                .map(|&(right, score)| if right { hit(f64::from(score)) } else { miss(f64::from(score)) })
                .collect();
            let backwards = changes.iter().rev().copied().collect();
            prop_assert_eq!(Curve::new(changes, 20, 2), Curve::new(backwards, 20, 2));
        }
    }

    /// The cases of evaluate.py's self-test.
    #[test]
    fn known_average_precisions() {
        assert_eq!(Curve::new(vec![hit(0.9), miss(0.8), miss(0.5)], 1, 1).average_precision(), 1.0);
        assert_eq!(Curve::new(vec![miss(0.9), hit(0.8)], 2, 1).average_precision(), 0.25);
        assert_eq!(Curve::new(Vec::new(), 2, 1).average_precision(), 0.0);
    }

    #[test]
    fn recall_and_threshold_at_a_number_of_false_alarms() {
        let curve = Curve::new(vec![hit(0.9), miss(0.8), hit(0.7), miss(0.6), hit(0.5)], 4, 10);
        assert_eq!(curve.recall_at(0.0), 0.25);
        assert_eq!(curve.recall_at_each(0.1), 0.5);
        assert_eq!(curve.recall_at_each(1.0), 0.75);
        assert_eq!(curve.threshold_at_each(0.1), Some(0.7));
        assert_eq!(Curve::new(vec![miss(0.9), miss(0.8)], 4, 1).threshold_at_each(0.1), None);
    }

    #[test]
    fn the_first_point_of_a_set_whose_surest_detections_are_wrong_has_no_recall() {
        let curve = Curve::new(vec![hit(0.9), miss(0.9), miss(0.9)], 1, 1);
        assert_eq!(curve.points.len(), 1);
        assert_eq!(curve.recall_at_each(1.0), 0.0);
    }
}
