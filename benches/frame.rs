//! Measures the whole cascade on a frame of 640×480 pixels, on one thread: smallest face 20 and 80 pixels, a crowd, three
//! faces, and a scene without faces; with and without smiles. Before measuring, it prints the time of each step and the
//! windows after it, and writes the scenes to out/bench/, so that other detectors can be run on them.
//!
//! `CASCADE=SETTINGS.toml cargo bench --bench frame` measures that cascade instead of the built-in one.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use facecascade::source::picture;
use facecascade::source::synthetic::{Scene, SceneSettings};
use facecascade::text::ms;
use facecascade::{Cascade, Options};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Pictures with one face, and a square round it with some hair and collar: x, y, side in pixels.
const PORTRAITS: [(&str, [u32; 3]); 2] = [("astronaut.jpg", [149, 20, 150]), ("grace_hopper.jpg", [130, 90, 270])];
/// Side of those squares in each row of the crowd, from the back to the front, pixels; faces fill two thirds of them.
const ROWS: [u32; 7] = [30, 36, 44, 54, 70, 96, 130];
/// Times are the least of this many frames, step by step.
const TRACED: usize = 20;

/// Draws smooth shades with some noise, and no face.
fn empty_scene() -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 29) as u8;
        let (x, y) = (x as f32 / WIDTH as f32, y as f32 / HEIGHT as f32);
        let shade =
            |base: f32, slope: f32, wave: f32| (base + slope * y + wave * (3.0 * x + 2.0 * y).sin()) as u8 + noise;
        Rgb([shade(90.0, 60.0, 40.0), shade(100.0, 40.0, 30.0), shade(130.0, -40.0, 30.0)])
    })
}

/// Draws the same scene full of faces, larger ones in front: the two portraits in turn, every other pair mirrored, in
/// different light.
fn crowd() -> RgbImage {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let portraits = PORTRAITS.map(|(name, [x, y, side])| {
        let picture = picture::read(&assets.join(name)).expect("the picture ships with the sources");
        imageops::crop_imm(&picture, x, y, side, side).to_image()
    });
    let mut scene = empty_scene();
    let mut top = 0;
    let mut number = 0;
    for side in ROWS {
        for x in (0..=WIDTH - side).step_by(side as usize) {
            let mut face = imageops::resize(&portraits[number % 2], side, side, FilterType::Triangle);
            if number % 4 > 1 {
                imageops::flip_horizontal_in_place(&mut face);
            }
            imageops::colorops::brighten_in_place(&mut face, (number * 37 % 80) as i32 - 40);
            imageops::replace(&mut scene, &face, i64::from(x), i64::from(top));
            number += 1;
        }
        top += side;
    }
    scene
}

/// What a camera usually sees: a frame of the synthetic one.
fn three_faces() -> facecascade::Result<RgbImage> {
    let mut scene = RgbImage::new(0, 0);
    Scene::new(&SceneSettings::default())?.draw(0, &mut scene);
    Ok(scene)
}

/// Loads the cascade to measure.
fn cascade(min_face: f32, smile: bool) -> facecascade::Result<Cascade> {
    let options = Options { min_face, smile, ..Options::default() };
    match std::env::var_os("CASCADE") {
        Some(file) => Cascade::load(Path::new(&file), options),
        None => Cascade::shipped(options),
    }
}

/// Prints the least time of each step and the windows after it, and the windows and multiply-adds of each level.
fn describe(out: &mut impl Write, name: &str, cascade: &Cascade, scene: &RgbImage) -> facecascade::Result<()> {
    let (faces, mut steps) = cascade.trace(scene)?;
    for _ in 1..TRACED {
        for (least, again) in steps.iter_mut().zip(cascade.trace(scene)?.1) {
            least.elapsed = least.elapsed.min(again.elapsed);
        }
    }
    let sum = steps.iter().map(|s| s.elapsed).sum();
    let mut text = format!("{name}, smallest face {}: {} faces\n", cascade.options().min_face, faces.len());
    for step in &steps {
        text += &format!("  {:<12} {:>6} windows {:>8.3} ms\n", step.name, step.windows.len(), ms(step.elapsed));
    }
    text += &format!("  {:<12} {:>14} {:>8.3} ms, least of {TRACED}\n", "all", "", ms(sum));
    for (level, count) in cascade.counts(scene)?.iter().enumerate() {
        let millions = count.multiply_adds as f64 / 1e6;
        text += &format!(
            "  level {}: {} windows in, {} out, {} accepted, {millions:.1} M multiply-adds\n",
            level + 1,
            count.windows,
            count.passed,
            count.accepted
        );
    }
    let _ = writeln!(out, "{text}");
    Ok(())
}

fn frames(criterion: &mut Criterion, out: &mut impl Write) -> facecascade::Result<()> {
    let scenes = [("crowd", crowd()), ("three", three_faces()?), ("empty", empty_scene())];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("out/bench");
    std::fs::create_dir_all(&folder).map_err(facecascade::Error::io(&folder))?;
    for (name, scene) in &scenes {
        let file = folder.join(format!("{name}.png"));
        if let Err(e) = scene.save(&file) {
            let _ = writeln!(out, "{}: {e}", file.display());
        }
    }
    let mut group = criterion.benchmark_group("frame");
    for min_face in [20_u32, 80] {
        let (cascade, smiles) = (cascade(min_face as f32, false)?, cascade(min_face as f32, true)?);
        for (name, scene) in &scenes {
            describe(out, name, &cascade, scene)?;
            let multiply_adds = cascade.counts(scene)?.iter().map(|c| c.multiply_adds).sum();
            group.throughput(Throughput::Elements(multiply_adds));
            group.bench_function(BenchmarkId::new(*name, min_face), |b| b.iter(|| cascade.detect(black_box(scene))));
            if smiles.tells_smiles() {
                let id = BenchmarkId::new(format!("{name}, smiles"), min_face);
                group.bench_function(id, |b| b.iter(|| smiles.detect(black_box(scene))));
            }
        }
    }
    group.finish();
    Ok(())
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let mut out = std::io::stdout().lock();
    if let Err(e) = frames(&mut criterion, &mut out) {
        let _ = writeln!(out, "frame: not measured: {e}");
        return;
    }
    criterion.final_summary();
}
