//! The pipeline gives what a plain loop gives, and always ends.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use image::RgbImage;

use super::stages::{Job, StageFn};
use super::*;
use crate::cascade::Options;
use crate::error::Error;
use crate::source::{Stamp, video};
use crate::track::Tracker;

/// Pictures as a source. With `shown`, which counts frames that came out, each waits until those before it did.
struct Pictures {
    list: Arc<Vec<RgbImage>>,
    next: usize,
    shown: Option<Arc<AtomicU64>>,
    /// What happens instead of this frame.
    fails: Option<(usize, Fault)>,
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

/// A step ahead that does nothing: of files it has a thread of its own.
fn nothing_ahead(policy: Policy) -> Option<StageFn<'static>> {
    matches!(policy, Policy::File { .. }).then(|| -> StageFn<'static> { Box::new(|_| Ok(())) })
}

/// An output that may want the windows after each step.
struct Traced<F>(bool, F);

impl<F: FnMut(&mut FrameResult) -> Result<ControlFlow<()>>> Output for Traced<F> {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        self.1(result)
    }

    fn wants_windows(&self) -> bool {
        self.0
    }
}

/// Fails if `run` takes longer than any run here may.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::spawn(move || send.send(run()));
    let result = receive.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{what}: hangs"));
    thread.join().unwrap().unwrap();
    result
}

/// The first frames of a clip that ships; `None`, said so, without ffmpeg.
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
            (i as u64, faces, tracked, [0, 1, 2].map(|level| counts[level].windows))
        })
        .collect();
    assert!(expected.iter().filter(|e| !e.1.is_empty()).count() > 30, "the clip shows faces");
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        for threads in [1, 2, 3, 4, 7] {
            let shown = Arc::new(AtomicU64::new(0));
            let source = Pictures {
                // Live, a source that does not wait loses frames.
                shown: (policy == LIVE).then(|| Arc::clone(&shown)),
                ..Pictures::new(&clip)
            };
            let mut got = Vec::new();
            let options = options(policy, threads);
            let mut output = Traced(threads == 3, |result: &mut FrameResult| {
                let windows = result.windows.iter().map(|s| s.name).collect::<Vec<_>>();
                assert_eq!(windows.len(), if threads == 3 { 9 } else { 0 });
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
    // Two portraits, moved: no ffmpeg is needed.
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

#[test]
fn a_fault_in_any_stage_ends_all_with_one_error_that_names_it() {
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        for threads in [1, 2, 3, 4, 6] {
            for stage in Stage::ALL {
                for fault in [Fault::Panic, Fault::Error] {
                    let what = format!("{fault:?} in {} ({policy:?}, {threads} threads)", stage.name());
                    let error = in_time(&what, move || {
                        let mut source = Pictures { pause: Duration::from_micros(100), ..Pictures::new(&blank(300)) };
                        if stage == Stage::Capture {
                            source.fails = Some((20, fault));
                        }
                        let step = |this: Stage| -> StageFn<'static> {
                            Box::new(move |jobs: &mut [Box<Job>]| {
                                let hit = this == stage && jobs.iter().any(|j| j.result.frame.number >= 20);
                                if hit { fault.strike() } else { Ok(()) }
                            })
                        };
                        let mut output = |result: &mut FrameResult| {
                            assert!(result.frame.number < 20 || stage == Stage::Output);
                            if result.frame.number >= 20 {
                                fault.strike()?;
                            }
                            Ok(ControlFlow::Continue(()))
                        };
                        let options = options(policy, threads);
                        // What is done ahead fails in the pyramid's place.
                        let ahead = (policy == FILE).then(|| step(Stage::Pyramid));
                        threads::run(Box::new(source), &step, ahead, &options, &mut output).unwrap_err().to_string()
                    });
                    assert!(error.contains("injected") && error.contains(stage.name()), "{what}: {error}");
                }
            }
        }
    }
}

#[test]
fn what_came_before_a_source_broke_still_comes_out() {
    for threads in [1, 2, 5] {
        let source = Pictures { fails: Some((30, Fault::Error)), ..Pictures::new(&blank(300)) };
        let mut frames = 0;
        let step = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
        let result = threads::run(
            Box::new(source),
            &step,
            nothing_ahead(FILE),
            &options(FILE, threads),
            &mut |_: &mut FrameResult| {
                frames += 1;
                Ok(ControlFlow::Continue(()))
            },
        );
        assert!(result.is_err());
        assert_eq!(frames, 30);
    }
}

#[test]
fn a_source_that_never_answers_keeps_nobody_from_ending() {
    struct Silent(mpsc::Receiver<()>);
    impl Source for Silent {
        fn describe(&self) -> String {
            String::new()
        }
        fn frame_rate(&self) -> Option<f64> {
            None
        }
        fn next(&mut self, _: &mut RgbImage) -> Result<Option<Stamp>> {
            let _ = self.0.recv();
            Ok(None)
        }
    }
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        let (_never, silence) = mpsc::channel();
        let options = options(policy, 3);
        let stop = Arc::clone(&options.stop);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, Ordering::Relaxed);
        });
        let frames = in_time("silent", move || {
            let step = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
            let mut output = |_: &mut FrameResult| Ok(ControlFlow::Continue(()));
            threads::run(Box::new(Silent(silence)), &step, nothing_ahead(policy), &options, &mut output).unwrap().frames
        });
        assert_eq!(frames, 0);
    }
}

#[cfg(feature = "train")]
#[test]
fn on_a_device_frames_in_larger_batches_on_more_threads_have_the_faces_of_the_cpu() {
    let Some(clip) = clip(24) else { return };
    let shipped = || Cascade::shipped(Options { min_face: 30.0, ..Options::default() }).unwrap();
    // Candle's CPU device stands for a GPU.
    let (cpu, device) =
        (shipped(), shipped().on_candle(&[candle_core::Device::Cpu, candle_core::Device::Cpu]).unwrap());
    for (policy, threads, suits) in [
        (FILE, 2, (Policy::File { batch: 8 }, 4)),
        (FILE, 30, (FILE, 32)),
        (Policy::File { batch: 16 }, 2, (Policy::File { batch: 16 }, 4)),
        (LIVE, 2, (LIVE, 4)),
    ] {
        let (asked, on_cpu) = (options(policy, threads), suited(&options(policy, threads), &cpu));
        let suited = suited(&asked, &device);
        assert_eq!((suited.policy, suited.threads), suits);
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

#[test]
fn threads_of_different_speed_keep_the_order_and_times_add_up() {
    struct Check {
        numbers: Vec<u64>,
        sums: u64,
    }
    impl Output for Check {
        fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
            self.numbers.push(result.frame.number);
            Ok(ControlFlow::Continue(()))
        }
        fn presented(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
            let sum: Duration = result.stages.iter().map(|s| s.work + s.wait).sum();
            assert_eq!(sum, result.latency);
            self.sums += 1;
            Ok(ControlFlow::Continue(()))
        }
    }
    let step = |stage: Stage| -> StageFn<'static> {
        Box::new(move |jobs: &mut [Box<Job>]| {
            let slow = stage == Stage::Level1 && jobs[0].result.frame.number.is_multiple_of(3);
            std::thread::sleep(Duration::from_millis(if slow { 5 } else { 0 }));
            Ok(())
        })
    };
    let mut check = Check { numbers: Vec::new(), sums: 0 };
    let source = Box::new(Pictures::new(&blank(60)));
    threads::run(source, &step, nothing_ahead(FILE), &options(FILE, 4), &mut check).unwrap();
    assert_eq!((check.numbers, check.sums), ((0..60).collect(), 60));
}

#[test]
fn live_drops_what_is_late_at_the_source_and_never_has_more_in_flight_than_credits() {
    for (in_flight, threads) in [(1, 2), (2, 2), (2, 7), (4, 7)] {
        let (inside, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let step = |stage: Stage| -> StageFn<'static> {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            Box::new(move |_: &mut [Box<Job>]| {
                if stage == Stage::Pyramid {
                    most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(if stage == Stage::Level2 { 8 } else { 0 }));
                Ok(())
            })
        };
        let source = Pictures { pause: Duration::from_micros(300), ..Pictures::new(&blank(300)) };
        let mut last = None;
        let policy = Policy::Live { in_flight };
        let summary = threads::run(
            Box::new(source),
            &step,
            nothing_ahead(policy),
            &options(policy, threads),
            &mut |o: &mut FrameResult| {
                inside.fetch_sub(1, Ordering::Relaxed);
                assert!(last < Some(o.frame.number), "in order");
                last = Some(o.frame.number);
                Ok(ControlFlow::Continue(()))
            },
        )
        .unwrap();
        assert_eq!(summary.frames + summary.dropped, 300);
        assert!(summary.dropped > 50, "{summary:?}");
        assert_eq!(last, Some(299), "the newest frame is shown");
        assert!(most.load(Ordering::Relaxed) <= in_flight as u64);
    }
}

#[test]
fn the_output_may_end_the_run_and_keep_frames() {
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        let mut kept = Vec::new();
        let step = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
        let source = Pictures { pause: Duration::from_millis(1), ..Pictures::new(&blank(10_000)) };
        threads::run(
            Box::new(source),
            &step,
            nothing_ahead(policy),
            &options(policy, 3),
            &mut |result: &mut FrameResult| {
                kept.push(std::mem::take(&mut result.frame.picture));
                Ok(if kept.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )
        .unwrap();
        assert!(kept.len() == 5 && kept.iter().all(|k| k.dimensions() == (8, 8)));
    }
}

#[test]
fn threads_fit_the_cores_and_every_stage_is_in_its_place() {
    for policy in [FILE, Policy::File { batch: 1 }, LIVE] {
        for threads in 1..20 {
            let groups = threads::groups(policy, threads);
            let stages: Vec<Stage> = groups.iter().flat_map(|g| g.stages).copied().collect();
            assert_eq!(stages, Stage::ALL[1..STAGES - 1], "{policy:?} {threads}");
            let workers: usize = groups.iter().map(|g| g.workers).sum();
            assert!(workers <= threads + 1, "{policy:?} {threads}");
            // Following needs all frames in order, on one thread; and live, several workers would bring age.
            assert!(groups.iter().all(|g| g.workers == 1 || policy != LIVE && !g.stages.contains(&Stage::Track)));
        }
    }
}
