//! The input of every net: RGB, normalised as (v − [`MIDDLE`]) / [`SPREAD`].

/// Grey value that becomes 0.
pub const MIDDLE: f32 = 127.5;

/// Grey values above the middle that become 1.
pub const SPREAD: f32 = 128.0;

/// Normalises a byte.
#[inline]
pub fn normalise(v: u8) -> f32 {
    normalised(f32::from(v))
}

/// Normalises a grey value.
#[inline]
pub const fn normalised(v: f32) -> f32 {
    (v - MIDDLE) / SPREAD
}
