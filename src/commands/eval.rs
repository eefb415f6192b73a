//! `facecascade eval`

use crate::cli::{Common, Outcome};

/// (to come)
#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {}

pub(crate) fn run(_args: EvalArgs, _common: &Common) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
