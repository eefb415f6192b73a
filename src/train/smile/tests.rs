use rand::SeedableRng;

use super::*;
use crate::geometry::Rect;
use crate::pyramid::Pyramid;

fn settings() -> SmileSamples {
    SmileSamples {
        portraits: 0.5,
        shift: 0.08,
        coarse: 0.5,
        least_detail: 12.0,
        grey: 0.4,
        covered: 0.2,
        smoothing: 0.05,
        agreement: 0.1,
    }
}

fn shown() -> SmileSettings {
    SmileSettings { net: "smile".into(), reach: 0.8, drop: 0.1, views: 1, slope: 1.0, offset: 0.0 }
}

fn faces() -> Vec<SmileFace> {
    let face = |i: u32| {
        let picture =
            image::RgbImage::from_fn(60, 60, |x, y| image::Rgb([(x * 4) as u8, (y * 4) as u8, (40 * i) as u8]));
        SmileFace {
            pyramid: Pyramid::of(&picture, 8),
            rect: Rect::new(15.0, 10.0, 28.0, 40.0),
            found: true,
            smile: i % 2 == 1,
            set: if i < 3 { Set::Portraits } else { Set::Tiles },
            held_back: i >= 4,
        }
    };
    (0..6).map(face).collect()
}

#[test]
fn two_crops_of_each_face_stand_side_by_side_and_are_the_same_for_the_same_seed() {
    let (settings, shown, faces) = (settings(), shown(), faces());
    let mut rng = StdRng::seed_from_u64(1);
    let task = Smiles::new(48, &shown, &settings, (&faces, false), &mut rng);
    let draw = |seed| task.draw(&mut StdRng::seed_from_u64(seed), 31);
    let samples = draw(7);
    assert_eq!((samples.targets.len(), samples.input.len()), (31, 31 * 48 * 48 * 3));
    assert!(samples.targets.chunks_exact(2).all(|p| p[0] == p[1]));
    assert!(samples.targets.iter().any(|t| *t) && samples.targets.iter().any(|t| !*t));
    assert!(samples.input.iter().all(|v| v.is_finite() && v.abs() < 1.5));
    assert_eq!(draw(7).input, samples.input);
    assert_ne!(draw(8).input, samples.input);
}

#[test]
fn what_is_validated_on_is_drawn_from_the_faces_held_back_alone() {
    let (settings, shown) = (settings(), shown());
    let mut faces = faces();
    for (i, face) in faces.iter_mut().enumerate() {
        let level = &mut face.pyramid.levels[0];
        level.pixels.fill(if i >= 4 { 255 } else { 0 });
        face.pyramid.levels.truncate(1);
    }
    let plain = SmileSamples { coarse: 0.0, covered: 0.0, shift: 0.0, ..settings };
    for held_back in [false, true] {
        let task = Smiles::new(48, &shown, &plain, (&faces, held_back), &mut StdRng::seed_from_u64(1));
        let samples = task.draw(&mut StdRng::seed_from_u64(2), 64);
        let mean = samples.input.iter().sum::<f32>() / samples.input.len() as f32;
        assert!(if held_back { mean > 0.2 } else { mean < -0.2 }, "{mean}");
        assert!(samples.targets.iter().any(|t| *t) && samples.targets.iter().any(|t| !*t));
    }
}

#[test]
fn the_gradient_of_the_smile_loss_is_that_of_finite_differences() {
    let (settings, shown, faces) = (settings(), shown(), faces());
    let task = Smiles::new(48, &shown, &settings, (&faces, false), &mut StdRng::seed_from_u64(1));
    let targets = vec![true, true, false, false, true];
    let values = vec![0.3, -1.2, 2.0, 0.1, -0.4];
    let run = |values: &[f32]| {
        let gradient = vec![0.0; values.len()];
        let mut predictions = [Prediction { output: Output::Smile, values: values.to_vec(), gradient }];
        let figures = task.loss(&targets, &mut predictions);
        (figures.loss, predictions[0].gradient.clone())
    };
    let (_, gradient) = run(&values);
    for i in 0..values.len() {
        let moved = |by: f32| {
            let mut moved = values.clone();
            moved[i] += by;
            run(&moved).0
        };
        let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!((numeric - f64::from(gradient[i])).abs() < 1e-3, "{i}: {numeric} against {}", gradient[i]);
    }
}

#[test]
fn an_enlarged_ramp_is_a_ramp() {
    let n = 12;
    let small: Vec<f32> = (0..n * n * 3).map(|i| (i / 3 % n) as f32).collect();
    let mut out = vec![0.0; 48 * 48 * 3];
    enlarge(&small, n, &mut out, 48);
    for u in 2..46 {
        assert!((out[(20 * 48 + u) * 3] - ((u as f32 + 0.5) / 4.0 - 0.5)).abs() < 1e-4);
    }
}

#[test]
fn a_compressed_crop_is_about_the_same() {
    let n = 16;
    let smooth: Vec<f32> = (0..n * n * 3).map(|i| (i / 3 % n) as f32 / 16.0 - 0.5).collect();
    let mut crop = smooth.clone();
    compress(&mut crop, n, 90);
    assert_ne!(crop, smooth);
    assert!(crop.iter().zip(&smooth).all(|(a, b)| (a - b).abs() < 0.08));
}

#[test]
fn the_fitted_probability_is_that_of_the_labels() {
    // Labels drawn by sigmoid(0.5 x − 1): each x with its share.
    let samples: Vec<(f64, bool, f64)> = (-40..=40)
        .flat_map(|i| {
            let x = f64::from(i) / 5.0;
            let p = 1.0 / (1.0 + (-0.5 * x + 1.0).exp());
            [(x, true, p), (x, false, 1.0 - p)]
        })
        .collect();
    let (slope, offset) = fit::logistic(&samples);
    assert!((slope - 0.5).abs() < 0.01 && (offset + 1.0).abs() < 0.02, "{slope} {offset}");
    assert_eq!(fit::logistic(&[]), (1.0, 0.0));
}
