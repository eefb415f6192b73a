//! The pyramid's shaders as plain functions, each under its shader's name: what tests compare them with.

use super::layout::{Kind, Layout, Pass};

/// All passes of `layout` over `pixels`, which begin with the picture.
pub(super) fn run(layout: &Layout, pixels: &mut [u8]) {
    for (kind, pass) in layout.passes() {
        match kind {
            Kind::Halve => halve(pass, pixels),
            Kind::Columns => resize_columns(pass, layout.weights(), pixels),
            Kind::Rows => resize_rows(pass, layout.weights(), pixels),
        }
    }
}

/// The mean of 2×2 pixels, rounded half up: `shaders/halve.wgsl`.
pub(super) fn halve(pass: &Pass, pixels: &mut [u8]) {
    let row = pass.from_width * 3;
    for byte in 0..pass.length {
        let (x, y) = (byte / 3 % pass.width, byte / 3 / pass.width);
        let at = pass.from_byte + 2 * y * row + 6 * x + byte % 3;
        let sum: u32 = [at, at + 3, at + row, at + row + 3].iter().map(|i| u32::from(pixels[*i])).sum();
        pixels[pass.to_byte + byte] = ((sum + 2) / 4) as u8;
    }
}

/// Other heights: `shaders/resize_columns.wgsl`.
pub(super) fn resize_columns(pass: &Pass, weights: &[i32], pixels: &mut [u8]) {
    let row = pass.width * 3;
    for byte in 0..pass.length {
        pixels[pass.to_byte + byte] = weighted(pass, weights, pixels, byte / row, pass.from_byte + byte % row, row);
    }
}

/// Other widths: `shaders/resize_rows.wgsl`.
pub(super) fn resize_rows(pass: &Pass, weights: &[i32], pixels: &mut [u8]) {
    for byte in 0..pass.length {
        let (x, y) = (byte / 3 % pass.width, byte / 3 / pass.width);
        let at = pass.from_byte + y * pass.from_width * 3 + byte % 3;
        pixels[pass.to_byte + byte] = weighted(pass, weights, pixels, x, at, 3);
    }
}

/// The sum of bytes from `at` on, `step` apart, weighted by the weights of output `i`.
fn weighted(pass: &Pass, weights: &[i32], pixels: &[u8], i: usize, at: usize, step: usize) -> u8 {
    let [first, count, weights @ ..] = &weights[pass.weights_at + i * (pass.taps + 2)..] else { return 0 };
    let inputs = (*first as usize..).map(|k| i32::from(pixels[at + k * step]));
    let sum: i32 = weights[..*count as usize].iter().zip(inputs).map(|(w, v)| w * v).sum();
    ((sum + (1 << (pass.shift - 1))) >> pass.shift).clamp(0, 255) as u8
}
