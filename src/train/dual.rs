//! Numbers with their derivatives by the four numbers of a box: a loss written in them gives its gradient with its value.

use std::ops::{Add, Div, Mul, Sub};

/// A number and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dual {
    /// The number.
    pub value: f32,
    /// d number / d variable, for each variable.
    pub slope: [f32; 4],
}

impl Dual {
    /// A number that does not vary.
    pub(crate) const fn constant(value: f32) -> Self {
        Self { value, slope: [0.0; 4] }
    }

    /// Variable number `i`.
    pub(crate) fn variable(value: f32, i: usize) -> Self {
        Self { value, slope: std::array::from_fn(|j| f32::from(u8::from(i == j))) }
    }

    /// f(self), with f's slope there.
    fn through(self, value: f32, slope: f32) -> Self {
        Self { value, slope: self.slope.map(|s| s * slope) }
    }

    pub(crate) fn exp(self) -> Self {
        let e = self.value.exp();
        self.through(e, e)
    }

    pub(crate) fn min(self, other: Self) -> Self {
        if self.value <= other.value { self } else { other }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        if self.value >= other.value { self } else { other }
    }

    pub(crate) fn square(self) -> Self {
        self * self
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, slope: std::array::from_fn(|i| self.slope[i] + other.slope[i]) }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, slope: std::array::from_fn(|i| self.slope[i] - other.slope[i]) }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let slope = std::array::from_fn(|i| self.slope[i] * other.value + self.value * other.slope[i]);
        Self { value: self.value * other.value, slope }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let slope = std::array::from_fn(|i| (self.slope[i] - value * other.slope[i]) / other.value);
        Self { value, slope }
    }
}
