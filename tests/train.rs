//! `facecascade train`, run as a user does, on a few pictures made from the portraits that ship.
#![cfg(feature = "train")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use facecascade::nets::weights::Weights;
use facecascade::nets::zoo;

use common::training::{add_validation, data};

fn octave(folder: &Path, steps: usize) -> PathBuf {
    let text = format!(
        "net = \"octave\"\ncascade = \"octave\"\nseed = 3\n[samples]\nkind = \"scenes\"\nbackground = 0.2\n\
         [[round]]\nschedule = {{ steps = {steps}, batch = 4, peak = 2e-3, warm_up = 5 }}\n"
    );
    let path = folder.join("octave.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A detector in one net, which is measured on pictures of the folder `train` as it learns; the weights are an average.
fn yunet(folder: &Path, steps: usize) -> PathBuf {
    let text = format!(
        "net = \"yunet\"\ncascade = \"level1\"\naverage = 0.9\nheld_back = [\"none\"]\n\
         [samples]\nkind = \"cells\"\nside = 96\nbackground = 0.2\nmasked = 0.3\noccluded = 0.5\nfaces = [10.0, 60.0]\n\
         [validation]\nevery = 3\n\
         [[round]]\nschedule = {{ steps = {steps}, batch = 4, peak = 2e-3, warm_up = 2 }}\n"
    );
    let path = folder.join("yunet.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn windows(folder: &Path, net: &str, level: usize) -> PathBuf {
    let round = "schedule = { steps = 6, batch = 16, peak = 2e-3, warm_up = 2 }";
    let text = format!(
        "net = \"{net}\"\ncascade = \"octave\"\n[samples]\nkind = \"windows\"\nlevel = {level}\nsmallest = 12\nmined = 0.2\nnegatives = 0.4\n\
         random = 0.3\nhard = 0.3\nfaces = 0.3\nportraits = 0.3\nmining_thresholds = [-2.0, -1.0, -1.0]\n\
         [[round]]\n{round}\n[[round]]\nmine = true\n{round}\n"
    );
    let path = folder.join(format!("{net}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn train(recipe: &Path, data: &Path, run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facecascade"));
    command.arg("train").arg(recipe).arg("--data").arg(data).arg("--run").arg(run).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Asserts that two runs ended with the same weights.
fn assert_same(a: &Weights, b: &Weights) {
    for (name, array) in &a.arrays {
        let other = &b.arrays[name];
        let size = array.data.iter().map(|v| v.abs()).fold(1e-3, f32::max);
        let worst = array.data.iter().zip(&other.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-4 * size, "{name} differs by {worst}");
    }
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn steps(run: &Path) -> Vec<u64> {
    events(run, "step").iter().map(|e| e["step"].as_u64().unwrap()).collect()
}

/// All events of a kind in a run's record.
fn events(run: &Path, kind: &str) -> Vec<serde_json::Value> {
    let record = std::fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    let lines = record.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter(|e| e["event"] == kind).collect()
}

#[test]
fn a_run_killed_at_any_moment_and_resumed_ends_with_the_same_weights() {
    let data = data();
    let recipe = octave(data.path(), 40);
    let whole = data.path().join("whole");
    let output = train(&recipe, data.path(), &whole, &[]).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(steps(&whole), (0..40).collect::<Vec<_>>());

    let killed = data.path().join("killed");
    for (attempt, at_step) in [6, 15, 31].into_iter().enumerate() {
        let resume = if attempt == 0 { vec![] } else { vec!["--resume"] };
        // A checkpoint after every step.
        let more = [resume, vec!["--checkpoint-every", "0"]].concat();
        let mut child = train(&recipe, data.path(), &killed, &more).spawn().unwrap();
        let begun = Instant::now();
        while steps(&killed).last().is_none_or(|s| *s < at_step) {
            assert!(begun.elapsed() < Duration::from_secs(120), "no step {at_step} after two minutes");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = train(&recipe, data.path(), &killed, &["--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));

    let load = |run: &Path| Weights::load(&run.join("octave.safetensors")).unwrap();
    let (a, b) = (load(&whole), load(&killed));
    a.check(&zoo::octave(), "whole").unwrap();
    assert_eq!(a.notes["recipe"], std::fs::read_to_string(&recipe).unwrap());
    assert_same(&a, &b);
}

#[test]
fn a_detector_in_one_net_is_measured_as_it_learns_goes_on_where_it_stopped_and_runs_alone() {
    let data = data();
    // The pictures to learn from serve as masks and to measure on, too.
    std::fs::create_dir(data.path().join("masks")).unwrap();
    for file in ["annotations.csv", "images.csv"] {
        let text = std::fs::read_to_string(data.path().join("wider").join(file)).unwrap();
        std::fs::write(data.path().join("masks").join(file), text.replace("train/", "../wider/train/")).unwrap();
    }
    add_validation(data.path());
    let (whole, stopped) = (data.path().join("whole"), data.path().join("stopped"));
    let trained = |steps, run: &Path, more: &[&str]| {
        let output = train(&yunet(data.path(), steps), data.path(), run, more).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
    };
    trained(8, &whole, &[]);
    let measured = events(&whole, "validation");
    assert_eq!(measured.iter().map(|e| e["step"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 6, 8]);
    assert!(measured.iter().all(|e| e["sets"][0]["set"] == "wider/val" && e["sets"][0]["ap_h20"].is_f64()));

    let mut child = train(&yunet(data.path(), 8), data.path(), &stopped, &["--checkpoint-every", "0"]).spawn().unwrap();
    let begun = Instant::now();
    while steps(&stopped).last().is_none_or(|s| *s < 3) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no step 3 after two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    trained(8, &stopped, &["--resume"]);
    let load = |run: &Path| Weights::load(&run.join("yunet.safetensors")).unwrap();
    assert_same(&load(&whole), &load(&stopped));
    let cascade = facecascade::Cascade::load(&whole.join("cascade.toml"), Default::default()).unwrap();
    assert_eq!(cascade.levels(), 1);
    let picture = image::open(data.path().join("wider/train/3.png")).unwrap().to_rgb8();
    cascade.detect(&picture).unwrap();
    // Smaller than a cell of the coarsest map.
    cascade.detect(&image::imageops::thumbnail(&picture, 21, 17)).unwrap();
}

#[test]
fn every_net_is_validated_on_pictures_held_back_and_shows_what_it_gets_wrong() {
    let data = data();
    add_validation(data.path());
    let run = data.path().join("run");
    let without_masks = yunet(data.path(), 6);
    let text = std::fs::read_to_string(&without_masks).unwrap();
    std::fs::write(&without_masks, text.replace("masked = 0.3", "masked = 0.0")).unwrap();
    for (recipe, stage, sheet) in [
        (octave(data.path(), 6), "octave", "scenes"),
        (windows(data.path(), "refine24", 2), "refine24-2", "calibration"),
        (without_masks, "yunet", "scenes"),
    ] {
        let output = train(&recipe, data.path(), &run, &["--resume"]).output().unwrap();
        assert!(output.status.success(), "{stage}: {}", text_of(&output));
        let of_stage = |kind: &str| events(&run, kind).into_iter().filter(move |e| e["stage"] == stage);
        let last = of_stage("validation").next_back().unwrap_or_else(|| panic!("{stage} was not validated"));
        assert!(last["step"] == 6 && last["loss"].is_f64() && last["accuracy"].is_f64(), "{last}");
        assert!(of_stage("step").all(|e| e["gradient_norm"].as_f64().is_some_and(|norm| norm > 0.0)));
        let pictures = of_stage("pictures").next_back().unwrap_or_else(|| panic!("{stage} has no pictures"));
        let pictures = pictures["pictures"].as_array().unwrap();
        assert!(
            pictures.iter().any(|p| p["file"].as_str().unwrap().ends_with(&format!("{sheet}.jpg"))),
            "{pictures:?}"
        );
        for picture in pictures {
            let decoded = image::open(run.join(picture["file"].as_str().unwrap())).unwrap();
            assert!(decoded.width() >= 64 && !picture["shows"].as_str().unwrap().is_empty());
        }
    }
    // What there is to validate on changes nothing of what is learned.
    let alone = data.path().join("alone");
    for file in ["annotations.csv", "images.csv"] {
        let path = data.path().join("wider").join(file);
        std::fs::write(&path, without_validation(&path)).unwrap();
    }
    let output = train(&octave(data.path(), 6), data.path(), &alone, &[]).output().unwrap();
    assert!(output.status.success() && events(&alone, "validation").is_empty(), "{}", text_of(&output));
    let load = |run: &Path| Weights::load(&run.join("octave.safetensors")).unwrap();
    assert_same(&load(&run), &load(&alone));
}

/// The rows of a CSV file that are not of the split `val`.
fn without_validation(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|row| !row.starts_with("val,")).map(|row| format!("{row}\n")).collect()
}

#[test]
fn a_step_that_makes_the_loss_no_number_stands_in_the_record() {
    let data = data();
    let recipe = octave(data.path(), 40);
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace("peak = 2e-3, warm_up = 5", "peak = 1e30, warm_up = 0")).unwrap();
    let run = data.path().join("run");
    let output = train(&recipe, data.path(), &run, &["-q"]).output().unwrap();
    assert!(!output.status.success() && text_of(&output).contains("lower `peak`"), "{}", text_of(&output));
    let last = events(&run, "step").pop().unwrap();
    assert!(last["loss"] == "NaN" || last["loss"] == "inf", "{last}");
}

#[cfg(feature = "monitor")]
#[test]
fn the_monitor_serves_the_run_beside_the_training() {
    use std::io::{BufRead, BufReader, Read, Write};
    let data = data();
    let run = data.path().join("run");
    let mut child = train(&octave(data.path(), 100_000), data.path(), &run, &["--monitor", "-q"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_else(|| panic!("{line:?}"));
    let begun = Instant::now();
    loop {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let ask = "GET /api/curves?stage=octave&figure=gradient_norm&runs=0 HTTP/1.1";
        write!(stream, "{ask}\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.contains("\"x\":[") && !answer.contains("\"x\":[]") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no curve after two minutes: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What of TensorBoard reads records.
const READER: &str = "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator";

/// A Python that has TensorBoard: the one on the path, or one in a folder of the build, which PyPI fills the first time; `None`, with a
/// word, where neither is possible.
fn tensorboard() -> Option<PathBuf> {
    let has = |python: &Path| {
        let check = Command::new(python).args(["-c", READER]).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tensorboard");
    let own = folder.join("bin/python");
    if let Some(python) = [PathBuf::from("python3"), own.clone()].into_iter().find(|python| has(python)) {
        return Some(python);
    }
    let quiet = |command: &mut Command| {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let made = quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        && quiet(Command::new(&own).args(["-m", "pip", "install", "-q", "tensorboard"]));
    if !(made && has(&own)) {
        eprintln!("skipped: TensorBoard is not installed and can't be (python3 with venv, and PyPI)");
        return None;
    }
    Some(own)
}

#[test]
fn tensorboards_own_reader_reads_what_training_writes_for_it() {
    let Some(python) = tensorboard() else { return };
    let data = data();
    add_validation(data.path());
    let (run, board) = (data.path().join("run"), data.path().join("board"));
    let more = ["--tensorboard", board.to_str().unwrap()];
    let output = train(&octave(data.path(), 7), data.path(), &run, &more).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let script = "import sys, json\n\
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
        a = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}); a.Reload()\n\
        print(json.dumps({t: [[e.step, e.value] for e in a.Scalars(t)] for t in a.Tags()['scalars']}))";
    let output = Command::new(python).args(["-c", script]).arg(board.join("octave")).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (tag, field, kind) in [
        ("loss/training", "loss", "step"),
        ("accuracy/training", "accuracy", "step"),
        ("rate", "rate", "step"),
        ("gradient_norm", "gradient_norm", "step"),
        ("samples_per_second", "samples_per_second", "step"),
        ("loss/validation", "loss", "validation"),
    ] {
        let recorded = events(&run, kind);
        let values = read[tag].as_array().unwrap_or_else(|| panic!("no {tag} in {read}"));
        assert_eq!(values.len(), recorded.len(), "{tag}");
        for (value, event) in values.iter().zip(&recorded) {
            let (a, b) = (value[1].as_f64().unwrap(), event[field].as_f64().unwrap());
            assert!(value[0] == event["step"] && (a - b).abs() <= 1e-6 * b.abs(), "{tag}: {value} {event}");
        }
    }
}

#[test]
fn three_levels_are_trained_one_after_the_other_and_run_as_a_cascade() {
    let data = data();
    let run = data.path().join("run");
    for recipe in [octave(data.path(), 20), windows(data.path(), "refine24", 2), windows(data.path(), "refine48", 3)] {
        let output = train(&recipe, data.path(), &run, &["--resume"]).output().unwrap();
        assert!(output.status.success(), "{}: {}", recipe.display(), text_of(&output));
    }
    let mined = Weights::load(&run.join("mined-refine48-2.safetensors")).unwrap();
    let rows = |list: &str| mined.arrays[list].data.chunks_exact(5).map(<[f32]>::to_vec).collect::<Vec<_>>();
    // After six steps no box fits.
    assert_eq!(rows("missed"), rows("faces"));
    let cascade = facecascade::Cascade::load(&run.join("cascade.toml"), Default::default()).unwrap();
    cascade.detect(&image::open(data.path().join("wider/train/3.png")).unwrap().to_rgb8()).unwrap();
    // What is done stays done.
    let before = steps(&run).len();
    let output = train(&octave(data.path(), 20), data.path(), &run, &["--resume"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(steps(&run).len(), before);
}

#[test]
fn the_articles_nets_are_trained_one_after_the_other_and_run_as_a_cascade() {
    let data = data();
    let run = data.path().join("run");
    for net in ["net12", "net12_cal", "net24", "net24_cal", "net48", "net48_cal"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/article/{net}.toml"));
        let text = std::fs::read_to_string(shipped).unwrap();
        let (head, _) = text.split_once("[[round]]").unwrap();
        let recipe = data.path().join(format!("{net}.toml"));
        let round = "[[round]]\nschedule = { steps = 3, batch = 8, peak = 1e-3 }\n";
        std::fs::write(&recipe, format!("{head}{round}")).unwrap();
        let output = train(&recipe, data.path(), &run, &["--resume"]).output().unwrap();
        assert!(output.status.success(), "{net}: {}", text_of(&output));
    }
    let cascade = facecascade::Cascade::load(&run.join("cascade.toml"), Default::default()).unwrap();
    assert_eq!(cascade.settings().proposer.net, "net12");
    cascade.detect(&image::open(data.path().join("wider/train/3.png")).unwrap().to_rgb8()).unwrap();
}

#[test]
fn the_smile_net_is_trained_and_joins_the_runs_cascade_with_the_probability_that_was_fitted() {
    let data = data();
    let run = data.path().join("run");
    let recipe = data.path().join("smile.toml");
    let (head, _) = include_str!("../models/smile.toml").split_once("[[round]]").unwrap();
    std::fs::write(&recipe, format!("{head}[[round]]\nschedule = {{ steps = 3, batch = 8, peak = 1e-3 }}\n")).unwrap();
    let load = |options| facecascade::Cascade::load(&run.join("cascade.toml"), options);
    for recipe in [octave(data.path(), 3), windows(data.path(), "refine24", 2), windows(data.path(), "refine48", 3)] {
        assert!(train(&recipe, data.path(), &run, &["--resume"]).output().unwrap().status.success());
    }
    assert!(!load(Default::default()).unwrap().tells_smiles(), "there is no smile net yet");
    let output = train(&recipe, data.path(), &run, &["--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let cascade = load(Default::default()).unwrap();
    assert!(cascade.tells_smiles());
    let notes = Weights::load(&run.join("smile.safetensors")).unwrap().notes;
    let smile = cascade.settings().smile.clone().unwrap();
    assert_eq!((notes["slope"].parse(), notes["offset"].parse()), (Ok(smile.slope), Ok(smile.offset)));
}

#[test]
fn what_is_wrong_with_a_recipe_a_folder_or_a_run_is_said_in_one_line() {
    let data = data();
    let folder = data.path();
    let wrong = folder.join("wrong.toml");
    let fails = |recipe: &Path, data: &Path, run: &str, named: &[&str]| {
        let output = train(recipe, data, &folder.join(run), &["-q"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
        let message = text_of(&output);
        assert!(named.iter().all(|n| message.contains(n)), "{message} lacks one of {named:?}");
        assert!(message.lines().count() <= 6, "{message}");
    };
    let good = std::fs::read_to_string(octave(folder, 2)).unwrap();
    std::fs::write(&wrong, good.replace("background", "backgruond")).unwrap();
    fails(&wrong, folder, "a", &["wrong.toml", "backgruond"]);
    std::fs::write(&wrong, good.replace("net = \"octave\"", "net = \"octavo\"")).unwrap();
    fails(&wrong, folder, "a", &["wrong.toml", "octavo", "refine24"]);
    std::fs::write(&wrong, good.replace("batch = 4", "batch = 0")).unwrap();
    fails(&wrong, folder, "a", &["wrong.toml", "batch"]);
    fails(&folder.join("none.toml"), folder, "a", &["none.toml"]);
    fails(&octave(folder, 2), &folder.join("nowhere"), "b", &["nowhere", "--data", "wider/ with annotations.csv"]);
    std::fs::create_dir(folder.join("c")).unwrap();
    std::fs::write(folder.join("c/events.jsonl"), "").unwrap();
    fails(&octave(folder, 2), folder, "c", &["--resume"]);
}

#[test]
fn the_data_folder_must_be_named_and_help_says_what_it_holds() {
    let program = || Command::new(env!("CARGO_BIN_EXE_facecascade"));
    for command in ["train", "eval"] {
        let arguments: &[&str] = if command == "train" { &["train", "all"] } else { &["eval"] };
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
        assert!(text_of(&output).contains("--data <DIR>"), "{}", text_of(&output));
        let help = program().args([command, "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(!help.contains("shared") && help.contains("annotations.csv") && help.contains("images.csv"), "{help}");
    }
}
