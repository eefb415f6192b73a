//! `bench` as users see it: its JSON object, its tables, its plot, and its errors if there is nothing to measure.

#![cfg(unix)]

mod common;

use std::path::Path;

use common::{Ran, ffmpeg, ffmpeg_is_here, ours, program};
use serde_json::Value;

/// Runs `bench` without any display, in the folder `dir`.
fn bench(arguments: &[&str], dir: &Path) -> Ran {
    let mut command = program();
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command.arg("bench").args(arguments).current_dir(dir).output().unwrap().into()
}

/// Reads the number at `key`.
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

/// Asserts that percentiles are in order, and returns the mean.
fn mean(times: &Value) -> f64 {
    let [p50, p95, p99, max] = ["p50", "p95", "p99", "max"].map(|key| number(times, key));
    assert!(0.0 <= p50 && p50 <= p95 && p95 <= p99 && p99 <= max, "{times}");
    let mean = number(times, "mean");
    assert!((0.0..=max).contains(&mean), "{times}");
    mean
}

const STAGES: [&str; 7] = ["capture", "pyramid", "level1", "level2", "level3", "track", "output"];

#[test]
fn one_json_object_whose_figures_fit_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let plot = dir.path().join("latency.png");
    let arguments = ["--headless", "--seconds", "2", "--json", "--plot", "latency.png", "--min-face", "80"];
    let ran = bench(&arguments, dir.path()).exits(0);
    let lines = ran.lines();
    assert_eq!(lines.len(), 1);
    let report = &lines[0];

    // 30 frames a second are shown or counted as dropped; frames in the pipeline at the end may be counted or not.
    let all = number(report, "frames") + number(report, "dropped");
    assert!((56.0..=64.0).contains(&all), "{report}");
    let latency = mean(&report["latency_ms"]);
    let mut sum = 0.0;
    for stage in STAGES {
        sum += mean(&report["stages"][stage]["work_ms"]) + mean(&report["stages"][stage]["wait_ms"]);
    }
    assert_eq!(report["stages"].as_object().unwrap().len(), STAGES.len());
    assert!((sum - latency).abs() <= latency * 0.01 + 0.02, "all stages: {sum} ms, latency: {latency} ms");
    assert!(number(&report["stages"]["level1"]["work_ms"], "max") > 0.0);
    let searched = number(report, "searched");
    assert!(searched > 0.0 && searched <= number(report, "frames"));

    let environment = &report["environment"];
    for key in ["cpu", "os", "isa", "source", "facecascade", "search"] {
        assert!(environment[key].as_str().is_some_and(|v| !v.is_empty()), "{key}: {environment}");
    }
    assert_eq!((number(environment, "min_face"), environment["window"].as_str()), (80.0, Some("none")));
    assert!(environment["pyramid"].as_str().is_some_and(|place| place.starts_with("on ")), "{environment}");
    assert!(number(environment, "threads") >= 1.0 && number(environment, "cores") >= 1.0);
    assert!(number(report, "cpu_percent") > 0.0);
    if cfg!(target_os = "linux") {
        for key in ["memory_mb", "threads", "fds"] {
            let list = report[key].as_array().unwrap();
            assert!(list.len() >= 2 && list.iter().all(|v| v.as_f64().unwrap() > 0.0), "{key}: {list:?}");
        }
    }

    let picture = image::open(&plot).unwrap().into_rgb8();
    let ink = picture.pixels().filter(|p| p.0.iter().any(|v| *v < 128)).count();
    assert!(picture.dimensions() == (960, 720) && ink > 3000, "{ink} dark pixels");
}

#[test]
fn a_slowed_search_shows_in_level_1_and_drops_frames() {
    let dir = tempfile::tempdir().unwrap();
    let ran = bench(&["--headless", "--seconds", "2", "--json", "--slow", "100", "--every-frame"], dir.path()).exits(0);
    let report = &ran.lines()[0];
    assert!(number(&report["stages"]["level1"]["work_ms"], "p50") >= 100.0, "{report}");
    assert!(number(&report["latency_ms"], "p50") >= 100.0);
    assert!(number(report, "dropped") >= 30.0 && number(report, "frames") <= 25.0);
    assert_eq!(
        (report["searched"].clone(), report["environment"]["slow_ms"].clone()),
        (report["frames"].clone(), 100.into())
    );
}

#[test]
fn each_way_to_queue_has_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let ran =
        bench(&["-q", "--headless", "--seconds", "1", "--policies", "--slow", "20", "--model", "fast"], dir.path())
            .exits(0);
    assert!(ran.err.is_empty(), "{}", ran.err);
    for words in
        ["1 in flight", "2 in flight", "4 in flight", "as for files", "slowed by 20 ms", "capture to shown", "p95"]
    {
        assert!(ran.out.contains(words), "no \"{words}\" in {}", ran.out);
    }
    // This cascade has two levels, so the third takes no time.
    for stage in STAGES {
        assert_eq!(ran.out.contains(stage), stage != "level3", "{stage} in {}", ran.out);
    }
}

#[test]
fn a_video_that_ends_early_ends_the_measurement_and_one_too_short_is_named() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    ffmpeg(dir.path(), "-f lavfi -i testsrc=size=160x120:rate=25 -t 3 three.mp4");
    let report = &bench(&["--headless", "--source", "three.mp4", "--json"], dir.path()).exits(0).lines()[0];
    let all = number(report, "frames") + number(report, "dropped");
    // Of 75 frames, 30 are the warm-up, in which more may have been dropped.
    assert!((20.0..=46.0).contains(&all) && number(report, "seconds") < 2.0, "{report}");

    ffmpeg(dir.path(), "-f lavfi -i testsrc=size=160x120:rate=25 -t 1 one.mp4");
    bench(&["--headless", "--source", "one.mp4"], dir.path())
        .exits(1)
        .complains("one.mp4")
        .complains("nothing to tell");
}

#[test]
fn what_can_not_be_measured_or_written_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.mp4"), "no video").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--headless", "--source", "gone.mp4"], "gone.mp4"),
        (&["--headless", "--source", "text.mp4"], "text.mp4"),
        (&["--headless", "--plot", "no/such/folder.png"], "no/such/folder.png"),
        (&["--headless", "--plot", "plot.pdf"], ".png"),
        (&[], "--headless"),
    ];
    for (arguments, words) in cases {
        let ran = bench(arguments, dir.path()).exits(1).complains(words);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.out.is_empty());
    }
    for wrong in [&["--seconds", "0"][..], &["--seconds", "x"], &["--slow", "0"], &["clip.mp4"], &["--min-face", "2"]] {
        bench(wrong, dir.path()).exits(2);
    }
    assert!(ours("assets/two-faces-tilting.mp4").exists());
}

/// Finds what people would notice after a day: memory, threads and files that grow. `make soak` runs this test.
#[test]
#[ignore = "takes ten minutes"]
#[cfg(target_os = "linux")]
fn ten_minutes_leave_memory_threads_and_files_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let report = &bench(&["--headless", "--seconds", "600", "--json"], dir.path()).exits(0).lines()[0];
    let list =
        |key: &str| -> Vec<f64> { report[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    // The list holds the start, minutes 1 to 9 and the end.
    let memory = list("memory_mb");
    assert!(memory.len() >= 10, "{memory:?}");
    let (second, last) = (memory[2], memory[memory.len() - 1]);
    assert!((last - second).abs() <= second * 0.02, "{memory:?}");
    for key in ["threads", "fds"] {
        let list = list(key);
        assert!(list.iter().all(|n| *n == list[0]), "{key}: {list:?}");
    }
}
