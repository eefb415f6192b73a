//! `facecascade inspect`

use crate::cli::{Common, Outcome};

/// (to come)
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {}

pub(crate) fn run(_args: InspectArgs, _common: &Common) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
