//! The net's maps for pictures of one size, and its dispatches.

use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePassDescriptor, ComputePipeline};

use super::wgsl::{depth, fours};
use super::{OctaveNet, WINDOW};
use crate::pyramid::gpu::layout::Layout;
use crate::pyramid::gpu::{GpuDevice, Prepared};

/// One dispatch.
#[derive(Debug)]
struct Dispatch {
    pipeline: ComputePipeline,
    bound: BindGroup,
    groups: (u32, u32, u32),
}

/// Maps and list of windows of one picture, on the GPU.
#[derive(Debug)]
pub(super) struct Maps {
    dispatches: Vec<Dispatch>,
    list: Buffer,
    /// Largest number of windows.
    most: usize,
    at_once: usize,
}

/// Position of a level's map among the maps of all levels: first pixel, rows, columns.
#[derive(Clone, Copy)]
struct LevelMap {
    pixel: usize,
    h: usize,
    w: usize,
}

/// Lays maps one after the other; returns them and the number of their pixels.
fn lay_out(sizes: impl Iterator<Item = (usize, usize)>) -> (Vec<LevelMap>, usize) {
    let mut end = 0;
    let places = sizes.map(|(h, w)| {
        let pixel = end;
        end += h * w;
        LevelMap { pixel, h, w }
    });
    let places = places.collect();
    (places, end)
}

impl Maps {
    /// `None` if the device does not allow such large buffers.
    pub(super) fn new(net: &OctaveNet, device: &GpuDevice, pixels: &Buffer, layout: &Layout) -> Option<Self> {
        // A level that is too small for a cell has none.
        let cells = |h, w| net.steps.iter().try_fold((h, w), |d, (step, ..)| step.dims(d));
        let levels: Vec<_> =
            layout.levels().iter().filter(|l| cells(l.level.height, l.level.width).is_some()).collect();
        let (mut from, input) = lay_out(levels.iter().map(|l| (l.level.height, l.level.width)));
        let mut stages = Vec::new();
        let mut bytes = [input * 16, 16];
        for (i, (step, ..)) in net.steps.iter().enumerate() {
            let (to, all) = lay_out(from.iter().map(|p| step.dims((p.h, p.w)).unwrap_or((0, 0))));
            let size = &mut bytes[(i + 1) % 2];
            *size = (*size).max(all * fours(step.output.c) * 16);
            let table: Vec<u32> = (from.iter().zip(&to))
                .flat_map(|(from, to)| [from.pixel, from.w, from.h, to.pixel, to.w, to.h].map(|v| v as u32))
                .collect();
            stages.push((table, all));
            from = to;
        }
        let cells = stages.last().map_or(0, |s| s.1);
        let most = cells * net.sizes;
        let list_bytes = ((1 + most * WINDOW) * 4) as u64;
        if bytes.iter().any(|b| !device.allows(*b as u64)) || !device.allows(list_bytes) {
            return None;
        }
        let maps = bytes.map(|b| device.buffer("maps", b as u64, BufferUsages::STORAGE));
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let list = device.buffer("windows", list_bytes, usage);

        let table: Vec<u32> = (levels.iter().zip(&lay_out(levels.iter().map(|l| (l.level.height, l.level.width))).0))
            .flat_map(|(l, p)| [l.byte, p.pixel, p.h * p.w].map(|v| v as u32))
            .collect();
        let mut dispatches = Vec::new();
        let mut add = |pipeline: &ComputePipeline, bound, invocations: usize, depth: usize| {
            if invocations > 0 {
                let (x, y) = device.groups(invocations);
                dispatches.push(Dispatch { pipeline: pipeline.clone(), bound, groups: (x, y, depth as u32) });
            }
        };
        let filled = |data: &[u32]| device.filled("table", data, BufferUsages::STORAGE);
        let bind = |from: &Buffer, to: &Buffer, table: &Buffer| {
            let resources = [from.as_entire_binding(), to.as_entire_binding(), table.as_entire_binding()];
            device.bind(&net.ends, &resources)
        };
        add(&net.normalise, bind(pixels, &maps[0], &filled(&table)), input, 1);
        for (i, ((step, pipeline, weights), (table, all))) in net.steps.iter().zip(&stages).enumerate() {
            let table = filled(table);
            let buffers = [&maps[i % 2], &maps[(i + 1) % 2], weights, &table];
            let bound = device.bind(&net.layers, &buffers.map(|b| b.as_entire_binding()));
            add(pipeline, bound, *all, depth(step));
        }
        let limit = net.threshold.clamp(f32::MIN, f32::MAX).to_bits();
        let settings = filled(&[limit, cells as u32]);
        add(&net.windows, bind(&maps[net.steps.len() % 2], &list, &settings), cells, 1);
        Some(Self { dispatches, list, most, at_once: net.at_once })
    }

    fn bytes(windows: usize) -> u64 {
        ((1 + windows * WINDOW) * 4) as u64
    }
}

impl Prepared for Maps {
    fn record(&self, encoder: &mut CommandEncoder) {
        encoder.clear_buffer(&self.list, 0, Some(4));
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        for Dispatch { pipeline, bound, groups: (x, y, z) } in &self.dispatches {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bound, &[]);
            pass.dispatch_workgroups(*x, *y, *z);
        }
    }

    fn results(&self) -> &Buffer {
        &self.list
    }

    fn read_back(&self) -> u64 {
        Self::bytes(self.most.min(self.at_once))
    }

    fn wanted(&self, words: &[u32]) -> u64 {
        Self::bytes(words.first().map_or(0, |count| *count as usize).min(self.most))
    }
}
