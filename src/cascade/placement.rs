//! Where a cascade runs: the image pyramid, level 1 and the refiners have a place each.

use std::fmt;
use std::str::FromStr;

use super::Cascade;
use super::refiner::Refiner;
use crate::error::{Error, Result};
use crate::pyramid::Builder;
#[cfg(feature = "gpu")]
use crate::pyramid::gpu::{Adapters, Gpu};

/// Where the parts of a cascade run. What is found does not depend on it, but for rounding in the last digits of a net's
/// sums; the pyramid's pixels are the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// Where the image pyramid is built.
    pub pyramid: PyramidOn,
    /// Where level 1's net runs.
    pub level1: Level1On,
    /// Where the nets of levels 2 and 3 run, and those that only calibrate.
    pub refiners: RefinersOn,
}

/// Where the image pyramid is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PyramidOn {
    /// On a GPU that is no software renderer and that is measured to be faster than the CPU, while the CPU builds the first
    /// second's pyramids; else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the best GPU there is, be it a software renderer; without one, with a warning, on the CPU.
    Gpu,
}

/// Where level 1's net runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level1On {
    /// On the CPU.
    #[default]
    Cpu,
    /// On the best GPU there is, behind the pyramid, which is then built there too; without one, with a warning, on the CPU.
    Gpu,
}

/// Where the nets of levels 2 and 3 run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefinersOn {
    /// On an NVIDIA GPU if this was built for one (cargo feature `cuda`) and one opens, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the first NVIDIA GPU.
    Cuda,
}

/// The numbers that nets compute with on the CPU. On a GPU they are floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 8 bits for each net that has quantised weights made from its float ones, else floats.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 8-bit weights and activations; every net must have quantised weights.
    Int8,
}

/// Reads and writes a choice as its word on the command line.
macro_rules! words {
    ($place:ty, $all:literal: $($variant:ident = $word:literal),+) => {
        impl fmt::Display for $place {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $place {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Error::Setting(concat!("choose ", $all).into())),
                }
            }
        }
    };
}

pub(super) use words;

words!(PyramidOn, "auto, cpu or gpu": Auto = "auto", Cpu = "cpu", Gpu = "gpu");
words!(Level1On, "cpu or gpu": Cpu = "cpu", Gpu = "gpu");
words!(Precision, "auto, f32 or int8": Auto = "auto", F32 = "f32", Int8 = "int8");
words!(RefinersOn, "auto, cpu or cuda": Auto = "auto", Cpu = "cpu", Cuda = "cuda");

/// Batches that are on their way to, on and from a CUDA device at once, each in a stream of its own: while one is
/// computed, the next one is uploaded. More would only wait for the same device.
const STREAMS: usize = 2;

impl Placement {
    /// Checks that the parts can run together.
    ///
    /// # Errors
    /// If level 1 is to run on a GPU and the pyramid on the CPU.
    pub fn check(&self) -> Result<()> {
        if self.level1 == Level1On::Gpu && self.pyramid == PyramidOn::Cpu {
            let reason = "--level1 gpu needs the pyramid on the GPU: leave out --pyramid cpu";
            return Err(Error::Setting(reason.into()));
        }
        Ok(())
    }
}

impl Cascade {
    /// Moves pyramid, level 1 and refiners to where `placement` says. A new cascade is on the CPU. A GPU that fails later
    /// (lost, or out of memory) is left with a warning and its work is done again on the CPU, so no picture is lost.
    ///
    /// # Errors
    /// As [`Placement::check`]; if level 1's net has layers that have no shader, or the GPU refuses it; for
    /// [`RefinersOn::Cuda`], if this was built without the feature `cuda`, or if no device opens or can run the nets.
    pub fn placed(mut self, placement: Placement) -> Result<Self> {
        placement.check()?;
        self = match placement.level1 {
            Level1On::Gpu => self.level1_on_gpu()?,
            Level1On::Cpu => self.with_pyramids(builder(placement.pyramid)),
        };
        tracing::info!("pyramid {}", self.pyramids.describe());
        match self.level1_gpu() {
            Some(gpu) => tracing::info!("level 1 on {gpu}, behind the pyramid"),
            None => tracing::info!("level 1 on the CPU"),
        }
        self.put_refiners(placement.refiners)?;
        let built = if cfg!(feature = "cuda") { "" } else { "; this was built without CUDA" };
        tracing::info!("nets on the CPU in {}", self.precision_in_words());
        match self.placement().refiners {
            RefinersOn::Cuda => tracing::info!("levels 2 and 3 on the first NVIDIA GPU"),
            _ => tracing::info!("levels 2 and 3 on the CPU{built}"),
        }
        Ok(self)
    }

    /// Where each part runs at present; never `Auto`.
    pub fn placement(&self) -> Placement {
        let on_device = !self.refiners.is_empty() && self.refiners.iter().all(Refiner::is_on_device);
        Placement {
            pyramid: if self.pyramids.is_on_gpu() { PyramidOn::Gpu } else { PyramidOn::Cpu },
            level1: if self.level1_gpu().is_some() { Level1On::Gpu } else { Level1On::Cpu },
            refiners: if on_device { RefinersOn::Cuda } else { RefinersOn::Cpu },
        }
    }

    /// The precision of each level's net on the CPU.
    fn precision_in_words(&self) -> String {
        let levels = std::iter::once(self.proposer.is_int8()).chain(self.refiners.iter().map(Refiner::is_int8));
        let words: Vec<_> = levels.map(|int8| if int8 { "8 bits" } else { "floats" }).collect();
        words.join(", ")
    }

    /// Number of threads beyond the number of cores that keep all cores busy: a thread whose windows are on a CUDA device
    /// waits for it and needs no core meanwhile. 0 on the CPU.
    pub fn waiting_threads(&self) -> usize {
        if self.placement().refiners == RefinersOn::Cuda { STREAMS } else { 0 }
    }

    /// The builder of this cascade's pyramids.
    pub fn pyramids(&self) -> &Builder {
        &self.pyramids
    }

    /// Builds pyramids with `builder`.
    pub(crate) fn with_pyramids(mut self, builder: Builder) -> Self {
        self.pyramids = builder;
        self
    }

    /// Builds pyramids on `gpu` and runs level 1's net there behind them. Its sums are in another order than the CPU's:
    /// logits differ in their last digits.
    #[cfg(feature = "gpu")]
    pub(super) fn with_level1_on(self, gpu: Gpu) -> Result<Self> {
        let net = self.proposer.on_gpu(gpu.device())?;
        Ok(self.with_pyramids(Builder::on(gpu.with_follow_up(Box::new(net)))))
    }

    #[cfg(feature = "gpu")]
    fn level1_on_gpu(self) -> Result<Self> {
        match Gpu::open(Adapters::All) {
            Ok(gpu) => self.with_level1_on(gpu),
            Err(e) => {
                tracing::warn!("{e}: pyramid and level 1 run on the CPU");
                Ok(self.with_pyramids(Builder::cpu()))
            }
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[expect(clippy::unnecessary_wraps, reason = "with the feature `gpu` it can fail")]
    fn level1_on_gpu(self) -> Result<Self> {
        Ok(self.with_pyramids(builder(PyramidOn::Gpu)))
    }

    /// Name of the GPU that runs level 1 at present.
    #[cfg(feature = "gpu")]
    fn level1_gpu(&self) -> Option<&str> {
        self.pyramids.current_gpu().filter(|gpu| gpu.has_follow_up()).map(Gpu::name)
    }

    #[cfg(not(feature = "gpu"))]
    #[expect(clippy::unused_self, reason = "with the feature `gpu` it is used")]
    fn level1_gpu(&self) -> Option<&str> {
        None
    }

    #[cfg(feature = "cuda")]
    fn put_refiners(&mut self, on: RefinersOn) -> Result<()> {
        let moved = match on {
            RefinersOn::Cpu => return self.put_on_streams(&[]),
            RefinersOn::Auto | RefinersOn::Cuda => open_streams().and_then(|streams| self.put_on_streams(&streams)),
        };
        match (moved, on) {
            (Err(e), RefinersOn::Auto) => {
                tracing::warn!("{e}; levels 2 and 3 run on the CPU");
                self.put_on_streams(&[])
            }
            (moved, _) => moved,
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn put_refiners(&mut self, on: RefinersOn) -> Result<()> {
        match on {
            #[cfg(feature = "train")]
            RefinersOn::Auto | RefinersOn::Cpu => self.put_on_streams(&[]),
            #[cfg(not(feature = "train"))]
            RefinersOn::Auto | RefinersOn::Cpu => Ok(()),
            RefinersOn::Cuda => Err(Error::Setting(
                "this was built without CUDA: build it with `cargo build --release --features cuda`, or choose the CPU"
                    .into(),
            )),
        }
    }

    /// Puts the nets that run on windows onto candle devices that are already open: as many batches as there are
    /// `streams` are under way at once, and each must have a stream of its own. No stream: back to the CPU.
    #[cfg(feature = "train")]
    fn put_on_streams(&mut self, streams: &[candle_core::Device]) -> Result<()> {
        let Self { proposer, refiners, .. } = self;
        let mut nets = proposer.window_nets().chain(refiners.iter_mut().flat_map(Refiner::window_nets));
        nets.try_for_each(|net| net.put_on(streams))
    }

    /// Puts the nets that run on windows onto `streams`: candle's CPU device stands for a GPU in tests.
    #[cfg(all(test, feature = "train"))]
    pub(crate) fn on_candle(mut self, streams: &[candle_core::Device]) -> Result<Self> {
        self.put_on_streams(streams)?;
        Ok(self)
    }
}

/// The builder of pyramids that `on` asks for; without a GPU that can be used, with a warning, the CPU's.
fn builder(on: PyramidOn) -> Builder {
    match on {
        PyramidOn::Auto => Builder::auto(),
        PyramidOn::Cpu => Builder::cpu(),
        PyramidOn::Gpu => Builder::gpu().unwrap_or_else(|e| {
            tracing::warn!("{e}: the pyramid is built on the CPU");
            Builder::cpu()
        }),
    }
}

/// Opens the first GPU once for each stream: candle binds stream, cuBLAS handle and its workspace to what is opened, and
/// two threads must not share these.
#[cfg(feature = "cuda")]
fn open_streams() -> Result<Vec<candle_core::Device>> {
    let stream = |_| {
        let device = candle_core::Device::new_cuda_with_stream(0)?;
        let stream = device.as_cuda_device()?.cuda_stream();
        // Without this, a thread that waits for the GPU polls it and takes the core that it should leave to others.
        if let Err(e) = stream.context().set_blocking_synchronize() {
            tracing::debug!("threads that wait for the GPU keep their cores busy: {e}");
        }
        Ok(device)
    };
    let streams: candle_core::Result<_> = (0..STREAMS).map(stream).collect();
    streams.map_err(|e| Error::Backend(format!("no CUDA device opens ({})", Error::from(e))))
}

#[cfg(test)]
mod tests;
