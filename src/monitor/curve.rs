//! A curve of figures by step: smoothing, and what of it is drawn.

use serde::Serialize;

/// The values of one figure, one a step, steps increasing.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve {
    steps: Vec<u32>,
    values: Vec<f64>,
    /// Number of values that are no finite numbers.
    odd: usize,
}

/// What is drawn of a curve: for each bucket of steps that holds values, a point.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Drawn {
    /// Middle of the bucket's steps.
    pub x: Vec<u32>,
    /// Least value of the bucket.
    pub low: Vec<f32>,
    /// Greatest value of the bucket.
    pub high: Vec<f32>,
    /// The smoothed curve at `x`; empty without smoothing.
    pub smooth: Vec<f32>,
    /// Values that are no finite numbers: step, `NaN`, `inf` or `-inf`, and how many the bucket holds.
    pub odd: Vec<(u32, &'static str, usize)>,
    /// The last value, whatever is drawn.
    pub last: Option<f32>,
    /// The last value of the smoothed curve.
    pub smooth_last: Option<f32>,
}

impl Curve {
    /// Adds a value. Values from this step on, which a resumed run makes again, are dropped.
    pub(super) fn push(&mut self, step: u32, value: f64) {
        if self.steps.last().is_some_and(|last| *last >= step) {
            self.truncate(step);
        }
        self.steps.push(step);
        self.values.push(value);
        self.odd += usize::from(!value.is_finite());
    }

    /// Drops the values from `step` on.
    pub(super) fn truncate(&mut self, step: u32) {
        let keep = self.steps.partition_point(|s| *s < step);
        self.odd -= self.values[keep..].iter().filter(|v| !v.is_finite()).count();
        self.steps.truncate(keep);
        self.values.truncate(keep);
    }

    /// First and last step.
    pub(super) fn extent(&self) -> Option<(u32, u32)> {
        Some((*self.steps.first()?, *self.steps.last()?))
    }

    /// Last value.
    pub(super) fn last(&self) -> Option<f64> {
        self.values.last().copied()
    }

    /// Number of values that are no finite numbers.
    pub(super) fn odd(&self) -> usize {
        self.odd
    }

    /// Steps and values in `from..=to`.
    pub(super) fn within(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, f64)> + '_ {
        let first = self.steps.partition_point(|s| *s < from);
        self.steps.iter().copied().zip(self.values.iter().copied()).skip(first).take_while(move |(s, _)| *s <= to)
    }

    /// Returns what is drawn of the steps `from..=to`, at most about `points` buckets, with the curve smoothed over `smooth` steps (0:
    /// not at all). The smoothed curve is computed from every value since the first, whatever part is drawn and however coarsely.
    pub(super) fn draw(&self, from: u32, to: u32, points: usize, smooth: f64) -> Drawn {
        let width = bucket(from, to, points);
        let mut drawn = Drawn { last: self.last().map(|v| v as f32), ..Drawn::default() };
        let mut average = Average::new(smooth);
        let mut open = Bucket::default();
        for (&step, &value) in self.steps.iter().zip(&self.values) {
            let inside = (from..=to).contains(&step);
            if inside && open.number != Some(step / width) {
                open.close(&mut drawn);
                open = Bucket { number: Some(step / width), ..Bucket::default() };
            }
            if value.is_finite() && smooth > 0.0 {
                average.add(step, value);
            }
            if inside {
                open.add(step, value, &average);
            }
        }
        open.close(&mut drawn);
        drawn.smooth_last = average.value().map(|v| v as f32);
        if smooth <= 0.0 {
            drawn.smooth.clear();
        }
        drawn
    }
}

impl Drawn {
    /// Turns shares of what is right into shares of what is wrong.
    pub(super) fn complement(mut self) -> Self {
        std::mem::swap(&mut self.low, &mut self.high);
        let values = self.low.iter_mut().chain(&mut self.high).chain(&mut self.smooth);
        values.chain(&mut self.last).chain(&mut self.smooth_last).for_each(|v| *v = 1.0 - *v);
        self
    }
}

/// Steps of a bucket: a power of 2, so that buckets stay where they are while a curve grows.
pub(super) fn bucket(from: u32, to: u32, points: usize) -> u32 {
    let steps = u64::from(to.saturating_sub(from)) + 1;
    steps.div_ceil(points.max(1) as u64).next_power_of_two().min(1 << 31) as u32
}

/// The bucket under way.
#[derive(Debug, Default)]
struct Bucket {
    number: Option<u32>,
    first: u32,
    /// Steps with finite values, so far.
    steps: Vec<(u32, Option<f64>)>,
    low: f64,
    high: f64,
    odd: usize,
    odd_at: Option<(u32, &'static str)>,
}

impl Bucket {
    fn add(&mut self, step: u32, value: f64, average: &Average) {
        if !value.is_finite() {
            self.odd += 1;
            let name = if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "inf"
            } else {
                "-inf"
            };
            self.odd_at.get_or_insert((step, name));
            return;
        }
        if self.steps.is_empty() {
            (self.first, self.low, self.high) = (step, value, value);
        }
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
        self.steps.push((step, average.value()));
    }

    fn close(&self, drawn: &mut Drawn) {
        if let Some((step, name)) = self.odd_at {
            drawn.odd.push((step, name, self.odd));
        }
        let Some((last, _)) = self.steps.last() else { return };
        let middle = self.first + (last - self.first) / 2;
        // The value that is there at or before the middle: a point of the smoothed curve, not one between.
        let at = self.steps.partition_point(|(step, _)| *step <= middle).saturating_sub(1);
        let (x, smooth) = self.steps[at];
        drawn.x.push(x);
        drawn.low.push(self.low as f32);
        drawn.high.push(self.high as f32);
        drawn.smooth.push(smooth.unwrap_or(self.low) as f32);
    }
}

/// An exponential moving average by steps, freed of the weight of its beginning (as in Adam): after `d` steps a value has `exp(-d /
/// over)` of its weight, however many values lie between. A constant curve stays constant to the last bit.
#[derive(Debug)]
struct Average {
    over: f64,
    last: Option<u32>,
    value: f64,
    /// Weight of all values so far.
    weight: f64,
    /// What stays after the gap of `gap` steps; most gaps are alike.
    stays: f64,
    gap: u32,
}

impl Average {
    fn new(over: f64) -> Self {
        Self { over, last: None, value: 0.0, weight: 0.0, stays: (-1.0 / over).exp(), gap: 1 }
    }

    fn add(&mut self, step: u32, value: f64) {
        let gap = self.last.map_or(1, |last| step - last);
        if gap != self.gap {
            (self.gap, self.stays) = (gap, (-f64::from(gap) / self.over).exp());
        }
        let new = 1.0 - self.stays;
        self.weight = self.weight * self.stays + new;
        self.value = if self.last.is_none() { value } else { self.value + (value - self.value) * (new / self.weight) };
        self.last = Some(step);
    }

    fn value(&self) -> Option<f64> {
        self.last.map(|_| self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Curve {
        let mut curve = Curve::default();
        values.into_iter().enumerate().for_each(|(i, v)| curve.push(i as u32, v));
        curve
    }

    fn noisy(n: usize) -> Curve {
        curve((0..n).map(|i| 1.0 + 0.5 * ((i * 7919) % 1000) as f64 / 1000.0))
    }

    #[test]
    fn a_constant_curve_stays_constant() {
        let drawn = curve(std::iter::repeat_n(0.1, 5000)).draw(0, 4999, 100, 37.0);
        assert!(drawn.smooth.iter().chain(&drawn.smooth_last).all(|v| *v == 0.1), "{:?}", drawn.smooth);
    }

    #[test]
    fn spikes_stay_however_coarse_the_picture() {
        let mut curve = noisy(100_000);
        (curve.values[54_321], curve.values[77_777]) = (99.0, -99.0);
        let drawn = curve.draw(0, 99_999, 300, 0.0);
        assert!(drawn.x.len() <= 300 && drawn.x.len() > 100, "{}", drawn.x.len());
        let (high, low) =
            (drawn.high.iter().copied().fold(0.0, f32::max), drawn.low.iter().copied().fold(0.0, f32::min));
        assert_eq!((high, low), (99.0, -99.0));
    }

    #[test]
    fn smoothing_does_not_depend_on_buckets_or_on_the_part_that_is_drawn() {
        let curve = noisy(20_000);
        let whole = curve.draw(0, 19_999, 20_000, 50.0);
        for (from, to, points) in [(0, 19_999, 77), (0, 19_999, 500), (12_000, 12_100, 30), (19_000, 30_000, 64)] {
            let part = curve.draw(from, to, points, 50.0);
            assert!(part.x.len() > 3);
            for (x, smooth) in part.x.iter().zip(&part.smooth) {
                assert_eq!(*smooth, whole.smooth[*x as usize], "step {x} of {from}..{to}");
            }
            assert_eq!(part.smooth_last, whole.smooth_last);
        }
    }

    #[test]
    fn smoothing_does_not_depend_on_how_often_values_were_recorded() {
        let value = |step: u32| f64::from(step).sqrt();
        let [mut every, mut third] = [Curve::default(), Curve::default()];
        (0..3000).for_each(|step| every.push(step, value(step)));
        (0..3000).step_by(3).for_each(|step| third.push(step, value(step)));
        let [every, third] = [every, third].map(|c| c.draw(2997, 2997, 1, 300.0).smooth[0]);
        assert!((every - third).abs() < 0.01 * every, "{every} {third}");
    }

    #[test]
    fn a_last_value_that_is_far_off_moves_the_smoothed_end_by_its_weight_only() {
        let mut values = vec![1.0; 1000];
        values.push(101.0);
        let drawn = curve(values).draw(0, 1000, 2000, 100.0);
        let weight = 1.0 - (-0.01f64).exp();
        assert!((f64::from(drawn.smooth_last.unwrap()) - (1.0 + 100.0 * weight)).abs() < 0.01, "{drawn:?}");
    }

    #[test]
    fn values_that_are_no_numbers_are_marked_and_spoil_nothing() {
        let mut values = noisy(100).values;
        (values[10], values[11], values[90]) = (f64::NAN, f64::NAN, f64::NEG_INFINITY);
        let mut curve = curve(values);
        let drawn = curve.draw(0, 99, 25, 5.0);
        assert_eq!(drawn.odd, [(10, "NaN", 2), (90, "-inf", 1)]);
        assert!(drawn.low.iter().chain(&drawn.high).chain(&drawn.smooth).all(|v| v.is_finite()));
        assert_eq!(curve.odd(), 3);
        curve.truncate(11);
        assert_eq!(curve.odd(), 1);
    }

    #[test]
    fn steps_made_again_after_a_crash_replace_the_first_ones() {
        let mut curve = noisy(100);
        curve.push(60, 7.0);
        curve.push(61, 7.0);
        assert_eq!(curve.extent(), Some((0, 61)));
        assert_eq!(
            curve.within(59, 70).map(|(s, v)| (s, v == 7.0)).collect::<Vec<_>>(),
            [(59, false), (60, true), (61, true)]
        );
    }

    #[test]
    fn odd_extents_do_not_panic() {
        let mut curve = Curve::default();
        assert_eq!(curve.draw(0, u32::MAX, 0, 1.0), Drawn::default());
        curve.push(u32::MAX, 1.0);
        for (from, to, points, smooth) in
            [(0, u32::MAX, 0, 1e300), (5, 2, 7, 1e-300), (u32::MAX, u32::MAX, 1, f64::NAN)]
        {
            curve.draw(from, to, points, smooth);
        }
    }
}
