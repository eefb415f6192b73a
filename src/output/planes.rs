//! Frames as encoders take them: brightness at full size, colour at half (Y′CbCr 4:2:0, 8 bits, values 16 to 235).
//! Made here rather than by ffmpeg: half as much goes through the pipe, and it takes a fraction of the time.

use image::RgbImage;
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix, rgb_to_yuv420};

use crate::error::{Error, Result};
use crate::source::planes;

/// Turns frames into planes; buffers are used again.
#[derive(Debug)]
pub(super) struct Planes {
    matrix: YuvStandardMatrix,
    bytes: Vec<u8>,
    /// A frame with even sides, where its own are odd.
    padded: Vec<u8>,
}

impl Planes {
    /// For frames that came through the colour matrix that ffmpeg calls `matrix`, so that they go back through the same
    /// one. ffmpeg takes BT.601 where it knows none.
    pub(super) fn new(matrix: Option<&str>) -> Self {
        let matrix = planes::matrix(matrix);
        Self { matrix, bytes: Vec::new(), padded: Vec::new() }
    }

    /// The planes of `frame`, one after the other: `h` × `w`, then twice `h/2` × `w/2`, with odd sides made even.
    ///
    /// # Errors
    /// If the frame has no pixels.
    pub(super) fn of(&mut self, frame: &RgbImage) -> Result<&[u8]> {
        let (width, height) = (even(frame.width()), even(frame.height()));
        let rgb: &[u8] = if (width, height) == frame.dimensions() {
            frame
        } else {
            pad(frame, &mut self.padded);
            &self.padded
        };
        let size = width as usize * height as usize;
        self.bytes.resize(size * 3 / 2, 0);
        let (y, colours) = self.bytes.split_at_mut(size);
        let (u, v) = colours.split_at_mut(size / 4);
        let mut image = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(y),
            y_stride: width,
            u_plane: BufferStoreMut::Borrowed(u),
            u_stride: width / 2,
            v_plane: BufferStoreMut::Borrowed(v),
            v_stride: width / 2,
            width,
            height,
        };
        let mode = YuvConversionMode::Balanced;
        rgb_to_yuv420(&mut image, rgb, width * 3, YuvRange::Limited, self.matrix, mode)
            .map_err(|e| Error::Backend(format!("a frame of {width}×{height} can't be encoded: {e}")))?;
        Ok(&self.bytes)
    }
}

/// Colours are halved, so sides must be even.
pub(super) fn even(side: u32) -> u32 {
    side.next_multiple_of(2)
}

/// Repeats the last column and row where a side is odd.
fn pad(frame: &RgbImage, out: &mut Vec<u8>) {
    out.clear();
    let (width, height) = frame.dimensions();
    let row = |y: u32, out: &mut Vec<u8>| {
        let start = y as usize * width as usize * 3;
        let row = &frame.as_raw()[start..start + width as usize * 3];
        out.extend_from_slice(row);
        if width % 2 == 1 {
            out.extend_from_slice(&row[row.len() - 3..]);
        }
    };
    (0..height).for_each(|y| row(y, out));
    if height % 2 == 1 {
        row(height - 1, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn odd_sides_repeat_their_last_pixels() {
        let frame = RgbImage::from_fn(3, 1, |x, _| Rgb([x as u8; 3]));
        let mut out = vec![9];
        pad(&frame, &mut out);
        let row = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2];
        assert_eq!(out, [row, row].concat());
    }

    /// ITU-R BT.601 and BT.709 by their own formulas.
    #[test]
    fn colours_go_through_the_matrix_that_is_named() {
        for (name, kr, kb) in [(None, 0.299, 0.114), (Some("bt470bg"), 0.299, 0.114), (Some("bt709"), 0.2126, 0.0722)] {
            for rgb in [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [30, 90, 200], [180, 120, 100]] {
                // Large enough for every width of registers.
                let mut planes = Planes::new(name);
                let bytes = planes.of(&RgbImage::from_pixel(131, 33, Rgb(rgb))).unwrap();
                assert_eq!(bytes.len(), 132 * 34 * 3 / 2);
                let [r, g, b] = rgb.map(|v| f64::from(v) / 255.0);
                let y = kr * r + (1.0 - kr - kb) * g + kb * b;
                let expected =
                    [16.0 + 219.0 * y, 128.0 + 112.0 * (b - y) / (1.0 - kb), 128.0 + 112.0 * (r - y) / (1.0 - kr)];
                let size = 132 * 34;
                let parts = [&bytes[..size], &bytes[size..size * 5 / 4], &bytes[size * 5 / 4..]];
                for (part, expected) in parts.iter().zip(expected) {
                    let fits = |v: &u8| (f64::from(*v) - expected).abs() <= 1.0;
                    assert!(part.iter().all(fits), "{name:?} {rgb:?}: {expected}, got {:?}", &part[..4]);
                }
            }
        }
    }
}
