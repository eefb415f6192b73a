//! Where the cascade's first steps run: on the CPU, or on a GPU that builds the pyramids and may run level 1's net too.

use image::RgbImage;

use super::{Cascade, Work};
#[cfg(feature = "gpu")]
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::pyramid::gpu::Gpu;
use crate::pyramid::{Builder, Plan};

impl Cascade {
    /// Pyramids are built where `builder` says; without, on the CPU. It makes no difference to what is found.
    pub fn with_pyramids(mut self, builder: Builder) -> Self {
        self.pyramids = builder;
        self
    }

    /// Pyramids are built on `gpu`, and level 1's net runs there behind them. Its sums are in another order than the CPU's:
    /// logits differ in their last digits.
    ///
    /// # Errors
    /// If that net has layers that have no shader, or the GPU refuses.
    #[cfg(feature = "gpu")]
    pub fn with_level1_on(self, gpu: Gpu) -> Result<Self> {
        let net = self.proposer.on_gpu(gpu.device())?;
        Ok(self.with_pyramids(Builder::on(gpu.with_behind(Box::new(net)))))
    }

    /// Where pyramids are built.
    pub fn pyramids(&self) -> &Builder {
        &self.pyramids
    }

    /// Which pyramids it needs of a picture.
    pub fn plan(&self) -> Plan {
        self.proposer.plan()
    }

    /// Where a GPU builds pyramids: has it begin with those of `picture` and returns at once. [`Self::start`] with the same
    /// picture and `work` has to follow. Elsewhere this does nothing.
    pub fn submit(&self, picture: &RgbImage, work: &mut Work) {
        work.pending = self.pyramids.submit(picture, &self.plan());
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cascade::Options;
    use crate::geometry::Face;
    use crate::pyramid::gpu::tests::gpu;

    fn cascade(min_face: f32) -> Cascade {
        Cascade::shipped(Options { min_face, threshold: 0.02, ..Options::default() }).unwrap()
    }

    fn pictures() -> Vec<RgbImage> {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let names = ["astronaut.jpg", "grace_hopper.jpg"];
        names.iter().map(|name| image::open(assets.join(name)).unwrap().to_rgb8()).collect()
    }

    /// The same faces, each nearly in its place.
    fn same(a: &[Face], b: &[Face]) -> bool {
        a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| a.rect.iou(&b.rect) >= 0.95))
    }

    #[test]
    fn with_pyramids_from_a_gpu_all_is_found_as_on_the_cpu_to_the_last_bit() {
        for min_face in [20.0, 47.0] {
            let Some(gpu) = gpu() else { return };
            let (on_cpu, on_gpu) = (cascade(min_face), cascade(min_face).with_pyramids(Builder::on(gpu)));
            for picture in pictures() {
                let faces = on_gpu.detect(&picture).unwrap();
                assert!(!faces.is_empty());
                assert_eq!(faces, on_cpu.detect(&picture).unwrap());
                assert_eq!(on_gpu.counts(&picture).unwrap(), on_cpu.counts(&picture).unwrap());
            }
            assert!(on_gpu.pyramids().is_elsewhere(), "{}", on_gpu.pyramids().describe());
        }
    }

    #[test]
    fn with_level_1_on_a_gpu_the_same_faces_are_found_and_as_many_windows_looked_at() {
        let Some(gpu) = gpu() else { return };
        let (on_cpu, on_gpu) = (cascade(20.0), cascade(20.0).with_level1_on(gpu).unwrap());
        for picture in pictures() {
            let (expected, faces) = (on_cpu.detect(&picture).unwrap(), on_gpu.detect(&picture).unwrap());
            assert!(!faces.is_empty() && same(&faces, &expected), "{faces:?} {expected:?}");
            let (a, b) = (on_gpu.counts(&picture).unwrap()[0], on_cpu.counts(&picture).unwrap()[0]);
            assert_eq!((a.windows, a.multiply_adds), (b.windows, b.multiply_adds));
        }
        assert!(on_gpu.pyramids().is_elsewhere(), "{}", on_gpu.pyramids().describe());
    }

    #[test]
    fn a_gpu_that_is_lost_between_submission_and_search_changes_no_face() {
        for level1 in [false, true] {
            let Some(gpu) = gpu() else { return };
            let on_cpu = cascade(30.0);
            let on_gpu = if level1 {
                cascade(30.0).with_level1_on(gpu).unwrap()
            } else {
                cascade(30.0).with_pyramids(Builder::on(gpu))
            };
            let mut work = Work::default();
            for (i, picture) in pictures().iter().chain(&pictures()).enumerate() {
                on_gpu.submit(picture, &mut work);
                if i == 1 {
                    on_gpu.pyramids().gpu().expect("it is in use").device().destroy();
                }
                on_gpu.start(picture, &mut work);
                (1..=on_gpu.levels()).for_each(|level| on_gpu.level(level, &mut [&mut work]));
                assert!(same(&on_gpu.faces(&work), &on_cpu.detect(picture).unwrap()));
            }
            assert!(on_gpu.pyramids().describe().contains("failed"));
        }
    }
}
