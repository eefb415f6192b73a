//! `facecascade eval`, run as a user does.
#![cfg(feature = "train")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use facecascade::nets::{weights::Weights, zoo};
use serde_json::Value;

const HEAD: &str = "split,image,width,height,x,y,w,h,blur,expression,illumination,invalid,occlusion,pose\n";

/// A data folder with three pictures, one of them cut, and a face in each.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let wider = folder.path().join("wider");
    std::fs::create_dir_all(wider.join("val")).unwrap();
    let picture = |seed: u32| {
        image::RgbImage::from_fn(120, 90, |x, y| image::Rgb([(x * 2) as u8, (y * 2) as u8, ((x ^ y) * seed) as u8]))
    };
    picture(3).save(wider.join("val/a.png")).unwrap();
    picture(7).save(wider.join("val/b.png")).unwrap();
    std::fs::write(wider.join("val/cut.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let rows = "val,val/a.png,120,90,10,10,30,40,0,0,0,0,0,0\nval,val/b.png,120,90,60,20,20,25,0,0,0,0,0,0\n\
                val,val/cut.png,120,90,60,20,20,25,0,0,0,0,0,0\n";
    std::fs::write(wider.join("annotations.csv"), format!("{HEAD}{rows}")).unwrap();
    folder
}

/// Settings of a cascade of level 1 alone, with random weights and a threshold that lets windows through.
fn cascade(folder: &Path) -> PathBuf {
    let mut state = 1u64;
    let normal = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    Weights::initial(&zoo::octave(), normal).save(&folder.join("octave.safetensors")).unwrap();
    let settings = "[proposer]\nnet = \"octave\"\nthreshold = -30.0\nstep = 2.0\ncalibration = \"box\"\n\
                    level_overlap = 0.5\noverlap = 0.5\n[faces]\nslope = 0.01\n";
    let file = folder.join("first.toml");
    std::fs::write(&file, settings).unwrap();
    file
}

fn eval(arguments: &[&str], data: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_facecascade");
    Command::new(program).args(["eval", "--data"]).arg(data).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn a_cascade_is_measured_and_a_cut_picture_does_not_stop_the_rest() {
    let data = data();
    let settings = cascade(data.path());
    let output = eval(&["--json", "--cascade", settings.to_str().unwrap()], data.path());
    assert_eq!(output.status.code(), Some(1));
    let object = json(&output);
    assert_eq!((&object["pictures"], &object["faces"]), (&3.into(), &3.into()));
    assert!(object["detections"].as_u64().unwrap() > 10, "{object}");
    assert_eq!(object["failed"].as_array().unwrap().len(), 1);
    assert_eq!(object["failed"][0]["image"], "val/cut.png");
    assert!(object["multiply_adds_vga"].as_f64().unwrap() > 5e7, "{object}");
    assert!(object["windows"]["find-1"].as_f64().unwrap() > 0.0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cut.png"));
}

#[test]
fn the_number_of_threads_does_not_change_the_figures() {
    let data = data();
    let settings = cascade(data.path());
    let run = |threads: &str| {
        let arguments = ["--json", "--threads", threads, "--cascade", settings.to_str().unwrap()];
        json(&eval(&arguments, data.path()))
    };
    let (one, four) = (run("1"), run("4"));
    assert_eq!(four["threads"], 4);
    assert_eq!((&one["raw"], &one["by_size"], &one["windows"]), (&four["raw"], &four["by_size"], &four["windows"]));
}

#[test]
fn boxes_of_a_file_are_measured_and_curves_drawn() {
    let data = data();
    let file = data.path().join("found.jsonl");
    let lines = r#"{"image":"x/val/a.png","width":120,"height":90,"ms":2,"faces":[{"x":10,"y":10,"w":30,"h":40,"score":0.9}]}
{"image":"x/val/b.png","width":120,"height":90,"ms":4,"faces":[{"x":0,"y":0,"w":30,"h":40,"score":0.8}]}
{"image":"x/val/cut.png","width":120,"height":90,"ms":3,"faces":[]}"#;
    std::fs::write(&file, lines).unwrap();
    let out = data.path().join("new/out");
    let arguments = ["--json", "--detections", file.to_str().unwrap(), "--plot", "--out", out.to_str().unwrap()];
    let output = eval(&arguments, data.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let object = json(&output);
    assert_eq!(object["raw"]["h20"]["ap"], 0.3333);
    assert_eq!(object["raw"]["h40"]["ap"], 1.0);
    assert_eq!(object["ms"]["median"], 3.0);
    let plots = object["plots"].as_array().unwrap();
    assert_eq!(plots.len(), 2);
    for (plot, name) in plots.iter().zip(["pr-wider-val.png", "roc-wider-val.png"]) {
        assert!(plot.as_str().unwrap().ends_with(name));
        assert_eq!(image::image_dimensions(plot.as_str().unwrap()).unwrap(), (960, 720));
    }
    let table = eval(&arguments[1..], data.path());
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("faces ≥ 20 px") && text.contains("pr-wider-val.png"), "{text}");
}

#[test]
fn faces_found_and_missed_are_counted_by_their_labels_at_a_score() {
    let data = data();
    let file = data.path().join("found.jsonl");
    let lines = r#"{"image":"val/a.png","faces":[{"x":10,"y":10,"w":30,"h":40,"score":0.25}]}
{"image":"val/b.png","faces":[{"x":60,"y":20,"w":20,"h":25,"score":0.8},{"x":0,"y":0,"w":30,"h":40,"score":0.35}]}
{"image":"val/cut.png","faces":[]}"#;
    std::fs::write(&file, lines).unwrap();
    let run = |more: &[&str]| {
        let arguments = ["--by", "size,light", "--detections", file.to_str().unwrap()];
        eval(&[&arguments, more].concat(), data.path())
    };
    let by = |more: &[&str]| json(&run(&[more, &["--json"]].concat()))["by"].clone();
    let at_3 = by(&[]);
    assert_eq!((&at_3["score"], &at_3["false_alarms"]), (&0.3.into(), &1.into()));
    let count = |faces: u8, found: u8| serde_json::json!({"faces": faces, "found": found, "missed": faces - found});
    assert_eq!(at_3["all"], count(3, 1));
    let sizes = &at_3["labels"]["size"];
    let of = |i: usize| [&sizes[i]["value"], &sizes[i]["faces"], &sizes[i]["found"], &sizes[i]["missed"]];
    assert_eq!(of(2), [&Value::from("20–28"), &2.into(), &1.into(), &1.into()]);
    assert_eq!(of(4), [&Value::from("40–80"), &1.into(), &0.into(), &1.into()]);
    assert_eq!(by(&["--score", "0.2"])["all"], count(3, 2));
    // With no false alarm at all, only what is surer than the first one counts.
    let none = by(&["--false-alarms", "0"]);
    assert_eq!((&none["score"], &none["all"]), (&0.8.into(), &count(3, 1)));
    let table = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(table.contains("size 40–80") && table.contains("light extreme") && !table.contains("pose"), "{table}");
    assert_eq!(eval(&["--score", "0.5"], data.path()).status.code(), Some(2));
}

#[test]
fn a_comparison_is_drawn_and_a_file_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compare.json");
    let detectors = r#"{"about": {}, "detectors": [{"detector": "ours", "ours": true, "smallest": 20, "ms": 4.5, "empty": 2, "crowd": 9,
        "h20": 0.89, "h40": 0.93}, {"detector": "other", "ours": false, "smallest": 20, "ms": 9.5, "h20": 0.8, "h40": 0.9}]}"#;
    let run = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_facecascade"));
        command.arg("eval").arg("--compared").arg(&file).arg("--out").arg(dir.path().join("drawn")).output().unwrap()
    };
    assert_eq!(run(detectors).status.code(), Some(0));
    assert_eq!(image::image_dimensions(dir.path().join("drawn/compare.png")).unwrap(), (1600, 760));
    let refused = run("{}");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("tools/compare.py"));
}

#[test]
fn only_every_nth_picture_is_measured() {
    let data = data();
    let settings = cascade(data.path());
    let output = eval(&["--json", "--every", "3", "--cascade", settings.to_str().unwrap()], data.path());
    assert_eq!(json(&output)["pictures"], 1);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_missing_folder_or_file_is_an_error_and_a_wrong_option_another() {
    let none = eval(&[], Path::new("/nowhere"));
    assert_eq!(none.status.code(), Some(1));
    let text = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(text.contains("--data must point to a folder that holds wider/"), "{text}");
    assert!(none.stdout.is_empty());
    let data = data();
    assert_eq!(eval(&["--detections", "/nowhere.jsonl"], data.path()).status.code(), Some(1));
    assert_eq!(eval(&["--cascade", "/nowhere.toml"], data.path()).status.code(), Some(1));
    assert_eq!(eval(&["--every", "0"], data.path()).status.code(), Some(2));
    assert_eq!(eval(&["--set", "none"], data.path()).status.code(), Some(2));
}

/// A data folder with two portraits, one of which smiles, a picture without a face, and two tiles.
fn smiles() -> tempfile::TempDir {
    use image::imageops::{self, FilterType};
    let folder = tempfile::tempdir().unwrap();
    let at = |p: &str| folder.path().join(p);
    std::fs::create_dir_all(at("mtfl/test")).unwrap();
    std::fs::create_dir_all(at("fer")).unwrap();
    let asset =
        |name: &str| image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)).unwrap().to_rgb8();
    let cut = |picture: &image::RgbImage, x, y, side: u32, to: u32| {
        imageops::resize(&imageops::crop_imm(picture, x, y, side, side).to_image(), to, to, FilterType::Triangle)
    };
    let (astronaut, hopper) = (asset("astronaut.jpg"), asset("grace_hopper.jpg"));
    cut(&astronaut, 115, 10, 220, 144).save(at("mtfl/test/a.png")).unwrap();
    cut(&hopper, 65, 20, 400, 144).save(at("mtfl/test/b.png")).unwrap();
    image::RgbImage::from_pixel(144, 144, image::Rgb([90; 3])).save(at("mtfl/test/c.png")).unwrap();
    let mut sheet = image::RgbImage::new(96, 48);
    imageops::replace(&mut sheet, &cut(&astronaut, 168, 62, 116, 48), 0, 0);
    imageops::replace(&mut sheet, &cut(&hopper, 150, 105, 230, 48), 48, 0);
    sheet.save(at("fer/sheet.png")).unwrap();
    let landmarks: String = (1..=5).map(|i| format!("lx{i},ly{i},")).collect();
    let head = format!("split,image,x,y,w,h,smile,glasses,pose,{landmarks}size,pad_l,pad_t,pad_r,pad_b");
    let row = |name: &str, smile: u8, pose: u8| {
        format!("test,test/{name}.png,45,36,52,72,{smile},0,{pose},60,65,86,65,73,77,62,88,84,88,144,0,0,0,0\n")
    };
    let rows = [row("a", 1, 3), row("b", 0, 3), row("c", 1, 1)].concat();
    std::fs::write(at("mtfl/annotations.csv"), format!("{head}\n{rows}")).unwrap();
    let index = "split,sheet,col,row,emotion,smile\ntest,sheet.png,0,0,happy,1\ntest,sheet.png,1,0,neutral,0\n";
    std::fs::write(at("fer/index.csv"), index).unwrap();
    folder
}

#[test]
fn smiles_are_measured_end_to_end_and_a_face_that_is_not_found_counts_as_wrong() {
    let data = smiles();
    let output = eval(&["--set", "smile", "--json", "--plot", "--out", data.path().to_str().unwrap()], data.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let object = json(&output);
    let (mtfl, fer) = (&object["sets"][0], &object["sets"][1]);
    assert_eq!((&mtfl["confusion"]["smiles_right"], &mtfl["confusion"]["smiles_not_found"]), (&1.into(), &1.into()));
    // Of each class the share that is right; a smile that was not found is a wrong one.
    let balanced = |set: &serde_json::Value| {
        let count = |key: &str| set["confusion"][key].as_f64().unwrap();
        let share = |class: &str| {
            let [right, wrong, lost] = ["right", "wrong", "not_found"].map(|what| count(&format!("{class}_{what}")));
            right / (right + wrong + lost)
        };
        (share("smiles") + share("others")) / 2.0
    };
    assert_eq!((mtfl["balanced_accuracy"].as_f64(), &mtfl["auc"]), (Some(balanced(mtfl)), &0.5.into()), "{mtfl}");
    assert_eq!((fer["balanced_accuracy"].as_f64(), &fer["auc"]), (Some(balanced(fer)), &1.0.into()), "{fer}");
    assert_eq!(fer["found"], 1.0);
    assert_eq!(object["by_height"].as_array().unwrap().len(), 8);
    assert_eq!(object["by_pose"][2]["auc"], 1.0);
    for name in ["roc-smile.png", "reliability-smile.png"] {
        assert!(image::open(data.path().join(name)).unwrap().width() > 500);
    }
    assert_eq!(eval(&["--set", "smile", "--by", "size"], data.path()).status.code(), Some(1));
    let table = eval(&["--set", "smile"], data.path());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        ["mtfl/test", "fer/test", "calibration error", "24 px", "frontal"].iter().all(|w| table.contains(w)),
        "{table}"
    );
}

#[test]
fn of_a_film_whose_faces_are_known_the_open_ones_are_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, boxes: [&str; 3]| {
        let line = |(frame, faces): (usize, &&str)| format!("{{\"frame\":{frame},\"faces\":[{faces}]}}\n");
        std::fs::write(dir.path().join(name), boxes.iter().enumerate().map(line).collect::<String>()).unwrap();
    };
    let face = r#"{"x":10,"y":10,"w":50,"h":60}"#;
    write("truth.jsonl", [face, face, ""]);
    write("run.jsonl", [face, "", r#"{"id":2,"x":300,"y":10,"w":50,"h":60}"#]);
    let run = |more: &[&str]| {
        let arguments = ["eval", "--redaction", "--truth", "truth.jsonl", "--covers", "run.jsonl"];
        Command::new(env!("CARGO_BIN_EXE_facecascade")).args(arguments).args(more).current_dir(&dir).output().unwrap()
    };
    let text = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(text.contains("3 frames, 1 uncovered face-frames") && text.contains("open in frames 1"), "{text}");
    let object = json(&run(&["--json"]));
    let row = &object["redaction"][0];
    assert_eq!((&row["sizes"]["40-80"]["open"], &row["wrong"], &row["pictures"]), (&1.into(), &1.into(), &3.into()));
}
