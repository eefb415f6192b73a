//! Runs a net over batches of windows, on the CPU (in floats or in 8 bits) or on a GPU: levels 2 and 3 of the cascade and nets that
//! calibrate use it. If the GPU fails, the net runs on the CPU from then on. Level 1's net runs over pictures, on the CPU.

use std::sync::{Mutex, PoisonError};

use super::int8::calibrate::Ranges;
use super::int8::quantised::Quantised;
use super::spec::{Dims, Net, Output};
use super::weights::Weights;
use super::{cpu, int8};
use crate::error::Result;

/// Windows in a batch on the CPU: larger batches are not faster, and need more memory.
const BATCH: usize = 16;
/// Windows in a batch on a GPU: enough to fill it; the paper's largest net takes 1 GB for so many, ours a tenth.
const DEVICE_BATCH: usize = 512;

/// A net with its weights.
#[derive(Debug)]
pub struct WindowNet {
    cpu: cpu::Engine,
    /// What runs on the CPU in place of `cpu`, if there is one.
    int8: Option<int8::Engine>,
    /// Kept for the GPU's engines, which may be asked for at any time, and for [`Self::quantise`].
    weights: Weights,
    #[cfg(feature = "train")]
    device: device::OnDevice,
    /// What the net's operations gave so far, if that is noted.
    observed: Option<Mutex<Ranges>>,
    /// Windows in a batch on the CPU.
    batch: usize,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Buffers of the CPU's engine; other nets may use them as well.
    cpu: cpu::Scratch,
    int8: int8::Scratch,
    #[cfg(feature = "train")]
    device: super::candle::Scratch,
    /// Whether the last batch ran on the device.
    #[cfg(feature = "train")]
    on_device: bool,
}

impl WindowNet {
    /// A net on the CPU, in 8 bits if there are quantised weights.
    ///
    /// # Errors
    /// As [`cpu::Engine::new`] and [`int8::Engine::new`].
    pub fn new(net: &Net, weights: Weights, quantised: Option<&Quantised>) -> Result<Self> {
        Ok(Self {
            cpu: cpu::Engine::new(net, &weights)?,
            int8: quantised.map(|quantised| int8::Engine::new(net, quantised)).transpose()?,
            weights,
            #[cfg(feature = "train")]
            device: device::OnDevice::default(),
            observed: None,
            batch: BATCH,
        })
    }

    /// The net.
    pub fn net(&self) -> &Net {
        self.cpu.net()
    }

    /// The CPU's engine for floats, which also knows dimensions and costs.
    pub(crate) fn cpu(&self) -> &cpu::Engine {
        &self.cpu
    }

    /// Whether the net runs in 8 bits on the CPU.
    pub(crate) fn is_int8(&self) -> bool {
        self.int8.is_some()
    }

    /// Runs the trunk over a picture `[h, w, 3]` on the CPU; [`Self::head_of_picture`] returns the outputs. Returns the dimensions of
    /// the features, or `None` if the picture is too small.
    ///
    /// # Panics
    /// If `pixels` is not `h · w · 3` long.
    pub(crate) fn run_picture(&self, pixels: &[u8], h: usize, w: usize, scratch: &mut Scratch) -> Option<Dims> {
        if let Some(observed) = &self.observed {
            observed.lock().unwrap_or_else(PoisonError::into_inner).add_rgb(&self.cpu, pixels, h, w);
        }
        match &self.int8 {
            Some(int8) => int8.trunk_rgb(pixels, 1, h, w, &mut scratch.int8),
            None => self.cpu.trunk_rgb(pixels, 1, h, w, &mut scratch.cpu),
        }
    }

    /// Outputs of a head for the picture of the last [`Self::run_picture`]: `[cells, outputs of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, or if another net ran last with this scratch.
    pub(crate) fn head_of_picture<'s>(&self, output: Output, scratch: &'s mut Scratch) -> &'s [f32] {
        match &self.int8 {
            Some(int8) => int8.head(output, None, &mut scratch.int8),
            None => self.cpu.head(output, None, &mut scratch.cpu),
        }
    }

    /// Notes from here on what the net's operations give.
    pub(crate) fn observe(&mut self) {
        self.observed = Some(Mutex::default());
    }

    /// The weights in 8 bits, by what was noted since [`Self::observe`].
    ///
    /// # Errors
    /// If nothing was noted.
    pub(crate) fn quantise(&self) -> Result<Quantised> {
        let none = Mutex::default();
        let ranges = self.observed.as_ref().unwrap_or(&none).lock().unwrap_or_else(PoisonError::into_inner);
        ranges.quantise(self.net(), &self.weights)
    }

    /// The net's weights.
    #[cfg(feature = "gpu")]
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Whether the net runs on a device other than the CPU: put there by [`Self::put_on`], and no failure since.
    pub fn is_on_device(&self) -> bool {
        #[cfg(feature = "train")]
        return self.device.engine().is_some();
        #[cfg(not(feature = "train"))]
        false
    }

    /// Windows to give to [`Self::run`] at once.
    pub(crate) fn batch(&self) -> usize {
        if self.is_on_device() { DEVICE_BATCH } else { self.batch }
    }

    /// Sets the number of windows in a batch on the CPU.
    #[cfg(feature = "train")]
    pub(crate) fn set_batch(&mut self, windows: usize) {
        self.batch = windows.max(1);
    }

    /// Runs the net over `n` windows `[n, side, side, 3]` of normalised pixels, (v − 127.5) / 128; [`Self::head`] returns
    /// the outputs.
    ///
    /// # Panics
    /// If `input` is not `n · side · side · 3` long.
    pub fn run(&self, input: &[f32], n: usize, scratch: &mut Scratch) {
        #[cfg(feature = "train")]
        {
            scratch.on_device = self.device.run(input, n, &mut scratch.device);
            if scratch.on_device {
                return;
            }
        }
        let side = self.net().side;
        if let Some(observed) = &self.observed {
            observed.lock().unwrap_or_else(PoisonError::into_inner).add(&self.cpu, input, (n, side, side));
        }
        // A net's own side is never too small for it.
        let _ = match &self.int8 {
            Some(int8) => int8.trunk(input, n, side, side, &mut scratch.int8),
            None => self.cpu.trunk(input, n, side, side, &mut scratch.cpu),
        };
    }

    /// Whether [`Self::run_bytes`] can be used: the net runs in 8 bits on the CPU, and nobody notes what it computes.
    pub(crate) fn takes_bytes(&self) -> bool {
        self.is_int8() && !self.is_on_device() && self.observed.is_none()
    }

    /// As [`Self::run`], over windows `[n, side, side, 3]` of bytes.
    ///
    /// # Panics
    /// If the net has no 8-bit weights, or as [`Self::run`].
    pub(crate) fn run_bytes(&self, input: &[u8], n: usize, scratch: &mut Scratch) {
        #[cfg(feature = "train")]
        {
            scratch.on_device = false;
        }
        let (int8, side) = (self.int8.as_ref().expect("8-bit weights"), self.net().side);
        // A net's own side is never too small for it.
        let _ = int8.trunk_rgb(input, n, side, side, &mut scratch.int8);
    }

    /// Outputs of a head for the windows of the last [`Self::run`]: for all of them, or only for `rows`, in that order.
    /// Returns `[rows, outputs of the head]`.
    ///
    /// # Panics
    /// If the net has no such head, if another net ran last with this scratch, or if a row is out of range.
    pub fn head<'s>(&self, output: Output, rows: Option<&[usize]>, scratch: &'s mut Scratch) -> &'s [f32] {
        #[cfg(feature = "train")]
        if let Some(engine) = self.device.engine_of_last(scratch.on_device) {
            return engine.head(output, rows, &mut scratch.device);
        }
        match &self.int8 {
            Some(int8) => int8.head(output, rows, &mut scratch.int8),
            None => self.cpu.head(output, rows, &mut scratch.cpu),
        }
    }

    /// Puts the net on each of `streams`, as [`super::candle::Engine::new`] does; with none, puts it
    /// back on the CPU.
    ///
    /// # Errors
    /// If a device fails; the net is then on the CPU.
    #[cfg(feature = "train")]
    pub fn put_on(&mut self, streams: &[candle_core::Device]) -> Result<()> {
        self.device.put_on(self.cpu.net(), &self.weights, streams)
    }
}

#[cfg(feature = "train")]
mod device {
    //! The net's engine on a GPU, if there is one.

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::candle::{Engine, Scratch};
    use super::{Net, Result, Weights};

    #[derive(Debug, Default)]
    pub(super) struct OnDevice {
        engine: Option<Engine>,
        failed: AtomicBool,
    }

    impl OnDevice {
        pub(super) fn put_on(&mut self, net: &Net, weights: &Weights, streams: &[candle_core::Device]) -> Result<()> {
            *self = Self::default();
            if !streams.is_empty() {
                self.engine = Some(Engine::new(net, weights, streams)?);
            }
            Ok(())
        }

        /// The engine, if there is one and it works.
        pub(super) fn engine(&self) -> Option<&Engine> {
            self.engine.as_ref().filter(|_| !self.failed.load(Ordering::Relaxed))
        }

        /// The engine that ran the last batch, even if it failed for another thread since.
        pub(super) fn engine_of_last(&self, on_device: bool) -> Option<&Engine> {
            self.engine.as_ref().filter(|_| on_device)
        }

        /// Runs a batch on the engine; returns whether it did.
        pub(super) fn run(&self, input: &[f32], n: usize, scratch: &mut Scratch) -> bool {
            let Some(engine) = self.engine() else { return false };
            match engine.run(input, n, scratch) {
                Ok(()) => true,
                Err(e) => {
                    if !self.failed.swap(true, Ordering::Relaxed) {
                        tracing::warn!("{e}: from here on {} runs on the CPU", engine.net().name);
                    }
                    false
                }
            }
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use std::sync::atomic::Ordering;

    use candle_core::Device;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::nets::zoo;

    /// Between what two engines say of a window: a share of the greatest number, at least of 1.
    const TOLERANCE: f32 = 1e-4;

    /// A net with norms that do something, on the CPU.
    fn net(name: &str) -> WindowNet {
        let net = zoo::by_name(name).unwrap();
        let mut rng = StdRng::seed_from_u64(11);
        let mut weights = Weights::initial(&net, || rng.random_range(-1.5..1.5));
        for (name, array) in &mut weights.arrays {
            let range = if name.ends_with("variance") || name.ends_with("scale") { 0.5..1.5 } else { -0.3..0.3 };
            if !name.ends_with("weight") {
                array.data.iter_mut().for_each(|v| *v = rng.random_range(range.clone()));
            }
        }
        WindowNet::new(&net, weights, None).unwrap()
    }

    fn on_candle(name: &str) -> WindowNet {
        let mut net = net(name);
        net.put_on(&[Device::Cpu, Device::Cpu]).unwrap();
        net
    }

    fn input(net: &WindowNet, n: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(n as u64);
        (0..n * net.net().window().len()).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Every head's numbers, of all windows or of some.
    fn outputs(net: &WindowNet, input: &[f32], n: usize, rows: Option<&[usize]>, scratch: &mut Scratch) -> Vec<f32> {
        net.run(input, n, scratch);
        let heads: Vec<Output> = net.net().heads.iter().map(|h| h.output).collect();
        heads.iter().flat_map(|head| net.head(*head, rows, scratch).to_vec()).collect()
    }

    #[track_caller]
    fn assert_close(a: &[f32], b: &[f32], what: &str) {
        assert_eq!(a.len(), b.len(), "{what}");
        let size = a.iter().fold(1f32, |m, v| m.max(v.abs()));
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= TOLERANCE * size, "{what}: {worst} of {size}");
    }

    #[test]
    fn batches_of_any_size_give_the_same_on_candle_as_on_the_cpu() {
        let mut scratch = Scratch::default();
        for name in ["refine24", "refine48"] {
            let (cpu, candle) = (net(name), on_candle(name));
            assert!(candle.is_on_device() && !cpu.is_on_device() && candle.batch() > cpu.batch());
            for n in [500, 0, 1, 33] {
                let input = input(&cpu, n);
                let expected = outputs(&cpu, &input, n, None, &mut Scratch::default());
                let got = outputs(&candle, &input, n, None, &mut scratch);
                assert_eq!(got.len(), n * 50, "face, 45 classes, box");
                assert_close(&expected, &got, &format!("{name}, {n} windows"));
            }
        }
    }

    #[test]
    fn every_net_gives_the_same_on_candle_as_on_the_cpu() {
        for name in zoo::NAMES {
            let (cpu, candle) = (net(name), on_candle(name));
            let input = input(&cpu, 3);
            let (mut a, mut b) = (Scratch::default(), Scratch::default());
            for rows in [None, Some(&[2, 0][..]), Some(&[])] {
                let expected = outputs(&cpu, &input, 3, rows, &mut a);
                assert_close(&expected, &outputs(&candle, &input, 3, rows, &mut b), name);
            }
        }
    }

    #[test]
    fn more_threads_than_streams_each_get_what_is_theirs() {
        let net = on_candle("refine24");
        let inputs: Vec<_> = (1..7).map(|n| input(&net, n)).collect();
        let alone: Vec<_> = (1..7).map(|n| outputs(&net, &inputs[n - 1], n, None, &mut Scratch::default())).collect();
        std::thread::scope(|scope| {
            for (input, expected) in inputs.iter().zip(&alone) {
                let (net, n) = (&net, expected.len() / 50);
                scope.spawn(move || {
                    let mut scratch = Scratch::default();
                    for _ in 0..10 {
                        assert_close(expected, &outputs(net, input, n, None, &mut scratch), "shared");
                    }
                });
            }
        });
    }

    #[test]
    fn a_batch_whose_device_is_lost_is_done_on_the_cpu_and_all_later_ones_too() {
        let (cpu, candle) = (net("refine24"), on_candle("refine24"));
        let input = input(&cpu, 5);
        let mut scratch = Scratch::default();
        let expected = outputs(&cpu, &input, 5, None, &mut Scratch::default());
        outputs(&candle, &input, 5, None, &mut scratch);
        candle.device.engine().unwrap().lost.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            assert_eq!(outputs(&candle, &input, 5, None, &mut scratch), expected);
            assert!(!candle.is_on_device());
        }
        assert_eq!(candle.batch(), cpu.batch());
    }

    #[test]
    fn a_net_put_back_on_the_cpu_gives_what_it_gave_there() {
        let (cpu, mut moved) = (net("refine24"), on_candle("refine24"));
        moved.put_on(&[]).unwrap();
        let input = input(&cpu, 2);
        let run = |net| outputs(net, &input, 2, None, &mut Scratch::default());
        assert_eq!(run(&moved), run(&cpu));
    }
}
