//! Pictures that hold more than one picture: pages, animations, stereo pairs, films, previews. A redacted file holds no open one,
//! and what is passed over is named.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;
use std::process::Command;

use common::film::solid;
use common::{Ran, encoded, ffmpeg_is_here, ours, picture, program};
use facecascade::Rect;
use image::{DynamicImage, GenericImageView, ImageFormat, RgbImage};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

/// Where the faces of `assets/astronaut.jpg` and `assets/grace_hopper.jpg` are.
const FACES: [Rect; 2] = [Rect::new(183.0, 75.0, 76.0, 105.0), Rect::new(200.0, 150.0, 130.0, 190.0)];

fn detect(dir: &Path, arguments: &str) -> Ran {
    program().arg("detect").args(arguments.split(' ')).current_dir(dir).output().unwrap().into()
}

/// Runs another program in `dir`; whether it did what it should. Says so if not.
fn done(dir: &Path, program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).current_dir(dir).output().is_ok_and(|o| o.status.success());
    if !done {
        eprintln!("skipped: no {program} that does {arguments:?} (apt-get install imagemagick exiftool ffmpeg)");
    }
    done
}

fn portraits() -> [RgbImage; 2] {
    [picture("assets/astronaut.jpg"), picture("assets/grace_hopper.jpg")]
}

/// A TIFF file as scanners and editors write them: a preview of the first page, the pages, and a preview of the second; or a
/// BigTIFF.
fn album(big: bool) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    macro_rules! write {
        ($encoder:expr) => {{
            let mut encoder = $encoder.unwrap();
            let [first, second] = portraits();
            for page in [first, second] {
                let small = image::imageops::thumbnail(&page, 64, 64);
                let mut preview = encoder.new_image::<colortype::RGB8>(64, 64).unwrap();
                preview.encoder().write_tag(Tag::NewSubfileType, 1_u32).unwrap();
                preview.write_data(&small).unwrap();
                let grey = DynamicImage::from(page.clone()).to_luma16();
                if page.height() == 512 {
                    encoder.write_image::<colortype::RGB8>(page.width(), page.height(), &page).unwrap();
                } else {
                    encoder.write_image::<colortype::Gray16>(page.width(), page.height(), &grey).unwrap();
                }
            }
        }};
    }
    if big {
        write!(TiffEncoder::new_big(&mut file))
    } else {
        write!(TiffEncoder::new(&mut file))
    }
    file.into_inner()
}

/// All pictures of a TIFF file.
fn pages(path: &Path) -> Vec<DynamicImage> {
    let mut decoder = Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut pages = Vec::new();
    loop {
        let (width, height) = decoder.dimensions().unwrap();
        pages.push(match decoder.read_image().unwrap() {
            DecodingResult::U8(v) => RgbImage::from_raw(width, height, v).unwrap().into(),
            DecodingResult::U16(v) => {
                DynamicImage::ImageLuma16(image::ImageBuffer::from_raw(width, height, v).unwrap())
            }
            _ => panic!("other samples"),
        });
        if !decoder.more_images() {
            return pages;
        }
        decoder.next_image().unwrap();
    }
}

#[test]
fn every_page_of_a_tiff_is_covered_and_no_preview_is_left() {
    for big in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("album.tif"), album(big)).unwrap();
        let plain =
            detect(dir.path(), "album.tif --json").exits(0).complains("album.tif: holds 2 pictures; only the first");
        let record = &plain.lines()[0];
        assert_eq!((record["width"].as_u64(), record["height"].as_u64()), (Some(512), Some(512)), "not the preview");
        let ran = detect(dir.path(), "album.tif --redact solid --threshold 0.6 --out safe --json").exits(0);
        assert!(ran.err.is_empty(), "{}", ran.err);
        let records = ran.lines();
        assert_eq!(records.iter().map(|r| r["page"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert!(records.iter().all(|r| !r["faces"].as_array().unwrap().is_empty()), "{records:?}");
        let after = pages(&dir.path().join("safe/album.tif"));
        assert_eq!(after.len(), 2, "previews are gone");
        assert_eq!(after[1].color(), image::ColorType::L16);
        for ((after, before), face) in after.iter().zip(portraits()).zip(FACES) {
            assert_eq!(after.dimensions(), before.dimensions());
            assert!(solid(&after.to_rgb8(), &face) > 0.9 && solid(&before, &face) < 0.5);
        }
        let corner = |p: &RgbImage| p.view(0, 0, 60, 400).to_image();
        assert!(corner(&after[0].to_rgb8()) == corner(&portraits()[0]), "the rest is as it was");
    }
}

#[test]
fn a_tiff_with_a_damaged_page_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = album(false);
    // The pixels of the second page, up to the end of the file but for its directory.
    let at = bytes.len() - 400_000;
    bytes.drain(at..at + 200_000);
    std::fs::write(dir.path().join("album.tif"), bytes).unwrap();
    let ran = detect(dir.path(), "album.tif --redact solid --out safe").exits(1);
    assert!(ran.err.contains("album.tif"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(dir.path().join("safe")).unwrap().count(), 0);
}

#[test]
fn animations_are_named_and_not_half_covered() {
    let dir = tempfile::tempdir().unwrap();
    let mut gif = std::io::Cursor::new(Vec::new());
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    for portrait in [&portraits()[0]; 2] {
        encoder.encode_frame(image::Frame::new(DynamicImage::from(portrait.clone()).to_rgba8())).unwrap();
    }
    drop(encoder);
    std::fs::write(dir.path().join("a.gif"), gif.into_inner()).unwrap();
    let mut files = vec!["a.gif"];
    let face = ours("assets/astronaut.jpg").display().to_string();
    let avif = [
        "-v",
        "error",
        "-loop",
        "1",
        "-t",
        "0.3",
        "-i",
        &face,
        "-r",
        "10",
        "-c:v",
        "libaom-av1",
        "-cpu-used",
        "8",
        "b.avif",
    ];
    if ffmpeg_is_here() && done(dir.path(), "ffmpeg", &avif) {
        files.push("b.avif");
    }
    for file in files {
        let ran = detect(dir.path(), file).exits(0).complains("is an animation; only its first frame was searched");
        assert!(ran.out.contains("1 face"), "{}", ran.out);
        detect(dir.path(), &format!("{file} --redact solid --out safe"))
            .exits(1)
            .complains("`facecascade video --redact` covers it whole");
        assert_eq!(std::fs::read_dir(dir.path().join("safe")).unwrap().count(), 0, "{file}");
    }
}

#[test]
fn of_two_pictures_in_an_avif_the_second_is_named_as_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["assets/astronaut.jpg", "assets/grace_hopper.jpg"].map(|p| ours(p).display().to_string());
    if !ffmpeg_is_here() || !done(dir.path(), "convert", &[&first, &second, "two.avif"]) {
        return;
    }
    detect(dir.path(), "two.avif").exits(0).complains("two.avif: holds 2 pictures; only the first was searched");
    let ran = detect(dir.path(), "two.avif --redact solid --threshold 0.6 --out safe").exits(0);
    let ran = ran.complains("two.avif: the second of its 2 pictures is left out");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let after = image::open(dir.path().join("safe/two.png")).unwrap().into_rgb8();
    assert!(solid(&after, &FACES[0]) > 0.9);
}

#[test]
fn the_film_of_a_motion_photo_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = encoded(portraits()[0].clone(), ImageFormat::Jpeg);
    let film = std::fs::read(ours("assets/two-faces-tilting.mp4")).unwrap();
    std::fs::write(dir.path().join("PXL.MP.jpg"), [&jpeg[..], &film].concat()).unwrap();
    let ran = detect(dir.path(), "PXL.MP.jpg --redact solid --out safe").exits(0);
    let ran = ran.complains("PXL.MP.jpg: the film of this motion photo is left out");
    assert_eq!(ran.err.lines().count(), 1);
    let after = std::fs::read(dir.path().join("safe/PXL.MP.jpg")).unwrap();
    assert!(after.len() < 2 * jpeg.len() && !after.windows(4).any(|w| w == b"ftyp"));
}

#[test]
fn no_preview_of_any_kind_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let portrait = &portraits()[0];
    std::fs::write(
        dir.path().join("small.jpg"),
        encoded(image::imageops::thumbnail(portrait, 160, 160), ImageFormat::Jpeg),
    )
    .unwrap();
    let exiftool: &[&str] = &[
        "-q",
        "-overwrite_original",
        "-ThumbnailImage<=small.jpg",
        "-PhotoshopThumbnail<=small.jpg",
        "-Make=Camera",
        "-Orientation#=1",
    ];
    let mut files = Vec::new();
    for (name, format) in [("a.jpg", ImageFormat::Jpeg), ("a.png", ImageFormat::Png), ("a.webp", ImageFormat::WebP)] {
        std::fs::write(dir.path().join(name), encoded(portrait.clone(), format)).unwrap();
        if done(dir.path(), "exiftool", &[exiftool, &[name]].concat()) {
            files.push(name);
        }
    }
    // A JPEG with another one behind it, as previews of multi-picture files lie.
    let with_preview =
        [encoded(portrait.clone(), ImageFormat::Jpeg), encoded(portrait.clone(), ImageFormat::Jpeg)].concat();
    std::fs::write(dir.path().join("b.jpg"), with_preview).unwrap();
    files.push("b.jpg");
    for name in &files {
        let ran = detect(dir.path(), &format!("{name} --redact solid --threshold 0.6 --out safe")).exits(0);
        assert!(ran.err.is_empty(), "{name}: {}", ran.err);
        let path = dir.path().join("safe").join(name);
        let after = image::open(&path).unwrap().into_rgb8();
        assert!(solid(&after, &FACES[0]) > 0.9, "{name}");
        let bytes = std::fs::read(&path).unwrap();
        if name.ends_with("jpg") {
            assert_eq!(bytes.windows(3).filter(|w| *w == [0xFF, 0xD8, 0xFF]).count(), 1, "{name} holds another JPEG");
        }
        if let Ok(told) = Command::new("exiftool").args(["-a", "-G1", "-s"]).arg(&path).output() {
            let told = String::from_utf8_lossy(&told.stdout);
            for word in ["Thumbnail", "Preview", "MPImage", "Camera", "Photoshop", "[IFD1]"] {
                assert!(!told.contains(word), "{name}: {told}");
            }
        }
    }
}

#[test]
fn a_tiff_with_its_picture_at_many_sizes_is_not_written_with_small_faces_open() {
    let dir = tempfile::tempdir().unwrap();
    let face = ours("assets/astronaut.jpg").display().to_string();
    // ImageMagick marks the smaller ones as pages.
    if done(dir.path(), "convert", &[&face, "ptif:a.tif"]) {
        detect(dir.path(), "a.tif --redact solid --out safe")
            .exits(1)
            .complains("a.tif: page 2 looks like page 1 made smaller");
        assert_eq!(std::fs::read_dir(dir.path().join("safe")).unwrap().count(), 0);
    }
}
