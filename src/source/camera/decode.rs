//! Converts what cameras send to RGB. YUYV and NV12 are read as BT.601 with luma of 16 to 235, which webcams send.

use image::RgbImage;
use yuv::{
    YuvBiPlanarImage, YuvConversionMode, YuvPackedImage, YuvRange, YuvStandardMatrix, yuv_nv12_to_rgb, yuyv422_to_rgb,
};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::device::{Coding, Shot};
use crate::source::jpeg::jpeg_is_whole;

/// JPEG segment that tells the decoder to use the fixed Huffman tables of MJPEG, which most cameras leave out.
const MOTION: [u8; 10] = [0xFF, 0xE0, 0, 8, b'A', b'V', b'I', b'1', 0, 0];

/// Pictures with more pixels than this are taken for damaged.
const MOST_PIXELS: usize = 64 << 20;

/// Decodes `bytes` (which may be changed) into `into`, whose buffer is used again if the size is the same.
///
/// # Errors
/// The reason, if the picture is damaged or truncated. `into` may hold anything then.
pub(super) fn decode(shot: &Shot, bytes: &mut Vec<u8>, into: &mut RgbImage) -> Result<(), String> {
    if shot.coding == Coding::Mjpeg {
        return mjpeg(bytes, into);
    }
    let (width, height) = (shot.width as usize, shot.height as usize);
    let pixels =
        width.checked_mul(height).filter(|n| (1..=MOST_PIXELS).contains(n)).ok_or("its size is 0, or too large")?;
    let expected = match shot.coding {
        Coding::Yuyv => width.next_multiple_of(2) * height * 2,
        Coding::Nv12 => pixels + width.next_multiple_of(2) * height.div_ceil(2),
        Coding::Rgb | Coding::Bgr => pixels * 3,
        Coding::Mjpeg | Coding::Grey => pixels,
    };
    if bytes.len() < expected {
        return Err(format!("it has {} bytes instead of {expected}", bytes.len()));
    }
    resize(into, shot.width, shot.height);
    let out: &mut [u8] = into;
    match shot.coding {
        Coding::Yuyv => {
            let stride = shot.width.next_multiple_of(2) * 2;
            let image =
                YuvPackedImage { yuy: &bytes[..expected], yuy_stride: stride, width: shot.width, height: shot.height };
            let converted = yuyv422_to_rgb(&image, out, shot.width * 3, YuvRange::Limited, YuvStandardMatrix::Bt601);
            converted.map_err(|e| e.to_string())?;
        }
        Coding::Nv12 => {
            let (luma, colour) = bytes[..expected].split_at(pixels);
            let image = YuvBiPlanarImage {
                y_plane: luma,
                y_stride: shot.width,
                uv_plane: colour,
                uv_stride: shot.width.next_multiple_of(2),
                width: shot.width,
                height: shot.height,
            };
            let (matrix, mode) = (YuvStandardMatrix::Bt601, YuvConversionMode::Balanced);
            let converted = yuv_nv12_to_rgb(&image, out, shot.width * 3, YuvRange::Limited, matrix, mode);
            converted.map_err(|e| e.to_string())?;
        }
        Coding::Rgb => out.copy_from_slice(&bytes[..expected]),
        Coding::Bgr => {
            for (to, from) in out.chunks_exact_mut(3).zip(bytes.chunks_exact(3)) {
                to.copy_from_slice(&[from[2], from[1], from[0]]);
            }
        }
        Coding::Mjpeg | Coding::Grey => {
            out.chunks_exact_mut(3).zip(bytes.iter()).for_each(|(to, from)| to.fill(*from));
        }
    }
    Ok(())
}

/// Makes `picture` one of this size, if it is not.
fn resize(picture: &mut RgbImage, width: u32, height: u32) {
    if picture.dimensions() != (width, height) {
        *picture = RgbImage::new(width, height);
    }
}

/// Decodes a JPEG file, with or without Huffman tables.
fn mjpeg(bytes: &mut Vec<u8>, into: &mut RgbImage) -> Result<(), String> {
    // The decoder would silently fill what is missing with grey.
    if !bytes.starts_with(&[0xFF, 0xD8]) || !jpeg_is_whole(bytes) {
        return Err("it is truncated, or not a JPEG".into());
    }
    bytes.splice(2..2, MOTION);
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes.as_slice()), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let size = decoder.info().map(|info| (u32::from(info.width), u32::from(info.height)));
    let (width, height) = size.filter(|(w, h)| *w > 0 && *h > 0).ok_or("its size is 0")?;
    if width as usize * height as usize > MOST_PIXELS {
        return Err(format!("its size is {width}×{height} pixels, too large for a camera"));
    }
    resize(into, width, height);
    if decoder.output_buffer_size() != Some(into.len()) {
        return Err("it can't be converted to RGB".into());
    }
    decoder.decode_into(into).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;
    use std::time::Instant;

    fn decoded(coding: Coding, (width, height): (u32, u32), mut bytes: Vec<u8>) -> Result<RgbImage, String> {
        let mut picture = RgbImage::new(1, 1);
        let shot = Shot { width, height, coding, captured: Instant::now() };
        decode(&shot, &mut bytes, &mut picture).map(|()| picture)
    }

    fn near(got: [u8; 3], want: [u8; 3]) {
        assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 2), "{got:?}, not {want:?}");
    }

    #[test]
    fn black_white_and_red_are_themselves_in_every_coding() {
        // BT.601: red is Y 81, U 90, V 240.
        for (y, u, v, want) in [(16, 128, 128, [0; 3]), (235, 128, 128, [255; 3]), (81, 90, 240, [255, 0, 0])] {
            near(decoded(Coding::Yuyv, (3, 1), [y, u, y, v].repeat(2)).unwrap().get_pixel(2, 0).0, want);
            let nv12 = [[y; 9].as_slice(), &[u, v].repeat(4)].concat();
            near(decoded(Coding::Nv12, (3, 3), nv12).unwrap().get_pixel(2, 2).0, want);
        }
        near(decoded(Coding::Bgr, (1, 1), vec![1, 2, 3]).unwrap().get_pixel(0, 0).0, [3, 2, 1]);
        near(decoded(Coding::Rgb, (1, 1), vec![1, 2, 3]).unwrap().get_pixel(0, 0).0, [1, 2, 3]);
        near(decoded(Coding::Grey, (1, 1), vec![9]).unwrap().get_pixel(0, 0).0, [9; 3]);
    }

    fn jpeg() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 3, y as u8 * 4, 90]));
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    /// Takes the Huffman tables out of a JPEG file, as most cameras do.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (jpeg[..2].to_vec(), 2);
        while jpeg[at + 1] != 0xDA {
            let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] != 0xC4 {
                out.extend_from_slice(&jpeg[at..end]);
            }
            at = end;
        }
        out.extend_from_slice(&jpeg[at..]);
        out
    }

    #[test]
    fn mjpeg_is_decoded_with_and_without_tables_and_says_its_own_size() {
        let whole = decoded(Coding::Mjpeg, (640, 480), jpeg()).unwrap();
        assert_eq!(whole.dimensions(), (64, 48));
        let bare = without_tables(&jpeg());
        assert!(bare.len() + 400 < jpeg().len(), "tables were taken out");
        assert_eq!(decoded(Coding::Mjpeg, (64, 48), bare).unwrap(), whole);
    }

    #[test]
    fn truncated_pictures_are_refused() {
        let whole = jpeg();
        for end in [0, 1, 2, 30, whole.len() / 2, whole.len() - 2] {
            assert!(decoded(Coding::Mjpeg, (64, 48), whole[..end].to_vec()).is_err(), "{end} bytes");
        }
        for coding in [Coding::Yuyv, Coding::Nv12, Coding::Rgb, Coding::Bgr, Coding::Grey] {
            assert!(decoded(coding, (5, 5), vec![0; 24]).is_err(), "{coding:?}");
            assert!(decoded(coding, (0, 5), vec![0; 24]).is_err(), "{coding:?}");
        }
    }
}
