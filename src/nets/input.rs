//! The input of every net: RGB, normalised as (v − [`MIDDLE`]) / [`SPREAD`].

/// Grey value that becomes 0.
pub(crate) const MIDDLE: f32 = 127.5;

/// Grey values above the middle that become 1.
pub(crate) const SPREAD: f32 = 128.0;

/// Normalises a byte.
#[inline]
pub(crate) fn normalise(v: u8) -> f32 {
    (f32::from(v) - MIDDLE) / SPREAD
}
