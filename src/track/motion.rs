//! Predicts and smooths a box in motion: four Kalman filters of constant velocity, in units of the box's side. The filters
//! estimate the speed, so a steady motion is followed without lag. A start or a turn makes the normalised innovation large,
//! which raises the process noise at once, so that the next sightings count more than the prediction.

use crate::geometry::Rect;

/// Standard deviation of a box as it is found, sides.
const NOISE: f32 = 0.02;
/// Process noise: spectral density of the acceleration of a face that moves as predicted, sides² / s³. So little that a still
/// face stays still.
const PROCESS_NOISE: f32 = 0.05;
/// Variance of the speed of a new face, (sides / s)².
const UNKNOWN_SPEED: f32 = 1.0;
/// Weight of the past in the running mean of the normalised innovation.
const MEMORY: f32 = 0.6;
/// Upper limit of the normalised innovation's effect on the process noise.
const MOST_INNOVATION: f32 = 30.0;
/// Share of the speed that is left after a frame without a sighting, at up to 30 frames a second …
const SLOWING: f32 = 0.85;
/// … and the shortest time between frames that counts as a whole one of these, seconds.
const FRAME: f32 = 1.0 / 31.0;

/// State of the Kalman filter of one coordinate.
#[derive(Debug, Clone, Copy)]
struct Coordinate {
    at: f32,
    speed: f32,
    /// Variances of both, and their covariance.
    var_at: f32,
    covar: f32,
    var_speed: f32,
    /// Running mean of the squared normalised innovation: the prediction's squared error over its variance, 1 on average where
    /// the model holds.
    innovation: f32,
}

impl Coordinate {
    fn new(at: f32, unit: f32) -> Self {
        let square = unit * unit;
        let (var_at, var_speed) = (NOISE * NOISE * square, UNKNOWN_SPEED * square);
        Self { at, speed: 0.0, var_at, covar: 0.0, var_speed, innovation: 1.0 }
    }

    fn predict(&mut self, dt: f32, unit: f32) {
        let noise = PROCESS_NOISE * unit * unit * self.innovation.clamp(1.0, MOST_INNOVATION).powi(2);
        self.at += self.speed * dt;
        self.var_at += dt * (2.0 * self.covar + dt * (self.var_speed + noise * dt / 3.0));
        self.covar += dt * (self.var_speed + noise * dt / 2.0);
        self.var_speed += noise * dt;
    }

    fn correct(&mut self, found: f32, unit: f32) {
        let error = found - self.at;
        let expected = self.var_at + (NOISE * unit).powi(2);
        self.innovation = MEMORY * self.innovation + (1.0 - MEMORY) * error * error / expected;
        let (gain, gain_speed) = (self.var_at / expected, self.covar / expected);
        self.at += gain * error;
        self.speed += gain_speed * error;
        self.var_speed -= gain_speed * self.covar;
        self.covar *= 1.0 - gain;
        self.var_at *= 1.0 - gain;
    }
}

/// A box in motion: centre, width and height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motion([Coordinate; 4]);

impl Motion {
    pub(super) fn new(rect: &Rect) -> Self {
        let unit = side(rect.w, rect.h);
        Self(split(rect).map(|v| Coordinate::new(v, unit)))
    }

    /// Moves the box on by `dt` seconds; the box of a face that was `unseen` slows down, by time where frames come fast.
    pub(super) fn predict(&mut self, dt: f32, unseen: bool) -> Rect {
        let unit = self.unit();
        let slowing = if dt >= FRAME { SLOWING } else { SLOWING.powf(dt * 30.0) };
        for c in &mut self.0 {
            if unseen {
                c.speed *= slowing;
            }
            c.predict(dt, unit);
        }
        self.rect()
    }

    /// Corrects the prediction by the box `found`, and gives the smoothed box.
    pub(super) fn correct(&mut self, found: &Rect) -> Rect {
        let unit = side(found.w, found.h);
        for (c, v) in self.0.iter_mut().zip(split(found)) {
            c.correct(v, unit);
        }
        self.rect()
    }

    fn unit(&self) -> f32 {
        side(self.0[2].at, self.0[3].at)
    }

    fn rect(&self) -> Rect {
        let [cx, cy, w, h] = self.0.map(|c| c.at);
        let (w, h) = (w.max(1.0), h.max(1.0));
        Rect::new(cx - w / 2.0, cy - h / 2.0, w, h)
    }
}

fn split(rect: &Rect) -> [f32; 4] {
    let (cx, cy) = rect.center();
    [cx, cy, rect.w, rect.h]
}

fn side(w: f32, h: f32) -> f32 {
    ((w + h) / 2.0).max(1.0)
}
