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

/// A net that ships.
struct Shipped {
    net: &'static str,
    /// Its weights file.
    float: &'static [u8],
    /// Its weights file in 8 bits, if there is one.
    quantised: Option<&'static [u8]>,
}

const NETS: [Shipped; 4] = [
    Shipped {
        net: "octave",
        float: include_bytes!("../../models/octave.safetensors"),
        quantised: Some(include_bytes!("../../models/octave.int8.safetensors")),
    },
    Shipped {
        net: "refine24",
        float: include_bytes!("../../models/refine24.safetensors"),
        quantised: Some(include_bytes!("../../models/refine24.int8.safetensors")),
    },
    Shipped {
        net: "refine48",
        float: include_bytes!("../../models/refine48.safetensors"),
        quantised: Some(include_bytes!("../../models/refine48.int8.safetensors")),
    },
    Shipped { net: "smile", float: include_bytes!("../../models/smile.safetensors"), quantised: None },
];

/// The built-in weights of `net`.
///
/// # Errors
/// If it is not one of the nets that ship.
pub fn weights(net: &str) -> Result<Weights> {
    let Some(shipped) = NETS.iter().find(|shipped| shipped.net == net) else {
        let reason =
            "not built into this program; train them (facecascade train all) and load them from a settings file";
        return Err(Error::Weights { origin: net.into(), reason: reason.into() });
    };
    Weights::from_bytes(shipped.float, net)
}

/// The built-in quantised weights of `net`, if it has any.
///
/// # Errors
/// Never, as a test holds.
pub(super) fn quantised(net: &str) -> Result<Option<Quantised>> {
    let found = NETS.iter().find(|shipped| shipped.net == net).and_then(|shipped| shipped.quantised);
    found.map(|bytes| Quantised::from_bytes(bytes, net)).transpose()
}
