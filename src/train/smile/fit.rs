//! The probability's two numbers, fitted on the faces held back, and how the net does on them.

use super::faces::{Set, SmileFace};
use crate::cascade::batch::Batch;
use crate::cascade::smile::{SmileNet, SmileSettings};
use crate::error::Result;
use crate::eval::smile::{Judged, PORTRAIT_FACE, auc, balanced_accuracy};
use crate::nets::spec::Net;
use crate::nets::weights::Weights;
use crate::nets::windows::{Scratch, WindowNet};

/// What the faces held back say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    /// The settings with `slope` and `offset` fitted.
    pub settings: SmileSettings,
    /// For each set that has faces held back: its name, balanced accuracy and area under the ROC curve, 0..1.
    pub figures: Vec<(&'static str, f64, f64)>,
}

/// Runs the net over the faces held back, as in detection, and fits the probability. Both classes of both sets count alike.
///
/// # Errors
/// If the weights don't fit the net.
pub(crate) fn held(net: &Net, weights: &Weights, settings: &SmileSettings, faces: &[SmileFace]) -> Result<Held> {
    let smiles = SmileNet::new(settings, PORTRAIT_FACE, |_| WindowNet::new(net, weights.clone(), None))?;
    let held: Vec<&SmileFace> = faces.iter().filter(|f| f.held_back).collect();
    let (mut batch, mut scratch, mut logits) = (Batch::default(), Scratch::default(), Vec::new());
    for face in &held {
        smiles.look(&face.pyramid, std::iter::once(face.rect), &mut batch, &mut scratch, &mut logits);
    }
    let kind = |f: &SmileFace| usize::from(f.set == Set::Tiles) * 2 + usize::from(f.smile);
    let mut counts = [0.0f64; 4];
    held.iter().for_each(|f| counts[kind(f)] += 1.0);
    let samples: Vec<(f64, bool, f64)> =
        held.iter().zip(&logits).map(|(f, logit)| (f64::from(*logit), f.smile, 1.0 / counts[kind(f)])).collect();
    let (slope, offset) = logistic(&samples);
    let settings = SmileSettings { slope: slope as f32, offset: offset as f32, ..settings.clone() };
    let figures = [(Set::Portraits, "mtfl"), (Set::Tiles, "fer")]
        .into_iter()
        .filter_map(|(set, name)| {
            let list: Vec<Judged> = held
                .iter()
                .zip(&logits)
                .filter(|(f, _)| f.set == set)
                .map(|(f, logit)| Judged::new(f.smile, f.found.then(|| settings.probability(*logit))))
                .collect();
            (!list.is_empty()).then(|| (name, balanced_accuracy(&list), auc(&list)))
        })
        .collect();
    Ok(Held { settings, figures })
}

/// Slope and offset of the logistic regression of (x, label, weight), by Newton's method with a faint pull towards slope 1
/// and offset 0, so that any samples, even none, have an answer; the slope is at least .05.
pub(crate) fn logistic(samples: &[(f64, bool, f64)]) -> (f64, f64) {
    let (mut a, mut b) = (1.0f64, 0.0f64);
    let pull = 1e-3 * samples.iter().map(|s| s.2).sum::<f64>().max(1e-9);
    for _ in 0..50 {
        let (mut ga, mut gb) = (pull * (a - 1.0), pull * b);
        let (mut haa, mut hab, mut hbb) = (pull, 0.0, pull);
        for &(x, label, weight) in samples {
            let p = 1.0 / (1.0 + (-a * x - b).exp());
            let (g, h) = (weight * (p - f64::from(u8::from(label))), weight * p * (1.0 - p));
            ga += g * x;
            gb += g;
            haa += h * x * x;
            hab += h * x;
            hbb += h;
        }
        let determinant = (haa * hbb - hab * hab).max(1e-12);
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        // Far from the solution a whole step may overshoot.
        let most = da.abs().max(db.abs()).max(1.0);
        a = (a - da / most).max(0.05);
        b -= db / most;
    }
    (a, b)
}
