//! A picture file with all that is needed to write it again in its own format: its samples as they are stored, its colour
//! profile, its quality. Nothing else of the file is kept: no EXIF, no place, no preview, no comment.

use std::io::Cursor;
use std::path::Path;

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder};
use image::{AnimationDecoder, DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage};

use super::jpeg;
use super::picture::{Decoded, contents, opaque};
use crate::error::{Error, Result};

/// JPEG quality where the file does not tell.
const QUALITY: u8 = 95;

/// A picture file, decoded and upright.
#[derive(Debug)]
pub struct Original {
    stored: DynamicImage,
    format: ImageFormat,
    icc: Option<Vec<u8>>,
    quality: u8,
}

impl Original {
    /// Reads `path` as [`picture::read`](super::picture::read) does, and keeps its samples as they are stored. Gives the 8-bit RGB picture too. What
    /// is read through ffmpeg becomes PNG.
    ///
    /// # Errors
    /// As [`picture::read`](super::picture::read), and if the file is an animation: only its first picture could be covered.
    pub fn read(path: &Path) -> Result<(Self, RgbImage)> {
        let bytes = contents(path)?;
        let refuse = |reason: String| Error::Picture { path: path.into(), reason };
        let Decoded { mut stored, orientation, format, icc } = Decoded::of_file(path, &bytes).map_err(refuse)?;
        if is_animation(&bytes, format) {
            let remedy = match format {
                ImageFormat::WebP => "; make it a GIF or a video, which `facecascade video --redact` covers whole",
                _ => "; `facecascade video --redact` covers it whole",
            };
            return Err(refuse(format!("is an animation{remedy}")));
        }
        let quality = jpeg::quality(&bytes).filter(|_| format == ImageFormat::Jpeg).unwrap_or(QUALITY);
        stored.apply_orientation(orientation);
        let rgb = opaque(stored.clone());
        Ok((Self { stored, format, icc, quality }, rgb))
    }

    /// The ending of a file of this format.
    pub fn extension(&self) -> &'static str {
        match self.format {
            ImageFormat::Jpeg => "jpg",
            ImageFormat::WebP => "webp",
            ImageFormat::Tiff => "tif",
            ImageFormat::Bmp => "bmp",
            ImageFormat::Gif => "gif",
            _ => "png",
        }
    }

    /// The file with the pixels of `after` wherever it differs from `before`, both as [`Self::read`] gave them.
    ///
    /// # Errors
    /// If it can't be encoded; the error is only the reason.
    pub fn with_changes(mut self, before: &RgbImage, after: &RgbImage) -> std::result::Result<Vec<u8>, String> {
        change(&mut self.stored, before, after);
        let mut out = Cursor::new(Vec::new());
        self.encode(&mut out).map_err(|e| format!("can't be written in its format: {e}"))?;
        Ok(out.into_inner())
    }

    fn encode(&self, out: &mut Cursor<Vec<u8>>) -> image::ImageResult<()> {
        let stored = match self.format {
            // These formats hold no more than that.
            ImageFormat::Jpeg if self.stored.color().channel_count() > 2 => DynamicImage::from(self.stored.to_rgb8()),
            ImageFormat::Jpeg => DynamicImage::from(self.stored.to_luma8()),
            ImageFormat::WebP | ImageFormat::Gif if self.stored.color().has_alpha() => self.stored.to_rgba8().into(),
            ImageFormat::WebP | ImageFormat::Gif => self.stored.to_rgb8().into(),
            _ => self.stored.clone(),
        };
        let icc = self.icc.clone().filter(|icc| fits(icc, &stored));
        let (width, height) = (stored.width(), stored.height());
        let (bytes, kind) = (stored.as_bytes(), ExtendedColorType::from(stored.color()));
        macro_rules! write {
            ($encoder:expr) => {{
                let mut encoder = $encoder;
                if let Some(icc) = icc {
                    // A format that takes no profile goes without.
                    let _ = encoder.set_icc_profile(icc);
                }
                encoder.write_image(bytes, width, height, kind)
            }};
        }
        match self.format {
            ImageFormat::Jpeg => write!(JpegEncoder::new_with_quality(out, self.quality)),
            ImageFormat::Png => write!(PngEncoder::new(out)),
            ImageFormat::WebP => write!(WebPEncoder::new_lossless(out)),
            ImageFormat::Tiff => write!(TiffEncoder::new(out)),
            format => stored.write_to(out, format),
        }
    }
}

fn is_animation(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Gif => image::codecs::gif::GifDecoder::new(Cursor::new(bytes))
            .is_ok_and(|gif| gif.into_frames().take(2).filter(|frame| frame.is_ok()).count() > 1),
        ImageFormat::WebP => {
            image::codecs::webp::WebPDecoder::new(Cursor::new(bytes)).is_ok_and(|webp| webp.has_animation())
        }
        ImageFormat::Png => {
            image::codecs::png::PngDecoder::new(Cursor::new(bytes)).is_ok_and(|png| png.is_apng().unwrap_or(false))
        }
        _ => false,
    }
}

/// Whether a colour profile is of a picture's colours: that of a CMYK picture is not of the RGB it became.
fn fits(icc: &[u8], picture: &DynamicImage) -> bool {
    let grey = picture.color().channel_count() <= 2;
    icc.get(16..20) == Some(if grey { &b"GRAY"[..] } else { &b"RGB "[..] })
}

/// Takes over the pixels that differ, opaque; and makes fully transparent pixels white: their colours may show what a viewer
/// hides.
fn change(stored: &mut DynamicImage, before: &RgbImage, after: &RgbImage) {
    let pairs = || before.pixels().zip(after.pixels());
    let wide = |v: u8| u16::from(v) * 257;
    let grey = |Rgb([r, g, b]): &Rgb<u8>| ((u32::from(*r) + 2 * u32::from(*g) + u32::from(*b)) / 4) as u8;
    macro_rules! each {
        ($picture:expr, $clear:expr, $of:expr) => {
            for (pixel, (old, new)) in $picture.pixels_mut().zip(pairs()) {
                if old != new {
                    pixel.0 = $of(new);
                } else if let Some(clear) = $clear(&pixel.0) {
                    pixel.0 = clear;
                }
            }
        };
    }
    match stored {
        DynamicImage::ImageLuma8(p) => each!(p, |_: &[u8; 1]| None, |n| [grey(n)]),
        DynamicImage::ImageLumaA8(p) => each!(p, |v: &[u8; 2]| (v[1] == 0).then_some([255, 0]), |n| [grey(n), 255]),
        DynamicImage::ImageRgb8(p) => each!(p, |_: &[u8; 3]| None, |n: &Rgb<u8>| n.0),
        DynamicImage::ImageRgba8(p) => {
            each!(p, |v: &[u8; 4]| (v[3] == 0).then_some([255, 255, 255, 0]), |n: &Rgb<u8>| {
                [n.0[0], n.0[1], n.0[2], 255]
            })
        }
        DynamicImage::ImageLuma16(p) => each!(p, |_: &[u16; 1]| None, |n| [wide(grey(n))]),
        DynamicImage::ImageLumaA16(p) => {
            each!(p, |v: &[u16; 2]| (v[1] == 0).then_some([65535, 0]), |n| [wide(grey(n)), 65535]);
        }
        DynamicImage::ImageRgb16(p) => each!(p, |_: &[u16; 3]| None, |n: &Rgb<u8>| n.0.map(wide)),
        DynamicImage::ImageRgba16(p) => {
            each!(p, |v: &[u16; 4]| (v[3] == 0).then_some([65535, 65535, 65535, 0]), |n: &Rgb<u8>| {
                [wide(n.0[0]), wide(n.0[1]), wide(n.0[2]), 65535]
            });
        }
        // Floating point: what covers is all that can be relied on.
        other => *other = DynamicImage::ImageRgb8(after.clone()),
    }
}
