//! `detect --redact`: pictures written again, their faces covered, in their own format and without what else their files tell.
//! And pictures in formats that only ffmpeg reads, or nobody.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;
use std::process::Command;

use common::film::solid;
use common::{Ran, encoded, ffmpeg, ffmpeg_is_here, frames, ours, picture, program};
use facecascade::Rect;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

/// Where the face of `assets/astronaut.jpg` is.
const FACE: Rect = Rect::new(183.0, 75.0, 76.0, 105.0);

fn detect(dir: &Path, arguments: &str) -> Ran {
    program().arg("detect").args(arguments.split(' ')).current_dir(dir).output().unwrap().into()
}

fn portrait() -> RgbImage {
    picture("assets/astronaut.jpg")
}

fn read(path: &Path) -> RgbImage {
    ImageReader::open(path).unwrap().with_guessed_format().unwrap().decode().unwrap().into_rgb8()
}

/// A segment of a JPEG.
fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&[0xFF, marker], &length[..], content].concat()
}

/// EXIF data: turned by `orientation`, a GPS pointer, and the words "secret place".
fn exif(orientation: u8) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value.to_be_bytes()].concat()
    };
    let entries =
        [entry(0x010E, 2, 13, 50), entry(0x0112, 3, 1, u32::from(orientation) << 16), entry(0x8825, 4, 1, 63)];
    [b"Exif\0\0MM\0*\0\0\0\x08\0\x03", &entries.concat()[..], b"\0\0\0\0", b"secret place\0", b"\0\0\0\0\0\0"].concat()
}

/// A colour profile as far as readers look: its colours are RGB.
fn profile() -> Vec<u8> {
    let mut icc = vec![0u8; 200];
    icc[3] = 200;
    icc[12..16].copy_from_slice(b"mntr");
    icc[16..20].copy_from_slice(b"RGB ");
    icc[20..24].copy_from_slice(b"XYZ ");
    icc[36..40].copy_from_slice(b"acsp");
    icc
}

#[test]
fn a_phones_jpeg_is_covered_upright_and_tells_nothing_but_its_colours() {
    let dir = tempfile::tempdir().unwrap();
    // Stored lying: turned a quarter to the right, it is upright.
    let lying = DynamicImage::from(portrait()).rotate270();
    let jpeg = encoded(lying, ImageFormat::Jpeg);
    let icc = segment(0xE2, &[b"ICC_PROFILE\0\x01\x01", &profile()[..]].concat());
    let xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>secret place</x>");
    let preview = encoded(portrait(), ImageFormat::Jpeg)[..2000].to_vec();
    let parts = [
        &jpeg[..2],
        &segment(0xE1, &exif(6)),
        &xmp,
        &icc,
        &segment(0xED, &preview),
        &segment(0xFE, b"secret place"),
        &jpeg[2..],
    ];
    std::fs::write(dir.path().join("phone.JPG"), parts.concat()).unwrap();
    // Only the face: at the defaults, which favour recall, more is covered.
    detect(dir.path(), "phone.JPG --redact solid --threshold 0.6 --out safe").exits(0);
    let path = dir.path().join("safe/phone.JPG");
    let bytes = std::fs::read(&path).unwrap();
    for word in [&b"secret"[..], b"Exif", b"adobe"] {
        assert!(!bytes.windows(word.len()).any(|w| w == word), "{}", String::from_utf8_lossy(word));
    }
    let mut decoder = image::codecs::jpeg::JpegDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
    assert_eq!(decoder.icc_profile().unwrap().unwrap(), profile());
    let (before, after) = (portrait(), read(&path));
    assert_eq!(after.dimensions(), before.dimensions());
    assert!(solid(&after, &FACE) > 0.98 && solid(&before, &FACE) < 0.5);
    let far = |x: u32, y: u32| x < 100 || y > 400;
    let (mut sum, mut count) = (0_u64, 0_u64);
    for (x, y, pixel) in after.enumerate_pixels().filter(|(x, y, _)| far(*x, *y)) {
        sum += pixel.0.iter().zip(before.get_pixel(x, y).0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>();
        count += 3;
    }
    assert!((sum as f64 / count as f64) < 3.0, "outside the face it looks as before");
    // Its quality is that of the input: about as many bytes.
    let share = bytes.len() as f64 / jpeg.len() as f64;
    assert!((0.6..1.3).contains(&share), "{share}");
}

#[test]
fn samples_stay_as_they_are_stored_outside_of_covers() {
    let dir = tempfile::tempdir().unwrap();
    let portrait = DynamicImage::from(portrait());
    let mut clear = portrait.to_rgba16();
    // A transparent strip whose colours show something.
    clear.enumerate_pixels_mut().filter(|(_, y, _)| *y >= 500).for_each(|(_, _, p)| p.0[3] = 0);
    let grey = portrait.to_luma8();
    let files: [(&str, DynamicImage, ImageFormat); 6] = [
        ("deep.png", clear.into(), ImageFormat::Png),
        ("grey.png", grey.into(), ImageFormat::Png),
        ("a.tiff", portrait.to_rgb16().into(), ImageFormat::Tiff),
        ("a.webp", portrait.clone(), ImageFormat::WebP),
        ("a.bmp", portrait.clone(), ImageFormat::Bmp),
        ("a.gif", portrait.clone(), ImageFormat::Gif),
    ];
    for (name, picture, format) in files {
        let bytes = encoded(picture, format);
        std::fs::write(dir.path().join(name), bytes).unwrap();
        detect(dir.path(), &format!("{name} --redact solid --threshold 0.6 --out safe")).exits(0);
        let open = |path: &Path| ImageReader::open(path).unwrap().with_guessed_format().unwrap();
        let target = dir.path().join("safe").join(name);
        assert_eq!(open(&target).format(), Some(format), "{name}");
        let (before, after) = (open(&dir.path().join(name)).decode().unwrap(), open(&target).decode().unwrap());
        assert!(format == ImageFormat::Gif || before.color() == after.color(), "{name}: {:?}", after.color());
        assert!(solid(&after.to_rgb8(), &FACE) > 0.98, "{name}: covered");
        if format != ImageFormat::Gif {
            let corner = |p: &DynamicImage| p.crop_imm(0, 0, 60, 400).into_bytes();
            assert!(corner(&before) == corner(&after), "{name}: the rest is as it was");
        }
        if name == "deep.png" {
            let hidden = after.to_rgba8().get_pixel(50, 505).0;
            assert_eq!(hidden, [255, 255, 255, 0], "what is transparent shows nothing");
        }
    }
}

#[test]
fn inputs_are_never_written_over_and_animations_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = encoded(portrait(), ImageFormat::Jpeg);
    std::fs::write(dir.path().join("a.jpg"), &jpeg).unwrap();
    let mut gif = std::io::Cursor::new(Vec::new());
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    for _ in 0..2 {
        encoder.encode_frame(image::Frame::new(DynamicImage::from(portrait()).to_rgba8())).unwrap();
    }
    drop(encoder);
    std::fs::write(dir.path().join("b.gif"), gif.into_inner()).unwrap();
    detect(dir.path(), ". --redact blur --out .").exits(1).complains("b.gif: is an animation");
    assert_eq!(std::fs::read(dir.path().join("a.jpg")).unwrap(), jpeg);
    assert!(dir.path().join("a-2.jpg").is_file() && !dir.path().join("b-2.gif").exists());
    detect(dir.path(), "a.jpg --redact blur").exits(2).complains("--out");
}

#[test]
fn an_animation_is_sent_to_a_command_that_can_do_it() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.png"), encoded(portrait(), ImageFormat::Png)).unwrap();
    let source = "-loop 1 -t 0.4 -i a.png -r 5 -vf hflip=enable='gte(n,1)'";
    ffmpeg(dir.path(), &format!("{source} -c:v libwebp_anim a.webp"));
    ffmpeg(dir.path(), &format!("{source} -f apng b.png"));
    ffmpeg(dir.path(), &format!("{source} c.gif"));
    let video = |name: &str| -> Ran {
        let arguments = ["video", name, "--redact", "solid", "-o", "out.mp4"];
        program().args(arguments).current_dir(dir.path()).output().unwrap().into()
    };
    for name in ["b.png", "c.gif"] {
        detect(dir.path(), &format!("{name} --redact solid --out ."))
            .exits(1)
            .complains("`facecascade video --redact`");
        video(name).exits(0);
        assert_eq!(frames(&dir.path().join("out.mp4")), frames(&dir.path().join(name)), "{name}");
    }
    // No ffmpeg up to 7 decodes this one: neither command may send to the other.
    detect(dir.path(), "a.webp --redact solid --out .").exits(1).complains("make it a GIF or a video");
    let ran = video("a.webp");
    assert!(ran.status == Some(0) || ran.err.contains("make it a GIF or a video"), "{}", ran.err);
}

#[test]
fn a_jpeg_without_its_end_is_read_and_one_that_is_cut_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = std::fs::read(ours("assets/astronaut.jpg")).unwrap();
    let without = &jpeg[..jpeg.len() - 2];
    std::fs::write(dir.path().join("a.jpg"), without).unwrap();
    std::fs::write(dir.path().join("b.jpg"), [without, b"\0\0SEFH", &[0; 200], b"SEFT"].concat()).unwrap();
    std::fs::write(dir.path().join("c.jpg"), &jpeg[..jpeg.len() * 9 / 10]).unwrap();
    let ran = detect(dir.path(), "a.jpg b.jpg c.jpg --json").exits(1);
    let lines = ran.lines();
    assert!(lines[..2].iter().all(|line| line["faces"].as_array().unwrap().len() == 1), "{lines:?}");
    assert!(lines[2]["error"].as_str().unwrap().contains("is cut"));
}

#[test]
fn pictures_that_nobody_reads_are_named_for_what_they_are_also_in_folders() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    put("a.jpg", &encoded(portrait(), ImageFormat::Jpeg));
    put("IMG_1.HEIC", &[&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], &[7; 5000]].concat());
    put("raw.NEF", b"II\x2A\0\x08\0\0\0\x01\0\x12\xC6\x01\0\x04\0\0\0\x01\x04\0\0");
    put("big.tif", b"II\x2B\0\x08\0\0\0\x10\0\0\0\0\0\0\0");
    let ran = detect(dir.path(), ".").exits(1);
    for word in ["IMG_1.HEIC: is a HEIC picture", "raw.NEF: is a camera raw", "big.tif: is cut", "3 of 4 pictures"] {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    assert!(ran.out.contains("a.jpg: 1 face"), "{}", ran.out);
}

#[test]
fn what_ffmpeg_reads_is_read_through_it() {
    if !ffmpeg_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.jxl", "a.jp2", "a.avif"] {
        let path = dir.path().join(name);
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "quiet", "-i"])
            .arg(ours("assets/astronaut.jpg"))
            .args(["-frames:v", "1"])
            .arg(&path)
            .status()
            .unwrap();
        if !made.success() {
            eprintln!("skipped: this ffmpeg writes no {name}");
            continue;
        }
        let ran = detect(dir.path(), &format!("{name} --redact solid --out safe --json"));
        if ran.status == Some(1) && ran.out.contains("ffmpeg can't read") {
            eprintln!("skipped: this ffmpeg reads no {name}");
            continue;
        }
        let ran = ran.exits(0);
        assert!(!ran.lines()[0]["faces"].as_array().unwrap().is_empty(), "{name}");
    }
    if dir.path().join("safe/a.png").is_file() {
        assert!(solid(&read(&dir.path().join("safe/a.png")), &FACE) > 0.98);
    }
}

#[cfg(unix)]
#[test]
fn a_picture_is_read_from_a_pipe_once_and_nothing_waits_for_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(ours("assets/astronaut.jpg"), dir.path().join("a.jpg")).unwrap();
    let shell = |script: &str| -> Ran {
        let script = format!("P='{} detect -q'; {script}", env!("CARGO_BIN_EXE_facecascade"));
        Command::new("bash").args(["-c", &script]).current_dir(dir.path()).output().unwrap().into()
    };
    let plain = shell("$P --json a.jpg").exits(0).lines();
    for script in ["mkfifo p.jpg && { cat a.jpg > p.jpg & $P --json p.jpg; }", "$P --json <(cat a.jpg)"] {
        let piped = shell(script).exits(0).lines();
        assert_eq!(piped[0]["faces"], plain[0]["faces"], "{script}");
    }
    shell("{ cat a.jpg > p.jpg & $P p.jpg --redact solid --out safe; }").exits(0);
    assert!(solid(&read(&dir.path().join("safe/p.jpg")), &FACE) > 0.95);
    if ffmpeg_is_here() {
        // What ffmpeg reads is read from its beginning too.
        let done = Command::new("ffmpeg")
            .args(["-v", "error", "-i", "a.jpg", "-c:v", "jpeg2000", "a.jp2"])
            .current_dir(dir.path())
            .status();
        if done.unwrap().success() {
            let piped = shell("$P --json <(cat a.jp2)").exits(0).lines();
            assert_eq!(piped[0]["faces"].as_array().unwrap().len(), 1);
        }
    }
}
