//! What covering faces has in common in `video`, `detect` and `live`: the style, and what is searched for.

use facecascade::output::redact::{MARGIN, Redactor, Style};
use facecascade::track::coverage::{Scores, smallest_face};
use facecascade::{Cascade, Model, Options};

use super::DetectorArgs;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RedactArgs {
    /// Cover faces, instead of drawing boxes. Faces down to 1/50 of the height are then searched for, and at low scores:
    /// rather too many than too few (-v says from which; --min-face and --threshold set others)
    #[arg(long, value_name = "STYLE")]
    pub(crate) redact: Option<RedactStyle>,
    /// Cover so much more on each side, in sides of the face
    #[arg(long, value_name = "SHARE", default_value_t = MARGIN, value_parser = margin, requires = "redact")]
    pub(crate) redact_margin: f32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum RedactStyle {
    /// A few colours that run into each other
    Blur,
    /// A few squares
    Mosaic,
    /// Dark ellipses
    Solid,
}

impl RedactArgs {
    /// Covers faces, if that was asked for.
    pub(crate) fn redactor(&self) -> Option<Redactor> {
        let style = match self.redact? {
            RedactStyle::Blur => Style::Blur,
            RedactStyle::Mosaic => Style::Mosaic,
            RedactStyle::Solid => Style::Solid,
        };
        Some(Redactor::new(style, self.redact_margin))
    }
}

/// Parses a margin, 0 to 3 sides of a face.
pub(crate) fn margin(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=3.0).contains(&value) { Ok(value) } else { Err("must be between 0 and 3".into()) }
}

/// What is searched for to cover faces in pictures `height` pixels high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SearchSettings {
    pub(crate) min_face: f32,
    pub(crate) scores: Scores,
}

impl SearchSettings {
    /// `--min-face` and `--threshold` win where they are given.
    pub(crate) fn new(detector: &DetectorArgs, min_face: Option<f32>, height: u32) -> Self {
        let scores = detector.threshold.map_or_else(Scores::default, Scores::all);
        Self { min_face: min_face.unwrap_or_else(|| smallest_face(height)), scores }
    }

    /// The cascade that finds all that may have to be covered.
    pub(crate) fn build(&self, detector: &DetectorArgs) -> anyhow::Result<Cascade> {
        let Scores { picture, start, go_on, sure } = self.scores;
        tracing::info!(
            "to cover faces with sides under 20, 40, 80 and over 80 pixels: in pictures from scores {:?}, in films from {:?}, seen \
             twice or from {sure}, and from {go_on} of these where a face goes on",
            picture.0,
            start.0
        );
        let (min_face, threshold) = (self.min_face, self.scores.lowest());
        // What is covered shows no smile.
        detector.build_for(Options { model: Model::Sure, min_face, threshold, smile: false, ..Options::default() })
    }
}

/// Cascades for videos of any height: each is kept until another is needed.
#[derive(Debug, Default)]
pub(crate) struct Cascades {
    built: Option<(SearchSettings, Cascade)>,
}

impl Cascades {
    /// The cascade for `search`.
    pub(crate) fn get(&mut self, search: SearchSettings, detector: &DetectorArgs) -> anyhow::Result<&Cascade> {
        let built = match self.built.take() {
            Some((same, cascade)) if same == search => (search, cascade),
            _ => (search, search.build(detector)?),
        };
        Ok(&self.built.insert(built).1)
    }
}
