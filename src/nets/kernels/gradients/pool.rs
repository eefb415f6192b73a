//! Gradients of max pooling and average pooling.

use super::Shape;

/// dx = dy at the first greatest input of each square, added up where squares overlap.
pub(in crate::nets) fn max_pool_backward(s: &Shape, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    s.check(x.len(), y.len());
    s.check(dx.len(), dy.len());
    dx.fill(0.0);
    let (input, output) = (s.h * s.w * s.c, s.out_h() * s.out_w() * s.c);
    let mut left = vec![0.0; s.c];
    for n in 0..s.n {
        let (x, dx) = (&x[n * input..][..input], &mut dx[n * input..][..input]);
        let (y, dy) = (&y[n * output..][..output], &dy[n * output..][..output]);
        for (o, (y, dy)) in y.chunks_exact(s.c).zip(dy.chunks_exact(s.c)).enumerate() {
            left.copy_from_slice(dy);
            for at in square(s, o) {
                let inputs = x[at..at + s.c].iter().zip(&mut dx[at..at + s.c]);
                for ((x, dx), (y, left)) in inputs.zip(y.iter().zip(&mut left)) {
                    let hit = if x == y { *left } else { 0.0 };
                    *dx += hit;
                    *left -= hit;
                }
            }
        }
    }
}

/// dx = each output's gradient, shared out evenly over its square.
pub(in crate::nets) fn average_pool_backward(s: &Shape, dy: &[f32], dx: &mut [f32]) {
    s.check(dx.len(), dy.len());
    let share = 1.0 / (s.kernel * s.kernel) as f32;
    dx.fill(0.0);
    for (dx, dy) in dx.chunks_exact_mut(s.h * s.w * s.c).zip(dy.chunks_exact(s.out_h() * s.out_w() * s.c)) {
        for (o, dy) in dy.chunks_exact(s.c).enumerate() {
            for at in square(s, o) {
                dx[at..at + s.c].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * share);
            }
        }
    }
}

/// Where the inputs of output pixel `o` begin in one input, those in the padding left out.
fn square(s: &Shape, o: usize) -> impl Iterator<Item = usize> + use<> {
    let s = *s;
    let (top, left) = ((o / s.out_w()) * s.stride, (o % s.out_w()) * s.stride);
    let rows = top.saturating_sub(s.pad)..(top + s.kernel).saturating_sub(s.pad).min(s.h);
    let columns = left.saturating_sub(s.pad)..(left + s.kernel).saturating_sub(s.pad).min(s.w);
    rows.flat_map(move |y| columns.clone().map(move |x| (y * s.w + x) * s.c))
}
