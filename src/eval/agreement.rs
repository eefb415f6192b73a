//! Holds the measures equal to those of the reference evaluator `evaluate.py`, on random pictures made from a fixed seed: to
//! figures that it printed, written down here, and, where the script and Python with NumPy are there, to what it prints now.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::detections;
use super::report::{self, Report};
use crate::dataset::{self, Annotated, Split};

/// SplitMix64, written here so that the numbers never change with a crate's version.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a length in quarters of a pixel, which single precision holds exactly.
    fn pixels(&mut self, from: f64, to: f64) -> f64 {
        ((from + (to - from) * self.unit()) * 4.0).round() / 4.0
    }

    fn one_in(&mut self, n: f64) -> bool {
        self.unit() * n < 1.0
    }
}

/// Writes `wider/`, `fddb/` and `detections.jsonl` for the same 60 pictures.
fn write_set(folder: &Path, seed: u64) {
    let mut random = Random(seed);
    let mut wider =
        String::from("split,image,width,height,x,y,w,h,blur,expression,illumination,invalid,occlusion,pose\n");
    let mut wider_images = String::from("split,image,width,height,faces\n");
    let mut fddb = String::from("fold,image,major,minor,angle,cx,cy\n");
    let mut fddb_images = String::from("fold,image,width,height\n");
    let mut lines = String::new();
    for picture in 0..60 {
        let name = format!("val/p{picture}.webp");
        let (width, height) = (300 + (random.unit() * 300.0) as u32, 200 + (random.unit() * 300.0) as u32);
        writeln!(wider_images, "val,{name},{width},{height},0").unwrap();
        writeln!(fddb_images, "1,{name},{width},{height}").unwrap();
        let mut boxes = Vec::new();
        let score = |random: &mut Random, good: f64| {
            // Two decimals, so that scores are equal now and then.
            ((random.unit() * 0.6 + 0.4 * good) * 100.0).round() / 100.0
        };
        for _ in 0..(random.unit() * 8.0) as u32 {
            let h = random.pixels(8.0, 90.0);
            let w = random.pixels(0.6, 0.9) * h;
            let (x, y) = (random.pixels(-10.0, f64::from(width)), random.pixels(-10.0, f64::from(height)));
            let invalid = u8::from(random.one_in(8.0));
            writeln!(wider, "val,{name},{width},{height},{x},{y},{w},{h},0,0,0,{invalid},0,0").unwrap();
            let (angle, cx, cy) = (random.unit() * 1.0 + 1.07, x + w / 2.0, y + h / 2.0);
            writeln!(fddb, "1,{name},{},{},{angle},{cx},{cy}", h / 2.0, w / 2.0).unwrap();
            // A face gets up to three detections, shifted and too large.
            for _ in 0..(random.unit() * 3.4) as u32 {
                let spread = 0.25 * h;
                let shift = [random.pixels(-spread, spread), random.pixels(-spread, spread)];
                let size = [w * (0.9 + 0.5 * random.unit()), h * (0.9 + 0.4 * random.unit())];
                boxes.push([x + shift[0], y + shift[1], size[0], size[1], score(&mut random, 1.0)]);
            }
        }
        for _ in 0..(random.unit() * 6.0) as u32 {
            let side = random.pixels(8.0, 120.0);
            let (x, y) = (random.pixels(-20.0, f64::from(width)), random.pixels(-20.0, f64::from(height)));
            boxes.push([x, y, side, side, score(&mut random, 0.0)]);
        }
        writeln!(
            lines,
            "{}",
            serde_json::json!({"image": name, "width": width, "height": height, "ms": 1.0, "boxes": boxes})
        )
        .unwrap();
    }
    for (path, text) in [
        ("wider/annotations.csv", wider),
        ("wider/images.csv", wider_images),
        ("fddb/ellipses.csv", fddb),
        ("fddb/images.csv", fddb_images),
        ("detections.jsonl", lines),
    ] {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn reports(folder: &Path, set: &str) -> [Report; 2] {
    let pictures: Vec<Annotated> =
        if set == "wider" { dataset::wider(folder, Split::Val) } else { dataset::fddb(folder) }.unwrap();
    let found = detections::read(&folder.join("detections.jsonl"), &pictures, &[]).unwrap();
    let found: Vec<_> = found.into_iter().map(|f| f.detections).collect();
    let figures = if set == "wider" { report::wider } else { report::fddb };
    [figures(&pictures, &found, false), figures(&pictures, &found, true)]
}

/// Returns the figures that `evaluate.py` prints, in a fixed order: for boxes AP, recall at 1 and at 0.1 false alarms a picture and
/// final recall of each curve; for ellipses recall at 100, 500, 1000 and 2000 false alarms in all, then scaled to the number of
/// pictures.
fn ours(report: &Report) -> Vec<f64> {
    let mut list = Vec::new();
    for named in &report.curves {
        let curve = &named.curve;
        if named.name == "ellipses" {
            let totals = [100.0, 500.0, 1000.0, 2000.0];
            list.extend(totals.map(|n| curve.recall_at(n)));
            list.extend(totals.map(|n| curve.recall_at(n * curve.pictures as f64 / 2845.0)));
        } else {
            list.extend([curve.average_precision(), curve.recall_at_each(1.0), curve.recall_at_each(0.1)]);
            list.push(curve.final_recall());
        }
    }
    list
}

fn theirs(report: &serde_json::Value) -> Vec<f64> {
    let number =
        |value: &serde_json::Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"));
    if report.get("h20").is_some() {
        let keys = ["ap", "recall_1fppi", "recall_0.1fppi", "max_recall"];
        return ["h20", "h40"].iter().flat_map(|h| keys.map(|k| number(&report[h], k))).collect();
    }
    let at = [100, 500, 1000, 2000];
    let plain = at.iter().map(|n| number(report, &format!("recall@{n}")));
    plain.chain(at.iter().map(|n| number(report, &format!("recall@{n}_scaled")))).collect()
}

fn assert_equal(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        // evaluate.py rounds to four decimals.
        assert!((a - b).abs() < 1e-4, "{what}: {ours:?}, evaluate.py: {theirs:?}");
    }
}

#[test]
fn figures_are_those_that_evaluate_py_gave() {
    let folder = tempfile::tempdir().unwrap();
    write_set(folder.path(), 1);
    for (set, raw, adjusted) in WRITTEN_DOWN {
        let [our_raw, our_adjusted] = reports(folder.path(), set);
        assert_equal(&ours(&our_raw), &raw, set);
        assert_equal(&ours(&our_adjusted), &adjusted, set);
    }
}

/// The set, and what `evaluate.py` printed for seed 1: raw, and adjusted to the set's convention.
const WRITTEN_DOWN: [(&str, [f64; 8], [f64; 8]); 2] = [
    (
        "wider",
        [0.3312, 0.4242, 0.1061, 0.5379, 0.3235, 0.4607, 0.2247, 0.5169],
        [0.3531, 0.4545, 0.1061, 0.5606, 0.3427, 0.5056, 0.1124, 0.5618],
    ),
    (
        "fddb",
        [0.3617, 0.4734, 0.4734, 0.4734, 0.0053, 0.0638, 0.1383, 0.2128],
        [0.4521, 0.5372, 0.5372, 0.5372, 0.0160, 0.1223, 0.1968, 0.3191],
    ),
];

#[test]
fn figures_are_those_of_evaluate_py() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../shared/peers/evaluate.py");
    let has_numpy = |python: &PathBuf| {
        Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
    };
    let python = [here.join("../peers-venv/bin/python"), PathBuf::from("python3")].into_iter().find(has_numpy);
    let (true, Some(python)) = (script.is_file(), python) else {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: no ../shared/peers/evaluate.py, or no python3 with numpy");
        return;
    };
    for seed in 1..4 {
        let folder = tempfile::tempdir().unwrap();
        write_set(folder.path(), seed);
        for set in ["wider", "fddb"] {
            let output = Command::new(&python)
                .arg(&script)
                .args([set, "--det"])
                .arg(folder.path().join("detections.jsonl"))
                .arg("--gt")
                .arg(folder.path().join(set))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let [raw, adjusted] = reports(folder.path(), set);
            let what = format!("{set}, seed {seed}");
            assert_equal(&ours(&raw), &theirs(&report["raw"]), &what);
            let fitted: Vec<f64> =
                report["convention_dx_dy_sw_sh"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let convention = adjusted.convention;
            assert_equal(&[convention.dx, convention.dy, convention.sw, convention.sh], &fitted, &what);
            assert_equal(&ours(&adjusted), &theirs(&report["adjusted"]), &what);
        }
    }
}
