//! How a window is moved onto its face: by 45 classes of misplacement (Li et al. 2015, section 3.2.3; weighted as in the
//! article), or by regression of the box. Encoding and decoding stand side by side; both are anchored at the centre.

use crate::geometry::Rect;

/// Scales of the classes.
pub(crate) const SCALES: [f32; 5] = [0.83, 0.91, 1.0, 1.10, 1.21];
/// Shifts of the classes, in sides of the face, along x and along y.
pub(crate) const SHIFTS: [f32; 3] = [-0.17, 0.0, 0.17];

/// (s, dx, dy) of the 45 classes: the window is s times as large as the face and lies dx, dy face sides off its centre.
/// Scale is the slowest index, y the fastest.
pub(crate) const CLASSES: [(f32, f32, f32); 45] = {
    let mut classes = [(0.0, 0.0, 0.0); 45];
    let mut k = 0;
    while k < 45 {
        classes[k] = (SCALES[k / 9], SHIFTS[k / 3 % 3], SHIFTS[k % 3]);
        k += 1;
    }
    classes
};

/// The class that says best how `window` is misplaced on `face`: nearest in ln-scale, in x and in y. Both boxes
/// are squared first.
#[cfg(feature = "train")]
pub(crate) fn label(window: &Rect, face: &Rect) -> usize {
    let (window, face) = (window.to_square(), face.to_square());
    let ((wx, wy), (fx, fy)) = (window.center(), face.center());
    let scale = nearest(&SCALES.map(f32::ln), (window.w / face.w).ln());
    let x = nearest(&SHIFTS, (wx - fx) / face.w);
    let y = nearest(&SHIFTS, (wy - fy) / face.w);
    (scale * 3 + x) * 3 + y
}

#[cfg(feature = "train")]
fn nearest(values: &[f32], v: f32) -> usize {
    let distance = |i: &usize| (values[*i] - v).abs();
    (0..values.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// Takes back a misplacement by (s, dx, dy): the centre moves by −dx·w/s, −dy·h/s, the sides become w/s, h/s. (The paper
/// prints the corner in place of the centre, which makes the shifts lopsided for s ≠ 1.)
pub(crate) fn correct_by(window: &Rect, (s, dx, dy): (f32, f32, f32)) -> Rect {
    let (cx, cy) = window.center();
    let (w, h) = (window.w / s, window.h / s);
    Rect::new(cx - dx * w - w / 2.0, cy - dy * h - h / 2.0, w, h)
}

/// Corrects `window` by the 45 classes' `logits`: by the mean misplacement over classes of probability of at least 1/45,
/// weighted by probability. Without such a class, the window stays as it is.
pub(crate) fn correct(window: &Rect, logits: &[f32]) -> Rect {
    correct_weighted(window, logits, |p| p)
}

/// As [`correct`], each class weighted by `weight` of its probability.
pub(crate) fn correct_weighted(window: &Rect, logits: &[f32], weight_of: impl Fn(f32) -> f32) -> Rect {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = logits.iter().map(|l| (l - greatest).exp()).sum();
    let (mut weight, mut sum) = (0.0, (0.0, 0.0, 0.0));
    for (logit, class) in logits.iter().zip(CLASSES) {
        let p = (logit - greatest).exp() / total;
        if p >= 1.0 / CLASSES.len() as f32 {
            let p = weight_of(p);
            weight += p;
            sum = (sum.0 + p * class.0, sum.1 + p * class.1, sum.2 + p * class.2);
        }
    }
    if weight > 0.0 { correct_by(window, (sum.0 / weight, sum.1 / weight, sum.2 / weight)) } else { *window }
}

/// The inverse of [`decode_box`].
#[cfg(test)]
pub(crate) fn encode_box(window: &Rect, face: &Rect) -> [f32; 4] {
    let ((wx, wy), (fx, fy)) = (window.center(), face.center());
    [(fx - wx) / window.w, (fy - wy) / window.w, (face.w / window.w).ln(), (face.h / window.w).ln()]
}

/// The box that `code` gives of the square `window`: dx, dy of the centres in window sides, ln of width and of height in window
/// sides. Sides are kept within e² of the window's, so that a net's nonsense stays finite.
pub(crate) fn decode_box(window: &Rect, code: &[f32]) -> Rect {
    decode(window, code, 2.0)
}

/// As [`decode_box`] for the numbers of a cells head, whose windows are all of one stride: sides are within e⁶ of it.
pub(crate) fn decode_cell(window: &Rect, code: &[f32]) -> Rect {
    decode(window, code, 6.0)
}

fn decode(window: &Rect, code: &[f32], most: f32) -> Rect {
    let (wx, wy) = window.center();
    let side = |ln: f32| window.w * ln.clamp(-most, most).exp();
    let (cx, cy, w, h) = (wx + code[0] * window.w, wy + code[1] * window.w, side(code[2]), side(code[3]));
    Rect::new(cx - w / 2.0, cy - h / 2.0, w, h)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_hot(class: usize) -> [f32; 45] {
        std::array::from_fn(|k| if k == class { 30.0 } else { 0.0 })
    }

    fn close(a: &Rect, b: &Rect) -> bool {
        [a.x - b.x, a.y - b.y, a.w - b.w, a.h - b.h].iter().all(|d| d.abs() < 1e-3)
    }

    #[test]
    fn a_window_misplaced_by_a_class_is_labelled_and_corrected_by_it() {
        let face = Rect::new(40.0, 30.0, 50.0, 50.0);
        for (k, (s, dx, dy)) in CLASSES.into_iter().enumerate() {
            let (cx, cy) = face.center();
            let window = Rect::square(cx + dx * face.w, cy + dy * face.w, face.w * s);
            assert_eq!(label(&window, &face), k);
            let corrected = correct(&window, &one_hot(k));
            assert!(close(&corrected, &face), "{k}: {corrected:?}");
        }
    }

    #[test]
    fn no_class_is_sure_enough_leaves_the_window() {
        let window = Rect::new(3.0, 4.0, 20.0, 20.0);
        assert_eq!(correct(&window, &[f32::NAN; 45]), window);
    }

    #[test]
    fn classes_below_one_45th_do_not_count() {
        let window = Rect::new(0.0, 0.0, 20.0, 20.0);
        let mut logits = [0.0; 45];
        logits[22] = 1.0; // (1, 0, 0); the others fall below 1/45, and would draw the scale to 1.01
        assert!(close(&correct(&window, &logits), &window));
    }

    proptest! {
        #[test]
        fn the_labels_class_brings_the_window_nearest_to_the_face(
            s in -0.25f32..0.25, dx in -0.25f32..0.25, dy in -0.25f32..0.25, side in 8f32..300.0,
        ) {
            let face = Rect::new(-7.0, 11.0, side, side);
            let (cx, cy) = face.center();
            let window = Rect::square(cx + dx * side, cy + dy * side, side * s.exp());
            let off = |r: &Rect| {
                let (x, y) = r.center();
                ((r.w / face.w).ln().abs(), ((x - cx) / r.w).abs(), ((y - cy) / r.w).abs())
            };
            let best = off(&correct_by(&window, CLASSES[label(&window, &face)]));
            // No other class leaves less of the scale, of which half a step may be left; shifts reach beyond the outermost class.
            for class in CLASSES {
                prop_assert!(best.0 <= off(&correct_by(&window, class)).0 + 1e-4);
            }
            let scale = 0.25 + 0.83f32.ln();
            prop_assert!(best.0 <= scale + 1e-4, "{best:?}");
            prop_assert!(best.1.max(best.2) <= 0.25 * scale.exp() - 0.17 + 1e-4, "{best:?}");
        }

        #[test]
        fn decoding_a_box_is_the_inverse_of_encoding(
            x in -40f32..40.0, y in -40f32..40.0, w in 10f32..60.0, h in 10f32..60.0,
        ) {
            let (window, face) = (Rect::new(5.0, -3.0, 30.0, 30.0), Rect::new(x, y, w, h));
            prop_assert!(close(&decode_box(&window, &encode_box(&window, &face)), &face));
        }
    }
}
