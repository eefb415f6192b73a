//! Recipes: how a net is trained, as a TOML file that lies beside the trained weights.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cells::CellSettings;
use super::optimizer::Schedule;
use super::smile::SmileSamples;
use super::validation::ValidationSettings;
use super::windows::WindowSettings;
use crate::cascade;
use crate::dataset::Annotated;
use crate::error::{Error, Result};
use crate::nets::spec::Net;
use crate::nets::variant::Variant;
use crate::nets::zoo;

/// A net's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The net's name in the zoo.
    pub net: String,
    /// How the net differs from the zoo's.
    #[serde(default)]
    pub variant: Variant,
    /// Seed of all random numbers.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Number of parts of a batch that run in parallel, each with its own batch norm statistics.
    #[serde(default = "default_shards")]
    pub shards: usize,
    /// A net that has learned before: arrays of the same name and shape are taken over as a start. A file of weights
    /// (`.safetensors`), or a net's name: this run's, else the one that ships.
    #[serde(default)]
    pub start: Option<String>,
    /// Factor of the first weights of the heads. With outputs as large as without it at first, a net dies whose last hidden layer has no
    /// batch norm: every sample then pulls all units the same way.
    #[serde(default = "unchanged")]
    pub head_scale: f32,
    /// The cascade that the net is a level of; its earlier levels mine windows for the net.
    #[serde(default)]
    pub cascade: Member,
    /// What the net is trained on.
    pub samples: SampleSettings,
    /// Share of the pictures that are learned from.
    #[serde(default = "whole")]
    pub share: f64,
    /// Share of the weights' exponential moving average that stays at each step; without it, the weights of the last step
    /// are the result.
    #[serde(default)]
    pub average: Option<f32>,
    /// When and how a net is measured while it learns.
    #[serde(default)]
    pub validation: Option<ValidationSettings>,
    /// Folders of `wider/train` whose pictures are not learned from but measured on.
    #[serde(default)]
    pub held_back: Vec<String>,
    /// Rounds, in order; each starts from the weights of the one before.
    #[serde(rename = "round")]
    pub rounds: Vec<Round>,
}

fn default_seed() -> u64 {
    1
}

fn default_shards() -> usize {
    2
}

fn whole() -> f64 {
    1.0
}

fn unchanged() -> f32 {
    1.0
}

/// A cascade that nets are trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// The shipped cascade, `models/base.toml`.
    #[default]
    Shipped,
    /// The article's cascade, `models/article/cascade.toml`.
    Article,
    /// Level 1 of the shipped cascade alone, `models/level1.toml`.
    Level1,
    /// A cascade of three levels, `models/octave/cascade.toml`.
    Octave,
}

impl Member {
    /// Returns the cascade's settings.
    pub fn settings(self) -> cascade::CascadeSettings {
        match self {
            Self::Shipped => cascade::CascadeSettings::of(cascade::Model::Base),
            Self::Article => cascade::CascadeSettings::article(),
            Self::Level1 => cascade::CascadeSettings::level1(),
            Self::Octave => cascade::CascadeSettings::octave(),
        }
    }
}

/// Where samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SampleSettings {
    /// Crops of pictures, with a label for every output cell: for the octave net.
    Scenes {
        /// Share of crops from pictures without faces.
        background: f64,
        /// Share of the crops round faces whose face comes from `masks/`.
        #[serde(default)]
        masked: f64,
        /// Share of faces that are partly covered ([`super::occlude`]).
        #[serde(default)]
        occluded: f64,
    },
    /// Crops of pictures with faces of all sizes: for nets with cells heads.
    Cells(CellSettings),
    /// Single windows, with one label each: for all other nets.
    Windows(WindowSettings),
    /// Faces, smiling or not: for the smile net.
    Smiles(SmileSamples),
}

/// One round of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Number of steps, batch size and learning rates.
    pub schedule: Schedule,
    /// Whether windows are mined again before the round, also those that the net itself takes for faces.
    #[serde(default)]
    pub mine: bool,
}

impl Recipe {
    /// Parses a recipe; errors name it `origin`.
    ///
    /// # Errors
    /// If a key is unknown or missing, a value is out of its range, or the net is not in the zoo.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let recipe: Self =
            toml::from_str(text).map_err(|e| Error::Setting(format!("{origin}: {}", e.to_string().trim_end())))?;
        let fail = |reason: &str| Err(Error::Setting(format!("{origin}: {reason}")));
        if recipe.rounds.is_empty() {
            return fail("at least one [[round]] is needed");
        }
        for round in &recipe.rounds {
            let s = &round.schedule;
            if s.steps == 0 || s.batch == 0 || !(s.peak > 0.0 && s.peak.is_finite()) {
                return fail("steps, batch and peak must be greater than 0");
            }
            if recipe.shards == 0 || recipe.shards > s.batch {
                return fail("shards must be between 1 and batch");
            }
        }
        if let SampleSettings::Windows(windows) = &recipe.samples
            && let Some(fault) = windows.fault()
        {
            return fail(fault);
        }
        if let SampleSettings::Cells(c) = &recipe.samples {
            let shares = [c.background, c.masked, c.occluded];
            if shares.iter().any(|s| !(0.0..=1.0).contains(s)) || c.side == 0 || c.side % 32 != 0 {
                return fail("samples: shares must lie in 0..1, and side must be a multiple of 32");
            }
            if !(0.0 < c.faces.0 && c.faces.0 <= c.faces.1 && c.faces.1.is_finite()) {
                return fail("samples: 0 < faces[0] ≤ faces[1] is needed");
            }
        }
        if recipe.average.is_some_and(|a| !(0.0..1.0).contains(&a))
            || recipe.validation.is_some_and(|v| v.every * v.pictures * v.samples == 0)
        {
            return fail("average must lie in 0..1; validation's every, pictures and samples must be at least 1");
        }
        if !(recipe.share > 0.0 && recipe.share <= 1.0) {
            return fail("share must lie in 0..1");
        }
        if !(recipe.head_scale > 0.0 && recipe.head_scale <= 1.0) {
            return fail("head_scale must lie in 0..1");
        }
        if let Some(fault) = recipe.variant.fault() {
            return fail(fault);
        }
        if let SampleSettings::Smiles(s) = &recipe.samples
            && let Some(fault) = s.fault()
        {
            return fail(fault);
        }
        if let SampleSettings::Scenes { background, masked, occluded } = &recipe.samples
            && [background, masked, occluded].iter().any(|s| !(0.0..=1.0).contains(*s))
        {
            return fail("samples: background, masked and occluded must lie in 0..1");
        }
        let net = recipe.trained_net().map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
        net.check().map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
        Ok(recipe)
    }

    /// Whether a picture of `wider/train`, or a face cut from one, is held back.
    pub fn holds_back(&self, picture: &Annotated) -> bool {
        let folder = picture.name.rsplit('/').nth(1).unwrap_or_default();
        self.held_back.iter().any(|held_back| held_back == folder)
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// If the file can't be read, or as [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Returns the net that is trained.
    ///
    /// # Errors
    /// If the zoo has none of that name.
    pub fn trained_net(&self) -> Result<Net> {
        let net = zoo::by_name(&self.net).ok_or_else(|| {
            Error::Setting(format!("there is no net {:?}; the zoo has {}", self.net, zoo::NAMES.join(", ")))
        })?;
        Ok(self.variant.of(net))
    }

    /// The context with which the cascade shows windows to the level that is trained: the side of a crop, in sides of its window.
    pub(crate) fn context(&self) -> f32 {
        let SampleSettings::Windows(windows) = &self.samples else { return 1.0 };
        let refiner = windows.level.checked_sub(2);
        refiner.and_then(|i| self.cascade.settings().refiners.get(i).map(|refiner| refiner.context)).unwrap_or(1.0)
    }

    /// Leaves the share of `pictures` that is learned from. They are chosen by name: a face goes with the picture that it was cut from, and a
    /// smaller share is a part of a larger one.
    pub fn keep_share(&self, pictures: &mut Vec<Annotated>) {
        if self.share < 1.0 {
            let least = pictures.iter().map(|picture| lot(&picture.name)).fold(1.0, f64::min);
            pictures.retain(|picture| lot(&picture.name) < self.share.max(least.next_up()));
        }
    }
}

/// A number in 0..1 for the name of a picture, without its folder and extension.
fn lot(name: &str) -> f64 {
    let stem = Path::new(name).file_stem().unwrap_or_default();
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(stem.as_encoded_bytes());
    f64::from(sum) / (f64::from(u32::MAX) + 1.0)
}

/// The recipe of the smile net: file name and text.
pub const SMILE: (&str, &str) = ("models/smile.toml", include_str!("../../models/smile.toml"));

/// The recipes of the shipped cascade, in the order of training: file name and text.
pub const SHIPPED: [(&str, &str); 4] = [
    LEVEL1,
    ("models/refine64.toml", include_str!("../../models/refine64.toml")),
    ("models/refine96.toml", include_str!("../../models/refine96.toml")),
    SMILE,
];

/// The recipes of the cascade that begins with the octave net, in the order of training: file name and text.
pub const OCTAVE: [(&str, &str); 3] = [
    ("models/octave/octave.toml", include_str!("../../models/octave/octave.toml")),
    ("models/octave/refine24.toml", include_str!("../../models/octave/refine24.toml")),
    ("models/octave/refine48.toml", include_str!("../../models/octave/refine48.toml")),
];

/// The recipes of the article's cascade, in the order of training: file name and text.
pub const ARTICLE: [(&str, &str); 6] = [
    ("models/article/net12.toml", include_str!("../../models/article/net12.toml")),
    ("models/article/net12_cal.toml", include_str!("../../models/article/net12_cal.toml")),
    ("models/article/net24.toml", include_str!("../../models/article/net24.toml")),
    ("models/article/net24_cal.toml", include_str!("../../models/article/net24_cal.toml")),
    ("models/article/net48.toml", include_str!("../../models/article/net48.toml")),
    ("models/article/net48_cal.toml", include_str!("../../models/article/net48_cal.toml")),
];

/// The recipe of level 1, a detector of its own: file name and text.
pub const LEVEL1: (&str, &str) = ("models/yunet.toml", include_str!("../../models/yunet.toml"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_in_models_are_valid_and_train_all_nets_of_their_cascades() {
        let all = [(&SHIPPED[..], Member::Shipped), (&ARTICLE[..], Member::Article), (&OCTAVE[..], Member::Octave)];
        for (recipes, member) in all {
            let parsed: Vec<Recipe> = recipes.iter().map(|(name, text)| Recipe::parse(text, name).unwrap()).collect();
            assert!(parsed.iter().all(|r| r.cascade == member || r.cascade == Member::Level1));
            let settings = member.settings();
            let levels = settings.refiners.iter().map(|r| (&r.net, &r.calibration_net));
            let levels = [(&settings.proposer.net, &settings.proposer.calibration_net)].into_iter().chain(levels);
            for net in levels.flat_map(|(net, calibration)| [Some(net), calibration.as_ref()]).flatten() {
                assert!(parsed.iter().any(|r| r.net == *net), "{net} has no recipe");
            }
        }
    }

    #[test]
    fn a_smaller_share_lies_within_a_larger_one_and_a_face_goes_with_its_picture() {
        let list = |name: fn(usize) -> String| -> Vec<Annotated> {
            let named = |i| Annotated { image: name(i).into(), name: name(i), width: 1, height: 1, faces: vec![] };
            (0..3000).map(named).collect()
        };
        let kept = |mut list: Vec<Annotated>, share| {
            let recipe = Recipe { share, ..Recipe::parse(ARTICLE[0].1, ARTICLE[0].0).unwrap() };
            recipe.keep_share(&mut list);
            list
        };
        let pictures = list(|i| format!("train/0--Parade/0_Parade_{i}.webp"));
        let (third, tenth) = (kept(pictures.clone(), 1.0 / 3.0), kept(pictures.clone(), 0.1));
        assert!((900..1100).contains(&third.len()) && (250..350).contains(&tenth.len()), "{}", third.len());
        assert!(tenth.iter().all(|picture| third.contains(picture)));
        assert_eq!((kept(pictures.clone(), 1.0).len(), kept(pictures, 1e-9).len()), (3000, 1));
        let faces = kept(list(|i| format!("0--Parade/0_Parade_{i}")), 0.1);
        assert!(faces.len() == tenth.len() && faces.iter().zip(&tenth).all(|(f, p)| p.name.contains(&f.name)));
    }
}
