//! The program with `--pyramid gpu` and `--level1 gpu`, on whatever GPU there is: in CI lavapipe, which renders in
//! software.

#![cfg(feature = "gpu")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::{Path, PathBuf};

use common::{Ran, ours, program, run};
use serde_json::Value;

/// Number of pictures to compare from the data set.
const PICTURES: usize = 40;

/// Paths of the pictures that ship, and of some spread over the validation part of WIDER FACE, if that is there.
fn pictures() -> Vec<PathBuf> {
    let mut list = vec![ours("assets/astronaut.jpg"), ours("assets/grace_hopper.jpg")];
    let folder = common::data().join("wider/val");
    let inside = |dir: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        paths.sort();
        paths
    };
    let all: Vec<PathBuf> = inside(&folder).iter().flat_map(|classes| inside(classes)).collect();
    if all.is_empty() {
        eprintln!("skipped: {} is not here; only pictures that ship are compared", folder.display());
    }
    let step = (all.len() / PICTURES).max(1);
    list.extend(all.into_iter().step_by(step).take(PICTURES));
    list
}

/// Runs `detect --json` on all pictures with further options; `None`, and a line on stderr, without a GPU.
fn detect(pictures: &[PathBuf], options: &[&str]) -> Option<Vec<Value>> {
    let ran: Ran = program()
        .args(["detect", "--json", "-v", "--precision", "f32"])
        .args(options)
        .args(pictures)
        .output()
        .expect("it starts")
        .into();
    let ran = ran.exits(0);
    if ran.err.contains("no GPU was found") {
        eprintln!("skipped: no GPU was found; apt-get install mesa-vulkan-drivers");
        return None;
    }
    assert!(!ran.err.contains("WARN"), "{}", ran.err);
    Some(ran.lines())
}

/// Boxes in a line of JSON: x, y, width, height.
fn faces(line: &Value) -> Vec<[f64; 4]> {
    let face = |face: &Value| ["x", "y", "w", "h"].map(|key| face[key].as_f64().unwrap());
    line["faces"].as_array().unwrap().iter().map(face).collect()
}

/// IoU of two boxes.
fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let overlap = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let common = overlap(0) * overlap(1);
    common / (a[2] * a[3] + b[2] * b[3] - common)
}

/// Whether two lines have the same number of faces, and each face of `a` has one of `b` with an IoU of at least 0.95.
fn same(a: &Value, b: &Value) -> bool {
    let (a, b) = (faces(a), faces(b));
    a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| iou(a, b) >= 0.95))
}

#[test]
fn the_same_faces_are_found_wherever_pyramid_and_first_net_run() {
    let pictures = pictures();
    let octave = ours("models/octave/cascade.toml").display().to_string();
    let with_shader = ["--cascade", octave.as_str()];
    for (cascade, place, ties) in [(&[][..], ["--pyramid", "gpu"], 0), (&with_shader[..], ["--level1", "gpu"], 1)] {
        let options = [cascade, &place].concat();
        let on_cpu = detect(&pictures, &[cascade, &["--pyramid", "cpu"]].concat()).unwrap();
        assert!(on_cpu.iter().map(|line| faces(line).len()).sum::<usize>() >= pictures.len() / 2);
        let Some(on_gpu) = detect(&pictures, &options) else { return };
        let differ = on_cpu.iter().zip(&on_gpu).filter(|(a, b)| !same(a, b)).map(|(a, _)| a["image"].to_string());
        let differ: Vec<_> = differ.collect();
        // The pyramid's pixels are the same. The net adds in another order, which may move a window over a threshold.
        assert!(differ.len() <= ties, "{options:?}: {differ:?}");
    }
}

#[test]
fn what_is_chosen_and_why_is_said_and_contradictions_are_refused() {
    let picture = "assets/astronaut.jpg";
    run(["detect", "-v", "--pyramid", "cpu", picture]).exits(0).complains("pyramid on the CPU");
    // A single picture takes less than a second, so no driver is asked.
    run(["detect", "-v", picture]).exits(0).complains("pyramid on the CPU");
    run(["detect", "-v", "--pyramid", "gpu", picture]).exits(0).complains("pyramid on");
    let wheres = ["level 1 on", "levels 2 and 3 on"];
    wheres.iter().fold(run(["detect", "-v", picture]).exits(0), |ran, place| ran.complains(place));
    // The name before this one is still understood.
    for option in ["--level1", "--stage1"] {
        run(["detect", option, "gpu", "--pyramid", "cpu", picture]).exits(2).complains("--level1 gpu");
    }
}

#[test]
fn bench_measures_the_pyramid_both_ways_and_every_command_wants_a_place_that_it_knows() {
    for command in ["detect", "bench"] {
        run([command, "--pyramid"]).exits(2).complains("auto|cpu|gpu");
        run([command, "--pyramid", "both"]).exits(2).complains("auto, cpu or gpu");
    }
    let table = run(["bench", "--pyramid-times"]).exits(0).out;
    if table.contains("no GPU was found") {
        assert!(table.contains("640×480 on the CPU"), "{table}");
        return eprintln!("skipped: no GPU was found");
    }
    for word in ["640×480", "level 320×240", "upload", "read-back", "a whole picture", "--pyramid auto: on "] {
        assert!(table.contains(word), "no {word} in {table}");
    }
}

#[test]
fn without_any_driver_the_cpu_is_taken_with_a_warning() {
    let octave = ours("models/octave/cascade.toml").display().to_string();
    for options in [&["--pyramid", "gpu"][..], &["--level1", "gpu", "--cascade", &octave]] {
        let nowhere = "/nonexistent.json";
        let ran: Ran = program()
            .args(["detect", "--json"])
            .args(options)
            .arg(ours("assets/astronaut.jpg"))
            .envs([
                ("VK_ICD_FILENAMES", nowhere),
                ("VK_DRIVER_FILES", nowhere),
                ("__EGL_VENDOR_LIBRARY_FILENAMES", nowhere),
            ])
            .output()
            .expect("it starts")
            .into();
        let ran = ran.exits(0);
        assert_eq!(faces(&ran.lines()[0]).len(), 1);
        // A GPU may still be found through OpenGL; then there is no warning.
        if !ran.err.is_empty() {
            ran.complains("on the CPU");
        }
    }
}
