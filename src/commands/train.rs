//! `facecascade train`

use crate::cli::{Common, Outcome};

/// (to come)
#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {}

pub(crate) fn run(_args: TrainArgs, _common: &Common) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
