//! The same faces, wherever the parts of a cascade run.

use super::*;

#[test]
fn the_words_of_every_place_are_read_as_they_are_written_and_others_name_the_choice() {
    let read = |word: &str| word.parse::<PyramidOn>().unwrap().to_string();
    assert_eq!(["auto", "cpu", "gpu"].map(read), ["auto", "cpu", "gpu"]);
    let default = Placement::default();
    assert_eq!(default.level1.to_string().parse::<Level1On>().unwrap(), default.level1);
    assert_eq!(default.refiners.to_string().parse::<RefinersOn>().unwrap(), default.refiners);
    assert!("gpu".parse::<RefinersOn>().unwrap_err().to_string().contains("auto, cpu or cuda"));
    assert!("auto".parse::<Level1On>().unwrap_err().to_string().contains("cpu or gpu"));
}

#[test]
fn level_1_on_a_gpu_and_the_pyramid_on_the_cpu_contradict_each_other() {
    let placement = Placement { pyramid: PyramidOn::Cpu, level1: Level1On::Gpu, ..Placement::default() };
    assert!(placement.check().unwrap_err().to_string().contains("--level1 gpu"));
    assert!(Placement { level1: Level1On::Cpu, ..placement }.check().is_ok());
}

#[cfg(feature = "train")]
mod candle {
    use std::path::Path;

    use candle_core::Device as Candle;
    use image::RgbImage;

    use super::super::super::tests::{article, cascade, lenient, picture, shipped};
    use super::super::super::{Options, Work};
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

    /// Candle's own CPU device stands for a GPU: the same ops, in two streams.
    fn moved(cascade: Cascade) -> Cascade {
        let moved = cascade.on_candle(&[Candle::Cpu, Candle::Cpu]).unwrap();
        assert_eq!(moved.placement().refiners, RefinersOn::Cuda);
        moved
    }

    fn asset(name: &str) -> RgbImage {
        image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)).unwrap().into_rgb8()
    }

    #[test]
    fn faces_on_candle_are_those_of_the_cpu() {
        for min_face in [20.0, 60.0] {
            let options = || Options { min_face, threshold: 0.1, precision: Precision::F32, ..Options::default() };
            let shipped = || Cascade::shipped(options()).unwrap();
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
            let mut started: Vec<_> = pictures.iter().map(|picture| candle.start(picture, Work::default())).collect();
            for _ in 1..=candle.levels() {
                candle.next_level(&mut started.iter_mut().collect::<Vec<_>>());
            }
            for (picture, started) in pictures.iter().zip(&mut started) {
                assert_same(&cpu.detect(picture).unwrap(), &candle.faces(started));
                assert_eq!(cpu.counts(picture).unwrap()[0], started.counts()[0]);
            }
            assert!(!candle.faces(&mut started[0]).is_empty(), "nothing found, the test shows nothing");
        }
    }

    #[test]
    fn the_cpu_can_be_chosen_everywhere_and_is_what_auto_means_without_a_gpu() {
        let picture = picture(120, 90, 4);
        let expected = cascade(lenient(shipped()), 0.3).detect(&picture).unwrap();
        for refiners in [RefinersOn::Cpu, RefinersOn::Auto] {
            let back =
                moved(cascade(lenient(shipped()), 0.3)).placed(Placement { refiners, ..Placement::default() }).unwrap();
            if cfg!(feature = "cuda") && refiners == RefinersOn::Auto {
                continue;
            }
            assert_eq!(back.placement().refiners, RefinersOn::Cpu);
            assert_eq!(back.detect(&picture).unwrap(), expected);
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_cuda_says_how_to_get_it() {
        let error = cascade(shipped(), 0.3)
            .placed(Placement { refiners: RefinersOn::Cuda, ..Placement::default() })
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use std::path::Path;

    use image::RgbImage;

    use super::*;
    use crate::cascade::{Options, Work};
    use crate::geometry::Face;
    use crate::pyramid::gpu::tests::gpu;

    fn options(min_face: f32) -> Options {
        Options { min_face, threshold: 0.02, precision: Precision::F32, ..Options::default() }
    }

    /// The cascade whose level 1 can run on a GPU.
    fn cascade(min_face: f32) -> Cascade {
        let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/models/octave/cascade.toml");
        Cascade::load(settings.as_ref(), options(min_face)).unwrap()
    }

    #[test]
    fn a_level_1_without_a_shader_is_refused_and_the_cascade_that_has_one_is_named() {
        let Some(gpu) = gpu() else { return };
        let refused = Cascade::shipped(options(20.0)).unwrap().with_level1_on(gpu).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("yunet") && refused.contains("models/octave/cascade.toml"), "{refused}");
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
            let shipped = || Cascade::shipped(options(min_face)).unwrap();
            let (on_cpu, on_gpu) = (shipped(), shipped().with_pyramids(Builder::on(gpu)));
            for picture in pictures() {
                let faces = on_gpu.detect(&picture).unwrap();
                assert!(!faces.is_empty());
                assert_eq!(faces, on_cpu.detect(&picture).unwrap());
                assert_eq!(on_gpu.counts(&picture).unwrap(), on_cpu.counts(&picture).unwrap());
            }
            assert!(on_gpu.pyramids().is_on_gpu(), "{}", on_gpu.pyramids().describe());
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
        assert!(on_gpu.pyramids().is_on_gpu(), "{}", on_gpu.pyramids().describe());
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
                let submitted = on_gpu.submit(picture, work);
                if i == 1 {
                    on_gpu.pyramids().current_gpu().expect("it is in use").device().destroy();
                }
                let mut started = on_gpu.start(picture, submitted);
                assert!(same(&on_gpu.faces(&mut started), &on_cpu.detect(picture).unwrap()));
                work = started.into();
            }
            assert!(on_gpu.pyramids().describe().contains("failed"));
        }
    }
}
