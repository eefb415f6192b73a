//! The first net on a GPU, behind the pyramid: one shader a layer, written from the net's list of layers, and one
//! dispatch a layer over all levels at once. Only the windows over the threshold come back.

mod compile;
mod prepared;
#[cfg(test)]
mod tests;
mod wgsl;

use compile::{Op, compile};
use prepared::Maps;
use wgpu::BufferBindingType::Storage;
use wgpu::{BufferUsages, ComputePipeline};

use crate::error::{Error, Result};
use crate::nets::spec::Net;
use crate::nets::weights::Weights;
use crate::pyramid::gpu::layout::Layout;
use crate::pyramid::gpu::{Behind, GpuDevice, Prepared};

/// Sizes of window in each cell.
const SIZES: usize = 3;
/// Words of a window in the list.
const WINDOW: usize = 5;

/// A net with an octave head, on one GPU.
#[derive(Debug)]
pub struct OctaveNet {
    steps: Vec<(Op<()>, ComputePipeline, wgpu::Buffer)>,
    layers: wgpu::BindGroupLayout,
    normalise: ComputePipeline,
    windows: ComputePipeline,
    /// Of `normalise` and `windows`.
    ends: wgpu::BindGroupLayout,
    threshold: f32,
    /// Windows that are read back with each picture; all, in a second look, where there are more.
    at_once: usize,
}

/// A window over the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The number of its cell: row by row, level by level.
    pub cell: usize,
    /// Which of the three sizes.
    pub size: usize,
    /// Logit, dx, dy, ln s.
    pub numbers: [f32; 4],
}

impl OctaveNet {
    /// Windows that are read back with each picture as a rule.
    pub const AT_ONCE: usize = 4096;

    /// Windows with a logit over `threshold` are found.
    ///
    /// # Errors
    /// If the net has layers that have no shader, if the weights do not fit, or if the GPU refuses.
    pub fn new(device: &GpuDevice, net: &Net, weights: &Weights, threshold: f32, at_once: usize) -> Result<Self> {
        let (read, write) = (Storage { read_only: true }, Storage { read_only: false });
        let layers = device.bindings(&[read, write, read, read]);
        let ends = device.bindings(&[read, write, read]);
        let make = |step: Op| {
            let pipeline = device.pipeline("layer", &wgsl::shader(&step), &layers);
            let weights = device.filled("layer", &wgsl::weights(&step), BufferUsages::STORAGE);
            (step.with(()), pipeline, weights)
        };
        let steps = compile(net, weights)?.into_iter().map(make).collect();
        let normalise = device.pipeline("normalise", include_str!("../../../shaders/normalise.wgsl"), &ends);
        let windows = device.pipeline("windows", include_str!("../../../shaders/windows.wgsl"), &ends);
        if let Some(fault) = device.fault() {
            return Err(Error::Gpu(format!("{} can't run {}: {fault}", device.name(), net.name)));
        }
        Ok(Self { steps, layers, normalise, windows, ends, threshold, at_once: at_once.max(1) })
    }
}

impl Behind for OctaveNet {
    fn prepare(&self, device: &GpuDevice, pixels: &wgpu::Buffer, layout: &Layout) -> Option<Box<dyn Prepared>> {
        Maps::new(self, device, pixels, layout).map(|maps| Box::new(maps) as Box<dyn Prepared>)
    }
}

/// The windows of a list as it was read back, in the order of their cells, which is that of the CPU.
pub fn read(words: &[u32], found: &mut Vec<Found>) {
    found.clear();
    let Some((count, list)) = words.split_first() else { return };
    found.extend(list.chunks_exact(WINDOW).take(*count as usize).map(|w| Found {
        cell: w[0] as usize / SIZES,
        size: w[0] as usize % SIZES,
        numbers: std::array::from_fn(|i| f32::from_bits(w[1 + i])),
    }));
    found.sort_unstable_by_key(|f| (f.cell, f.size));
}
