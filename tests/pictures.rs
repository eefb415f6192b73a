//! `detect` and `inspect` on pictures good and bad: each gives the right answer or a clear error, and the rest go on.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{encoded, ours, picture, program, run};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use serde_json::Value;

const FACE: &str = "assets/astronaut.jpg";

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, b| (0..8).fold(crc ^ u32::from(*b), step))
}

/// A PNG that says it is `side`×`side` and holds almost nothing.
fn png_bomb(side: u32) -> Vec<u8> {
    let chunk = |name: &[u8], data: &[u8]| {
        let body = [name, data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
    };
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let data = [0x78, 0x9C, 0x63, 0, 0, 0, 1, 0, 1];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", &[])].concat()
}

/// A BMP that says the same.
fn bmp_bomb() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for value in [154u32, 0, 54, 40, 0x7FFF_FFFF, 0x7FFF_FFFF, 1 | 24 << 16, 0, 0, 2835, 2835, 0, 0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize(154, 0);
    bytes
}

/// The bytes of a JPEG with EXIF data that only tells its orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff =
        [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    let payload = [b"Exif\0\0".as_slice(), &tiff].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &payload, &jpeg[2..]].concat()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn detect(paths: &[&Path]) -> common::Ran {
    run(["detect", "--json"].iter().map(AsRef::as_ref).chain(paths.iter().map(|p| p.as_os_str())))
}

/// The boxes of a record, best first.
fn boxes(record: &Value) -> Vec<[f64; 4]> {
    let list = record["faces"].as_array().unwrap_or_else(|| panic!("{record}"));
    list.iter().map(|f| ["x", "y", "w", "h"].map(|k| f[k].as_f64().unwrap())).collect()
}

fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let shared = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let both = shared(0) * shared(1);
    both / (a[2] * a[3] + b[2] * b[3] - both)
}

#[test]
fn bad_pictures_are_named_and_the_others_are_done_in_order() {
    let f = Folder::new();
    let whole = std::fs::read(ours(FACE)).unwrap();
    let bad = [
        (f.put("cut.jpg", &whole[..whole.len() / 2]), "cut"),
        (f.put("empty.png", ""), "empty"),
        (f.put("text.jpg", "this is no picture"), "not a picture"),
        (f.path("missing.jpg"), "No such file"),
        (f.put("bomb.png", png_bomb(1 << 31)), "megapixels"),
        (f.put("bomb2.png", png_bomb(100_000)), "megapixels"),
        (f.put("bomb.bmp", bmp_bomb()), "megapixels"),
    ];
    let good = ours(FACE);
    let mut paths = Vec::new();
    for (path, _) in &bad {
        paths.extend([path.as_path(), good.as_path()]);
    }
    let ran = detect(&paths).exits(1);
    let lines = ran.lines();
    assert_eq!(lines.len(), paths.len());
    for (line, path) in lines.iter().zip(&paths) {
        assert_eq!(line["image"], path.to_str().unwrap());
    }
    for (i, (_, word)) in bad.iter().enumerate() {
        let error = lines[2 * i]["error"].as_str().unwrap_or_else(|| panic!("no error: {}", lines[2 * i]));
        assert!(error.contains(word) && lines[2 * i].as_object().unwrap().len() == 2, "{error}");
        assert_eq!(lines[2 * i + 1]["faces"], lines[1]["faces"]);
    }
}

#[test]
fn odd_pictures_are_read() {
    let f = Folder::new();
    let deep = ImageBuffer::from_fn(64, 48, |x, y| Luma([(x * 700 + y) as u16]));
    let clear = ImageBuffer::from_fn(64, 48, |x, _| Rgba([200, 10, 10, x as u8]));
    let grey = DynamicImage::ImageRgb8(picture(FACE)).to_luma8();
    let cases = [
        (f.put("one.png", encoded(RgbImage::new(1, 1), ImageFormat::Png)), 1, 1),
        (f.put("line.png", encoded(RgbImage::new(20_000, 1), ImageFormat::Png)), 20_000, 1),
        (f.put("column.png", encoded(RgbImage::new(1, 20_000), ImageFormat::Png)), 1, 20_000),
        (f.put("deep.png", encoded(DynamicImage::ImageLuma16(deep), ImageFormat::Png)), 64, 48),
        (f.put("clear.webp", encoded(DynamicImage::ImageRgba8(clear), ImageFormat::WebP)), 64, 48),
        (f.put("grey.jpg", encoded(grey, ImageFormat::Jpeg)), 512, 512),
        (f.put("a.gif", encoded(RgbImage::from_pixel(40, 30, Rgb([9, 9, 9])), ImageFormat::Gif)), 40, 30),
        (
            f.put(
                "a name with spaces, ümläute, 顔 and \"quotes\".tiff",
                encoded(RgbImage::new(30, 20), ImageFormat::Tiff),
            ),
            30,
            20,
        ),
        (f.put("misnamed.png", encoded(RgbImage::new(33, 22), ImageFormat::Bmp)), 33, 22),
        (ours("tests/data/cmyk.jpg"), 32, 16),
    ];
    let paths: Vec<&Path> = cases.iter().map(|c| c.0.as_path()).collect();
    let ran = detect(&paths).exits(0);
    for (line, (path, width, height)) in ran.lines().iter().zip(&cases) {
        assert_eq!(line["image"], path.to_str().unwrap());
        assert_eq!((line["width"].as_u64(), line["height"].as_u64()), (Some(*width), Some(*height)), "{line}");
        assert!(line["ms"].as_f64().is_some() && line["faces"].is_array(), "{line}");
    }
}

#[test]
fn sixteen_bit_alpha_and_exif_rotated_copies_give_the_same_face() {
    let f = Folder::new();
    let plain = picture("assets/grace_hopper.jpg");
    let turned = image::imageops::rotate270(&plain);
    let picture = DynamicImage::ImageRgb8(plain.clone());
    let paths = [
        f.put("plain.jpg", encoded(plain.clone(), ImageFormat::Jpeg)),
        f.put("turned.jpg", with_orientation(&encoded(turned, ImageFormat::Jpeg), 6)),
        f.put("deep.png", encoded(DynamicImage::ImageRgb16(picture.to_rgb16()), ImageFormat::Png)),
        f.put("alpha.png", encoded(DynamicImage::ImageRgba8(picture.to_rgba8()), ImageFormat::Png)),
    ];
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let ran = detect(&paths).exits(0);
    let lines = ran.lines();
    for line in &lines {
        assert_eq!((line["width"].as_u64(), line["height"].as_u64()), (Some(512), Some(600)));
        let (first, this) = (boxes(&lines[0]), boxes(line));
        assert!(!this.is_empty() && iou(first[0], this[0]) > 0.8, "{first:?}, {this:?}");
    }
}

#[test]
fn the_faces_of_the_shipped_portraits_are_found() {
    let ran = detect(&[&ours(FACE), &ours("assets/grace_hopper.jpg")]).exits(0);
    let lines = ran.lines();
    // Their faces, drawn by hand: hairline to chin, ear to ear.
    for (line, want) in lines.iter().zip([[176.0, 66.0, 96.0, 120.0], [194.0, 140.0, 144.0, 205.0]]) {
        let best = boxes(line)[0];
        assert!(iou(best, want) > 0.4, "{best:?}, not {want:?}");
    }
}

#[test]
fn folders_and_lists_are_read_and_threads_do_not_change_results() {
    let f = Folder::new();
    let small = encoded(image::imageops::thumbnail(&picture(FACE), 128, 128), ImageFormat::Png);
    for name in ["b.png", "a.PNG", "c.png"] {
        f.put(name, &small);
    }
    f.put("notes.txt", "not a picture, not meant");
    let list = f.put("list", format!("{}\r\n\n{}\n", f.path("c.png").display(), f.path("gone.png").display()));
    let run_with = |threads: &str| {
        let arguments =
            [f.0.path().as_os_str(), "--list".as_ref(), list.as_os_str(), "--threads".as_ref(), threads.as_ref()];
        let ran = run(["detect".as_ref(), "--json".as_ref()].into_iter().chain(arguments)).exits(1);
        let mut lines = ran.lines();
        lines.iter_mut().for_each(|l| drop(l.as_object_mut().unwrap().remove("ms")));
        lines
    };
    let one = run_with("1");
    let names: Vec<PathBuf> = one.iter().map(|l| l["image"].as_str().unwrap().into()).collect();
    assert_eq!(names, ["a.PNG", "b.png", "c.png", "c.png", "gone.png"].map(|n| f.path(n)));
    assert_eq!(one, run_with("4"));
    let empty = f.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let ran = detect(&[&empty]).exits(1);
    assert!(ran.lines()[0]["error"].as_str().unwrap().contains("without pictures"));
}

#[test]
fn annotated_pictures_are_written_to_a_folder_that_is_made() {
    let f = Folder::new();
    let out = f.path("new/folder");
    let arguments = ["detect".as_ref(), FACE.as_ref(), FACE.as_ref(), "--out".as_ref(), out.as_os_str()];
    let ran = run(arguments).exits(0);
    assert_eq!(ran.out.lines().count(), 2);
    assert!(ran.out.contains("1 face"), "{}", ran.out);
    for name in ["astronaut.jpg", "astronaut-2.jpg"] {
        let drawn = image::open(out.join(name)).unwrap().into_rgb8();
        assert_eq!(drawn.dimensions(), (512, 512));
        let original = picture(FACE);
        let changed =
            drawn.pixels().zip(original.pixels()).filter(|(a, b)| (0..3).any(|c| a[c].abs_diff(b[c]) > 60)).count();
        assert!((200..40_000).contains(&changed), "{changed} pixels differ");
    }
    assert!(std::fs::read_dir(&out).unwrap().all(|e| !e.unwrap().path().to_string_lossy().contains("partial")));
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named() {
    let f = Folder::new();
    let file = f.put("file", "");
    let in_a_file = file.join("out");
    run(["detect".as_ref(), ours(FACE).as_os_str(), "--out".as_ref(), in_a_file.as_os_str()])
        .exits(1)
        .complains("file/out");
    run(["inspect".as_ref(), ours(FACE).as_os_str(), "-o".as_ref(), in_a_file.with_extension("png").as_os_str()])
        .exits(1)
        .complains("file/out.png");
}

/// A limit on the size of files stands for a full disk, which a test can't have.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_picture() {
    let f = Folder::new();
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{}' detect --json '{}' --out '{}'",
        env!("CARGO_BIN_EXE_facecascade"),
        ours(FACE).display(),
        f.path("out").display()
    );
    let ran: common::Ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().into();
    let ran = ran.exits(1).complains("astronaut.jpg");
    assert_eq!(ran.err.matches("os error").count(), 1, "said once: {}", ran.err);
    assert_eq!(ran.lines().len(), 1, "the record is still given");
    assert_eq!(std::fs::read_dir(f.path("out")).unwrap().count(), 0);
    if Path::new("/dev/full").exists() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = program().args(["detect", "--json"]).arg(ours(FACE)).stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(1));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let f = Folder::new();
    let small = f.put("a.png", encoded(RgbImage::new(8, 8), ImageFormat::Png));
    let list = f.put("list", format!("{}\n", small.display()).repeat(20_000));
    let mut child = program()
        .args(["detect", "--json", "--list"])
        .arg(list)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"image\""), "{line}");
    let ran: common::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.exits(0).err, "");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let face = FACE;
    let wrong: [&[&str]; 9] = [
        &["detect"],
        &["detect", face, "--threshold", "2"],
        &["detect", face, "--threshold", "nan"],
        &["detect", face, "--min-face", "0"],
        &["detect", face, "--min-face", "x"],
        &["detect", face, "--no-such-option"],
        &["inspect", face],
        &["video"],
        &["no-such-command"],
    ];
    for arguments in wrong {
        assert!(!run(arguments).exits(2).err.is_empty());
    }
    for command in ["detect", "video", "inspect"] {
        assert!(run([command, "--help"]).exits(0).out.contains("Examples:"));
    }
}

/// The built-in cascade's files in a folder of their own, one of its weights files changed by `damage`.
fn damaged_models(f: &Folder, damage: impl Fn(&mut Vec<u8>)) -> (PathBuf, String) {
    let settings = std::fs::read_to_string(ours("models/base.toml")).expect("models/base.toml");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(ours("models")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "safetensors")
            && settings.contains(&format!("\"{}\"", stem.trim_end_matches(".int8")))
        {
            std::fs::copy(&path, f.path(&format!("{stem}.safetensors"))).unwrap();
            names.push(stem);
        }
    }
    names.sort();
    let name = format!("{}.safetensors", names.first().expect("weights in models/"));
    let mut bytes = std::fs::read(f.path(&name)).unwrap();
    damage(&mut bytes);
    f.put(&name, bytes);
    (f.put("shipped.toml", settings), name)
}

#[test]
fn a_cascade_from_a_folder_is_the_built_in_one() {
    let f = Folder::new();
    let (settings, _) = damaged_models(&f, |_| ());
    let ran =
        run(["detect".as_ref(), "--json".as_ref(), ours(FACE).as_os_str(), "--cascade".as_ref(), settings.as_os_str()]);
    let built_in = detect(&[&ours(FACE)]).exits(0).lines();
    assert_eq!(ran.exits(0).lines()[0]["faces"], built_in[0]["faces"]);
}

#[test]
fn cut_or_broken_weights_and_settings_are_named() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Damage, &str); 2] = [
        (|bytes| bytes.truncate(bytes.len() - 100), "safetensors"),
        (
            |bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            "NaN",
        ),
    ];
    for (damage, word) in cases {
        let f = Folder::new();
        let (settings, name) = damaged_models(&f, damage);
        run(["detect".as_ref(), ours(FACE).as_os_str(), "--cascade".as_ref(), settings.as_os_str()])
            .exits(1)
            .complains(word)
            .complains(&name);
    }
    let f = Folder::new();
    let wrong = f.put("wrong.toml", "no_such_key = 1\n");
    run(["detect".as_ref(), ours(FACE).as_os_str(), "--cascade".as_ref(), wrong.as_os_str()])
        .exits(1)
        .complains("wrong.toml");
    run(["detect", FACE, "--cascade", "no/such.toml"]).exits(1).complains("no/such.toml");
}

#[test]
fn repeated_searches_give_the_same_faces_and_processor_time() {
    let once = run(["detect", "--json", FACE]).exits(0).lines()[0].clone();
    let again = run(["detect", "--json", "--repeat", "2", FACE]).exits(0).lines()[0].clone();
    assert_eq!(once["faces"], again["faces"]);
    assert!(once.get("cpu_ms").is_none());
    #[cfg(unix)]
    assert!(again["cpu_ms"].as_f64().unwrap() > 0.0, "{again}");
    run(["detect", "--repeat", "0", FACE]).exits(2);
}

#[test]
fn inspect_draws_a_panel_a_stage_with_the_true_faces() {
    let f = Folder::new();
    let records = f.put("records.jsonl", detect(&[&ours(FACE)]).exits(0).out);
    let (plain, with_truth) = (f.path("plain.png"), f.path("truth.png"));
    let three = ours("models/octave/cascade.toml").display().to_string();
    run(["inspect", FACE, "-o", plain.to_str().unwrap(), "--cascade", &three]).exits(0);
    let nine = image::open(&plain).unwrap();
    run(["inspect", FACE, "-o", plain.to_str().unwrap(), "--model", "fast"]).exits(0);
    let six = image::open(&plain).unwrap();
    let ran = run(["inspect".as_ref(), ours(FACE).as_os_str(), "-o".as_ref(), plain.as_os_str()]).exits(0);
    for stage in ["find-1", "calibrate-1", "filter-1", "find-2", "calibrate-2", "filter-2", "find-3", "filter-3"] {
        assert!(ran.out.contains(stage), "{stage} in {}", ran.out);
    }
    let arguments: [&std::ffi::OsStr; 6] =
        ["inspect".as_ref(), FACE.as_ref(), "-o".as_ref(), with_truth.as_ref(), "--truth".as_ref(), records.as_ref()];
    run(arguments).exits(0);
    let (a, b) = (image::open(&plain).unwrap().into_rgb8(), image::open(&with_truth).unwrap().into_rgb8());
    assert_eq!(a.dimensions(), b.dimensions());
    assert!(a.width() > 1400 && six.width() == a.width() && a.height() > 5 * six.height() / 4);
    assert!(nine.width() == six.width() && nine.height() > 5 * six.height() / 4);
    let white = |p: &RgbImage| p.pixels().filter(|p| p.0 == [255; 3]).count();
    assert!(white(&b) > white(&a) + 1000, "true faces are white");
    run(["inspect", FACE, "-o", "x.gif"]).exits(1).complains("x.gif");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_that_this_program_was_not_built_for_is_refused_with_the_way_to_build_it() {
    for option in ["--refiners", "--device"] {
        run(["detect", FACE, option, "cuda"]).exits(1).complains("--features cuda");
    }
    let faces = |refiners| run(["detect", "--json", FACE, "--refiners", refiners]).exits(0).lines()[0]["faces"].clone();
    assert_eq!(faces("auto"), faces("cpu"));
}
