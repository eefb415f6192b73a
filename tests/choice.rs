//! Which faces `video --redact` covers: ids, regions, records of an earlier run, and the page to choose by.

#[path = "common/browser.rs"]
#[allow(clippy::print_stderr, dead_code, unreachable_pub, missing_docs, reason = "a module of tests")]
mod browser;
mod common;

use std::path::Path;

use common::film::{Faces, by_frame, decoded, faces, kept, solid};
use common::{Ran, ffmpeg, ffmpeg_is_here, ours, program};
use facecascade::Rect;

const SIZE: (u32, u32) = (480, 270);

fn run(dir: &Path, arguments: &str) -> Ran {
    program().arg("video").args(arguments.split(' ')).current_dir(dir).output().unwrap().into()
}

/// A short clip with two faces, redacted once; `None` without ffmpeg.
fn redacted() -> Option<tempfile::TempDir> {
    if !ffmpeg_is_here() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let clip = ours("assets/two-faces-tilting.mp4");
    ffmpeg(dir.path(), &format!("-i {} -frames:v 24 -c:v libx264 -qp 10 clip.mp4", clip.display()));
    run(dir.path(), "clip.mp4 --redact solid -o all.mp4 --json all.jsonl --review faces.html").exits(0);
    Some(dir)
}

/// The faces of the film that [`redacted`] made, and the ids of the clip's two: its largest tracks, since false alarms, of which
/// redaction tolerates some, are small.
fn two_faces(dir: &Path) -> (Faces, [u64; 2]) {
    let all = faces(&dir.join("all.jsonl"));
    let mut largest: Vec<_> =
        all.iter().map(|(id, places)| (places.values().map(|r| r.w * r.h).sum::<f32>(), *id)).collect();
    largest.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [.., (_, other), (_, id)] = largest[..] else { panic!("two faces") };
    (all, [id, other])
}

/// Asserts that in `film` one face is open and another is covered.
fn open_and_covered(dir: &Path, film: &str, all: &Faces, [open, covered]: [u64; 2]) {
    let [before, after] = ["clip.mp4", film].map(|name| decoded(&dir.join(name), SIZE));
    for (frame, place) in &all[&covered] {
        assert!(solid(&after[*frame], place) > 0.98, "{film}: face {covered}, frame {frame}");
    }
    let seen = all[&open].iter().filter(|(frame, place)| kept(&before[**frame], &after[**frame], place) > 0.4);
    assert!(seen.count() * 2 > all[&open].len(), "{film}: face {open} is open");
}

#[test]
fn a_face_left_open_by_its_id_is_open_and_the_others_stay_covered() {
    let Some(dir) = redacted() else { return };
    let (all, [id, other]) = two_faces(dir.path());
    for (choice, film, ids) in
        [(format!("--except {id}"), "a.mp4", [id, other]), (format!("--only {id}"), "b.mp4", [other, id])]
    {
        run(dir.path(), &format!("clip.mp4 --redact solid -o {film} {choice}")).exits(0);
        open_and_covered(dir.path(), film, &all, ids);
    }
}

#[cfg(unix)]
#[test]
fn a_face_ticked_on_the_page_is_open_after_the_command_that_the_page_gives() {
    let Some(browser) = browser::Browser::start() else { return };
    let Some(dir) = redacted() else { return };
    let (all, [id, other]) = two_faces(dir.path());
    browser.open(&format!("file://{}", dir.path().join("faces.html").display()));
    let plain = browser.text("#command");
    // By script: the foot of the page may lie over the box.
    let tick = format!("document.querySelector(\"input[value='{id}']\").click()");
    browser.run(&tick);
    browser.wait(&format!("document.querySelector('#chosen').innerText.startsWith('Left open: {id}.')"));
    let command = browser.text("#command");
    assert_eq!(command, format!("{plain} --except {id}"));
    for scheme in ["light", "dark"] {
        browser.look(1000, 900, scheme);
        browser.screenshot(&format!("review-{scheme}.png"));
    }
    browser.run(&tick);
    assert_eq!(browser.text("#command"), plain);
    assert_eq!(browser.complaints(), [""; 0]);
    let ran: Ran =
        std::process::Command::new("sh").args(["-c", &command]).current_dir(dir.path()).output().unwrap().into();
    ran.exits(0);
    open_and_covered(dir.path(), "all.mp4", &all, [id, other]);
}

#[test]
fn edited_records_are_covered_without_searching() {
    let Some(dir) = redacted() else { return };
    let at = |name: &str| dir.path().join(name);
    let lines: Vec<String> = (0..24)
        .map(|i| format!(r#"{{"frame":{i},"faces":[{{"id":5,"x":{},"y":200,"w":40,"h":40}}]}}"#, 20 + i))
        .collect();
    std::fs::write(at("mine.jsonl"), lines.join("\n")).unwrap();
    run(dir.path(), "clip.mp4 --redact solid -o mine.mp4 --faces mine.jsonl --json again.jsonl").exits(0);
    let after = decoded(&at("mine.mp4"), SIZE);
    assert_eq!(after.len(), 24);
    for (i, frame) in after.iter().enumerate() {
        assert!(solid(frame, &Rect::new(20.0 + i as f32, 200.0, 40.0, 40.0)) > 0.98, "frame {i}");
    }
    assert_eq!(by_frame(&at("again.jsonl")), by_frame(&at("mine.jsonl")));
    let before = decoded(&at("clip.mp4"), SIZE);
    let first = by_frame(&at("all.jsonl"))[0][0];
    assert!(kept(&before[0], &after[0], &first) > 0.4, "nothing else is covered");
    // Fewer records than frames would leave faces open.
    std::fs::write(at("short.jsonl"), lines[..5].join("\n")).unwrap();
    run(dir.path(), "clip.mp4 --redact solid -o no.mp4 --faces short.jsonl")
        .exits(1)
        .complains("more than the 5 frames");
}

#[test]
fn regions_are_always_or_never_covered_at_their_times() {
    let Some(dir) = redacted() else { return };
    run(dir.path(), "clip.mp4 --redact solid -o r.mp4 --cover-region 10,20,60,30@0.5-1 --keep-region 0,0,480,270@1.5-")
        .exits(0);
    let after = decoded(&dir.path().join("r.mp4"), SIZE);
    let corner = |frame: usize| {
        let dark = |x, y| after[frame].get_pixel(x, y).0.iter().all(|v| *v < 48);
        [(11, 21), (68, 21), (11, 48), (68, 48), (40, 35)].iter().all(|(x, y)| dark(*x, *y))
    };
    assert_eq!([corner(3), corner(7), corner(11), corner(14)], [false, true, true, false]);
    let places = by_frame(&dir.path().join("all.jsonl"));
    assert!(places[10].iter().all(|f| solid(&after[10], f) > 0.98));
    assert!(places[20].iter().all(|f| solid(&after[20], f) < 0.9), "kept open from 1.5 s on");
}

#[test]
fn the_page_shows_every_face_and_loads_nothing() {
    let Some(dir) = redacted() else { return };
    let page = std::fs::read_to_string(dir.path().join("faces.html")).unwrap();
    for id in faces(&dir.path().join("all.jsonl")).keys() {
        assert!(page.contains(&format!("Face {id}<")), "face {id}");
    }
    assert!(page.contains("--review faces.html") && page.contains("data:image/jpeg;base64,"));
    assert!(!page.contains("http") && !page.contains("src=\"f"));
}

#[test]
fn a_choice_that_makes_no_sense_is_an_error_of_the_command_line() {
    let Some(dir) = redacted() else { return };
    for wrong in [
        "clip.mp4 --except 1",
        "clip.mp4 --redact solid --only 1 --except 2",
        "clip.mp4 --redact solid --cover-region 1,2,3",
        "clip.mp4 all.mp4 --redact solid --only 1",
        "clip.mp4 --redact solid --review clip.mp4",
        "clip.mp4 --redact solid --faces all.jsonl --json all.jsonl",
    ] {
        run(dir.path(), wrong).exits(2);
    }
    assert!(dir.path().join("clip.mp4").metadata().unwrap().len() > 1000);
}
