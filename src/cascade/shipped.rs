//! What is built in: the settings that ship, and their nets' weights.

use crate::error::{Error, Result};
use crate::nets::int8::quantised::Quantised;
use crate::nets::weights::Weights;

/// `models/shipped.toml`.
pub(super) const SETTINGS: &str = include_str!("../../models/shipped.toml");

/// `models/article/cascade.toml`.
pub(super) const ARTICLE: &str = include_str!("../../models/article/cascade.toml");

/// `models/yunet/cascade.toml`.
pub(super) const YUNET: &str = include_str!("../../models/yunet/cascade.toml");

/// Nets, and their weights files in floats and in 8 bits.
const WEIGHTS: [(&str, &[u8], &[u8]); 3] = [
    (
        "octave",
        include_bytes!("../../models/octave.safetensors"),
        include_bytes!("../../models/octave.int8.safetensors"),
    ),
    (
        "refine24",
        include_bytes!("../../models/refine24.safetensors"),
        include_bytes!("../../models/refine24.int8.safetensors"),
    ),
    (
        "refine48",
        include_bytes!("../../models/refine48.safetensors"),
        include_bytes!("../../models/refine48.int8.safetensors"),
    ),
];

/// The built-in weights of `net`.
///
/// # Errors
/// If it is not one of the nets that ship.
pub fn weights(net: &str) -> Result<Weights> {
    let Some((_, bytes, _)) = WEIGHTS.iter().find(|(name, ..)| *name == net) else {
        let reason =
            "not built into this program; train them (facecascade train all) and load them from a settings file";
        return Err(Error::Weights { origin: net.into(), reason: reason.into() });
    };
    Weights::from_bytes(bytes, net)
}

/// The built-in quantised weights of `net`, if it has any.
///
/// # Errors
/// Never, as a test holds.
pub(super) fn quantised(net: &str) -> Result<Option<Quantised>> {
    let found = WEIGHTS.iter().find(|(name, ..)| *name == net);
    found.map(|(.., bytes)| Quantised::from_bytes(bytes, net)).transpose()
}
