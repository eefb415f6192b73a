//! The machine's GPUs: which there are, and one that is opened.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wgpu::{Backends, BufferUsages, DeviceType};

use crate::error::{Error, Result};

/// Which GPUs come into question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapters {
    /// All GPUs, software renderers (such as lavapipe) last.
    All,
    /// GPUs that are no software renderers.
    Real,
}

/// How long a GPU may take for a frame. One that takes longer is taken for lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a software renderer, which never hangs but shares the processor with others.
const MORE_PATIENCE: Duration = Duration::from_secs(120);

/// An opened GPU.
#[derive(Debug)]
pub struct GpuDevice {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    name: String,
    patience: Duration,
    /// The first thing that went wrong.
    fault: Arc<OnceLock<String>>,
}

/// Whether this machine seems to have a GPU; does not ask any driver, which can take 100 ms and more.
pub(super) fn likely() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let known = ["/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"];
    let rendering = || std::fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    known.iter().any(|file| std::path::Path::new(file).exists())
        || rendering().any(|file| file.file_name().to_string_lossy().starts_with("renderD"))
}

/// Orders kinds of GPU, the fast ones first.
fn rank(kind: DeviceType) -> usize {
    let order = [DeviceType::DiscreteGpu, DeviceType::IntegratedGpu, DeviceType::VirtualGpu, DeviceType::Other];
    order.iter().position(|k| *k == kind).unwrap_or(order.len())
}

impl GpuDevice {
    /// Opens the best GPU.
    ///
    /// # Errors
    /// If there is none, or its driver refuses.
    pub fn open(which: Adapters) -> Result<Self> {
        let missing = || Error::Gpu("no GPU was found; on Linux, Vulkan drivers are in mesa-vulkan-drivers".into());
        // `Instance::new` panics without any backend.
        if wgpu::Instance::enabled_backend_features().is_empty() {
            return Err(Error::Gpu("GPUs of this system are not supported".into()));
        }
        // OpenGL only where there is nothing better: its drivers talk.
        let mut adapters = Self::adapters(Backends::PRIMARY, which);
        if adapters.is_empty() {
            adapters = Self::adapters(Backends::SECONDARY, which);
        }
        // The order is stable.
        adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
        let mut last = missing();
        for adapter in adapters {
            match Self::of(&adapter) {
                Ok(device) => return Ok(device),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn adapters(backends: Backends, which: Adapters) -> Vec<wgpu::Adapter> {
        let descriptor =
            wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
        let instance = wgpu::Instance::new(descriptor);
        let mut adapters: Vec<wgpu::Adapter> = pollster::block_on(instance.enumerate_adapters(backends));
        adapters.retain(|adapter| {
            let computes = adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
            computes && (which == Adapters::All || adapter.get_info().device_type != DeviceType::Cpu)
        });
        adapters
    }

    fn of(adapter: &wgpu::Adapter) -> Result<Self> {
        let info = adapter.get_info();
        let name = format!("{} ({:?})", info.name, info.backend);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("facecascade"),
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Gpu(format!("{name} can't be opened: {e}")))?;
        let fault = Arc::new(OnceLock::new());
        let note = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            let _ = note.set(match e {
                wgpu::Error::OutOfMemory { .. } => "out of memory".into(),
                e => e.to_string(),
            });
        }));
        let note = Arc::clone(&fault);
        device.set_device_lost_callback(move |_, reason| {
            let _ = note.set(if reason.is_empty() { "the device was lost".into() } else { reason });
        });
        let patience = if info.device_type == DeviceType::Cpu { MORE_PATIENCE } else { PATIENCE };
        Ok(Self { device, queue, name, patience, fault })
    }

    /// The GPU's name and the interface it is used through.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What went wrong, if anything did; such a GPU is not used again.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Notes what went wrong.
    pub(super) fn fail(&self, reason: String) {
        let _ = self.fault.set(reason);
    }

    /// Whether the device allows buffers of `bytes` bytes.
    pub(crate) fn allows(&self, bytes: u64) -> bool {
        let limits = self.device.limits();
        bytes <= limits.max_buffer_size && bytes <= limits.max_storage_buffer_binding_size
    }

    /// An empty buffer of at least 16 bytes.
    pub(crate) fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
        let size = bytes.max(16).next_multiple_of(16);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// A buffer that holds `data`, for shaders to read.
    pub(crate) fn filled<T: bytemuck::Pod>(&self, label: &str, data: &[T], usage: BufferUsages) -> wgpu::Buffer {
        let bytes = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64, usage | BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    /// A pipeline of the entry point `main`.
    pub(crate) fn pipeline(&self, label: &str, source: &str, layout: &wgpu::BindGroupLayout) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(layout)],
            immediate_size: 0,
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// A layout of buffers in order; the uniform ones take a dynamic offset.
    pub(crate) fn bindings(&self, kinds: &[wgpu::BufferBindingType]) -> wgpu::BindGroupLayout {
        let entry = |(binding, ty): (usize, &wgpu::BufferBindingType)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: *ty,
                has_dynamic_offset: *ty == wgpu::BufferBindingType::Uniform,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = kinds.iter().enumerate().map(entry).collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
    }

    /// Binds `resources` in the order of `layout`.
    pub(crate) fn bind(
        &self,
        layout: &wgpu::BindGroupLayout,
        resources: &[wgpu::BindingResource<'_>],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource: resource.clone() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// Workgroups (x, y) of 64 invocations each that give at least `invocations`.
    pub(crate) fn groups(&self, invocations: usize) -> (u32, u32) {
        let most = self.device.limits().max_compute_workgroups_per_dimension as usize;
        let groups = invocations.div_ceil(64).max(1);
        let rows = groups.div_ceil(most);
        (groups.div_ceil(rows) as u32, rows as u32)
    }

    /// Waits until `buffer`, of which a mapping was asked for before `submission`, is mapped.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex, mapped: &Mapped) -> bool {
        let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(self.patience) };
        if let Err(e) = self.device.poll(poll) {
            self.fail(format!("it did not answer: {e}"));
        }
        let done = self.fault().is_none() && mapped.wait(self.patience);
        if !done {
            self.fail("its results can't be read".into());
        }
        done
    }

    /// Destroys the device, as if it was lost: for tests.
    #[doc(hidden)]
    pub fn destroy(&self) {
        self.device.destroy();
    }
}

/// Whether a buffer has been mapped; the wait of another thread may be what reports it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapped(Arc<(Mutex<Option<bool>>, std::sync::Condvar)>);

impl Mapped {
    /// What to give to `map_async`.
    pub(super) fn callback(&self) -> impl FnOnce(std::result::Result<(), wgpu::BufferAsyncError>) + Send + 'static {
        let news = Arc::clone(&self.0);
        move |result| {
            *news.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.is_ok());
            news.1.notify_all();
        }
    }

    fn wait(&self, patience: Duration) -> bool {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(state, patience, |state| state.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.unwrap_or(false)
    }
}
