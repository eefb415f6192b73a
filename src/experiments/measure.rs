//! Measures a trained net that rates or moves windows, on windows of pictures that it did not learn from.

use std::collections::BTreeMap;

use super::results::{Measured, rounded};
use crate::cascade::calibration::{self, CLASSES};
use crate::error::Result;
use crate::geometry::Rect;
use crate::nets::grid::face_logit;
use crate::nets::spec::{Net, Output};
use crate::nets::weights::Weights;
use crate::nets::windows::{Scratch, WindowNet};
use crate::train::held_back;
use crate::train::mining::MinedWindows;
use crate::train::task::Task;
use crate::train::windows::{Sources, WindowSettings, Windows};

/// Windows that are run at once.
const BATCH: usize = 64;

/// A way to move a window by the 45 classes.
type Way = fn(&Rect, &[f32]) -> Rect;
const WAYS: [(&str, Way); 3] = [
    ("weighted mean", calibration::correct),
    ("plain mean", |window, logits| calibration::correct_weighted(window, logits, |_| 1.0)),
    ("best class", best_class),
];

/// Measures `weights` on `samples` windows, the same for all nets that look at windows of one size.
///
/// # Errors
/// If the weights do not fit the net.
pub(super) fn measure(
    net: &Net,
    weights: Weights,
    (settings, context): (&WindowSettings, f32),
    sources: Sources<'_>,
    samples: usize,
) -> Result<Measured> {
    let mined = MinedWindows::default();
    let task = Windows::new(net.side, context, settings, sources, &mined, &mut held_back::rng(0));
    let (net, mut scratch) = (WindowNet::new(net, weights, None)?, Scratch::default());
    let has = |output| net.net().head(output).is_some();
    let (mut wrong, mut decisions, mut moved) = (0_usize, 0_usize, 0_usize);
    let mut iou: BTreeMap<String, f64> = BTreeMap::new();
    let window = task.window();
    for batch in 0..samples.div_ceil(BATCH) {
        let drawn = task.draw(&mut held_back::rng(batch + 1), BATCH);
        net.run(&drawn.input, drawn.n, &mut scratch);
        if has(Output::Face) {
            let outputs = net.head(Output::Face, None, &mut scratch);
            for (outputs, target) in outputs.chunks_exact(outputs.len() / drawn.n).zip(&drawn.targets) {
                let Some(face) = target.face else { continue };
                decisions += 1;
                wrong += usize::from((face_logit(outputs) > 0.0) != face);
            }
        }
        let faces: Vec<_> = drawn.targets.iter().map(|target| target.shift.map(|(_, face)| face.to_square())).collect();
        let mut add = |way: &str, moved: &Rect, face: &Rect| {
            *iou.entry(way.to_owned()).or_default() += f64::from(moved.to_square().iou(face));
        };
        if has(Output::Calibration) {
            let outputs = net.head(Output::Calibration, None, &mut scratch);
            for (logits, face) in outputs.chunks_exact(CLASSES.len()).zip(&faces) {
                let Some(face) = face else { continue };
                WAYS.iter().for_each(|(name, way)| add(name, &way(&window, logits), face));
            }
        }
        if has(Output::Box) {
            let outputs = net.head(Output::Box, None, &mut scratch);
            for (code, face) in outputs.chunks_exact(4).zip(&faces) {
                let Some(face) = face else { continue };
                add("regression", &calibration::decode_box(&window, code), face);
            }
        }
        if has(Output::Calibration) || has(Output::Box) {
            for face in faces.iter().flatten() {
                add("before", &window, face);
                moved += 1;
            }
        }
    }
    iou.values_mut().for_each(|sum| *sum = rounded(*sum / moved.max(1) as f64));
    let error = (decisions > 0).then(|| rounded(wrong as f64 / decisions as f64));
    Ok(Measured { windows: decisions.max(moved), error, iou })
}

fn best_class(window: &Rect, logits: &[f32]) -> Rect {
    let best = (0..CLASSES.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.map_or(*window, |class| calibration::correct_by(window, CLASSES[class]))
}
