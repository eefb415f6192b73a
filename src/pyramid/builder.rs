//! Where pyramids are built: on the CPU, on a GPU, or on whichever is faster here. Whatever happens to the GPU, every
//! picture gets its pyramids.

#[cfg(feature = "gpu")]
use std::sync::atomic::{AtomicBool, Ordering};

use image::RgbImage;

#[cfg(feature = "gpu")]
use super::gpu::{self, Gpu};
use super::{Plan, Pyramid};
#[cfg(not(feature = "gpu"))]
use crate::error::Error;
use crate::error::Result;

/// Where to build pyramids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// On a GPU that is no software renderer and is faster than the CPU; found out while the first second's pictures are
    /// built on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the best GPU there is, be it a software renderer.
    Gpu,
}

/// Builds the pyramids of pictures. Threads share it.
#[derive(Debug)]
pub struct Builder {
    #[cfg(feature = "gpu")]
    place: Place,
    /// That the GPU failed has been said.
    #[cfg(feature = "gpu")]
    warned: AtomicBool,
}

#[cfg(feature = "gpu")]
#[derive(Debug)]
enum Place {
    Cpu,
    Gpu(Gpu),
    Auto(gpu::Auto),
}

/// Pyramids that are being built elsewhere.
#[derive(Debug)]
pub struct Pending {
    #[cfg(feature = "gpu")]
    ticket: gpu::Ticket,
}

impl Default for Builder {
    fn default() -> Self {
        Self::cpu()
    }
}

#[cfg(feature = "gpu")]
impl Builder {
    /// Builds on the CPU.
    pub fn cpu() -> Self {
        Self::at(Place::Cpu)
    }

    /// Builds where `choice` says. Only [`Choice::Gpu`] asks the machine for its GPUs at once.
    ///
    /// # Errors
    /// If a GPU is wanted and none can be used.
    pub fn new(choice: Choice) -> Result<Self> {
        Ok(match choice {
            Choice::Auto => Self::at(Place::Auto(gpu::Auto::default())),
            Choice::Cpu => Self::cpu(),
            Choice::Gpu => Self::on(Gpu::open(gpu::Adapters::All)?),
        })
    }

    /// Builds on `gpu`.
    pub fn on(gpu: Gpu) -> Self {
        Self::at(Place::Gpu(gpu))
    }

    fn at(place: Place) -> Self {
        Self { place, warned: AtomicBool::new(false) }
    }

    /// The GPU that is used at present.
    pub fn gpu(&self) -> Option<&Gpu> {
        let gpu = match &self.place {
            Place::Cpu => None,
            Place::Gpu(gpu) => Some(gpu),
            Place::Auto(auto) => auto.gpu(),
        }?;
        let Some(fault) = gpu.fault() else { return Some(gpu) };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{} failed ({fault}): what it did is done on the CPU from now on", gpu.name());
        }
        None
    }

    /// Whether [`Self::submit`] begins anything at present.
    pub fn is_elsewhere(&self) -> bool {
        self.gpu().is_some()
    }

    /// Begins to build the pyramids of `picture` on the GPU and returns at once; `None` where the CPU does it.
    pub fn submit(&self, picture: &RgbImage, plan: &Plan) -> Option<Pending> {
        if let Place::Auto(auto) = &self.place {
            auto.consider(picture.dimensions(), plan);
        }
        Some(Pending { ticket: self.gpu()?.submit(picture, plan)? })
    }

    /// Waits for the pyramids of `picture` that [`Self::submit`] began, or builds them on the CPU: if it began none, and
    /// if the GPU is lost meanwhile. `behind` gets what the GPU computed behind them ([`gpu::Behind`]), if it did:
    /// then the pixels of `levels` stay there.
    pub fn take(
        &self,
        pending: Option<Pending>,
        picture: &RgbImage,
        plan: &Plan,
        halves: &mut Pyramid,
        levels: &mut Pyramid,
        behind: &mut Vec<u32>,
    ) {
        behind.clear();
        let taken = match (pending, self.gpu()) {
            (Some(pending), Some(gpu)) => gpu.take(pending.ticket, picture, halves, levels, behind),
            _ => false,
        };
        if !taken {
            behind.clear();
            plan.build(picture, halves, levels);
        }
    }

    /// Where pyramids are built at present, and why.
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Cpu => "on the CPU".into(),
            Place::Gpu(gpu) => match gpu.fault() {
                Some(fault) => format!("on the CPU: {} failed ({fault})", gpu.name()),
                None => format!("on {}", gpu.name()),
            },
            Place::Auto(auto) => auto.describe(),
        }
    }
}

#[cfg(not(feature = "gpu"))]
#[expect(clippy::unused_self, reason = "as with a GPU")]
impl Builder {
    /// Builds on the CPU.
    pub fn cpu() -> Self {
        Self {}
    }

    /// Builds where `choice` says.
    ///
    /// # Errors
    /// If a GPU is wanted: this was built without.
    pub fn new(choice: Choice) -> Result<Self> {
        match choice {
            Choice::Gpu => Err(Error::Setting("this was built without GPUs (cargo feature `gpu`)".into())),
            Choice::Auto | Choice::Cpu => Ok(Self::cpu()),
        }
    }

    /// No: all is done on the CPU.
    pub fn is_elsewhere(&self) -> bool {
        false
    }

    /// `None`: the CPU does it.
    pub fn submit(&self, _picture: &RgbImage, _plan: &Plan) -> Option<Pending> {
        None
    }

    /// Builds the pyramids of `picture`.
    pub fn take(
        &self,
        _pending: Option<Pending>,
        picture: &RgbImage,
        plan: &Plan,
        halves: &mut Pyramid,
        levels: &mut Pyramid,
        behind: &mut Vec<u32>,
    ) {
        behind.clear();
        plan.build(picture, halves, levels);
    }

    /// Where pyramids are built.
    pub fn describe(&self) -> String {
        "on the CPU; this was built without GPUs".into()
    }
}
