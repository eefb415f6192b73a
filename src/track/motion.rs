//! A box in motion: four Kalman filters of constant velocity, in units of the box's side. They know the speed, so a
//! steady motion is followed without lag; a start or a turn shows as a surprise, and trust in the motion falls at once.

use crate::geometry::Rect;

/// Standard deviation of a box as it is found, sides.
const NOISE: f32 = 0.02;
/// Spectral density of acceleration of a face that moves as expected, sides² / s³: so little that a still face stays still.
const UNREST: f32 = 0.05;
/// Variance of the speed of a new face, (sides / s)².
const UNKNOWN_SPEED: f32 = 1.0;
/// How fast the mean surprise follows.
const MEMORY: f32 = 0.6;
/// Surprise beyond this makes no more unrest.
const MOST_SURPRISE: f32 = 30.0;
/// What is left of its speed after a frame without a sighting.
const SLOWING: f32 = 0.85;

/// One coordinate: what a Kalman filter of constant velocity knows of it.
#[derive(Debug, Clone, Copy)]
struct Coordinate {
    at: f32,
    speed: f32,
    /// Variances of both, and their covariance.
    var_at: f32,
    covar: f32,
    var_speed: f32,
    /// Mean of the squared error over its expected square: 1 if all is as expected.
    surprise: f32,
}

impl Coordinate {
    fn new(at: f32, unit: f32) -> Self {
        let square = unit * unit;
        let (var_at, var_speed) = (NOISE * NOISE * square, UNKNOWN_SPEED * square);
        Self { at, speed: 0.0, var_at, covar: 0.0, var_speed, surprise: 1.0 }
    }

    fn predict(&mut self, dt: f32, unit: f32) {
        let unrest = UNREST * unit * unit * self.surprise.clamp(1.0, MOST_SURPRISE).powi(2);
        self.at += self.speed * dt;
        self.var_at += dt * (2.0 * self.covar + dt * (self.var_speed + unrest * dt / 3.0));
        self.covar += dt * (self.var_speed + unrest * dt / 2.0);
        self.var_speed += unrest * dt;
    }

    fn correct(&mut self, found: f32, unit: f32) {
        let error = found - self.at;
        let expected = self.var_at + (NOISE * unit).powi(2);
        self.surprise = MEMORY * self.surprise + (1.0 - MEMORY) * error * error / expected;
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

    /// Moves it on by `dt` seconds; a face that was `unseen` slows down.
    pub(super) fn predict(&mut self, dt: f32, unseen: bool) -> Rect {
        let unit = self.unit();
        for c in &mut self.0 {
            if unseen {
                c.speed *= SLOWING;
            }
            c.predict(dt, unit);
        }
        self.rect()
    }

    /// Takes in where it was found, and gives the smoothed box.
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
