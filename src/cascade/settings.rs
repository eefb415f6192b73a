//! The cascade's settings as data: which nets, thresholds, overlaps and corrections. `models/*.toml` hold them.

use serde::{Deserialize, Serialize};

use super::shipped::Model;
use super::smile::SmileSettings;
use crate::error::{Error, Result};

/// A whole cascade: a proposer and up to two refiners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeSettings {
    /// Level 1.
    pub proposer: ProposerSettings,
    /// Levels 2 and 3.
    #[serde(default, rename = "refiner")]
    pub refiners: Vec<RefinerSettings>,
    /// The global filter and the score.
    #[serde(default)]
    pub faces: FaceSettings,
    /// The smile net, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smile: Option<SmileSettings>,
}

/// How windows are corrected after a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Correction {
    /// No correction.
    None,
    /// By the article's 45 classes.
    Classes,
    /// By regression of the box.
    Box,
}

/// Level 1: a net run over all levels of the pyramid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposerSettings {
    /// Name in the zoo. A net with an octave head finds three sizes a cell, one with a face head its own window's size, one
    /// with cells heads faces of all sizes, so that one pyramid level may do (a great `step`).
    pub net: String,
    /// Side that the smallest face looked for has in the first pyramid level, pixels: a greater one costs more and finds more. If there
    /// is none, the smallest that the net finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest: Option<f32>,
    /// Windows with a lower logit are dropped.
    pub threshold: f32,
    /// Ratio of neighbouring pyramid levels.
    pub step: f32,
    /// How windows are corrected; nets with an octave head or cells heads correct by regression.
    pub calibration: Correction,
    /// The net that corrects, where the proposer's own has no head for it.
    #[serde(default)]
    pub calibration_net: Option<String>,
    /// Non-maximum suppression within a pyramid level: IoU from which only the better stays.
    pub level_overlap: f32,
    /// Non-maximum suppression across pyramid levels: IoU from which only the better stays.
    pub overlap: f32,
    /// When a window is a face already, so that no later level looks at it; never if there is none.
    #[serde(default)]
    pub accept: Option<AcceptSettings>,
}

const fn one() -> f32 {
    1.0
}

const fn least() -> f32 {
    f32::NEG_INFINITY
}

/// Levels 2 and 3: a net run on the windows that the level before let through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefinerSettings {
    /// Name in the zoo.
    pub net: String,
    /// Side of the crop that the net sees, in sides of the window.
    #[serde(default = "one")]
    pub context: f32,
    /// Windows with a lower score are dropped; none are if there is none. The score is this net's logit plus what is carried.
    #[serde(default = "least")]
    pub threshold: f32,
    /// Weights of the logits of the levels before (level 1 first) in the score.
    #[serde(default)]
    pub carry: Vec<f32>,
    /// How windows are corrected.
    pub calibration: Correction,
    /// The net that corrects, where the refiner's own has no head for it.
    #[serde(default)]
    pub calibration_net: Option<String>,
    /// Non-maximum suppression: IoU from which only the better stays.
    pub overlap: f32,
    /// When a window is a face already, so that no later level looks at it; never if there is none.
    #[serde(default)]
    pub accept: Option<AcceptSettings>,
    /// Which windows it need not look at; it looks at all if there is none.
    #[serde(default)]
    pub skip: Option<SkipSettings>,
}

/// Which windows a level need not look at, because it has found their face in a better one. Holds, as [`AcceptSettings`] do, for nets
/// that run in 8 bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipSettings {
    /// A window waits for one that the level before gave a higher score, if they share more than this much of the smaller of the two.
    pub overlap: f32,
    /// It is dropped unseen if the level gives the better one a higher score than this, and its box still overlaps by as much.
    pub score: f32,
}

/// When a level takes a window for a face at once. Holds for nets that run in 8 bits, whose scores it was chosen by; nets in floats hand on
/// all that they find, so that their boxes are the plain cascade's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptSettings {
    /// Windows with a higher score of this level are faces.
    pub threshold: f32,
    /// The logit that stands for those of the levels behind, which do not look at it: the face's score is the last level's, with this
    /// in their places.
    pub logit: f32,
}

/// The global filter, which makes the last level's windows into faces, and their score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaceSettings {
    /// A face's box becomes the mean of all boxes that overlap it by more than this IoU, weighted by score × IoU; 1: its
    /// own box only.
    pub vote: f32,
    /// The score of a face that overlaps a better one by an IoU over this falls by that share (soft non-maximum suppression); 1: never.
    pub soft: f32,
    /// A face is dropped when more than this share of the smaller of the two lies in a better one, unless they overlap by more than
    /// `soft`; 1: never.
    pub nested: f32,
    /// The score of a face is sigmoid(`slope` · s + `offset`) of the last level's s.
    pub slope: f32,
    /// Added to `slope` · s.
    pub offset: f32,
}

impl Default for FaceSettings {
    fn default() -> Self {
        Self { vote: 0.5, soft: 1.0, nested: 0.7, slope: 1.0, offset: 0.0 }
    }
}

impl FaceSettings {
    /// The score in 0..1.
    pub fn score(&self, s: f32) -> f32 {
        1.0 / (1.0 + (-self.slope * s - self.offset).exp())
    }

    /// The last level's s that gives this score, which lies in 0..1.
    pub fn logit(&self, score: f32) -> f32 {
        ((score / (1.0 - score)).ln() - self.offset) / self.slope
    }
}

impl CascadeSettings {
    /// Reads TOML; `origin` (the file) stands at the head of errors.
    ///
    /// # Errors
    /// Names the file, the key or value at fault and the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let settings: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(String::new(), |s| format!(", line {}", text[..s.start].lines().count().max(1)));
            Error::Setting(format!("{origin}{line}: {}", e.message().trim_end()))
        })?;
        settings.check().map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
        Ok(settings)
    }

    /// The settings of a model that ships.
    pub fn of(model: Model) -> Self {
        let (name, text) = model.file();
        Self::built_in(text, name)
    }

    /// The article's cascade, whose weights do not ship: `facecascade train article` makes them.
    pub fn article() -> Self {
        Self::built_in(super::shipped::ARTICLE, "models/article/cascade.toml (built in)")
    }

    fn built_in(text: &str, origin: &str) -> Self {
        Self::parse(text, origin).expect("built-in settings are valid: a test reads them all")
    }

    /// Level 1 of the cascades that ship, alone: what is measured while it learns.
    pub fn level1() -> Self {
        Self::built_in(super::shipped::LEVEL1, "models/level1.toml (built in)")
    }

    /// A cascade of three levels, the octave net first, whose weights are not built in.
    pub fn octave() -> Self {
        Self::built_in(super::shipped::OCTAVE, "models/octave/cascade.toml (built in)")
    }

    /// The first `refiners` refiners only, and no smiles: a cascade whose last levels are not trained yet.
    pub fn with_refiners(mut self, refiners: usize) -> Self {
        self.smile = None;
        self.refiners.truncate(refiners);
        self
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// Names the first key at fault.
    pub fn check(&self) -> Result<()> {
        let share = |key: String, v: f32| (key, v, (0.0..=1.0).contains(&v), "lie in 0..1");
        let number = |key: String, v: f32| (key, v, !v.is_nan(), "be a number");
        let finite = |key: String, v: f32| (key, v, v.is_finite(), "be a finite number");
        let (p, f) = (&self.proposer, &self.faces);
        let mut checks = vec![
            number("proposer.threshold".into(), p.threshold),
            ("proposer.step".into(), p.step, p.step >= 1.05 && p.step.is_finite(), "be at least 1.05"),
            (
                "proposer.smallest".into(),
                p.smallest.unwrap_or(8.0),
                p.smallest.is_none_or(|side| (8.0..=64.0).contains(&side)),
                "lie in 8..64",
            ),
            share("proposer.level_overlap".into(), p.level_overlap),
            share("proposer.overlap".into(), p.overlap),
            share("faces.vote".into(), f.vote),
            share("faces.soft".into(), f.soft),
            share("faces.nested".into(), f.nested),
            ("faces.slope".into(), f.slope, f.slope > 0.0 && f.slope.is_finite(), "be greater than 0"),
            finite("faces.offset".into(), f.offset),
        ];
        let accepts = std::iter::once(&p.accept).chain(self.refiners.iter().map(|r| &r.accept));
        for (i, accept) in accepts.enumerate().filter_map(|(i, accept)| Some((i, accept.as_ref()?))) {
            checks.push(number(format!("level {}: accept.threshold", i + 1), accept.threshold));
            checks.push(finite(format!("level {}: accept.logit", i + 1), accept.logit));
        }
        for (i, r) in self.refiners.iter().enumerate() {
            checks.push(number(format!("refiner {}: threshold", i + 1), r.threshold));
            checks.push(share(format!("refiner {}: overlap", i + 1), r.overlap));
            if let Some(skip) = &r.skip {
                checks.push(share(format!("refiner {}: skip.overlap", i + 1), skip.overlap));
                checks.push(number(format!("refiner {}: skip.score", i + 1), skip.score));
            }
            let fits = (0.5..=4.0).contains(&r.context);
            checks.push((format!("refiner {}: context", i + 1), r.context, fits, "lie in 0.5..4"));
            checks.extend(r.carry.iter().map(|c| finite(format!("refiner {}: carry", i + 1), *c)));
            if r.carry.len() > i + 1 {
                let (n, most) = (r.carry.len(), i + 1);
                return Err(Error::Setting(format!(
                    "refiner {most}: carry has {n} weights, but {most} levels before it"
                )));
            }
        }
        if let Some((key, v, _, range)) = checks.into_iter().find(|c| !c.2) {
            return Err(Error::Setting(format!("{key} is {v}; it must {range}")));
        }
        if let Some(smile) = &self.smile {
            smile.check()?;
        }
        if self.refiners.len() > super::REFINERS {
            let n = self.refiners.len();
            return Err(Error::Setting(format!("{n} refiners; a cascade has {} at most", super::REFINERS)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_in_models_are_valid_and_their_nets_exist() {
        let others = [CascadeSettings::article(), CascadeSettings::octave(), CascadeSettings::level1()];
        for settings in Model::ALL.map(CascadeSettings::of).into_iter().chain(others) {
            let nets = settings.refiners.iter().map(|r| (&r.net, &r.calibration_net));
            for (net, calibration) in nets.chain([(&settings.proposer.net, &settings.proposer.calibration_net)]) {
                assert!(crate::nets::zoo::by_name(net).is_some());
                assert!(calibration.as_ref().is_none_or(|n| crate::nets::zoo::by_name(n).is_some()));
            }
        }
    }

    #[test]
    fn a_score_comes_from_the_logit_that_it_gives_back() {
        let faces = FaceSettings { slope: 0.8, offset: -1.5, ..FaceSettings::default() };
        for score in [0.02, 0.5, 0.97] {
            assert!((faces.score(faces.logit(score)) - score).abs() < 1e-5, "{score}");
        }
        assert_eq!((faces.logit(0.0), faces.logit(1.0)), (f32::NEG_INFINITY, f32::INFINITY));
    }

    #[test]
    fn a_wrong_key_or_value_is_one_line_that_names_file_and_key() {
        let early = "calibration = \"classes\"\naccept = { threshold = 6.0, logit = 1.3 }\n\
                     skip = { overlap = 0.5, score = 5.0 }";
        let good = &super::super::shipped::OCTAVE.replacen("calibration = \"classes\"", early, 1);
        assert!(CascadeSettings::parse(good, "some.toml").is_ok());
        for (from, to, named) in [
            ("threshold =", "treshold =", "treshold"),
            ("step = 2.0", "step = \"two\"", "f32"),
            ("step = 2.0", "step = nan", "step"),
            ("level_overlap = 0.5", "level_overlap = 1.5", "level_overlap"),
            ("calibration = \"classes\"", "calibration = \"clases\"", "clases"),
            ("carry = [0.3, 0.3]", "carry = [0.3, 0.3, 1.0]", "carry"),
            ("carry = [0.3, 0.3]", "context = 9.0", "context"),
            ("logit = 1.3", "logit = inf", "accept.logit"),
            ("overlap = 0.5, score", "overlap = 1.5, score", "skip.overlap"),
            ("[proposer]", "[propose]", "propose"),
        ] {
            assert!(good.contains(from), "{from}");
            let message = CascadeSettings::parse(&good.replacen(from, to, 1), "some.toml").unwrap_err().to_string();
            assert!(message.contains("some.toml") && message.contains(named), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
