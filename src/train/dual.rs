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

/// Two numbers as one of this value, with their slopes' weights in its own.
fn of_two(value: f32, (a, weight_a): (Dual, f32), (b, weight_b): (Dual, f32)) -> Dual {
    Dual { value, slope: std::array::from_fn(|i| weight_a * a.slope[i] + weight_b * b.slope[i]) }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        of_two(self.value + other.value, (self, 1.0), (other, 1.0))
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        of_two(self.value - other.value, (self, 1.0), (other, -1.0))
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        of_two(self.value * other.value, (self, other.value), (other, self.value))
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let (value, inverse) = (self.value / other.value, other.value.recip());
        of_two(value, (self, inverse), (other, -value * inverse))
    }
}
