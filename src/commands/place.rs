//! Where the pyramid is built and the first net runs, as options of commands.

use clap::ValueEnum;
use facecascade::Cascade;
use facecascade::pyramid::{Builder, Choice};

/// Where the cascade's first steps run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Where the image pyramid is built. auto: on a GPU that measures to be faster than the CPU, looked for in runs of
    /// more than a second; gpu: on any there is, be it a software renderer. Without one, or if it is lost: on the CPU.
    /// `bench --pyramid` alone measures both
    #[arg(long, value_name = "auto|cpu|gpu", value_enum, hide_possible_values = true, default_value_t = Where::Auto,
        num_args = 0..=1, default_missing_value = "both")]
    pyramid: Where,
    /// Where the first net runs; gpu builds the pyramid there, too
    #[arg(long, value_name = "cpu|gpu", value_enum, hide_possible_values = true, default_value_t = Stage1::Cpu)]
    stage1: Stage1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    Auto,
    Cpu,
    Gpu,
    /// Only to be measured.
    #[value(hide = true)]
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage1 {
    Cpu,
    Gpu,
}

impl PlaceArgs {
    /// Whether all places are to be measured.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.pyramid == Where::Both
    }

    /// `cascade` with its first steps where they were asked for; on the CPU, with a warning, where that can't be.
    pub(crate) fn apply(&self, cascade: Cascade) -> anyhow::Result<Cascade> {
        if self.stage1 == Stage1::Gpu {
            if self.pyramid == Where::Cpu {
                return Err(super::usage("--stage1 gpu needs the pyramid on the GPU: leave out --pyramid cpu"));
            }
            return Ok(level1_on_gpu(cascade)?);
        }
        let choice = match self.pyramid {
            Where::Auto => Choice::Auto,
            Where::Cpu => Choice::Cpu,
            Where::Gpu => Choice::Gpu,
            Where::Both => return Err(super::usage("--pyramid needs a value here: auto, cpu or gpu")),
        };
        let builder = Builder::new(choice).unwrap_or_else(|e| {
            tracing::warn!("{e}: the pyramid is built on the CPU");
            Builder::cpu()
        });
        tracing::info!("pyramid {}", builder.describe());
        Ok(cascade.with_pyramids(builder))
    }
}

#[cfg(feature = "gpu")]
fn level1_on_gpu(cascade: Cascade) -> facecascade::Result<Cascade> {
    use facecascade::pyramid::gpu::{Adapters, Gpu};
    match Gpu::open(Adapters::All) {
        Ok(gpu) => {
            tracing::info!("pyramid and first net on {}", gpu.name());
            cascade.with_level1_on(gpu)
        }
        Err(e) => {
            tracing::warn!("{e}: pyramid and first net are run on the CPU");
            Ok(cascade)
        }
    }
}

#[cfg(not(feature = "gpu"))]
fn level1_on_gpu(cascade: Cascade) -> facecascade::Result<Cascade> {
    tracing::warn!("this was built without GPUs (cargo feature `gpu`): pyramid and first net are run on the CPU");
    Ok(cascade)
}
