//! What is built in: the settings that ship, and their nets' weights.

use std::fmt;
use std::str::FromStr;

use super::placement::words;
use crate::error::{Error, Result};
use crate::nets::int8::quantised::Quantised;
use crate::nets::weights::Weights;

/// A cascade that ships: what a frame may cost, and what that finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Model {
    /// For small processors and live pictures.
    Fast,
    /// For everything.
    #[default]
    Base,
    /// For archives and for covering faces, where a frame may cost much and a face that is missed does harm.
    Sure,
}

impl Model {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Base, Self::Sure];

    /// Its settings as a file that is built in: name and text.
    pub(super) fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Fast => ("models/fast.toml (built in)", include_str!("../../models/fast.toml")),
            Self::Base => ("models/base.toml (built in)", include_str!("../../models/base.toml")),
            Self::Sure => ("models/sure.toml (built in)", include_str!("../../models/sure.toml")),
        }
    }
}

words!(Model, "fast, base or sure": Fast = "fast", Base = "base", Sure = "sure");

/// `models/article/cascade.toml`.
pub(super) const ARTICLE: &str = include_str!("../../models/article/cascade.toml");

/// `models/level1.toml`.
pub(super) const LEVEL1: &str = include_str!("../../models/level1.toml");

/// `models/octave/cascade.toml`.
pub(super) const OCTAVE: &str = include_str!("../../models/octave/cascade.toml");

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
        net: "yunet",
        float: include_bytes!("../../models/yunet.safetensors"),
        quantised: Some(include_bytes!("../../models/yunet.int8.safetensors")),
    },
    Shipped {
        net: "refine64",
        float: include_bytes!("../../models/refine64.safetensors"),
        quantised: Some(include_bytes!("../../models/refine64.int8.safetensors")),
    },
    Shipped {
        net: "refine96",
        float: include_bytes!("../../models/refine96.safetensors"),
        quantised: Some(include_bytes!("../../models/refine96.int8.safetensors")),
    },
    Shipped {
        net: "smile",
        float: include_bytes!("../../models/smile.safetensors"),
        quantised: Some(include_bytes!("../../models/smile.int8.safetensors")),
    },
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
