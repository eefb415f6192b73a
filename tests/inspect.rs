//! `inspect`, run as a user does: what was lost is what `eval` counts as missed, whatever the cascade, and the page holds all.

mod common;

use std::path::{Path, PathBuf};

use common::{Ran, ours, picture, program};

const HEAD: &str = "split,image,width,height,x,y,w,h,blur,expression,illumination,invalid,occlusion,pose\n";

fn inspect(arguments: &[&str], pictures: &[PathBuf], dir: &Path) -> Ran {
    program().arg("inspect").args(arguments).args(pictures).current_dir(dir).output().unwrap().into()
}

/// A data folder with the two portraits that ship: their faces, and others that nobody can find.
fn data() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let val = folder.path().join("wider/val");
    std::fs::create_dir_all(&val).unwrap();
    let mut rows = HEAD.to_owned();
    let mut pictures = Vec::new();
    for (name, face) in [("astronaut", "179,65,88,109"), ("grace_hopper", "175,106,185,229")] {
        let shown = picture(&format!("assets/{name}.jpg"));
        let (w, h) = shown.dimensions();
        pictures.push(val.join(format!("{name}.png")));
        shown.save(&pictures[pictures.len() - 1]).unwrap();
        // A face, two that are not there, one that is too small to count and one that is marked invalid.
        for (face, invalid) in
            [(face, 0), ("10,10,40,50", 0), ("300,380,60,70", 0), ("5,5,9,9", 0), ("400,20,60,60", 1)]
        {
            rows += &format!("val,val/{name}.png,{w},{h},{face},0,0,0,{invalid},0,0\n");
        }
    }
    std::fs::write(folder.path().join("wider/annotations.csv"), rows).unwrap();
    (folder, pictures)
}

/// Asserts that `inspect` loses as many faces of the pictures as `eval` misses; returns how many.
#[cfg(feature = "train")]
fn agree(data: &Path, pictures: &[PathBuf], options: &[&str], eval_options: &[&str]) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec!["-o", "sheets", "--threshold", "0.4", "--truth", data.to_str().unwrap()];
    arguments.extend(options);
    let ran = inspect(&arguments, pictures, dir.path()).exits(0);
    let listed = ran.out.lines().filter(|line| line.starts_with("  lost ")).count() as u64;
    let mut eval = program();
    eval.args(["eval", "--json", "--by", "size", "--score", "0.4", "--data"])
        .arg(data)
        .args(options)
        .args(eval_options);
    let measured = &Ran::from(eval.output().unwrap()).exits(0).lines()[0];
    let all = &measured["by"]["all"];
    assert_eq!(measured["pictures"], pictures.len());
    let sums = format!("{} true faces: {} found, {} lost", all["faces"], all["found"], all["missed"]);
    assert!(ran.out.contains(&sums), "{sums} is not in\n{}", ran.out);
    assert_eq!(Some(listed), all["missed"].as_u64(), "{}", ran.out);
    let by_stage: u64 = ran
        .out
        .lines()
        .filter(|line| ["find-", "calibrate-", "filter-"].iter().any(|step| line.starts_with(step)))
        .map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(by_stage, listed, "{}", ran.out);
    listed
}

#[cfg(feature = "train")]
#[test]
fn the_faces_listed_as_lost_are_those_that_eval_counts_as_missed() {
    let (folder, pictures) = data();
    assert_eq!(agree(folder.path(), &pictures, &[], &[]), 4);
    assert!(agree(folder.path(), &pictures, &["--precision", "f32", "--min-face", "60"], &[]) >= 2);
    let wider = common::data();
    if wider.join("wider").is_dir() {
        let every = 40;
        let text = std::fs::read_to_string(wider.join("wider/images.csv")).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("val,")?.split(',').next());
        let pictures: Vec<PathBuf> = names.step_by(every).map(|name| wider.join("wider").join(name)).collect();
        assert!(agree(&wider, &pictures, &[], &["--every", &every.to_string()]) > 0);
    }
}

/// Writes random weights of a cascade's only net; returns its settings, whose threshold lets windows through.
#[cfg(feature = "train")]
fn random_cascade(net: &facecascade::nets::spec::Net, settings: &str, folder: &Path) -> PathBuf {
    let mut state = 1u64;
    let normal = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let weights = facecascade::nets::weights::Weights::initial(net, normal);
    weights.save(&folder.join(format!("{}.safetensors", net.name))).unwrap();
    let file = folder.join(format!("{}.toml", net.name));
    std::fs::write(&file, settings).unwrap();
    file
}

#[cfg(feature = "train")]
#[test]
fn cascades_of_one_level_are_inspected_too_with_a_grid_of_octaves_or_cells_on_three_strides() {
    use facecascade::nets::zoo;
    let (folder, pictures) = data();
    let yunet = std::fs::read_to_string(ours("models/level1.toml")).unwrap();
    let octave = "[proposer]\nnet = \"octave\"\nthreshold = -0.2\nstep = 2.0\ncalibration = \"box\"\nlevel_overlap = 0.5\n\
                  overlap = 0.5\n";
    for (net, settings) in
        [(zoo::octave(), octave.to_owned()), (zoo::yunet(), yunet.replace("threshold = -3.9", "threshold = -0.2"))]
    {
        let file = random_cascade(&net, &settings, folder.path());
        let file = file.to_str().unwrap();
        agree(folder.path(), &pictures, &["--cascade", file], &[]);
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["-o", "one.png", "--html", "one.html", "--faces", "--cascade", file];
        let ran = inspect(&arguments, &pictures[..1], dir.path()).exits(0);
        assert!(ran.out.contains("filter-1") && !ran.out.contains("find-2"), "{}", ran.out);
        let sheet = image::open(dir.path().join("one.png")).unwrap();
        assert!((1400..=1600).contains(&sheet.width()), "{}", sheet.width());
        assert!(dir.path().join("one.html").is_file());
    }
}

#[test]
fn lost_faces_are_marked_in_the_sheet_and_the_page_holds_the_same() {
    let (folder, pictures) = data();
    let hopper = &pictures[1..];
    let truth = folder.path().join("wider/annotations.csv");
    let options = |out| ["-o", out, "--html", "page.html", "--truth", truth.to_str().unwrap()];
    let plain = inspect(&options("plain.png"), hopper, folder.path()).exits(0);
    assert!(plain.out.contains("1 face, 1 of 3 true faces found -> plain.png"), "{}", plain.out);
    assert!(plain.out.contains("lost 1: ") && plain.out.contains("40×50 at 10,10"), "{}", plain.out);
    assert!(!std::fs::read_to_string(folder.path().join("page.html")).unwrap().contains("\"name\":\"face 1\""));
    let with_faces = [&options("faces.png")[..], &["--faces"]].concat();
    inspect(&with_faces, hopper, folder.path()).exits(0);
    let [a, b] = ["plain.png", "faces.png"].map(|name| image::open(folder.path().join(name)).unwrap().into_rgb8());
    assert!(b.height() > a.height() + 100 && a.width() == b.width());
    let marked = a.pixels().filter(|p| p.0 == [255, 64, 255]).count();
    assert!(marked > 500, "{marked} pixels say what is lost");
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    for part in ["data:image/jpeg;base64,", "\"name\":\"grace_hopper.png\"", "\"number\":2", "\"name\":\"face 1\""] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http"), "the page loads nothing");
}

#[test]
fn a_picture_that_fails_is_named_and_the_others_are_still_inspected() {
    let (folder, pictures) = data();
    let cut = folder.path().join("wider/val/cut.png");
    std::fs::write(&cut, b"\x89PNG\r\n\x1a\n").unwrap();
    let (list, dir) = ([&pictures[..], &[cut]].concat(), folder.path());
    let ran = inspect(&["-o", "sheets", "--html", "all.html"], &list, dir).exits(1).complains("cut.png");
    assert!(ran.out.contains("2 pictures: 2 faces found") && ran.out.contains("filter-2"), "{}", ran.out);
    assert_eq!(std::fs::read_dir(dir.join("sheets")).unwrap().count(), 2);
    // A picture that the annotations do not name is no picture without faces.
    std::fs::copy(&pictures[0], dir.join("other.png")).unwrap();
    let truth = ["--html", "all.html", "--truth", dir.to_str().unwrap()];
    inspect(&truth, &[dir.join("other.png")], dir).exits(1).complains("no boxes for");
    inspect(&["--html", "all.html", "--truth", "all.html"], &pictures, dir).exits(1).complains("would overwrite");
}
