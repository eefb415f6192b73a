//! Pictures of what a net makes of samples: its worst errors side by side, and windows before and after calibration. People look at them
//! while it learns.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::task::{Prediction, Samples};
use super::windows::Target;
use crate::cascade::calibration;
use crate::geometry::Rect;
use crate::nets::grid::face_logit;
use crate::nets::input::{MIDDLE, SPREAD};
use crate::nets::spec::Output;

/// Side of a sample of a net for windows, and of a scene, on the sheet, pixels.
const WINDOW_SIDE: u32 = 72;
const SCENE_SIDE: u32 = 200;
/// Samples of a sheet at most, and those side by side.
const WINDOWS: usize = 24;
const WINDOW_COLUMNS: usize = 12;
const SCENES: usize = 8;
const SCENE_COLUMNS: usize = 4;
/// Room between samples, pixels.
const GAP: u32 = 4;
/// What is shown round a window that is calibrated, as a share of its side.
const AROUND: f32 = 0.25;
/// IoU from which a box is on a face.
const FOUND: f32 = 0.4;

const GROUND: Rgb<u8> = Rgb([110; 3]);
const TRUTH: Rgb<u8> = Rgb([255; 3]);
const BEFORE: Rgb<u8> = Rgb([90, 170, 255]);
const AFTER: Rgb<u8> = Rgb([255, 200, 40]);
const WRONG: Rgb<u8> = Rgb([255, 70, 60]);

/// A picture, and what it shows.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// Part of the file's name.
    pub name: &'static str,
    /// What the picture shows, for readers.
    pub shows: String,
    /// The picture.
    pub picture: RgbImage,
}

/// What a net finds in a scene. Boxes are in pixels of the sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct SceneFinds {
    /// Faces in the scene.
    pub truth: Vec<Rect>,
    /// Boxes that count neither as faces nor as background.
    pub ignored: Vec<Rect>,
    /// Boxes that the net takes for faces, with their logits.
    pub found: Vec<(Rect, f32)>,
}

/// Sheets of a net that rates windows, each in the same place of its crop: false positives and misses, the worst first, and
/// calibration.
pub(crate) fn windows(window: &Rect, samples: &Samples<Vec<Target>>, predictions: &[Prediction]) -> Vec<Sheet> {
    let mut sheets = Vec::new();
    for head in predictions {
        let width = head.values.len() / samples.n.max(1);
        match head.output {
            Output::Face => {
                let logits: Vec<f32> = head.values.chunks_exact(width).map(face_logit).collect();
                sheets.extend(errors(samples, &logits, false));
                sheets.extend(errors(samples, &logits, true));
            }
            Output::Calibration => {
                sheets.extend(calibrated(window, samples, ("calibration", "Calibration"), |i| {
                    calibration::correct(window, &head.values[i * width..][..width])
                }));
            }
            Output::Box => {
                sheets.extend(calibrated(window, samples, ("boxes", "Regression of the box"), |i| {
                    calibration::decode_box(window, &head.values[i * width..][..width])
                }));
            }
            _ => {}
        }
    }
    sheets
}

/// A sheet of the faces that were missed, or of the other windows that were taken for faces; `None` without any.
fn errors(samples: &Samples<Vec<Target>>, logits: &[f32], face: bool) -> Option<Sheet> {
    let all = samples.targets.iter().filter(|target| target.face == Some(face)).count();
    let mut wrong: Vec<usize> =
        (0..samples.n).filter(|i| samples.targets[*i].face == Some(face) && (logits[*i] > 0.0) != face).collect();
    // The surest errors first.
    wrong.sort_by(|a, b| logits[*b].abs().total_cmp(&logits[*a].abs()));
    let tiles: Vec<RgbImage> = wrong.iter().take(WINDOWS).map(|i| tile(samples, *i, WINDOW_SIDE)).collect();
    let (name, what) = if face { ("misses", "Misses: faces") } else { ("false-positives", "False positives: windows") };
    let instead = if face { "not taken for faces" } else { "taken for faces" };
    let shows = format!("{what} {instead}, {} of {all}, the surest first", wrong.len());
    (!tiles.is_empty()).then(|| Sheet { name, shows, picture: sheet(&tiles, WINDOW_COLUMNS, WINDOW_SIDE) })
}

/// A sheet, under a name and a heading, of windows before and after they are moved; `None` without any.
fn calibrated(
    window: &Rect,
    samples: &Samples<Vec<Target>>,
    (name, heading): (&'static str, &str),
    moved: impl Fn(usize) -> Rect,
) -> Option<Sheet> {
    let faces: Vec<(usize, Rect)> =
        samples.targets.iter().enumerate().filter_map(|(i, target)| Some((i, target.shift?.1))).collect();
    let (mut before, mut after) = (0.0, 0.0);
    let mut tiles = Vec::new();
    for (i, face) in &faces {
        let now = moved(*i);
        before += window.iou(&face.to_square());
        after += now.to_square().iou(&face.to_square());
        if tiles.len() < WINDOWS {
            let around = (WINDOW_SIDE as f32 * AROUND) as u32;
            let mut picture = RgbImage::from_pixel(WINDOW_SIDE + 2 * around, WINDOW_SIDE + 2 * around, GROUND);
            let sample = tile(samples, *i, WINDOW_SIDE);
            imageops::replace(&mut picture, &sample, i64::from(around), i64::from(around));
            let scale = WINDOW_SIDE as f32 / samples.side as f32;
            let place = |r: &Rect| {
                Rect::new(r.x * scale + around as f32, r.y * scale + around as f32, r.w * scale, r.h * scale)
            };
            for (rect, colour) in [(window, BEFORE), (&face.to_square(), TRUTH), (&now.to_square(), AFTER)] {
                outline(&mut picture, &place(rect), colour);
            }
            tiles.push(picture);
        }
    }
    let n = faces.len().max(1) as f32;
    let (before, after) = (before / n, after / n);
    let shows = format!(
        "{heading}: window (blue), as the net moves it (yellow), face (white); mean IoU {before:.2} before, {after:.2} after"
    );
    let side = tiles.first()?.width();
    Some(Sheet { name, shows, picture: sheet(&tiles, WINDOW_COLUMNS / 2, side) })
}

/// A sheet of scenes with what was found in them, those with the most errors first.
pub(crate) fn scenes<T>(samples: &Samples<T>, mut finds: Vec<SceneFinds>) -> Vec<Sheet> {
    let (mut positives, mut misses, mut faces) = (0, 0, 0);
    let mut ranked = Vec::new();
    for (i, scene) in finds.iter_mut().enumerate() {
        best_of_each(&mut scene.found);
        let on = |rect: &Rect, list: &[Rect]| list.iter().any(|other| rect.iou(other) >= FOUND);
        let doubtful = |rect: &Rect| scene.ignored.iter().any(|i| rect.intersection(i) >= 0.5 * rect.area());
        scene.found.retain(|(rect, _)| on(rect, &scene.truth) || !doubtful(rect));
        let boxes: Vec<Rect> = scene.found.iter().map(|(rect, _)| *rect).collect();
        let wrong = boxes.iter().filter(|rect| !on(rect, &scene.truth)).count();
        let missed = scene.truth.iter().filter(|face| !on(face, &boxes)).count();
        (positives, misses, faces) = (positives + wrong, misses + missed, faces + scene.truth.len());
        ranked.push((wrong + missed, i));
    }
    ranked.sort_by_key(|(errors, i)| (std::cmp::Reverse(*errors), *i));
    let scale = SCENE_SIDE as f32 / samples.side as f32;
    let draw = |(_, i): &(usize, usize)| {
        let mut picture = tile(samples, *i, SCENE_SIDE);
        let place = |r: &Rect| Rect::new(r.x * scale, r.y * scale, r.w * scale, r.h * scale);
        for face in &finds[*i].truth {
            outline(&mut picture, &place(face), TRUTH);
        }
        for (rect, _) in &finds[*i].found {
            let right = finds[*i].truth.iter().any(|face| rect.iou(face) >= FOUND);
            outline(&mut picture, &place(rect), if right { AFTER } else { WRONG });
        }
        picture
    };
    let tiles: Vec<RgbImage> = ranked.iter().take(SCENES).map(draw).collect();
    if tiles.is_empty() {
        return Vec::new();
    }
    let shows = format!(
        "Scenes with the most errors: faces (white), found (yellow), false positives (red); \
         {misses} of {faces} faces missed and {positives} false positives in {} scenes",
        samples.n
    );
    vec![Sheet { name: "scenes", shows, picture: sheet(&tiles, SCENE_COLUMNS, SCENE_SIDE) }]
}

/// Keeps the best of boxes that overlap.
fn best_of_each(found: &mut Vec<(Rect, f32)>) {
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(Rect, f32)> = Vec::new();
    for (rect, logit) in found.drain(..) {
        if kept.len() < 100 && kept.iter().all(|(better, _)| better.iou(&rect) < FOUND) {
            kept.push((rect, logit));
        }
    }
    *found = kept;
}

/// Sample `i` as the net sees it, `side` pixels.
fn tile<T>(samples: &Samples<T>, i: usize, side: u32) -> RgbImage {
    let len = samples.side * samples.side * 3;
    let bytes: Vec<u8> = samples.input[i * len..][..len].iter().map(|v| (v * SPREAD + MIDDLE).round() as u8).collect();
    let picture = RgbImage::from_raw(samples.side as u32, samples.side as u32, bytes).unwrap_or_default();
    imageops::resize(&picture, side, side, FilterType::Triangle)
}

/// Puts tiles of `side` pixels beside and below each other.
fn sheet(tiles: &[RgbImage], columns: usize, side: u32) -> RgbImage {
    let (columns, rows) = (columns.min(tiles.len()), tiles.len().div_ceil(columns));
    let mut picture =
        RgbImage::from_pixel(columns as u32 * (side + GAP) - GAP, rows as u32 * (side + GAP) - GAP, Rgb([60; 3]));
    for (i, tile) in tiles.iter().enumerate() {
        let place = |n: usize| i64::from(n as u32 * (side + GAP));
        imageops::replace(&mut picture, tile, place(i % columns), place(i / columns));
    }
    picture
}

/// Draws the outline of `rect`, as far as it lies in the picture.
fn outline(picture: &mut RgbImage, rect: &Rect, colour: Rgb<u8>) {
    let (w, h) = (picture.width() as i32, picture.height() as i32);
    let (left, top) = (rect.x.round() as i32, rect.y.round() as i32);
    let (right, bottom) = ((rect.x + rect.w).round() as i32 - 1, (rect.y + rect.h).round() as i32 - 1);
    let mut dot = |x: i32, y: i32| {
        if (0..w).contains(&x) && (0..h).contains(&y) {
            picture.put_pixel(x as u32, y as u32, colour);
        }
    };
    for x in left.max(0)..=right.min(w - 1) {
        dot(x, top);
        dot(x, bottom);
    }
    for y in top.max(0)..=bottom.min(h - 1) {
        dot(left, y);
        dot(right, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples<T>(n: usize, side: usize, targets: T) -> Samples<T> {
        Samples { input: vec![0.0; n * side * side * 3], n, side, targets }
    }

    #[test]
    fn errors_and_calibrations_are_told_and_counted() {
        let window = Rect::new(0.0, 0.0, 24.0, 24.0);
        let face = Rect::new(2.0, 3.0, 20.0, 20.0);
        let shift = Some((0, face));
        let targets = vec![
            Target { face: Some(true), shift },
            Target { face: Some(true), shift },
            Target { face: Some(false), shift: None },
            Target { face: None, shift: None },
        ];
        let head = |output, values: Vec<f32>| Prediction { output, gradient: vec![0.0; values.len()], values };
        let boxes = [calibration::encode_box(&window, &face); 4].concat();
        let predictions = [head(Output::Face, vec![1.0, -2.0, 3.0, 4.0]), head(Output::Box, boxes)];
        let sheets = windows(&window, &samples(4, 24, targets), &predictions);
        let shows: Vec<&str> = sheets.iter().map(|s| s.shows.as_str()).collect();
        assert!(shows[0].starts_with("False positives: windows taken for faces, 1 of 1"), "{shows:?}");
        assert!(shows[1].starts_with("Misses: faces not taken for faces, 1 of 2"), "{shows:?}");
        assert!(shows[2].ends_with("mean IoU 0.69 before, 1.00 after"), "{shows:?}");
    }

    #[test]
    fn boxes_start_from_the_window_not_from_its_surroundings() {
        let window = Rect::new(4.0, 4.0, 24.0, 24.0);
        let face = Rect::new(6.0, 7.0, 20.0, 20.0);
        let values = calibration::encode_box(&window, &face).to_vec();
        let boxes = Prediction { output: Output::Box, gradient: vec![0.0; 4], values };
        let targets = vec![Target { face: Some(true), shift: Some((0, face)) }];
        let sheets = windows(&window, &samples(1, 32, targets), &[boxes]);
        assert!(sheets[0].shows.ends_with("mean IoU 0.69 before, 1.00 after"), "{}", sheets[0].shows);
    }

    #[test]
    fn a_scene_counts_each_face_and_each_false_positive_once() {
        let truth = vec![Rect::new(10.0, 10.0, 20.0, 20.0), Rect::new(60.0, 60.0, 20.0, 20.0)];
        let near = |x: f32| (Rect::new(x, 10.0, 20.0, 20.0), 1.0);
        let far = (Rect::new(100.0, 10.0, 20.0, 20.0), 2.0);
        let doubtful = (Rect::new(100.0, 100.0, 20.0, 20.0), 2.0);
        let found = vec![near(10.0), near(11.0), far, doubtful];
        let finds = SceneFinds { truth, ignored: vec![Rect::new(90.0, 90.0, 40.0, 40.0)], found };
        let sheets = scenes(&samples(1, 160, ()), vec![finds]);
        assert!(
            sheets[0].shows.contains("1 of 2 faces missed and 1 false positives in 1 scenes"),
            "{}",
            sheets[0].shows
        );
        let scale = SCENE_SIDE as f32 / 160.0;
        assert_eq!(*sheets[0].picture.get_pixel((100.0 * scale) as u32, (10.0 * scale).round() as u32), WRONG);
    }
}
