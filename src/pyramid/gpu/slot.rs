//! The buffers of one picture on the GPU, and what is recorded for it. They are used again by the next picture of the
//! same size.

use std::sync::Arc;

use wgpu::{BufferUsages, CommandEncoder};

use super::device::{GpuDevice, Mapped};
use super::layout::{Kind, Layout};
use super::{FollowUp, Prepared};

/// Bytes from one pass's parameters to the next one's.
const STRIDE: usize = 256;

/// The pyramid's shaders, ready to run.
#[derive(Debug)]
pub(super) struct Shaders {
    bindings: wgpu::BindGroupLayout,
    halve: wgpu::ComputePipeline,
    columns: wgpu::ComputePipeline,
    rows: wgpu::ComputePipeline,
}

impl Shaders {
    pub(super) fn new(device: &GpuDevice) -> Self {
        use wgpu::BufferBindingType::{Storage, Uniform};
        let bindings = device.bindings(&[Storage { read_only: false }, Storage { read_only: true }, Uniform]);
        let pass = include_str!("../../../shaders/pass.wgsl");
        let pipeline = |label, own: &str| device.pipeline(label, &format!("{pass}\n{own}"), &bindings);
        Self {
            halve: pipeline("halve", include_str!("../../../shaders/halve.wgsl")),
            columns: pipeline("resize_columns", include_str!("../../../shaders/resize_columns.wgsl")),
            rows: pipeline("resize_rows", include_str!("../../../shaders/resize_rows.wgsl")),
            bindings,
        }
    }

    fn of(&self, kind: Kind) -> &wgpu::ComputePipeline {
        match kind {
            Kind::Halve => &self.halve,
            Kind::Columns => &self.columns,
            Kind::Rows => &self.rows,
        }
    }
}

/// The buffers of one picture.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) layout: Arc<Layout>,
    pixels: wgpu::Buffer,
    bound: wgpu::BindGroup,
    staging: wgpu::Buffer,
    behind: Option<Box<dyn Prepared>>,
}

impl Slot {
    /// `None` if such pictures are too large for the device.
    pub(super) fn new(
        device: &GpuDevice,
        shaders: &Shaders,
        layout: Arc<Layout>,
        behind: Option<&dyn FollowUp>,
    ) -> Option<Self> {
        let total = layout.len() as u64;
        if !device.allows(total) {
            return None;
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let pixels = device.buffer("pixels", total, usage);
        let weights = device.filled("weights", layout.weights(), BufferUsages::STORAGE);
        let mut passes = vec![0_u32; layout.passes().len() * STRIDE / 4];
        for (words, (_, pass)) in passes.chunks_exact_mut(STRIDE / 4).zip(layout.passes()) {
            words[..8].copy_from_slice(&pass.words());
        }
        let passes = device.filled("passes", &passes, BufferUsages::UNIFORM);
        let one = wgpu::BufferBinding { buffer: &passes, offset: 0, size: wgpu::BufferSize::new(32) };
        let resources = [pixels.as_entire_binding(), weights.as_entire_binding(), wgpu::BindingResource::Buffer(one)];
        let bound = device.bind(&shaders.bindings, &resources);
        let behind = match behind {
            Some(behind) => Some(behind.prepare(device, &pixels, &layout)?),
            None => None,
        };
        let back = layout.results(behind.is_none()).len() as u64 + behind.as_ref().map_or(0, |b| b.read_back());
        let staging = device.buffer("staging", back, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        Some(Self { layout, pixels, bound, staging, behind })
    }

    /// Brings the picture to the GPU with the next submission.
    pub(super) fn upload(&self, device: &GpuDevice, picture: &[u8]) {
        let picture = &picture[..self.layout.picture_bytes()];
        let (whole, rest) = picture.split_at(picture.len() / 4 * 4);
        device.queue.write_buffer(&self.pixels, 0, whole);
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            device.queue.write_buffer(&self.pixels, whole.len() as u64, &word);
        }
    }

    /// Records `passes`, by number.
    pub(super) fn record(
        &self,
        device: &GpuDevice,
        shaders: &Shaders,
        encoder: &mut CommandEncoder,
        passes: std::ops::Range<usize>,
    ) {
        let mut compute = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for i in passes {
            let (kind, pass) = &self.layout.passes()[i];
            compute.set_pipeline(shaders.of(*kind));
            compute.set_bind_group(0, &self.bound, &[(i * STRIDE) as u32]);
            let (x, y) = device.groups(pass.length.div_ceil(4));
            compute.dispatch_workgroups(x, y, 1);
        }
    }

    /// Records the follow-up, and copies all results to where they can be read.
    pub(super) fn record_results(&self, encoder: &mut CommandEncoder) {
        if let Some(behind) = &self.behind {
            behind.record(encoder);
        }
        let results = self.layout.results(self.behind.is_none());
        encoder.copy_buffer_to_buffer(&self.pixels, results.start as u64, &self.staging, 0, results.len() as u64);
        if let Some(behind) = &self.behind {
            encoder.copy_buffer_to_buffer(behind.results(), 0, &self.staging, results.len() as u64, behind.read_back());
        }
    }

    /// Submits what was recorded, and asks to read the results.
    pub(super) fn submit(&self, device: &GpuDevice, encoder: CommandEncoder) -> (wgpu::SubmissionIndex, Mapped) {
        let submission = device.queue.submit([encoder.finish()]);
        let mapped = Mapped::default();
        self.staging.map_async(wgpu::MapMode::Read, .., mapped.callback());
        (submission, mapped)
    }

    /// Hands over the results, once they are mapped: the pyramids' bytes, and the words of the follow-up.
    pub(super) fn read<T>(&self, device: &GpuDevice, use_them: impl FnOnce(&[u8], Option<&[u32]>) -> T) -> Option<T> {
        let view = match self.staging.get_mapped_range(..) {
            Ok(view) => view,
            Err(e) => {
                device.fail(format!("its results can't be read: {e}"));
                return None;
            }
        };
        let length = self.layout.results(self.behind.is_none()).len();
        let (pixels, rest) = view.split_at(length);
        let result = match &self.behind {
            None => Some(use_them(pixels, None)),
            Some(behind) => {
                let words: &[u32] = bytemuck::cast_slice(&rest[..behind.read_back() as usize]);
                let wanted = behind.wanted(words);
                if wanted <= behind.read_back() {
                    Some(use_them(pixels, Some(&words[..wanted as usize / 4])))
                } else {
                    all_of(device, behind.as_ref(), wanted).map(|all| use_them(pixels, Some(&all)))
                }
            }
        };
        drop(view);
        self.staging.unmap();
        result
    }
}

/// Reads all results again, where they are more than what is read back as a rule.
fn all_of(device: &GpuDevice, behind: &dyn Prepared, bytes: u64) -> Option<Vec<u32>> {
    let staging = device.buffer("all results", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
    let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(behind.results(), 0, &staging, 0, bytes);
    let submission = device.queue.submit([encoder.finish()]);
    let mapped = Mapped::default();
    staging.map_async(wgpu::MapMode::Read, .., mapped.callback());
    if !device.wait(submission, &mapped) {
        return None;
    }
    let view = staging.get_mapped_range(..).ok()?;
    Some(bytemuck::cast_slice(&view[..bytes as usize]).to_vec())
}
