//! `facecascade detect`

use crate::cli::{Common, Outcome};

/// (to come)
#[derive(Debug, clap::Args)]
pub(crate) struct DetectArgs {}

pub(crate) fn run(_args: DetectArgs, _common: &Common) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
