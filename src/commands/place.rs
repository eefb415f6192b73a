//! Where the parts of the cascade run, as options of commands.

use facecascade::Cascade;
use facecascade::cascade::placement::{Level1On, Placement, PyramidOn, RefinersOn};

/// Where pyramid, level 1 and refiners run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlacementArgs {
    /// Where the image pyramid is built. auto: on a GPU that measures to be faster than the CPU, looked for in runs of
    /// more than a second; gpu: on any there is, be it a software renderer. Without one, or if it is lost: on the CPU
    #[arg(long, value_name = "auto|cpu|gpu", default_value_t)]
    pyramid: PyramidOn,
    /// Where level 1 runs; gpu builds the pyramid there, too
    #[arg(long, alias = "stage1", value_name = "cpu|gpu", default_value_t)]
    level1: Level1On,
    /// Where levels 2 and 3 run. auto: on an NVIDIA GPU if there is one and this program was built for it, else on the CPU
    #[arg(long, alias = "device", value_name = "auto|cpu|cuda", default_value_t)]
    refiners: RefinersOn,
}

impl PlacementArgs {
    /// Moves the parts of `cascade` to where they were asked for. What contradicts itself is a wrong command line.
    pub(crate) fn apply(&self, cascade: Cascade) -> anyhow::Result<Cascade> {
        let Self { pyramid, level1, refiners } = *self;
        let placement = Placement { pyramid, level1, refiners };
        placement.check().map_err(|e| super::usage(&e.to_string()))?;
        Ok(cascade.placed(placement)?)
    }
}
