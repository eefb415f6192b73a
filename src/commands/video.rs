//! `facecascade video`

use crate::cli::{Common, Outcome};

/// (to come)
#[derive(Debug, clap::Args)]
pub(crate) struct VideoArgs {}

pub(crate) fn run(_args: VideoArgs, _common: &Common) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
