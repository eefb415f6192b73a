//! `eval --compared`: draws accuracy over time of the detectors that `tools/compare.py` measured.

use std::path::Path;

use anyhow::Context;
use facecascade::Error;
use facecascade::eval::tradeoff::{self, Measured};

use crate::cli::Outcome;

/// What is read of the file; it holds more.
#[derive(serde::Deserialize)]
struct Comparison {
    detectors: Vec<Measured>,
}

/// Draws the file's detectors into `folder`.
pub(super) fn run(file: &Path, folder: &Path) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
    let comparison: Comparison = serde_json::from_str(&text)
        .with_context(|| format!("{}: is no comparison as tools/compare.py writes it", file.display()))?;
    let drawing = ("compare.png".to_owned(), tradeoff::accuracy_over_time(&comparison.detectors)?);
    for path in crate::commands::write_plots(folder, [drawing])? {
        crate::commands::say(&format!("wrote {}", path.display()))?;
    }
    Ok(Outcome::Done)
}
