//! Frames as decoders give them: brightness at full size, colour at half (Y′CbCr 4:2:0, 8 bits, values 16 to 235). Turned
//! into RGB here rather than by ffmpeg: half as much comes through the pipe.

use image::RgbImage;
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_rgb};

use crate::error::{Error, Result};

/// The colour matrix that ffmpeg calls `name`. It takes BT.601 where it knows none.
pub(crate) fn matrix(name: Option<&str>) -> YuvStandardMatrix {
    match name {
        Some("bt709") => YuvStandardMatrix::Bt709,
        Some("bt2020nc") => YuvStandardMatrix::Bt2020,
        Some("smpte240m") => YuvStandardMatrix::Smpte240,
        Some("fcc") => YuvStandardMatrix::Fcc,
        _ => YuvStandardMatrix::Bt601,
    }
}

/// Bytes of a frame: `h` × `w`, then twice half of each side, rounded up.
pub(super) fn size((width, height): (u32, u32)) -> usize {
    let all = |w: u32, h: u32| w as usize * h as usize;
    all(width, height) + 2 * all(width.div_ceil(2), height.div_ceil(2))
}

/// Turns the planes in `bytes` (see [`size`]) into the pixels of `frame`.
///
/// # Errors
/// If the frame has no pixels.
pub(super) fn to_rgb(bytes: &[u8], matrix: YuvStandardMatrix, frame: &mut RgbImage) -> Result<()> {
    let (width, height) = frame.dimensions();
    let (half, halves) = (width.div_ceil(2), height.div_ceil(2));
    let (y, colours) = bytes.split_at(width as usize * height as usize);
    let (u, v) = colours.split_at(half as usize * halves as usize);
    let planes = YuvPlanarImage {
        y_plane: y,
        y_stride: width,
        u_plane: u,
        u_stride: half,
        v_plane: v,
        v_stride: half,
        width,
        height,
    };
    yuv420_to_rgb(&planes, frame, width * 3, YuvRange::Limited, matrix)
        .map_err(|e| Error::Backend(format!("a frame of {width}×{height} can't be decoded: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ITU-R BT.601 and BT.709 by their own formulas.
    #[test]
    fn colours_come_through_the_matrix_that_is_named_at_any_size() {
        for (name, kr, kb) in [(None, 0.299, 0.114), (Some("bt709"), 0.2126, 0.0722)] {
            for rgb in [[255.0, 255.0, 255.0], [0.0, 0.0, 0.0], [200.0, 40.0, 30.0], [30.0, 90.0, 200.0_f64]] {
                for (width, height) in [(1, 1), (131, 33), (64, 7), (200, 2)] {
                    let [r, g, b] = rgb.map(|v| v / 255.0);
                    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
                    let parts =
                        [16.0 + 219.0 * y, 128.0 + 112.0 * (b - y) / (1.0 - kb), 128.0 + 112.0 * (r - y) / (1.0 - kr)]
                            .map(|v| v.round() as u8);
                    let all = size((width, height));
                    let mut bytes = vec![parts[2]; all];
                    let light = (width * height) as usize;
                    bytes[..light].fill(parts[0]);
                    bytes[light..light + (all - light) / 2].fill(parts[1]);
                    let mut frame = RgbImage::new(width, height);
                    to_rgb(&bytes, matrix(name), &mut frame).unwrap();
                    for pixel in frame.pixels() {
                        let near = (0..3).all(|c| (f64::from(pixel.0[c]) - rgb[c]).abs() <= 3.0);
                        assert!(near, "{name:?} {width}×{height}: {pixel:?}, not {rgb:?}");
                    }
                }
            }
        }
    }
}
