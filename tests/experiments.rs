//! `facecascade experiment`, run as a user does, on a few pictures made from the portraits that ship.
#![cfg(feature = "train")]

mod common;

use std::path::{Path, PathBuf};

use common::training::{add_validation, data};
use common::{ours, run};

fn experiments() -> Vec<PathBuf> {
    let files = std::fs::read_dir(ours("experiments")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files
}

fn arguments(files: &[PathBuf], more: &[&str], folders: &[(&str, &Path)]) -> Vec<String> {
    let mut all = vec!["experiment".to_owned()];
    all.extend(files.iter().map(|file| file.display().to_string()));
    all.extend(more.iter().map(ToString::to_string));
    all.extend(folders.iter().flat_map(|(option, folder)| [(*option).to_owned(), folder.display().to_string()]));
    all
}

#[test]
fn every_experiment_runs_quickly_through_and_is_drawn_and_a_second_run_repeats_nothing() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    add_validation(data.path());
    let (runs, drawn) = (out.path().join("runs"), out.path().join("drawn"));
    let files = experiments();
    assert_eq!(files.len(), 8);
    let folders = [("--data", data.path()), ("--runs", runs.as_path()), ("--drawn", drawn.as_path())];
    let arguments = arguments(&files, &["--quick", "-q"], &folders);
    run(&arguments).exits(0);
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let table = std::fs::read_to_string(drawn.join(format!("{name}.md"))).unwrap();
        assert!(table.starts_with("| ") && table.lines().count() > 4, "{name}: {table}");
        if name != "cascade" {
            assert!(image::open(drawn.join(format!("{name}.png"))).unwrap().width() > 500, "{name}");
        }
        let record = std::fs::read_to_string(runs.join(format!("quick/results/{name}.json"))).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&record).unwrap()["findings"].is_object(), "{name}");
    }
    // The records in the repository stay as they are, and nothing is trained again.
    let trained = || -> Vec<_> {
        let folders = std::fs::read_dir(runs.join("quick")).unwrap().map(|entry| entry.unwrap().path());
        let mut records: Vec<_> =
            folders.map(|folder| folder.join("events.jsonl")).filter(|file| file.exists()).collect();
        records.sort();
        records.iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
    };
    let before = trained();
    assert!(before.len() > 20, "{}", before.len());
    run(&arguments).exits(0);
    assert!(trained() == before, "a run was repeated");
}

#[test]
fn what_is_wrong_with_an_experiment_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(ours("experiments/resolutions.toml")).unwrap();
    for (wrong, right, word) in [
        ("net = \"net24_mr\"", "net = \"net23\"", "net23"),
        ("share = 0.1", "share = 1.5", "share"),
        ("kind = \"training\"", "kind = \"trianing\"", "trianing"),
        ("level = 1", "levle = 1", "levle"),
    ] {
        assert!(text.contains(wrong), "{wrong}");
        let file = folder.path().join("mine.toml");
        std::fs::write(&file, text.replacen(wrong, right, 1)).unwrap();
        let arguments = arguments(&[file], &[], &[("--data", folder.path()), ("--runs", folder.path())]);
        run(arguments).exits(1).complains(word);
        assert!(!folder.path().join("results").exists());
    }
}

#[test]
fn records_in_the_repository_can_be_drawn_and_an_experiment_that_was_not_made_is_left_out() {
    let (drawn, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(arguments(&experiments(), &[], &[("--drawn", drawn.path())])).exits(0);
    let mine = folder.path().join("mine.toml");
    std::fs::copy(ours("experiments/resolutions.toml"), &mine).unwrap();
    run(arguments(&[mine], &[], &[("--drawn", folder.path())])).exits(0);
    assert!(!folder.path().join("mine.md").exists());
}
