//! What is built in: the settings that ship, and their nets' weights.

use crate::error::{Error, Result};
use crate::nets::weights::Weights;

/// `models/shipped.toml`.
pub(super) const SETTINGS: &str = include_str!("../../models/shipped.toml");

/// `models/article/cascade.toml`.
pub(super) const ARTICLE: &str = include_str!("../../models/article/cascade.toml");

/// `models/yunet/cascade.toml`.
pub(super) const YUNET: &str = include_str!("../../models/yunet/cascade.toml");

/// Nets and their weights files.
const WEIGHTS: [(&str, &[u8]); 4] = [
    ("octave", include_bytes!("../../models/octave.safetensors")),
    ("refine24", include_bytes!("../../models/refine24.safetensors")),
    ("refine48", include_bytes!("../../models/refine48.safetensors")),
    ("smile", include_bytes!("../../models/smile.safetensors")),
];

/// The built-in weights of `net`.
///
/// # Errors
/// If it is not one of the nets that ship.
pub fn weights(net: &str) -> Result<Weights> {
    let Some((_, bytes)) = WEIGHTS.iter().find(|(name, _)| *name == net) else {
        let reason =
            "not built into this program; train them (facecascade train all) and load them from a settings file";
        return Err(Error::Weights { origin: net.into(), reason: reason.into() });
    };
    Weights::from_bytes(bytes, net)
}
