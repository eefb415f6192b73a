//! Reads picture files: six formats, and more through ffmpeg, become upright RGB.
//!
//! The format is taken from the content, never from the name. Nothing is allocated for a picture before its header says
//! that it is of a reasonable size, and a cut file is an error: half a picture would silently give half the faces.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use super::foreign::Foreign;
use super::holdings::{self, Holdings};
use super::ifd::{self, Tiff};
use super::jpeg::{self, jpeg_is_whole};
use crate::error::{Error, Result};

/// Pictures with more pixels are refused before anything is allocated for them.
pub const MOST_PIXELS: u64 = 200_000_000;

/// Names ending so are taken from folders; anything may be named itself.
pub const EXTENSIONS: [&str; 31] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "heic", "heif", "hif", "avif", "jxl",
    "jp2", "j2k", "jpf", "jpx", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw", "mpo", "btf",
];

/// What a decoder may allocate: 200 megapixels of 8-bit RGBA or 100 of 16-bit RGBA, and something for its own tables.
const MOST_MEMORY: u64 = MOST_PIXELS * 4 + (64 << 20);

/// Files over this size are no pictures worth reading whole.
const MOST_BYTES: u64 = 1 << 30;

/// Reads a picture: JPEG (also CMYK, grey, progressive), PNG, WebP, BMP, TIFF, GIF; the first of several in a file. 16-bit samples
/// become 8-bit, transparent parts become white, EXIF orientation is applied. AVIF, HEIC, JPEG XL and JPEG 2000 are read where
/// ffmpeg reads them. A JPEG that lacks only its end marker is whole. Memory: the file, and 3 bytes a pixel, twice that to turn a
/// picture upright.
///
/// # Errors
/// If the file can't be read, is empty, is no picture, is cut or damaged, or holds over [`MOST_PIXELS`].
pub fn read(path: &Path) -> Result<RgbImage> {
    Ok(read_first(path)?.0)
}

/// As [`read`], and tells what the file holds: only the first of several pictures is read.
///
/// # Errors
/// As [`read`].
pub fn read_first(path: &Path) -> Result<(RgbImage, Holdings)> {
    let mut bytes = contents(path)?;
    let decoded = Decoded::of_file(path, &mut bytes).map_err(|reason| Error::Picture { path: path.into(), reason })?;
    Ok((decoded.upright_rgb(), Holdings::of(&bytes)))
}

/// The bytes of a picture file.
pub(super) fn contents(path: &Path) -> Result<Vec<u8>> {
    let refuse = |reason: &str| Error::Picture { path: path.into(), reason: reason.into() };
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let about = file.metadata().map_err(Error::io(path))?;
    if about.is_dir() {
        return Err(refuse("is a folder without pictures in it (.jpg, .png, .webp, .bmp, .tif, .gif)"));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve(about.len().min(MOST_BYTES) as usize + 1).map_err(|_| refuse("does not fit into memory"))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.is_empty() {
        return Err(refuse("is empty (0 bytes)"));
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(refuse("is larger than 1 GiB"));
    }
    Ok(bytes)
}

/// Reads a picture from the bytes of its file; as [`read`], but the error is only the reason.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8]) -> std::result::Result<RgbImage, String> {
    Decoded::of(bytes).map(Decoded::upright_rgb)
}

/// A picture as its file stores it.
pub(super) struct Decoded {
    /// The samples, not turned yet.
    pub(super) stored: DynamicImage,
    /// How to turn them upright.
    pub(super) orientation: Orientation,
    /// The format of the file; PNG, where ffmpeg read it.
    pub(super) format: ImageFormat,
    /// The colour profile.
    pub(super) icc: Option<Vec<u8>>,
}

impl Decoded {
    /// Decodes the `bytes` of the file `path`, of which only ffmpeg reads some formats; the error is only the reason. The
    /// bytes of a TIFF file are changed so that its first page comes first, where that is a preview.
    pub(super) fn of_file(path: &Path, bytes: &mut [u8]) -> std::result::Result<Self, String> {
        let Some(foreign) = Foreign::of(bytes) else {
            if let Some(first) = holdings::pages(bytes).first() {
                ifd::begin_at(bytes, *first);
            }
            return Self::of(bytes);
        };
        let stored = DynamicImage::ImageRgb8(foreign.read(path, bytes)?);
        Ok(Self { stored, orientation: Orientation::NoTransforms, format: ImageFormat::Png, icc: None })
    }

    pub(super) fn of(bytes: &[u8]) -> std::result::Result<Self, String> {
        // Decoders are other people's code fed with other people's files: a panic in one is this picture's error, not the end
        // of the whole list.
        let decoded = std::panic::catch_unwind(|| {
            if jpeg::is_jpeg(bytes) && !jpeg_is_whole(bytes) { Self::of_unended(bytes) } else { Self::of_whole(bytes) }
        });
        decoded.unwrap_or_else(|_| Err("is damaged: its decoder gave up".into()))
    }

    fn of_whole(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (mut decoder, format) = decoder_of(bytes)?;
        // Damaged EXIF data or a damaged profile is no reason to refuse a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let icc = decoder.icc_profile().ok().flatten();
        let stored = DynamicImage::from_decoder(decoder).map_err(|e| explained(format, &e))?;
        Ok(Self { stored, orientation, format, icc })
    }

    /// Reads a JPEG without its end: some cameras leave it out, or write something of their own there.
    fn of_unended(bytes: &[u8]) -> std::result::Result<Self, String> {
        // What is wrong with its header is said first.
        decoder_of(bytes)?;
        let cut = || "is cut: the JPEG ends before its picture does; copy or download it again".to_owned();
        let [first, second] = jpeg::continued(bytes).ok_or_else(cut)?;
        let picture = Self::of_whole(&first)?;
        if Self::of_whole(&second)?.stored == picture.stored { Ok(picture) } else { Err(cut()) }
    }

    /// Eight-bit RGB, upright, on white.
    fn upright_rgb(self) -> RgbImage {
        let mut upright = DynamicImage::ImageRgb8(opaque(self.stored));
        upright.apply_orientation(self.orientation);
        upright.into_rgb8()
    }
}

/// The decoder of a picture of reasonable size, and its format.
fn decoder_of(bytes: &[u8]) -> std::result::Result<(impl ImageDecoder, ImageFormat), String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if let Some(foreign) = Foreign::of(bytes) {
        return Err(format!("is a {}, which can't be read; convert it to JPEG or PNG", foreign.name()));
    }
    if Tiff::of(bytes).is_some() {
        // `image` reads BigTIFF, but does not know it.
        reader.set_format(ImageFormat::Tiff);
    }
    let format = reader.format().ok_or("is not a picture (JPEG, PNG, WebP, BMP, TIFF or GIF)")?;
    if !format.reading_enabled() {
        return Err(format!("{format:?} pictures can't be read; convert it to JPEG or PNG"));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| explained(format, &e))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("has no pixels ({width}×{height})"));
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "says it is {width}×{height} pixels; at most {} megapixels are read",
            MOST_PIXELS / 1_000_000
        ));
    }
    Ok((decoder, format))
}

/// Width and height of a picture, from its header alone; `None` if that can't be read, or if `path` is no regular file: what a
/// pipe gives is gone once read.
pub fn size(path: &Path) -> Option<(u32, u32)> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    image::ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_dimensions().ok()
}

/// What went wrong with a picture of `format`, for people.
fn explained(format: ImageFormat, error: &ImageError) -> String {
    let name = format!("{format:?}").to_uppercase();
    let too_large = || format!("is too large; at most {} megapixels are read", MOST_PIXELS / 1_000_000);
    match error {
        ImageError::Limits(e)
            if matches!(e.kind(), LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory) =>
        {
            too_large()
        }
        ImageError::Unsupported(e) => {
            format!("is a kind of {name} that can't be read ({e}); save it as plain JPEG or PNG")
        }
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("is cut: the {name} data ends early")
        }
        e => {
            let cause = std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string);
            // The BMP decoder has a limit of its own, which it reports as damage.
            if cause.contains("too large") {
                return too_large();
            }
            format!("is cut or damaged {name} ({})", cause.trim())
        }
    }
}

/// Eight-bit RGB, with white showing through where the picture is transparent.
pub(super) fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let mut out = RgbImage::new(picture.width(), picture.height());
    for (to, from) in out.pixels_mut().zip(picture.pixels()) {
        let [r, g, b, a] = from.0.map(u32::from);
        *to = Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a) + 127) / 255) as u8));
    }
    out
}

/// The pictures that `paths` and the lines of `list_file` (`-` = standard input) name, in this order. A folder stands for
/// the pictures right in it, sorted by name; one without pictures stays in the list and then fails in [`read`]. Paths stay
/// as they were given.
///
/// # Errors
/// If `list_file` or a folder can't be read.
pub fn list(paths: &[PathBuf], list_file: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut named = paths.to_vec();
    if let Some(file) = list_file {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(file)
        };
        let text = text.map_err(Error::io(file))?;
        named.extend(
            text.lines()
                .map(|line| line.trim_end_matches('\r'))
                .filter(|line| !line.trim().is_empty())
                .map(PathBuf::from),
        );
    }
    let mut pictures = Vec::with_capacity(named.len());
    for path in named {
        if !path.is_dir() {
            pictures.push(path);
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(Error::io(&path))? {
            let file = entry.map_err(Error::io(&path))?.path();
            if is_named_like_one(&file) && !file.is_dir() {
                inside.push(file);
            }
        }
        inside.sort();
        if inside.is_empty() {
            inside.push(path);
        }
        pictures.append(&mut inside);
    }
    Ok(pictures)
}

/// Whether a file is a picture by its name.
pub(crate) fn is_named_like_one(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, ImageBuffer, Luma, LumaA, Rgba};

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn noise(width: u32, height: u32) -> DynamicImage {
        let mut state = 1u32;
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |_, _| {
            Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        }))
    }

    const ALL: [ImageFormat; 6] =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif];

    #[test]
    fn all_six_formats_are_read_by_content() {
        for format in ALL {
            let picture = decode(&encoded(&noise(37, 23), format)).unwrap();
            assert_eq!(picture.dimensions(), (37, 23), "{format:?}");
        }
    }

    #[test]
    fn a_cut_file_of_any_format_is_an_error() {
        for format in ALL {
            let whole = encoded(&noise(64, 48), format);
            for share in [0.1, 0.5, 0.9] {
                let cut = &whole[..(whole.len() as f64 * share) as usize];
                let error = decode(cut).expect_err(&format!("{format:?} cut to {share}"));
                assert!(error.contains("cut") || error.contains("damaged"), "{format:?}: {error}");
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
        let mut bytes = encoded(&noise(64, 48), ImageFormat::Jpeg);
        let thumbnail = [0xFF, 0xE1, 0, 8, 0xFF, 0xD8, 0xFF, 0xD9, 0, 0];
        bytes.splice(2..2, thumbnail);
        assert!(decode(&bytes).is_ok());
        bytes.truncate(bytes.len() / 2);
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_jpeg_that_lacks_only_its_end_is_whole_also_with_a_trailer() {
        let whole = encoded(&noise(64, 48), ImageFormat::Jpeg);
        let picture = decode(&whole).unwrap();
        let without = &whole[..whole.len() - 2];
        assert!(decode(without).as_ref() == Ok(&picture));
        let trailer = [without, b"\0\0SEFH", &[0; 200], b"SEFT"].concat();
        assert!(decode(&trailer).as_ref() == Ok(&picture));
        for missing in [20, 100, 1000] {
            assert!(decode(&whole[..whole.len() - missing]).unwrap_err().contains("cut"), "{missing}");
        }
    }

    #[test]
    fn sixteen_bits_become_eight_and_transparency_white() {
        let deep = ImageBuffer::from_pixel(3, 2, Luma([0x80FFu16]));
        let picture = decode(&encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png)).unwrap();
        assert_eq!(picture.get_pixel(0, 0).0, [0x80; 3]);
        let clear = ImageBuffer::from_pixel(3, 2, Rgba([10u8, 20, 30, 0]));
        let picture = decode(&encoded(&DynamicImage::ImageRgba8(clear), ImageFormat::Png)).unwrap();
        assert_eq!(picture.get_pixel(2, 1).0, [255; 3]);
        let half = GrayAlphaImage::from_pixel(1, 1, LumaA([0, 127]));
        let picture = decode(&encoded(&DynamicImage::ImageLumaA8(half), ImageFormat::Png)).unwrap();
        assert_eq!(picture.get_pixel(0, 0).0, [128; 3]);
    }

    #[test]
    fn a_cmyk_jpeg_has_its_colours() {
        let picture = decode(include_bytes!("../../tests/data/cmyk.jpg")).unwrap();
        let near = |x, want: [u8; 3]| {
            let got = picture.get_pixel(x, picture.height() / 2).0;
            assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 40), "{got:?}, not {want:?}");
        };
        near(4, [255, 0, 0]);
        near(picture.width() - 4, [0, 0, 255]);
    }

    #[test]
    fn a_folder_gives_its_pictures_sorted_and_the_order_of_arguments_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("f");
        std::fs::create_dir_all(folder.join("sub.png")).unwrap();
        for name in ["b.JPG", "a.png", "notes.txt"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let list_file = dir.path().join("list");
        std::fs::write(&list_file, "z z.jpg\r\n\n./ü.png\n").unwrap();
        let got = list(&["x.txt".into(), folder.clone()], Some(&list_file)).unwrap();
        let want: Vec<PathBuf> =
            vec!["x.txt".into(), folder.join("a.png"), folder.join("b.JPG"), "z z.jpg".into(), "./ü.png".into()];
        assert_eq!(got, want);
    }
}
