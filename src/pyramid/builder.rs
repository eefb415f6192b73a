//! Builds pyramids on the CPU, on a GPU, or on whichever is faster here. Whatever happens to the GPU, every picture gets
//! its pyramids.

#[cfg(feature = "gpu")]
use std::sync::atomic::{AtomicBool, Ordering};

use image::RgbImage;

#[cfg(feature = "gpu")]
use super::gpu::{self, Gpu};
use super::{Plan, Pyramid};
use crate::error::Result;

/// Builds the pyramids of pictures. Threads share one builder.
#[derive(Debug)]
pub struct Builder {
    on: On,
    /// Whether the warning that the GPU failed was given.
    #[cfg(feature = "gpu")]
    warned: AtomicBool,
}

#[derive(Debug)]
enum On {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
    #[cfg(feature = "gpu")]
    Auto(gpu::Auto),
}

/// Pyramids that a GPU is building.
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

impl Builder {
    /// Builds on the CPU.
    pub fn cpu() -> Self {
        Self::new(On::Cpu)
    }

    /// Builds on a GPU that is no software renderer and measures to be faster than the CPU, once one is found; until then,
    /// and without one, on the CPU. Asks no driver in runs of less than a second.
    pub fn auto() -> Self {
        #[cfg(feature = "gpu")]
        return Self::new(On::Auto(gpu::Auto::default()));
        #[cfg(not(feature = "gpu"))]
        Self::cpu()
    }

    /// Builds on the best GPU there is, be it a software renderer.
    ///
    /// # Errors
    /// If no GPU can be used, or this was built without the feature `gpu`.
    pub fn gpu() -> Result<Self> {
        #[cfg(feature = "gpu")]
        return Ok(Self::on(Gpu::open(gpu::Adapters::All)?));
        #[cfg(not(feature = "gpu"))]
        Err(crate::error::Error::Gpu("this was built without GPUs (cargo feature `gpu`)".into()))
    }

    /// Builds on `gpu`.
    #[cfg(feature = "gpu")]
    pub fn on(gpu: Gpu) -> Self {
        Self::new(On::Gpu(gpu))
    }

    fn new(on: On) -> Self {
        Self {
            on,
            #[cfg(feature = "gpu")]
            warned: AtomicBool::new(false),
        }
    }

    /// The GPU that is used at present.
    #[cfg(feature = "gpu")]
    pub fn current_gpu(&self) -> Option<&Gpu> {
        let gpu = match &self.on {
            On::Cpu => None,
            On::Gpu(gpu) => Some(gpu),
            On::Auto(auto) => auto.gpu(),
        }?;
        let Some(fault) = gpu.fault() else { return Some(gpu) };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{} failed ({fault}): what it did is done on the CPU from now on", gpu.name());
        }
        None
    }

    /// Whether a GPU is used at present, so that [`Self::submit`] begins something.
    pub fn is_on_gpu(&self) -> bool {
        #[cfg(feature = "gpu")]
        return self.current_gpu().is_some();
        #[cfg(not(feature = "gpu"))]
        false
    }

    /// Begins to build the pyramids of `picture` on the GPU and returns at once; `None` if the CPU builds them.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "nothing begins early on the CPU"))]
    pub fn submit(&self, picture: &RgbImage, plan: &Plan) -> Option<Pending> {
        #[cfg(feature = "gpu")]
        {
            if let On::Auto(auto) = &self.on {
                auto.consider(picture.dimensions(), plan);
            }
            Some(Pending { ticket: self.current_gpu()?.submit(picture, plan)? })
        }
        #[cfg(not(feature = "gpu"))]
        None
    }

    /// Waits for the pyramids of `picture` that [`Self::submit`] began. If it began none, or the GPU is lost meanwhile,
    /// builds them on the CPU. Where a net runs on the GPU behind the pyramid, `results` gets the words that it computed
    /// ([`gpu::FollowUp`]), and the pixels of `levels` stay on the GPU; else `results` is empty.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "nothing is pending on the CPU"))]
    pub fn take(
        &self,
        pending: Option<Pending>,
        picture: &RgbImage,
        plan: &Plan,
        halves: &mut Pyramid,
        levels: &mut Pyramid,
        results: &mut Vec<u32>,
    ) {
        results.clear();
        #[cfg(feature = "gpu")]
        if let (Some(pending), Some(gpu)) = (pending, self.current_gpu()) {
            if gpu.take(pending.ticket, picture, halves, levels, results) {
                return;
            }
            results.clear();
        }
        plan.build(picture, halves, levels);
    }

    /// Says where pyramids are built at present, and why.
    pub fn describe(&self) -> String {
        match &self.on {
            #[cfg(feature = "gpu")]
            On::Cpu => "on the CPU".into(),
            #[cfg(not(feature = "gpu"))]
            On::Cpu => "on the CPU; this was built without GPUs".into(),
            #[cfg(feature = "gpu")]
            On::Gpu(gpu) => match gpu.fault() {
                Some(fault) => format!("on the CPU: {} failed ({fault})", gpu.name()),
                None => format!("on {}", gpu.name()),
            },
            #[cfg(feature = "gpu")]
            On::Auto(auto) => auto.describe(),
        }
    }
}
