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
use crate::nets::grid::{Grid, OCTAVE_NUMBERS};
use crate::nets::input::{MIDDLE, SPREAD};
use crate::nets::spec::Net;
use crate::nets::weights::Weights;
use crate::pyramid::gpu::layout::Layout;
use crate::pyramid::gpu::{FollowUp, GpuDevice, Prepared};

/// Words of a window in the list: its number, and what the net says of it.
const WINDOW: usize = 1 + OCTAVE_NUMBERS;

/// A net with an octave head, on one GPU.
#[derive(Debug)]
pub(crate) struct OctaveNet {
    steps: Vec<(Op<()>, ComputePipeline, wgpu::Buffer)>,
    layers: wgpu::BindGroupLayout,
    normalise: ComputePipeline,
    windows: ComputePipeline,
    /// Layout of the bindings of `normalise` and `windows`.
    ends: wgpu::BindGroupLayout,
    /// Windows in each cell.
    sizes: usize,
    threshold: f32,
    /// Windows that are read back with each picture; all, in a second look, where there are more.
    at_once: usize,
}

/// A window over the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// Its number: cell by cell, row by row, level by level, the sizes of a cell behind each other.
    pub window: usize,
    /// Logit, dx, dy, ln s.
    pub numbers: [f32; OCTAVE_NUMBERS],
}

impl OctaveNet {
    /// Windows that are read back with each picture as a rule.
    pub(crate) const AT_ONCE: usize = 4096;

    /// Windows with a logit over `threshold` are found.
    ///
    /// # Errors
    /// If the net has layers that have no shader, if the weights do not fit, or if the GPU refuses.
    pub(crate) fn new(
        device: &GpuDevice,
        net: &Net,
        weights: &Weights,
        threshold: f32,
        at_once: usize,
    ) -> Result<Self> {
        let (read, write) = (Storage { read_only: true }, Storage { read_only: false });
        let layers = device.bindings(&[read, write, read, read]);
        let ends = device.bindings(&[read, write, read]);
        let make = |step: Op| {
            let pipeline = device.pipeline("layer", &wgsl::shader(&step), &layers);
            let weights = device.filled("layer", &wgsl::weights(&step), BufferUsages::STORAGE);
            (step.with(()), pipeline, weights)
        };
        let sizes = Grid::of(net).map_or(0, |grid| grid.sizes.len());
        let steps = compile(net, weights)?.into_iter().map(make).collect();
        let normalise = device.pipeline("normalise", &input(), &ends);
        let windows = device.pipeline("windows", &windows(sizes), &ends);
        if let Some(fault) = device.fault() {
            return Err(Error::Gpu(format!("{} can't run {}: {fault}", device.name(), net.name)));
        }
        Ok(Self { steps, layers, normalise, windows, ends, sizes, threshold, at_once: at_once.max(1) })
    }
}

impl FollowUp for OctaveNet {
    fn prepare(&self, device: &GpuDevice, pixels: &wgpu::Buffer, layout: &Layout) -> Option<Box<dyn Prepared>> {
        Maps::new(self, device, pixels, layout).map(|maps| Box::new(maps) as Box<dyn Prepared>)
    }
}

/// The shader that normalises pixels.
fn input() -> String {
    let constants = format!("const MIDDLE = {MIDDLE:?};\nconst SPREAD = {SPREAD:?};\n");
    constants + include_str!("../../../shaders/normalise.wgsl")
}

/// The shader that lists windows, `sizes` in each cell.
fn windows(sizes: usize) -> String {
    format!("const SIZES = {sizes}u;\n") + include_str!("../../../shaders/windows.wgsl")
}

/// The windows of a list as it was read back, in the order of their cells, which is that of the CPU.
pub(crate) fn read(words: &[u32], found: &mut Vec<Found>) {
    found.clear();
    let Some((count, list)) = words.split_first() else { return };
    found.extend(
        list.chunks_exact(WINDOW)
            .take(*count as usize)
            .map(|w| Found { window: w[0] as usize, numbers: std::array::from_fn(|i| f32::from_bits(w[1 + i])) }),
    );
    found.sort_unstable_by_key(|f| f.window);
}
