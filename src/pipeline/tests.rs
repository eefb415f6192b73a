//! Pictures go through a whole cascade, and faces are those of a plain loop. `running` tests threads and channels.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod running;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use image::RgbImage;

use super::*;
use crate::cascade::Options;
use crate::error::Error;
use crate::source::{Stamp, video};
use crate::track::Tracker;

/// Gives pictures as frames.
struct Pictures {
    list: Arc<Vec<RgbImage>>,
    next: usize,
    /// Number of frames that came out. With it, each frame waits until those before it have come out.
    shown: Option<Arc<AtomicU64>>,
    /// A fault in the place of the frame of this number.
    fails: Option<(usize, Fault)>,
    /// Time before each frame.
    pause: Duration,
}

impl Pictures {
    fn new(list: &Arc<Vec<RgbImage>>) -> Self {
        Self { list: Arc::clone(list), next: 0, shown: None, fails: None, pause: Duration::ZERO }
    }
}

impl Source for Pictures {
    fn describe(&self) -> String {
        "pictures".into()
    }

    fn frame_rate(&self) -> Option<f64> {
        Some(30.0)
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        if let Some((_, fault)) = self.fails.filter(|(at, _)| *at == self.next) {
            fault.strike()?;
        }
        while self.shown.as_ref().is_some_and(|shown| shown.load(Ordering::Relaxed) < self.next as u64) {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(self.pause);
        let Some(picture) = self.list.get(self.next) else { return Ok(None) };
        let time = self.next as f64 / 30.0;
        self.next += 1;
        into.clone_from(picture);
        Ok(Some(Stamp { captured: Instant::now(), time }))
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Panic,
    Error,
}

impl Fault {
    fn strike(self) -> Result<()> {
        match self {
            Self::Panic => panic!("injected"),
            Self::Error => Err(Error::Setting("injected".into())),
        }
    }
}

fn blank(count: usize) -> Arc<Vec<RgbImage>> {
    Arc::new(vec![RgbImage::new(8, 8); count])
}

const FILE: Policy = Policy::File { batch: 3 };
const LIVE: Policy = Policy::Live { in_flight: 2 };

fn options(policy: Policy, threads: usize) -> PipelineOptions {
    PipelineOptions { policy, threads, ..PipelineOptions::default() }
}

/// An output that wants the windows after each step, or not.
struct Traced<F>(bool, F);

impl<F: FnMut(&mut FrameResult) -> Result<ControlFlow<()>>> Output for Traced<F> {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        self.1(result)
    }

    fn wants_windows(&self) -> bool {
        self.0
    }
}

/// Returns the first frames of a clip that ships; `None`, and a line on stderr, without ffmpeg.
fn clip(frames: usize) -> Option<Arc<Vec<RgbImage>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/two-faces-tilting.mp4");
    let Ok(info) = video::probe(&path) else {
        eprintln!("skipped: ffmpeg is not here");
        return None;
    };
    let mut clip = video::Frames::open(&path, &info, 1).unwrap();
    let mut frame = RgbImage::new(0, 0);
    let mut list = Vec::new();
    while list.len() < frames && clip.next_into(&mut frame).unwrap().is_some() {
        list.push(frame.clone());
    }
    Some(Arc::new(list))
}

#[test]
fn boxes_are_those_of_the_plain_loop_frame_by_frame() {
    let Some(clip) = clip(40) else { return };
    let cascade = Cascade::shipped(Options { min_face: 30.0, ..Options::default() }).unwrap();
    let mut tracker = Tracker::default();
    let expected: Vec<_> = (clip.iter().enumerate())
        .map(|(i, picture)| {
            let faces = cascade.detect(picture).unwrap();
            let tracked = tracker.update(&faces, i as f64 / 30.0);
            let counts = cascade.counts(picture).unwrap();
            (i as u64, faces, tracked, [0, 1, 2].map(|level| counts.get(level).map_or(0, |count| count.windows)))
        })
        .collect();
    assert!(expected.iter().filter(|e| !e.1.is_empty()).count() > 30, "the clip shows faces");
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        for threads in [1, 2, 3, 4, 7] {
            let shown = Arc::new(AtomicU64::new(0));
            let source = Pictures {
                // Live, frames of a source that does not wait would be dropped.
                shown: (policy == LIVE).then(|| Arc::clone(&shown)),
                ..Pictures::new(&clip)
            };
            let mut got = Vec::new();
            let options = options(policy, threads);
            let mut output = Traced(threads == 3, |result: &mut FrameResult| {
                let windows = result.windows.iter().map(|s| s.name).collect::<Vec<_>>();
                assert_eq!(windows.len(), if threads == 3 { 3 * cascade.levels() } else { 0 });
                assert_eq!(result.frame.picture, clip[result.frame.number as usize]);
                got.push((result.frame.number, result.faces.clone(), result.tracked.clone(), result.counts));
                shown.fetch_add(1, Ordering::Relaxed);
                Ok(ControlFlow::Continue(()))
            });
            let summary = run(Box::new(source), &cascade, &options, &mut output).unwrap();
            assert_eq!((summary.frames, summary.dropped), (clip.len() as u64, 0));
            assert!(got == expected, "{policy:?}, {threads} threads");
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_that_is_lost_on_the_way_costs_no_frame_and_changes_no_box() {
    use crate::pyramid::Builder;
    use crate::pyramid::gpu::tests::{gpu, noise};
    // A portrait that moves over noise needs no ffmpeg.
    let portrait = crate::source::picture::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/astronaut.jpg"));
    let portrait = image::imageops::thumbnail(&portrait.unwrap(), 160, 160);
    let frame = |i: i64| {
        let mut frame = noise(240, 180, 1);
        image::imageops::replace(&mut frame, &portrait, i, 5);
        frame
    };
    let list = Arc::new((0..24).map(frame).collect::<Vec<_>>());
    let cascade = |builder| Cascade::shipped(Options::default()).unwrap().with_pyramids(builder);
    let on_cpu = cascade(Builder::cpu());
    let expected: Vec<_> = list.iter().map(|picture| on_cpu.detect(picture).unwrap()).collect();
    for (policy, threads) in [(FILE, 1), (FILE, 4), (LIVE, 1), (LIVE, 6)] {
        for lost_at in [0, 9, u64::MAX] {
            let Some(gpu) = gpu() else { return };
            let on_gpu = cascade(Builder::on(gpu));
            let shown = Arc::new(AtomicU64::new(0));
            let shown_so_far = (policy == LIVE).then(|| Arc::clone(&shown));
            let source = Pictures { shown: shown_so_far, ..Pictures::new(&list) };
            let mut got = Vec::new();
            let options = PipelineOptions { track: false, ..options(policy, threads) };
            let summary = run(Box::new(source), &on_gpu, &options, &mut |result: &mut FrameResult| {
                if result.frame.number == lost_at {
                    on_gpu.pyramids().current_gpu().unwrap().device().destroy();
                }
                got.push(std::mem::take(&mut result.faces));
                shown.fetch_add(1, Ordering::Relaxed);
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!((summary.unwrap().frames, got == expected), (24, true), "{policy:?}, {threads}, {lost_at}");
        }
    }
}

#[cfg(feature = "train")]
#[test]
fn on_a_device_frames_in_larger_batches_on_more_threads_have_the_faces_of_the_cpu() {
    let Some(clip) = clip(24) else { return };
    // A device computes in floats.
    let options_of = || Options { min_face: 30.0, precision: cascade::Precision::F32, ..Options::default() };
    let shipped = || Cascade::shipped(options_of()).unwrap();
    // Candle's CPU device stands for a GPU.
    let (cpu, device) =
        (shipped(), shipped().on_candle(&[candle_core::Device::Cpu, candle_core::Device::Cpu]).unwrap());
    for (policy, threads, expected) in [
        (FILE, 2, (Policy::File { batch: 8 }, 4)),
        (FILE, 30, (FILE, 32)),
        (Policy::File { batch: 16 }, 2, (Policy::File { batch: 16 }, 4)),
        (LIVE, 2, (LIVE, 4)),
    ] {
        let asked = options(policy, threads);
        let (on_cpu, on_device) = (adapted(&asked, &cpu), adapted(&asked, &device));
        assert_eq!((on_device.policy, on_device.threads), expected);
        assert_eq!((on_cpu.policy, on_cpu.threads), (policy, threads));
    }
    let mut frames = 0;
    run(Box::new(Pictures::new(&clip)), &device, &options(FILE, 2), &mut |result: &mut FrameResult| {
        let expected = cpu.detect(&clip[result.frame.number as usize]).unwrap();
        assert_eq!((result.frame.number, result.faces.len()), (frames, expected.len()));
        for (a, b) in result.faces.iter().zip(&expected) {
            assert!((a.score - b.score).abs() < 1e-3 && a.rect.iou(&b.rect) > 0.99, "{a:?} and {b:?}");
        }
        frames += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!((frames, device.placement().refiners), (24, cascade::placement::RefinersOn::Cuda));
}
