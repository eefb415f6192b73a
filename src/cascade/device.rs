//! Where the nets of levels 2 and 3 run. Level 1 and all else stay on the CPU.

use super::Cascade;
use super::refiner::Refiner;
use crate::error::{Error, Result};

/// Where the nets run that look at windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// On an NVIDIA GPU where this was built for one (cargo feature `cuda`) and one opens, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the first NVIDIA GPU.
    Cuda,
}

/// Batches that are on their way to, on and from a GPU at once, each in a stream of its own: while one is computed, the
/// next one is uploaded. More only wait for the same GPU.
const LANES: usize = 2;

impl Cascade {
    /// Puts the nets of levels 2 and 3, and those that only calibrate, onto `device`. Boxes and scores are those of the
    /// CPU but for rounding. A GPU that fails later (lost, or out of memory) is left with a warning, and the batch is done
    /// again on the CPU, so no picture is lost.
    ///
    /// # Errors
    /// [`Device::Cuda`]: if this was built without the feature `cuda`, or if no GPU opens or can run the nets. Then
    /// [`Device::Auto`] warns and stays on the CPU.
    pub fn on(mut self, device: Device) -> Result<Self> {
        self.put_on(device)?;
        Ok(self)
    }

    /// Where levels 2 and 3 run now: [`Device::Cuda`] if their nets were put there and none came back, else
    /// [`Device::Cpu`].
    pub fn device(&self) -> Device {
        let all = !self.refiners.is_empty() && self.refiners.iter().all(Refiner::is_on_device);
        if all { Device::Cuda } else { Device::Cpu }
    }

    /// How many threads more than cores keep all cores busy: a thread whose windows are on a GPU waits for it, and needs no
    /// core meanwhile. As many as the GPU works for at once; 0 on the CPU.
    pub fn waiting_threads(&self) -> usize {
        if self.device() == Device::Cuda { LANES } else { 0 }
    }

    /// As [`Self::on`], on candle devices that the caller opened: as many batches as `lanes` are under way at once, and
    /// each must have a stream of its own. No lane: back to the CPU.
    ///
    /// # Errors
    /// If a device fails.
    #[cfg(feature = "train")]
    pub fn on_candle(mut self, lanes: &[candle_core::Device]) -> Result<Self> {
        self.put_on_lanes(lanes)?;
        Ok(self)
    }

    #[cfg(feature = "cuda")]
    fn put_on(&mut self, device: Device) -> Result<()> {
        let moved = match device {
            Device::Cpu => return self.put_on_lanes(&[]),
            Device::Auto | Device::Cuda => open().and_then(|lanes| self.put_on_lanes(&lanes)),
        };
        match (moved, device) {
            (Err(e), Device::Auto) => {
                tracing::warn!("{e}; levels 2 and 3 run on the CPU");
                self.put_on_lanes(&[])
            }
            (moved, _) => moved,
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn put_on(&mut self, device: Device) -> Result<()> {
        match device {
            #[cfg(feature = "train")]
            Device::Auto | Device::Cpu => self.put_on_lanes(&[]),
            #[cfg(not(feature = "train"))]
            Device::Auto | Device::Cpu => Ok(()),
            Device::Cuda => Err(Error::Setting(
                "this was built without CUDA: build it with `cargo build --release --features cuda`, or choose the CPU"
                    .into(),
            )),
        }
    }

    #[cfg(feature = "train")]
    fn put_on_lanes(&mut self, lanes: &[candle_core::Device]) -> Result<()> {
        let Self { proposer, refiners, .. } = self;
        let mut nets = proposer.window_nets().chain(refiners.iter_mut().flat_map(Refiner::window_nets));
        nets.try_for_each(|net| net.put_on(lanes))
    }
}

/// The first GPU, opened once for each lane: candle binds stream, cuBLAS handle and its workspace to what is opened, and
/// two threads must not share these.
#[cfg(feature = "cuda")]
fn open() -> Result<Vec<candle_core::Device>> {
    let lane = |_| {
        let device = candle_core::Device::new_cuda_with_stream(0)?;
        let stream = device.as_cuda_device()?.cuda_stream();
        // Else a thread that waits for the GPU keeps asking, and takes the core that it should leave to others.
        if let Err(e) = stream.context().set_blocking_synchronize() {
            tracing::debug!("threads that wait for the GPU keep their cores busy: {e}");
        }
        Ok(device)
    };
    let lanes: candle_core::Result<_> = (0..LANES).map(lane).collect();
    lanes.map_err(|e| Error::Backend(format!("no CUDA device opens ({})", Error::from(e))))
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use std::path::Path;

    use candle_core::Device as Candle;
    use image::RgbImage;

    use super::super::tests::{article, cascade, lenient, picture, shipped};
    use super::super::{Options, Work};
    use super::*;
    use crate::geometry::Face;

    /// Between a face on one engine and on another: score, and overlap of boxes.
    const SCORE: f32 = 1e-3;
    const OVERLAP: f32 = 0.99;

    #[track_caller]
    fn assert_same(expected: &[Face], got: &[Face]) {
        assert_eq!(expected.len(), got.len(), "{expected:?} and {got:?}");
        for (a, b) in expected.iter().zip(got) {
            assert!((a.score - b.score).abs() < SCORE && a.rect.iou(&b.rect) > OVERLAP, "{a:?} and {b:?}");
        }
    }

    /// Candle's own CPU device stands for a GPU: the same ops, in two lanes.
    fn moved(cascade: Cascade) -> Cascade {
        let moved = cascade.on_candle(&[Candle::Cpu, Candle::Cpu]).unwrap();
        assert_eq!(moved.device(), Device::Cuda);
        moved
    }

    fn asset(name: &str) -> RgbImage {
        image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)).unwrap().into_rgb8()
    }

    #[test]
    fn faces_on_candle_are_those_of_the_cpu() {
        for min_face in [20.0, 60.0] {
            let shipped = || Cascade::shipped(Options { min_face, threshold: 0.1, ..Options::default() }).unwrap();
            let (cpu, candle) = (shipped(), moved(shipped()));
            for name in ["astronaut.jpg", "grace_hopper.jpg"] {
                let picture = asset(name);
                let faces = cpu.detect(&picture).unwrap();
                assert!(!faces.is_empty(), "{name}");
                assert_same(&faces, &candle.detect(&picture).unwrap());
            }
        }
    }

    #[test]
    fn windows_of_several_pictures_on_candle_give_the_faces_of_each() {
        // Two cascades whose nets say nothing sensible but let much through; one of them has nets that only calibrate.
        for settings in [lenient(shipped()), lenient(article())] {
            let (cpu, candle) = (cascade(settings.clone(), 0.3), moved(cascade(settings, 0.3)));
            let pictures = [picture(90, 70, 5), picture(30, 30, 1), RgbImage::new(0, 0), picture(50, 60, 3)];
            let mut works: Vec<_> = pictures.iter().map(|_| Work::default()).collect();
            pictures.iter().zip(&mut works).for_each(|(picture, work)| candle.start(picture, work));
            for level in 1..=candle.levels() {
                candle.level(level, &mut works.iter_mut().collect::<Vec<_>>());
            }
            for (picture, work) in pictures.iter().zip(&works) {
                assert_same(&cpu.detect(picture).unwrap(), &candle.faces(work));
                assert_eq!(cpu.counts(picture).unwrap()[0], work.counts()[0]);
            }
            assert!(!candle.faces(&works[0]).is_empty(), "nothing found, the test shows nothing");
        }
    }

    #[test]
    fn the_cpu_can_be_chosen_everywhere_and_is_what_auto_means_without_a_gpu() {
        let picture = picture(120, 90, 4);
        let expected = cascade(lenient(shipped()), 0.3).detect(&picture).unwrap();
        for device in [Device::Cpu, Device::Auto] {
            let back = moved(cascade(lenient(shipped()), 0.3)).on(device).unwrap();
            if cfg!(feature = "cuda") && device == Device::Auto {
                continue;
            }
            assert_eq!(back.device(), Device::Cpu);
            assert_eq!(back.detect(&picture).unwrap(), expected);
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_cuda_says_how_to_get_it() {
        let error = cascade(shipped(), 0.3).on(Device::Cuda).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}
