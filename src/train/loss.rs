//! Losses and their gradients (d loss / d prediction), for one prediction at a time.

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

/// Returns 1 / (1 + e^−x).
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns ln σ(x) without overflow or loss of precision at large |x|.
fn ln_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
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
        check(|x| smooth_l1(x, 0.5));
        check(|x| {
            let mut gradient = [0.0; 3];
            let loss = softmax_cross_entropy(&[0.3, x, -1.0], 1, 1.0, &mut gradient);
            (loss, gradient[1])
        });
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
