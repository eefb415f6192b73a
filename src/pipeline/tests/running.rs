//! Runs end in time, keep the order of frames and drop only late ones. Stages compute nothing here.

use std::sync::mpsc;

use super::super::stages::{Job, StageFn};
use super::*;

/// The most levels that a cascade has in the pipeline.
const LEVELS: usize = LEVEL_STAGES.len();
const LEVEL_STAGES: [Stage; 3] = [Stage::Level1, Stage::Level2, Stage::Level3];

/// A function that is called ahead of the first stage and does nothing; files have one, on a thread of its own.
fn nothing_ahead(policy: Policy) -> Option<StageFn<'static>> {
    matches!(policy, Policy::File { .. }).then(|| -> StageFn<'static> { Box::new(|_| Ok(())) })
}

/// Fails if `run` takes ten seconds.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::spawn(move || send.send(run()));
    let result = receive.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{what}: hangs"));
    thread.join().unwrap().unwrap();
    result
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
                        let function = |this: Stage| -> StageFn<'static> {
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
                        // What is called ahead fails as the pyramid stage.
                        let ahead = (policy == FILE).then(|| function(Stage::Pyramid));
                        threads::run(Box::new(source), LEVELS, &function, ahead, &options, &mut output)
                            .unwrap_err()
                            .to_string()
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
        let function = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
        let result = threads::run(
            Box::new(source),
            LEVELS,
            &function,
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
fn a_source_that_never_answers_does_not_keep_the_run_from_ending() {
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
            let function = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
            let mut output = |_: &mut FrameResult| Ok(ControlFlow::Continue(()));
            threads::run(Box::new(Silent(silence)), LEVELS, &function, nothing_ahead(policy), &options, &mut output)
                .unwrap()
                .frames
        });
        assert_eq!(frames, 0);
    }
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
    let function = |stage: Stage| -> StageFn<'static> {
        Box::new(move |jobs: &mut [Box<Job>]| {
            let slow = stage == Stage::Level1 && jobs[0].result.frame.number.is_multiple_of(3);
            std::thread::sleep(Duration::from_millis(if slow { 5 } else { 0 }));
            Ok(())
        })
    };
    let mut check = Check { numbers: Vec::new(), sums: 0 };
    let source = Box::new(Pictures::new(&blank(60)));
    threads::run(source, LEVELS, &function, nothing_ahead(FILE), &options(FILE, 4), &mut check).unwrap();
    assert_eq!((check.numbers, check.sums), ((0..60).collect(), 60));
}

#[test]
fn live_drops_what_is_late_at_the_source_and_never_has_more_in_flight_than_credits() {
    for (in_flight, threads) in [(1, 2), (2, 2), (2, 7), (4, 7)] {
        let (inside, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let function = |stage: Stage| -> StageFn<'static> {
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
            LEVELS,
            &function,
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
        let function = |_: Stage| -> StageFn<'static> { Box::new(|_| Ok(())) };
        let source = Pictures { pause: Duration::from_millis(1), ..Pictures::new(&blank(10_000)) };
        threads::run(
            Box::new(source),
            LEVELS,
            &function,
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
        for (threads, levels) in (1..20).flat_map(|threads| (1..=LEVELS).map(move |levels| (threads, levels))) {
            let groups = threads::groups(policy, threads, levels);
            let stages: Vec<Stage> = groups.iter().flat_map(|g| &g.stages).copied().collect();
            let with_levels = [&[Stage::Pyramid], &LEVEL_STAGES[..levels], &[Stage::Track]].concat();
            assert_eq!(stages, with_levels, "{policy:?} {threads}");
            let workers: usize = groups.iter().map(|g| g.workers).sum();
            assert!(workers <= threads + 1, "{policy:?} {threads}");
            // Following needs all frames in order, on one thread; live, several threads with the same stages would add
            // latency.
            assert!(groups.iter().all(|g| g.workers == 1 || policy != LIVE && !g.stages.contains(&Stage::Track)));
        }
    }
}
