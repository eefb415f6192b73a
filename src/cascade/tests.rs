//! The cascade on nets with random weights.

use super::*;
use crate::cascade::crops::{Crop, sample};
use crate::nets::cpu::{Engine, Scratch};
use crate::nets::grid::Grid;
use crate::nets::input::normalise;
use crate::nets::spec::Output;
use crate::nets::weights::Weights;
use crate::nets::zoo;
use crate::pyramid::Pyramid;
use rand::{Rng, SeedableRng};
use settings::Correction;

mod int8;

/// Random weights; biases too, so that logits spread round 0.
fn weights(net: &str, seed: u64) -> Weights {
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let net = zoo::by_name(net).unwrap();
    Weights::initial(&net, move || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0)
}

pub(super) fn picture(width: u32, height: u32, seed: u64) -> RgbImage {
    // Coarse noise: every level of the pyramid has something to see.
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let (w, h) = (width / 7 + 1, height / 7 + 1);
    let coarse = RgbImage::from_fn(w, h, |_, _| image::Rgb(rng.random()));
    RgbImage::from_fn(width, height, |x, y| {
        let image::Rgb(a) = *coarse.get_pixel(x / 7, y / 7);
        image::Rgb(a.map(|v| v.saturating_add((x * y % 23) as u8)))
    })
}

pub(super) fn cascade(settings: CascadeSettings, threshold: f32) -> Cascade {
    let options = Options { min_face: 20.0, threshold, precision: Precision::F32, ..Options::default() };
    Cascade::from_parts(settings, &|net| Ok(weights(net, net.len() as u64)), options).unwrap()
}

pub(super) fn shipped() -> CascadeSettings {
    CascadeSettings::of(Model::Base)
}

pub(super) fn octave() -> CascadeSettings {
    CascadeSettings::octave()
}

pub(super) fn article() -> CascadeSettings {
    CascadeSettings::article()
}

/// Level 1 alone, every window of it: no threshold, no correction, no suppression.
fn bare(mut settings: CascadeSettings) -> CascadeSettings {
    settings.proposer.threshold = f32::NEG_INFINITY;
    settings.proposer.calibration = Correction::None;
    settings.proposer.calibration_net = None;
    (settings.proposer.level_overlap, settings.proposer.overlap) = (1.0, 1.0);
    settings.with_refiners(0)
}

#[test]
fn the_dense_proposer_over_a_level_gives_what_its_net_gives_window_by_window() {
    let mut settings = bare(article());
    settings.proposer.step = 2.0;
    let picture = picture(61, 47, 1);
    let options = Options { min_face: 12.0, threshold: 0.0, precision: Precision::F32, ..Options::default() };
    let cascade = Cascade::from_parts(settings, &|net| Ok(weights(net, 3)), options).unwrap();
    let windows = cascade.windows_after(&picture, 1).unwrap();

    let engine = Engine::new(&zoo::by_name("net12").unwrap(), &weights("net12", 3)).unwrap();
    let pyramid = Pyramid::of(&picture, 12);
    // Stride 2, at full size and at half; the pooling leaves the last of 12 pixels unseen, so 11 suffice for a window.
    let cells = |w: usize, h: usize| ((w - 11) / 2 + 1) * ((h - 11) / 2 + 1);
    assert_eq!(windows.len(), cells(61, 47) + cells(30, 23));
    let (mut crop, mut scratch) = (vec![0.0; 12 * 12 * 3], Scratch::default());
    let mut spread = 0f32;
    for window in &windows {
        let (cx, cy) = window.rect.center();
        sample(&pyramid, 0, &Crop::upright(cx, cy, window.rect.w), 12, &mut crop);
        engine.trunk(&crop, 1, 12, 12, &mut scratch).unwrap();
        let logits = engine.head(Output::Face, None, &mut scratch);
        assert!((logits[1] - logits[0] - window.score).abs() < 1e-3, "{window:?}: {logits:?}");
        spread = spread.max((window.score - windows[0].score).abs());
    }
    assert!(spread > 0.1, "all windows look alike, the test shows nothing");
}

#[test]
fn an_inner_cell_of_the_octave_net_sees_only_what_lies_round_it() {
    let picture = picture(160, 128, 2);
    let options = Options { min_face: 12.0, threshold: 0.0, precision: Precision::F32, ..Options::default() };
    let cascade = Cascade::from_parts(bare(octave()), &|net| Ok(weights(net, 4)), options).unwrap();
    let windows = cascade.windows_after(&picture, 1).unwrap();
    let engine = Engine::new(&zoo::octave(), &weights("octave", 4)).unwrap();
    // A crop of 64 × 64 pixels whose cell 8 is the picture's cell, far enough from the crop's border (47 pixels are seen).
    let (mut crop, mut scratch) = (vec![0.0; 64 * 64 * 3], Scratch::default());
    let pyramid = Pyramid::of(&picture, 12);
    let grid = Grid::of(&zoo::octave()).unwrap();
    for (column, row) in [(9, 9), (20, 15), (30, 22), (17, 20)] {
        let corner = |i: usize| (4 * i - 32) as f32;
        let place = Crop::upright(corner(column) + 32.0, corner(row) + 32.0, 64.0);
        sample(&pyramid, 0, &place, 64, &mut crop);
        engine.trunk(&crop, 1, 64, 64, &mut scratch).unwrap();
        let outputs = engine.head(Output::Octave, None, &mut scratch);
        let cell = &outputs[(8 * 16 + 8) * 12..][..12];
        for (size, numbers) in grid.sizes.iter().zip(cell.chunks_exact(4)) {
            let expected = Rect::square(grid.center(column), grid.center(row), *size);
            let found = windows.iter().find(|w| {
                let d = [w.rect.x - expected.x, w.rect.y - expected.y, w.rect.w - expected.w];
                d.iter().all(|d| d.abs() < 1e-3)
            });
            let found = found.unwrap_or_else(|| panic!("no window at {expected:?}"));
            assert!((found.score - numbers[0]).abs() < 1e-3, "{} instead of {}", found.score, numbers[0]);
        }
    }
}

#[test]
fn an_octave_window_is_moved_by_its_cells_numbers() {
    let mut settings = bare(octave());
    settings.proposer.calibration = Correction::Box;
    let picture = picture(100, 90, 3);
    let cascade = cascade(settings, 0.0);
    let (_, stages) = cascade.trace(&picture).unwrap();
    let engine = Engine::new(&zoo::octave(), &weights("octave", 6)).unwrap();
    let mut level = Pyramid::default();
    level.build(&picture, 0.6, 2.0, 8);
    let level = &level.levels[0];
    let input: Vec<f32> = level.pixels.iter().map(|v| normalise(*v)).collect();
    let mut scratch = Scratch::default();
    engine.trunk(&input, 1, level.height, level.width, &mut scratch).unwrap();
    let outputs = engine.head(Output::Octave, None, &mut scratch);
    for (k, numbers) in outputs.chunks_exact(4).enumerate() {
        let (found, moved) = (&stages[0].windows[k], &stages[1].windows[k]);
        let (a, b) = (found.rect.center(), moved.rect.center());
        let w = found.rect.w;
        assert!(((b.0 - a.0) / w - numbers[1]).abs() < 1e-3 && ((b.1 - a.1) / w - numbers[2]).abs() < 1e-3);
        assert!(((moved.rect.w / w).ln() - numbers[3].clamp(-2.0, 2.0)).abs() < 1e-3);
        assert!((moved.rect.w - moved.rect.h).abs() < 1e-3);
    }
}

/// Thresholds that let about a third of the windows of random nets through, so that every level has work.
pub(super) fn lenient(mut settings: CascadeSettings) -> CascadeSettings {
    settings.proposer.threshold = 0.3;
    for refiner in &mut settings.refiners {
        refiner.threshold = -0.2;
    }
    settings
}

#[test]
fn trace_has_three_steps_a_level_and_ends_with_the_faces_that_detect_gives() {
    for settings in [lenient(shipped()), lenient(octave()), lenient(article())] {
        let cascade = cascade(settings, 0.3);
        let picture = picture(200, 150, 5);
        let (faces, stages) = cascade.trace(&picture).unwrap();
        assert_eq!(faces, cascade.detect(&picture).unwrap());
        let names: Vec<_> = stages.iter().map(|s| s.name).collect();
        let expected = [
            "find-1",
            "calibrate-1",
            "filter-1",
            "find-2",
            "calibrate-2",
            "filter-2",
            "find-3",
            "calibrate-3",
            "filter-3",
        ];
        assert_eq!(names, expected[..3 * cascade.levels()]);
        assert!(!faces.is_empty(), "nothing found, the test shows nothing");
        assert!(faces.is_sorted_by(|a, b| a.score >= b.score));
        assert!(faces.iter().all(|f| (0.3..=1.0).contains(&f.score)));
        let last: Vec<Rect> = stages.last().unwrap().windows.iter().map(|w| w.rect).collect();
        assert_eq!(last, faces.iter().map(|f| f.rect).collect::<Vec<_>>());
        for calibrate in (1..stages.len()).step_by(3) {
            let (before, after) = (&stages[calibrate - 1].windows, &stages[calibrate].windows);
            assert_eq!(before.len(), after.len());
            let moved = before.iter().zip(after).any(|(a, b)| a.rect != b.rect);
            let moves = calibrate < 3 || cascade.settings().refiners[calibrate / 3 - 1].calibration != Correction::None;
            assert_eq!(moved, moves, "{}", stages[calibrate].name);
            assert!(stages[calibrate + 1].windows.len() <= after.len());
        }
        // What mining gets is what the next level got.
        let levels = cascade.levels();
        for level in 1..levels {
            assert_eq!(cascade.windows_after(&picture, level).unwrap(), stages[3 * level - 1].windows);
        }
        assert!(cascade.windows_after(&picture, 0).is_err() && cascade.windows_after(&picture, levels + 1).is_err());
    }
}

#[test]
fn the_levels_trained_so_far_hand_on_the_same_windows_as_the_whole_cascade() {
    let picture = picture(150, 150, 6);
    let whole = cascade(lenient(shipped()), 0.5);
    for refiners in 0..2 {
        let part = cascade(lenient(shipped()).with_refiners(refiners), 0.5);
        assert_eq!(part.levels(), refiners + 1);
        let level = refiners + 1;
        assert_eq!(part.windows_after(&picture, level).unwrap(), whole.windows_after(&picture, level).unwrap());
    }
}

#[test]
fn carried_logits_add_up_in_the_score() {
    let picture = picture(120, 100, 7);
    let scores = |carry: Vec<f32>| {
        let mut settings = lenient(octave());
        settings.refiners[1].carry = carry;
        settings.refiners[1].threshold = f32::NEG_INFINITY;
        cascade(settings, 0.0).trace(&picture).unwrap().1[6].windows.clone()
    };
    let (plain, first, both) = (scores(vec![]), scores(vec![1.0]), scores(vec![1.0, 0.5]));
    let second = cascade(lenient(octave()), 0.0).trace(&picture).unwrap().1[5].windows.clone();
    assert!(!plain.is_empty());
    assert_eq!(plain.len(), second.len());
    for (((plain, first), both), second) in plain.iter().zip(&first).zip(&both).zip(&second) {
        assert!((both.score - first.score - 0.5 * second.score).abs() < 1e-3);
        // Level 1 lets only logits over its threshold through.
        assert!(first.score - plain.score > 0.3 - 1e-4);
    }
}

#[test]
fn buffers_used_again_give_the_same_faces_for_pictures_of_any_size_in_turn() {
    let used = cascade(lenient(shipped()), 0.3);
    for (i, (w, h)) in [(120, 90), (40, 200), (1, 1), (160, 160), (30, 30), (120, 90)].into_iter().enumerate() {
        let picture = picture(w, h, i as u64);
        let fresh = cascade(lenient(shipped()), 0.3);
        assert_eq!(used.detect(&picture).unwrap(), fresh.detect(&picture).unwrap());
        assert_eq!(used.counts(&picture).unwrap(), fresh.counts(&picture).unwrap());
    }
}

#[test]
fn pictures_of_extreme_sizes_have_an_answer() {
    for settings in [lenient(shipped()), lenient(article())] {
        let cascade = cascade(settings, 0.0);
        for (w, h) in
            [(0, 0), (0, 5), (1, 1), (20000, 1), (1, 20000), (8, 8), (12, 12), (13, 3000), (20, 20), (21, 400)]
        {
            let faces = cascade.detect(&picture(w, h, 1)).unwrap();
            assert!(faces.iter().all(|f| f.rect.w.is_finite() && f.score.is_finite()));
        }
    }
}

#[test]
fn a_cascade_is_shared_by_threads() {
    let cascade = cascade(lenient(shipped()), 0.3);
    let pictures: Vec<_> = (0..4).map(|i| picture(80 + 10 * i, 80, u64::from(i))).collect();
    let alone: Vec<_> = pictures.iter().map(|p| cascade.detect(p).unwrap()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = pictures.iter().map(|p| scope.spawn(|| cascade.detect(p).unwrap())).collect();
        for (thread, expected) in threads.into_iter().zip(alone) {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn counts_add_up() {
    let cascade = cascade(lenient(octave()), 0.0);
    let picture = picture(320, 240, 8);
    let (counts, (faces, stages)) = (cascade.counts(&picture).unwrap(), cascade.trace(&picture).unwrap());
    assert_eq!(counts.len(), 3);
    assert_eq!(counts[0].multiply_adds, cascade.multiply_adds(320, 240));
    // 583 a pixel of a pyramid of 4/3 of 192 × 144 pixels.
    let expected = 583.0 * 192.0 * 144.0 * 4.0 / 3.0;
    assert!((counts[0].multiply_adds as f64 / expected - 1.0).abs() < 0.06, "{}", counts[0].multiply_adds);
    assert_eq!(counts[0].passed, counts[1].windows);
    assert_eq!(counts[1].passed, counts[2].windows);
    assert_eq!(counts[2].passed, faces.len());
    assert_eq!(stages[2].windows.len(), counts[1].windows);
    let window = counts[1].multiply_adds as f64 / counts[1].windows as f64;
    assert!((0.64e6..0.68e6).contains(&window), "{window}");
}

#[test]
fn options_and_settings_out_of_range_name_what_is_wrong() {
    let with = |options: Options| {
        let made = Cascade::from_parts(shipped(), &|net| Ok(weights(net, 1)), options);
        made.map(|_| ()).unwrap_err().to_string()
    };
    for min_face in [0.0, 7.9, -20.0, f32::NAN, f32::INFINITY] {
        assert!(with(Options { min_face, ..Default::default() }).contains("smallest face"));
    }
    for threshold in [-0.1, 1.1, f32::NAN] {
        assert!(with(Options { threshold, ..Default::default() }).contains("threshold"));
    }
    let with = |change: fn(&mut CascadeSettings)| {
        let mut settings = octave();
        change(&mut settings);
        let made = Cascade::from_parts(settings, &|net| Ok(weights(net, 1)), Options::default());
        made.map(|_| ()).unwrap_err().to_string()
    };
    assert!(with(|s| s.proposer.net = "net13".into()).contains("net13"));
    assert!(with(|s| s.proposer.net = "net12_cal".into()).contains("net12_cal"));
    assert!(with(|s| s.refiners[0].net = "octave".into()).contains("face head"));
    assert!(with(|s| s.refiners[0].net = "net24".into()).contains("Calibration"));
    assert!(with(|s| s.refiners.push(s.refiners[0].clone())).contains("refiners"));
}

#[test]
fn a_cascade_is_loaded_from_a_settings_file_and_the_weights_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let missing = Cascade::load(&file, Options::default()).unwrap_err().to_string();
    assert!(missing.contains("mine.toml"), "{missing}");
    std::fs::write(&file, Model::Base.file().1).unwrap();
    let missing = Cascade::load(&file, Options::default()).unwrap_err().to_string();
    assert!(missing.contains("yunet.safetensors"), "{missing}");
    for net in ["yunet", "refine64", "refine96", "smile"] {
        weights(net, net.len() as u64).save(&folder.path().join(format!("{net}.safetensors"))).unwrap();
    }
    let loaded = Cascade::load(&file, Options { min_face: 20.0, threshold: 0.1, ..Options::default() }).unwrap();
    let picture = picture(90, 90, 9);
    assert_eq!(loaded.detect(&picture).unwrap(), cascade(shipped(), 0.1).detect(&picture).unwrap());
}
