//! Losses and their gradients (d loss / d prediction), for one prediction at a time.

use super::dual::Dual;
use crate::geometry::Rect;
use crate::nets::grid::ln_sigmoid;

/// Returns the focal loss (Lin et al. 2017) of one logit and its gradient. Positives are weighted by `alpha`, negatives by
/// 1 − `alpha`; `gamma` is the focusing exponent.
pub(crate) fn focal(logit: f32, positive: bool, alpha: f32, gamma: f32) -> (f32, f32) {
    // In terms of z = ± logit, the loss is −w (1 − p)^γ ln p with p = σ(z).
    let (z, weight, sign) = if positive { (logit, alpha, 1.0) } else { (-logit, 1.0 - alpha, -1.0) };
    let (p, ln_p) = (sigmoid(z), ln_sigmoid(z));
    let modulation = (1.0 - p).powf(gamma);
    let gradient = weight * modulation * (gamma * p * ln_p - (1.0 - p));
    (-weight * modulation * ln_p, sign * gradient)
}

/// Returns the binary cross-entropy of one logit and its gradient.
pub(crate) fn cross_entropy(logit: f32, positive: bool) -> (f32, f32) {
    let z = if positive { logit } else { -logit };
    let gradient = sigmoid(logit) - f32::from(u8::from(positive));
    (-ln_sigmoid(z), gradient)
}

/// Returns the cross-entropy of a softmax over `logits` (not weighted) and adds `weight` × its gradient to `gradient`.
pub(crate) fn softmax_cross_entropy(logits: &[f32], label: usize, weight: f32, gradient: &mut [f32]) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|l| (l - top).exp()).sum();
    for (i, (l, g)) in logits.iter().zip(gradient).enumerate() {
        *g += weight * ((l - top).exp() / sum - f32::from(u8::from(i == label)));
    }
    sum.ln() + top - logits[label]
}

/// Returns the smooth L1 loss (Girshick 2015) of a difference and its gradient; quadratic below `beta`.
pub(crate) fn smooth_l1(difference: f32, beta: f32) -> (f32, f32) {
    if difference.abs() < beta {
        (0.5 * difference * difference / beta, difference / beta)
    } else {
        (difference.abs() - 0.5 * beta, difference.signum())
    }
}

/// Returns the binary cross-entropy of one logit and a target in 0..1, and its gradient.
pub(crate) fn soft_cross_entropy(logit: f32, target: f32) -> (f32, f32) {
    let loss = -target * ln_sigmoid(logit) - (1.0 - target) * ln_sigmoid(-logit);
    (loss, sigmoid(logit) - target)
}

/// Returns the EIoU loss (Zhang et al. 2021) of a box against `face`, and its gradient by the numbers of a cells head. The
/// numbers dx, dy, ln w, ln h give the box from the square `window`: 1 − IoU + (distance of the centres)² / (diagonal of the box
/// round both)² + (difference of the widths)² / (its width)² + the same of the heights.
pub(crate) fn eiou(window: &Rect, numbers: [f32; 4], face: &Rect) -> (f32, [f32; 4]) {
    let number = Dual::constant;
    let [dx, dy, lw, lh]: [Dual; 4] =
        std::array::from_fn(|i| if i < 2 { Dual::variable(numbers[i], i) } else { limited(numbers[i], i) });
    let (side, half) = (number(window.w), number(0.5));
    let (cx, cy) = window.center();
    let (x, y) = (number(cx) + dx * side, number(cy) + dy * side);
    let (w, h) = (side * lw.exp(), side * lh.exp());
    let (fx, fy) = face.center();
    let (left, right) = (number(face.x), number(face.x + face.w));
    let (top, bottom) = (number(face.y), number(face.y + face.h));
    let zero = number(0.0);
    let shared_w = ((x + w * half).min(right) - (x - w * half).max(left)).max(zero);
    let shared_h = ((y + h * half).min(bottom) - (y - h * half).max(top)).max(zero);
    let shared = shared_w * shared_h;
    let iou = shared / (w * h + number(face.area()) - shared);
    let both_w = (x + w * half).max(right) - (x - w * half).min(left);
    let both_h = (y + h * half).max(bottom) - (y - h * half).min(top);
    let apart = (x - number(fx)).square() + (y - number(fy)).square();
    let loss = number(1.0) - iou
        + apart / (both_w.square() + both_h.square())
        + (w - number(face.w)).square() / both_w.square()
        + (h - number(face.h)).square() / both_h.square();
    (loss.value, loss.slope)
}

/// Variable number `i`, a logarithm of a side, within what boxes of pictures have.
fn limited(value: f32, i: usize) -> Dual {
    Dual::variable(value, i).max(Dual::constant(-6.0)).min(Dual::constant(6.0))
}

/// Returns 1 / (1 + e^−x).
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: impl Fn(f32) -> (f32, f32)) {
        for x in [-6.0, -2.3, -0.4, 0.02, 0.7, 3.0, 5.5] {
            let h = 1e-2;
            let numeric = (f(x + h).0 - f(x - h).0) / (2.0 * h);
            assert!((numeric - f(x).1).abs() < 2e-3 + 0.02 * numeric.abs(), "at {x}: {numeric} against {}", f(x).1);
        }
    }

    #[test]
    fn gradients_of_losses_are_right() {
        for positive in [true, false] {
            check(|x| focal(x, positive, 0.4, 2.0));
            check(|x| cross_entropy(x, positive));
        }
        check(|x| soft_cross_entropy(x, 0.3));
        check(|x| smooth_l1(x, 0.5));
        check(|x| {
            let mut gradient = [0.0; 3];
            let loss = softmax_cross_entropy(&[0.3, x, -1.0], 1, 1.0, &mut gradient);
            (loss, gradient[1])
        });
    }

    #[test]
    fn the_gradient_of_eiou_is_right_and_the_loss_of_a_hit_is_zero() {
        let (window, face) = (Rect::square(20.0, 30.0, 8.0), Rect::new(10.0, 19.0, 14.0, 20.0));
        let hit = [(17.0 - 20.0) / 8.0, (29.0 - 30.0) / 8.0, (14.0f32 / 8.0).ln(), (20.0f32 / 8.0).ln()];
        assert!(eiou(&window, hit, &face).0.abs() < 1e-5);
        for numbers in [[0.1, 0.4, 0.3, 0.9], [-0.9, -0.4, 1.1, 0.2], [5.0, 3.0, 0.0, -0.5]] {
            for i in 0..4 {
                let at =
                    |h: f32| eiou(&window, std::array::from_fn(|j| numbers[j] + if i == j { h } else { 0.0 }), &face);
                let numeric = (at(1e-2).0 - at(-1e-2).0) / 2e-2;
                assert!((numeric - at(0.0).1[i]).abs() < 2e-3 + 0.02 * numeric.abs(), "{numbers:?}, {i}: {numeric}");
            }
        }
    }

    #[test]
    fn losses_stay_finite_at_saturated_logits() {
        for x in [-200.0, 200.0] {
            for positive in [true, false] {
                assert!(focal(x, positive, 0.4, 2.0).0.is_finite() && focal(x, positive, 0.4, 2.0).1.is_finite());
                assert!(cross_entropy(x, positive).0.is_finite());
            }
            assert!(softmax_cross_entropy(&[x, -x], 0, 1.0, &mut [0.0; 2]).is_finite());
        }
    }
}
