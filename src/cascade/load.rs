//! Makes a cascade from settings and weights: those built in, those of a folder, or others.

use std::path::Path;
use std::sync::Mutex;

use super::proposer::Proposer;
use super::refiner::Refiner;
use super::smile::SmileNet;
use super::{Cascade, CascadeSettings, Options, Precision, shipped};
use crate::error::{Error, Result};
use crate::nets::int8::quantised::{self, Quantised};
use crate::nets::weights::Weights;
use crate::nets::windows::WindowNet;
use crate::nets::zoo;
use crate::pyramid::Builder;

/// A net's weights.
pub(super) struct NetWeights {
    pub(super) float: Weights,
    pub(super) quantised: Option<Quantised>,
}

/// The quantised weights that a net runs with, if it is to run with them.
fn chosen(precision: Precision, net: &str, float: &Weights, quantised: Option<Quantised>) -> Result<Option<Quantised>> {
    let other = quantised.as_ref().is_some_and(|quantised| !quantised.is_made_from(float));
    let remedy = "make them anew with `facecascade quantise`, or choose --precision f32";
    match precision {
        Precision::F32 => Ok(None),
        Precision::Auto if other => {
            tracing::warn!("{net} runs in floats: its 8-bit weights were made from other float weights; {remedy}");
            Ok(None)
        }
        Precision::Auto => Ok(quantised),
        Precision::Int8 if other => {
            Err(Error::Setting(format!("{net}: the 8-bit weights were made from other float weights; {remedy}")))
        }
        Precision::Int8 if quantised.is_none() => Err(Error::Setting(format!("{net} has no 8-bit weights; {remedy}"))),
        Precision::Int8 => Ok(quantised),
    }
}

impl Cascade {
    /// The cascade that ships as `options.model`; it is built in.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn shipped(options: Options) -> Result<Self> {
        let weights = |net: &str| Ok(NetWeights { float: shipped::weights(net)?, quantised: shipped::quantised(net)? });
        Self::assemble(CascadeSettings::of(options.model), &weights, options)
    }

    /// The cascade of a settings file, whose nets' weights lie beside it as `NAME.safetensors`, and quantised ones, if there are
    /// any, as `NAME.int8.safetensors`.
    ///
    /// # Errors
    /// If a file is missing, holds a wrong key or does not fit its net, or an option is out of range.
    pub fn load(settings_file: &Path, options: Options) -> Result<Self> {
        let text = std::fs::read_to_string(settings_file).map_err(Error::io(settings_file))?;
        let settings = CascadeSettings::parse(&text, &settings_file.display().to_string())?;
        let folder = settings_file.parent().unwrap_or(Path::new(""));
        let weights = |net: &str| {
            let file = folder.join(format!("{net}.safetensors"));
            let (float, in_int8) = (Weights::load(&file)?, quantised::file(folder, net));
            let quantised = in_int8.exists().then(|| Quantised::load(&in_int8)).transpose()?;
            if let Some(net) = zoo::by_name(net) {
                float.check(&net, &file.display().to_string())?;
                quantised.iter().try_for_each(|q| q.check(&net, &in_int8.display().to_string()))?;
            }
            Ok(NetWeights { float, quantised })
        };
        Self::assemble(settings, &weights, options)
    }

    /// A cascade of any settings, with `weights` by the net's name: in training, the levels trained so far
    /// ([`CascadeSettings::with_refiners`]). Its nets compute with floats.
    ///
    /// # Errors
    /// If a net is unknown, `weights` fails or gives what does not fit the net, or an option is out of range.
    pub fn from_parts(
        settings: CascadeSettings,
        weights: &dyn Fn(&str) -> Result<Weights>,
        options: Options,
    ) -> Result<Self> {
        let weights = |net: &str| Ok(NetWeights { float: weights(net)?, quantised: None });
        Self::assemble(settings, &weights, options)
    }

    pub(super) fn assemble(
        settings: CascadeSettings,
        weights: &dyn Fn(&str) -> Result<NetWeights>,
        options: Options,
    ) -> Result<Self> {
        settings.check()?;
        check(&options)?;
        let load = |name: &str| {
            let net = zoo::by_name(name).ok_or_else(|| {
                Error::Setting(format!("there is no net named {name:?}; there are {}", zoo::NAMES.join(", ")))
            })?;
            let NetWeights { float, quantised } = weights(name)?;
            let quantised = chosen(options.precision, name, &float, quantised)?;
            WindowNet::new(&net, float, quantised.as_ref())
        };
        let proposer = Proposer::new(&settings.proposer, options.min_face, load)?;
        let refiners = settings.refiners.iter().enumerate().map(|(i, r)| Refiner::new(r, i + 1, load));
        let smiles = settings.smile.as_ref().filter(|_| options.smile);
        let smiles = smiles.map(|s| SmileNet::new(s, options.min_face, load)).transpose()?;
        Ok(Self {
            proposer,
            refiners: refiners.collect::<Result<_>>()?,
            smiles,
            settings,
            options,
            pyramids: Builder::default(),
            pool: Mutex::default(),
        })
    }
}

fn check(options: &Options) -> Result<()> {
    let Options { min_face, threshold, model: _, smile: _, precision: _ } = options;
    if !(min_face.is_finite() && *min_face >= 8.0) {
        return Err(Error::Setting(format!("the smallest face is {min_face} pixels; it must be at least 8")));
    }
    if !(0.0..=1.0).contains(threshold) {
        return Err(Error::Setting(format!("the threshold is {threshold}; it must lie in 0..1")));
    }
    Ok(())
}
