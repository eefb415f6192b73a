//! ROC and precision–recall: faces found and false alarms as the threshold falls.

use super::matching::Step;

/// The counts at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Detections of at least this score are in.
    pub threshold: f64,
    /// Faces found.
    pub hits: i64,
    /// False alarms.
    pub false_alarms: i64,
}

/// A detector's behaviour over a set: one point a distinct score, best score first.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Points; none if nothing was detected.
    pub points: Vec<Point>,
    /// Faces that count.
    pub faces: usize,
    /// Pictures of the set.
    pub pictures: usize,
}

impl Curve {
    /// From the steps of all pictures in any order; equal scores enter together.
    pub fn new(mut steps: Vec<Step>, faces: usize, pictures: usize) -> Self {
        steps.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut points: Vec<Point> = Vec::new();
        let (mut hits, mut false_alarms) = (0, 0);
        for step in steps {
            hits += step.hits;
            false_alarms += step.false_alarms;
            let point = Point { threshold: step.score, hits, false_alarms };
            match points.last_mut() {
                Some(last) if last.threshold == step.score => *last = point,
                _ => points.push(point),
            }
        }
        Self { points, faces, pictures }
    }

    /// The share of faces found at a point, 0..1.
    pub fn recall(&self, point: &Point) -> f64 {
        if self.faces == 0 { 0.0 } else { point.hits as f64 / self.faces as f64 }
    }

    /// The share of right detections at a point, 0..1.
    pub fn precision(&self, point: &Point) -> f64 {
        point.hits as f64 / (point.hits + point.false_alarms).max(1) as f64
    }

    /// Area under the precision envelope over recall (VOC 2010 and later), 0..1; 0 without faces.
    pub fn average_precision(&self) -> f64 {
        let (mut area, mut envelope) = (0.0, 0f64);
        for (i, point) in self.points.iter().enumerate().rev() {
            envelope = envelope.max(self.precision(point));
            let before = if i == 0 { 0.0 } else { self.recall(&self.points[i - 1]) };
            area += (self.recall(point) - before).max(0.0) * envelope;
        }
        area
    }

    /// The highest recall, 0..1, at no more than this many false alarms in the whole set; 0 if even the surest detections
    /// make more.
    pub fn recall_at(&self, false_alarms: f64) -> f64 {
        let within = self.points.iter().filter(|p| p.false_alarms as f64 <= false_alarms);
        within.map(|p| self.recall(p)).fold(0.0, f64::max)
    }

    /// The highest recall at no more than this many false alarms a picture.
    pub fn recall_at_each(&self, false_alarms_a_picture: f64) -> f64 {
        self.recall_at(false_alarms_a_picture * self.pictures as f64)
    }

    /// The lowest threshold with no more than this many false alarms a picture; `None` if there is none.
    pub fn threshold_at_each(&self, false_alarms_a_picture: f64) -> Option<f64> {
        let most = false_alarms_a_picture * self.pictures as f64;
        self.points.iter().take_while(|p| p.false_alarms as f64 <= most).last().map(|p| p.threshold)
    }

    /// Recall at the lowest threshold, 0..1.
    pub fn final_recall(&self) -> f64 {
        self.points.last().map_or(0.0, |p| self.recall(p))
    }

    /// (recall, precision) along the curve.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|p| (self.recall(p), self.precision(p))).collect()
    }

    /// (false alarms a picture, recall) along the curve.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        let pictures = self.pictures.max(1) as f64;
        self.points.iter().map(|p| (p.false_alarms as f64 / pictures, self.recall(p))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(score: f64) -> Step {
        Step { score, hits: 1, false_alarms: 0 }
    }

    fn miss(score: f64) -> Step {
        Step { score, hits: 0, false_alarms: 1 }
    }

    proptest! {
        #[test]
        fn average_precision_is_between_0_and_1_and_a_worst_false_alarm_never_raises_it(
            outcomes in prop::collection::vec((any::<bool>(), 0u8..20), 0..40), missed in 0usize..5,
        ) {
            let mut steps: Vec<Step> = outcomes
                .iter()
                .map(|&(right, score)| if right { hit(f64::from(score)) } else { miss(f64::from(score)) })
                .collect();
            let faces = outcomes.iter().filter(|o| o.0).count() + missed;
            let before = Curve::new(steps.clone(), faces, 3);
            let precision = before.average_precision();
            prop_assert!((0.0..=1.0 + 1e-12).contains(&precision));
            prop_assert!(before.recall_at_each(1.0) >= before.recall_at_each(0.1));
            steps.push(miss(-1.0));
            prop_assert!(Curve::new(steps, faces, 3).average_precision() <= precision + 1e-12);
        }

        #[test]
        fn the_order_of_the_steps_does_not_matter(scores in prop::collection::vec((any::<bool>(), 0u8..9), 1..20)) {
            let steps: Vec<Step> = scores
                .iter()
                .map(|&(right, score)| if right { hit(f64::from(score)) } else { miss(f64::from(score)) })
                .collect();
            let backwards = steps.iter().rev().copied().collect();
            prop_assert_eq!(Curve::new(steps, 20, 2), Curve::new(backwards, 20, 2));
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
