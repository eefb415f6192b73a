//! A report is made of the frames that count, and of no others.

use super::*;
use crate::frame::Frame;
use crate::pipeline::StageTime;

/// Frame `number` of a run at 50 frames a second. Its latency is 1 ms of waiting for level 1, and else work of level 1.
fn frame_result(start: Instant, number: u64, dropped: u64, latency: Duration) -> FrameResult {
    let time = number as f64 / 50.0;
    let captured = start + Duration::from_millis(20 * number);
    let frame = Frame { number, captured, time, picture: image::RgbImage::new(1, 1) };
    let searched = number.is_multiple_of(2);
    let mut result = FrameResult { searched, dropped, latency, ..FrameResult::of(frame) };
    let wait = Duration::from_millis(1).min(latency);
    result.stages[Stage::Level1 as usize] = StageTime { work: latency - wait, wait };
    result
}

/// Measures a run of `frames` frames without warm-up, whose latencies (ms) repeat those given.
pub(in crate::output) fn measured(latencies: &[u64], frames: u64) -> (Report, Vec<FrameLatency>) {
    let start = Instant::now();
    let mut meter = Meter::new(0, Duration::from_secs(3600));
    for (number, latency) in (0..frames).zip(latencies.iter().cycle()) {
        assert!(meter.presented(&frame_result(start, number, 0, Duration::from_millis(*latency))));
    }
    (meter.report().unwrap(), meter.into_frames())
}

#[test]
fn percentiles_are_those_of_the_latencies() {
    let latencies: Vec<u64> = (1..=200).rev().collect();
    let (report, shown) = measured(&latencies, 200);
    let near = |value: f64, expected: f64| (value - expected).abs() <= expected * 0.002;
    let p = report.latency_ms;
    assert!(near(p.p50, 100.0) && near(p.p95, 190.0) && near(p.p99, 198.0), "{p:?}");
    assert_eq!((p.max, p.mean, shown.len()), (200.0, 100.5, 200));
    let level1 = report.stages.iter().find(|(name, _)| *name == "level1").unwrap().1;
    assert!(near(level1.work_ms.p50, 99.0) && near(level1.wait_ms.max, 1.0), "{level1:?}");
    assert!((report.fps - 50.0).abs() < 0.01 && report.searched == 100, "{report:?}");
}

#[test]
fn the_warm_up_and_what_comes_after_the_end_do_not_count() {
    let start = Instant::now();
    let mut meter = Meter::new(10, Duration::from_secs(2));
    let mut number = 0;
    loop {
        // Four frames are dropped in the warm-up, three afterwards.
        let dropped = number.min(4) + u64::from(number >= 30) * 3;
        assert_eq!(meter.is_measuring(), number > 10);
        let latency = Duration::from_millis(if number < 10 { 900 } else { 5 });
        if !meter.presented(&frame_result(start, number, dropped, latency)) {
            break;
        }
        number += 1;
    }
    let report = meter.report().unwrap();
    assert_eq!((report.frames, report.dropped, report.warm_up_frames), (100, 3, 10));
    assert_eq!(report.latency_ms.max, 5.0);
    let drops: Vec<usize> = (meter.into_frames().iter().enumerate()).filter(|s| s.1.dropped > 0).map(|s| s.0).collect();
    assert_eq!(drops, [20]);
}

#[test]
fn latency_that_grows_is_seen() {
    let growing: Vec<u64> = (0..500).map(|i| 10 + i / 5).collect();
    let drift = measured(&growing, 500).0.drift.unwrap();
    assert!(drift.last_p95_ms > drift.first_p95_ms + 40.0, "{drift:?}");
    let drift = measured(&[10, 20, 30], 500).0.drift.unwrap();
    assert_eq!((drift.first_p95_ms, drift.last_p95_ms), (30.0, 30.0));
    // Of a run longer than two minutes, the first minute and the last are compared.
    let long: Vec<u64> = (0..9000).map(|i| if i / 3000 == 1 { 90 } else { 10 }).collect();
    let drift = measured(&long, 9000).0.drift.unwrap();
    assert_eq!((drift.span_seconds, drift.first_p95_ms, drift.last_p95_ms), (60.0, 10.0, 10.0));
}

#[test]
fn nothing_measured_is_no_report() {
    let mut meter = Meter::new(3, Duration::from_secs(1));
    meter.presented(&frame_result(Instant::now(), 0, 0, Duration::ZERO));
    assert!(meter.report().is_none());
}
