//! A picture file with all that is needed to write it again in its own format: the samples of its pages as they are stored,
//! their colour profile, its quality. Nothing else of the file is kept: no EXIF, no place, no preview, no comment.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage, imageops};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};
use tiff::tags::Tag;

use super::foreign::Foreign;
use super::holdings::{self, Holdings};
use super::ifd::{self, Directory, Tiff};
use super::jpeg;
use super::picture::{Decoded, contents, opaque};
use crate::error::{Error, Result};

/// JPEG quality where the file does not tell.
const QUALITY: u8 = 95;

/// A picture file, to be written again page by page.
#[derive(Debug)]
pub struct Original {
    path: PathBuf,
    bytes: Vec<u8>,
    holdings: Holdings,
    /// Where the directories of a TIFF file's pages begin; 0 for the only page of another file.
    pages: Vec<u64>,
}

/// A page, decoded and upright.
struct Page {
    stored: DynamicImage,
    format: ImageFormat,
    icc: Option<Vec<u8>>,
    quality: u8,
}

impl Original {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it can't be read, if pages are missing, if one is a small copy of another one, and if it is an animation: only its first
    /// picture could be covered.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = contents(path)?;
        let refuse = |reason: &str| Error::Picture { path: path.into(), reason: reason.into() };
        let (holdings, foreign) = (Holdings::of(&bytes), Foreign::of(&bytes));
        if holdings.animation {
            // ffmpeg, which reads films, reads only the first frame of these, or none, depending on its version.
            let is_webp = image::guess_format(&bytes).is_ok_and(|format| format == ImageFormat::WebP);
            return Err(refuse(if is_webp || foreign == Some(Foreign::JpegXl) {
                "is an animation; make it a GIF or a video, which `facecascade video --redact` covers whole"
            } else {
                "is an animation; `facecascade video --redact` covers it whole"
            }));
        }
        let (mut pages, mut sizes) = (Vec::new(), Vec::new());
        if let Some(tiff) = Tiff::of(&bytes).filter(|_| foreign.is_none()) {
            if !tiff.chain().1 {
                return Err(refuse("is cut: not all of its pages are in the file; copy or download it again"));
            }
            pages = holdings::pages(&bytes);
            let listed = tiff.directories();
            let size = |page| listed.iter().find(|d| d.offset == page).and_then(Directory::size);
            sizes = pages.iter().map(|page| size(*page).unwrap_or_default()).collect();
        }
        if pages.is_empty() {
            pages.push(0);
        }
        let mut original = Self { path: path.into(), bytes, holdings, pages };
        if let Some([small, large]) = original.smaller_copy(&sizes)? {
            return Err(refuse(&format!(
                "page {} looks like page {} made smaller, too small to find all its faces; save the pages as files of their own",
                small + 1,
                large + 1
            )));
        }
        Ok(original)
    }

    /// Looks for a page that shows the same as a larger one: files with a picture at many sizes do not always mark the smaller ones as
    /// previews. Gives both, counted from 0.
    fn smaller_copy(&mut self, sizes: &[(u64, u64)]) -> Result<Option<[usize; 2]>> {
        for (small, (w, h)) in sizes.iter().enumerate() {
            for (large, (larger_w, larger_h)) in sizes.iter().enumerate() {
                // Of the same shape to a pixel.
                let alike = (w * larger_h).abs_diff(h * larger_w) <= *larger_w.max(larger_h);
                if 4 * w < 3 * larger_w && alike {
                    let [a, b] =
                        [self.page(small)?.1, self.page(large)?.1].map(|page| imageops::thumbnail(&page, 16, 16));
                    let difference: u64 =
                        a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                    if difference < 10 * a.as_raw().len() as u64 {
                        return Ok(Some([small, large]));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The number of its pages: more than one only of a TIFF file.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Says what the file holds that is not on its pages, and so not in its copy.
    pub fn left_out(&self) -> Option<String> {
        let pictures = if self.pages() > 1 { 1 } else { self.holdings.pictures };
        Holdings { pictures, ..self.holdings }.left_out()
    }

    /// The file with what `cover` changes of each page's 8-bit RGB picture; all else of a page keeps its samples. What is read
    /// through ffmpeg becomes PNG.
    ///
    /// # Errors
    /// As [`picture::read`](super::picture::read), if the copy can't be encoded, and if `cover` fails.
    pub fn rewritten<E: From<Error>>(
        mut self,
        mut cover: impl FnMut(&RgbImage) -> std::result::Result<RgbImage, E>,
    ) -> std::result::Result<Vec<u8>, E> {
        let mut out = Cursor::new(Vec::new());
        let failed = |e: String| Error::Process(format!("can't be written in its format: {e}"));
        let mut changed = |page: &mut Page, before: &RgbImage| -> std::result::Result<(), E> {
            change(&mut page.stored, before, &cover(before)?);
            Ok(())
        };
        if self.pages == [0] {
            let (mut page, before) = self.page(0)?;
            changed(&mut page, &before)?;
            page.encode(&mut out).map_err(|e| failed(e.to_string()))?;
            return Ok(out.into_inner());
        }
        let writer = TiffEncoder::new(&mut out).map_err(|e| failed(e.to_string()))?;
        let mut writer = writer.with_compression(Compression::Deflate(DeflateLevel::Balanced));
        for number in 0..self.pages() {
            let (mut page, before) = self.page(number)?;
            changed(&mut page, &before)?;
            page.append(&mut writer).map_err(|e| failed(e.to_string()))?;
        }
        Ok(out.into_inner())
    }

    /// Decodes a page, counted from 0. Gives its 8-bit RGB picture too.
    fn page(&mut self, number: usize) -> Result<(Page, RgbImage)> {
        let decoded = match self.pages[number] {
            0 => Decoded::of_file(&self.path, &mut self.bytes),
            offset => {
                ifd::begin_at(&mut self.bytes, offset);
                Decoded::of(&self.bytes)
            }
        };
        let Decoded { mut stored, orientation, format, icc } = decoded.map_err(|reason| {
            let of = if self.pages() > 1 { format!("page {} ", number + 1) } else { String::new() };
            Error::Picture { path: self.path.clone(), reason: of + &reason }
        })?;
        let quality = jpeg::quality(&self.bytes).filter(|_| format == ImageFormat::Jpeg).unwrap_or(QUALITY);
        stored.apply_orientation(orientation);
        let rgb = opaque(stored.clone());
        Ok((Page { stored, format, icc, quality }, rgb))
    }
}

impl Page {
    /// Writes the page as a file of its format.
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
            format => stored.write_to(out, format),
        }
    }

    /// Writes the page behind those of a TIFF file.
    fn append(self, file: &mut TiffEncoder<&mut Cursor<Vec<u8>>>) -> tiff::TiffResult<()> {
        let stored = match self.stored {
            // The encoder has no grey with transparency.
            DynamicImage::ImageLumaA8(p) => DynamicImage::from(p).to_rgba8().into(),
            DynamicImage::ImageLumaA16(p) => DynamicImage::from(p).to_rgba16().into(),
            other => other,
        };
        let icc = self.icc.filter(|icc| fits(icc, &stored));
        macro_rules! write {
            ($kind:ty, $picture:expr) => {{
                let mut page = file.new_image::<$kind>($picture.width(), $picture.height())?;
                if let Some(icc) = icc {
                    page.encoder().write_tag(Tag::IccProfile, icc.as_slice())?;
                }
                page.write_data(&$picture)
            }};
        }
        match &stored {
            DynamicImage::ImageLuma8(p) => write!(colortype::Gray8, p),
            DynamicImage::ImageLuma16(p) => write!(colortype::Gray16, p),
            DynamicImage::ImageRgba8(p) => write!(colortype::RGBA8, p),
            DynamicImage::ImageRgb16(p) => write!(colortype::RGB16, p),
            DynamicImage::ImageRgba16(p) => write!(colortype::RGBA16, p),
            other => write!(colortype::RGB8, other.to_rgb8()),
        }
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
