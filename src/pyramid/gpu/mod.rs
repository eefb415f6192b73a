//! The pyramid as compute shaders (`shaders/*.wgsl`) on a GPU, through wgpu: one upload, one submission and one
//! read-back a picture. Pixels are those of the CPU path to the last bit: the filters have the same fixed-point weights.
//!
//! [`Gpu::submit`] returns at once and [`Gpu::take`] waits, so that a picture can be built while the one before is
//! searched. Each shader has a plain function of the same name in `twins`, and tests hold them equal.

pub mod auto;
mod device;
mod filter;
pub(crate) mod layout;
pub mod measure;
mod slot;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod twins;

use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;

pub use auto::Auto;
use device::Mapped;
pub use device::{Adapters, GpuDevice};
use layout::Layout;
use slot::{Shaders, Slot};

use super::{Plan, Pyramid};
use crate::error::Result;

/// Slots that are kept for the next pictures. Where more pictures are on the GPU at once, more slots are made for them.
const KEPT: usize = 8;

/// Work on the GPU that follows a pyramid in the same submission: the first net.
pub trait FollowUp: std::fmt::Debug + Send + Sync {
    /// Makes buffers for pictures of one size, whose pyramids lie in `pixels`; `None` if the device can't.
    fn prepare(&self, device: &GpuDevice, pixels: &wgpu::Buffer, layout: &Layout) -> Option<Box<dyn Prepared>>;
}

/// [`FollowUp`] for pictures of one size.
pub trait Prepared: std::fmt::Debug + Send {
    /// Records the dispatches.
    fn record(&self, encoder: &mut wgpu::CommandEncoder);
    /// The buffer of results.
    fn results(&self) -> &wgpu::Buffer;
    /// Bytes of the results that are read back as a rule: a multiple of 4.
    fn read_back(&self) -> u64;
    /// Bytes of all results, which the first words that were read back tell. If these are more than were read back, all are
    /// read again.
    fn wanted(&self, words: &[u32]) -> u64;
}

/// A GPU that builds pyramids. Threads share it.
#[derive(Debug)]
pub struct Gpu {
    device: GpuDevice,
    shaders: Shaders,
    follow_up: Option<Box<dyn FollowUp>>,
    free: Mutex<Vec<Slot>>,
}

/// A picture that is on the GPU.
#[derive(Debug)]
pub struct Ticket {
    slot: Slot,
    submission: wgpu::SubmissionIndex,
    mapped: Mapped,
}

impl Gpu {
    /// Opens the best GPU among `which`.
    ///
    /// # Errors
    /// If there is none, or it can't be used.
    pub fn open(which: Adapters) -> Result<Self> {
        let device = GpuDevice::open(which)?;
        let shaders = Shaders::new(&device);
        let gpu = Self { device, shaders, follow_up: None, free: Mutex::default() };
        match gpu.fault() {
            Some(fault) => Err(crate::error::Error::Gpu(format!("{} can't be used: {fault}", gpu.name()))),
            None => Ok(gpu),
        }
    }

    /// Lets `follow_up` follow each pyramid.
    pub fn with_follow_up(mut self, follow_up: Box<dyn FollowUp>) -> Self {
        self.follow_up = Some(follow_up);
        self.slots().clear();
        self
    }

    /// Whether work follows each pyramid.
    pub fn has_follow_up(&self) -> bool {
        self.follow_up.is_some()
    }

    /// The device.
    pub fn device(&self) -> &GpuDevice {
        &self.device
    }

    /// Name of the GPU, and the interface it is used through.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    /// Why the GPU failed, if it did; then [`Self::submit`] and [`Self::take`] do nothing any more.
    pub fn fault(&self) -> Option<&str> {
        self.device.fault()
    }

    /// Begins to build the pyramids of `picture`; `None` if the GPU can't, or if there is nothing to build.
    pub fn submit(&self, picture: &RgbImage, plan: &Plan) -> Option<Ticket> {
        let slot = self.slot(picture.dimensions(), plan)?;
        slot.upload(&self.device, picture.as_raw());
        let mut encoder = self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        slot.record(&self.device, &self.shaders, &mut encoder, 0..slot.layout.passes().len());
        slot.record_results(&mut encoder);
        let (submission, mapped) = slot.submit(&self.device, encoder);
        self.fault().is_none().then_some(Ticket { slot, submission, mapped })
    }

    /// Waits for the pyramids of `picture`, which `ticket` is for, and for the results of the follow-up. False if
    /// the GPU failed: then pyramids and results hold nothing that can be used.
    pub fn take(
        &self,
        ticket: Ticket,
        picture: &RgbImage,
        halves: &mut Pyramid,
        levels: &mut Pyramid,
        results: &mut Vec<u32>,
    ) -> bool {
        let Ticket { slot, submission, mapped } = ticket;
        if !self.device.wait(submission, &mapped) {
            return false;
        }
        let taken = slot.read(&self.device, |pixels, words| {
            slot.layout.unpack(picture.as_raw(), pixels, words.is_none(), halves, levels);
            results.extend_from_slice(words.unwrap_or(&[]));
        });
        let fine = taken.is_some() && self.fault().is_none();
        if fine {
            let mut free = self.slots();
            if free.len() < KEPT {
                free.push(slot);
            }
        }
        fine
    }

    /// A slot for a picture of `size`: one that is free, or a new one instead of one for another size.
    fn slot(&self, size: (u32, u32), plan: &Plan) -> Option<Slot> {
        if self.fault().is_some() {
            return None;
        }
        let unfit = {
            let mut free = self.slots();
            if let Some(i) = free.iter().rposition(|slot| slot.layout.fits(size, plan)) {
                return Some(free.swap_remove(i));
            }
            (!free.is_empty()).then(|| free.remove(0))
        };
        // Its memory first.
        drop(unfit);
        let layout = Arc::new(Layout::new(size, plan)?);
        let slot = Slot::new(&self.device, &self.shaders, layout, self.follow_up.as_deref());
        slot.filter(|_| self.fault().is_none())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
