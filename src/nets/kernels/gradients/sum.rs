//! Gradient of the sum of a map and of a coarser one at twice its size.

/// Adds the gradients `dy` `[h, w, c]` of a sum (see `kernels::sum`) up in those of its coarser map, `[ch, cw, c]`.
pub(in crate::nets) fn add_doubled_backward(
    (h, w): (usize, usize),
    (ch, cw): (usize, usize),
    c: usize,
    dy: &[f32],
    dx: &mut [f32],
) {
    assert!(dy.len() == h * w * c && dx.len() == ch * cw * c);
    for (y, row) in dy.chunks_exact(w * c).enumerate() {
        let to = &mut dx[(y / 2).min(ch - 1) * cw * c..][..cw * c];
        for (x, pixel) in row.chunks_exact(c).enumerate() {
            let to = &mut to[(x / 2).min(cw - 1) * c..][..c];
            to.iter_mut().zip(pixel).for_each(|(to, v)| *to += v);
        }
    }
}
