//! Pictures in formats that this program has no decoder for: told by their content, and read by ffmpeg where it can.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use image::RgbImage;
use tempfile::NamedTempFile;

use super::heif;
use super::ifd::{Tiff, tag};
use super::picture::MOST_PIXELS;
use super::process::{Process, command, file_argument};

/// A format that is read by ffmpeg, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Heic,
    Avif,
    JpegXl,
    Jpeg2000,
    CameraRaw,
}

impl Foreign {
    /// The format by the first bytes of a file.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let at = |from: usize, text: &[u8]| bytes.get(from..from + text.len()) == Some(text);
        if at(4, b"ftyp") {
            let brands = bytes.get(8..bytes.len().min(64)).unwrap_or_default();
            let has = |brand: &[u8; 4]| brands.chunks_exact(4).any(|b| b == brand);
            return if at(8, b"crx ") {
                Some(Self::CameraRaw)
            } else if has(b"avif") || has(b"avis") {
                Some(Self::Avif)
            } else {
                [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"]
                    .iter()
                    .any(|b| has(b))
                    .then_some(Self::Heic)
            };
        }
        if at(0, b"\xFF\x0A") || at(0, b"\0\0\0\x0CJXL \r\n\x87\n") {
            Some(Self::JpegXl)
        } else if at(0, b"\0\0\0\x0CjP  \r\n\x87\n") || at(0, b"\xFF\x4F\xFF\x51") {
            Some(Self::Jpeg2000)
        } else {
            is_camera_raw(bytes).then_some(Self::CameraRaw)
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Heic => "HEIC picture",
            Self::Avif => "AVIF picture",
            Self::JpegXl => "JPEG XL picture",
            Self::Jpeg2000 => "JPEG 2000 picture",
            Self::CameraRaw => "camera raw picture",
        }
    }

    /// Reads the file at `path`, whose content is `bytes`, through ffmpeg; the error is only the reason.
    pub(super) fn read(self, path: &Path, bytes: &[u8]) -> Result<RgbImage, String> {
        let name = self.name();
        let convert = format!("is a {name}, which can't be read; convert it to JPEG or PNG");
        // Of a raw picture, ffmpeg gives the small preview or nothing.
        if self == Self::CameraRaw {
            return Err(convert);
        }
        // What came from a pipe can't be read again.
        let stored = if path.is_file() { None } else { Some(stored(bytes).map_err(|e| e.to_string())?) };
        let picture = decode(stored.as_ref().map_or(path, NamedTempFile::path)).map_err(|reason| {
            if reason.contains("not installed") {
                return format!("is a {name}, which is read through ffmpeg; install it (apt-get install ffmpeg), or convert the picture to JPEG or PNG");
            }
            format!("is a {name} that this machine's ffmpeg can't read ({reason}); convert it to JPEG or PNG")
        })?;
        // Older versions of ffmpeg give the first tile of a picture in tiles. Of several pictures, the largest need not be the first.
        if matches!(self, Self::Heic | Self::Avif)
            && (heif::is_tiled(bytes) || heif::holdings(bytes).pictures == 1)
            && let Some((width, height)) = largest_extent(bytes)
        {
            let (w, h) = (u64::from(picture.width()), u64::from(picture.height()));
            let whole = u64::from(width) * u64::from(height);
            if w * h < whole - whole / 50 {
                return Err(format!(
                    "is a {name} in tiles, of which this machine's ffmpeg reads only one ({w}x{h} of {width}x{height}); \
                     convert it to JPEG or PNG"
                ));
            }
        }
        Ok(picture)
    }
}

/// Whether this is a raw picture of a camera: by makers' own first bytes, or a TIFF whose first picture is only the preview.
fn is_camera_raw(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"\0MRM"];
    if starts.iter().any(|start| bytes.starts_with(start)) {
        return true;
    }
    let Some(tiff) = Tiff::of(bytes) else { return false };
    if bytes.starts_with(b"II\x2A\0") && bytes.get(8..10) == Some(b"CR") {
        return true;
    }
    tiff.directories().first().is_some_and(|first| {
        // Samples behind a colour filter array, or linear ones.
        let raw_samples = matches!(first.value(tag::PHOTOMETRIC), Some(32803 | 34892));
        first.has(tag::DNG_VERSION) || raw_samples || first.is_preview() && first.has(tag::SUB_DIRECTORIES)
    })
}

/// The largest `ispe` (image spatial extents) of an ISO file: that of the whole picture.
fn largest_extent(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = &bytes[..bytes.len().min(1 << 20)];
    let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let places = head.windows(4).enumerate().filter(|(_, w)| w == b"ispe").map(|(at, _)| at);
    places.filter_map(|at| number(at + 8).zip(number(at + 12))).max_by_key(|(w, h)| u64::from(*w) * u64::from(*h))
}

/// A temporary file of these bytes.
fn stored(bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("facecascade-input-").tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The first picture of a file, upright, through ffmpeg.
fn decode(path: &Path) -> Result<RgbImage, String> {
    let mut command = command("ffmpeg", "error");
    command.args(["-nostdin", "-i"]).arg(file_argument(path));
    command.args(
        ["-map", "0:v:0", "-frames:v", "1", "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
            .map(OsStr::new),
    );
    command.stdout(Stdio::piped());
    let mut process = Process::start("ffmpeg", &mut command, |_| false).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    if let Some(stdout) = process.child.stdout.take() {
        let most = MOST_PIXELS * 3 + 64;
        std::io::Read::read_to_end(&mut std::io::Read::take(stdout, most), &mut bytes).map_err(|e| e.to_string())?;
    }
    let ended = process.wait().map_err(|e| e.to_string())?;
    ppm(bytes).ok_or_else(|| ended.reason())
}

/// The picture of a binary PPM with values up to 255.
fn ppm(mut bytes: Vec<u8>) -> Option<RgbImage> {
    let mut at = 0;
    let mut word = || {
        let start = at + bytes.get(at..)?.iter().position(|b| !b.is_ascii_whitespace())?;
        let end = start + bytes[start..].iter().position(u8::is_ascii_whitespace)?;
        at = end;
        std::str::from_utf8(&bytes[start..end]).ok().map(str::to_owned)
    };
    let (magic, width, height, most) = (word()?, word()?, word()?, word()?);
    if magic != "P6" || most != "255" {
        return None;
    }
    bytes.drain(..at + 1);
    RgbImage::from_raw(width.parse().ok()?, height.parse().ok()?, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_content() {
        let ftyp = |brand: &str| [b"\0\0\0\x18ftyp", brand.as_bytes(), b"\0\0\0\0mif1", b"abcd"].concat();
        for (bytes, format) in [
            (ftyp("heic"), Some(Foreign::Heic)),
            (ftyp("mif1"), Some(Foreign::Heic)),
            (ftyp("avif"), Some(Foreign::Avif)),
            (ftyp("crx "), Some(Foreign::CameraRaw)),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp42".to_vec(), None),
            (b"\xFF\x0A123".to_vec(), Some(Foreign::JpegXl)),
            (b"\0\0\0\x0CJXL \r\n\x87\n".to_vec(), Some(Foreign::JpegXl)),
            (b"\0\0\0\x0CjP  \r\n\x87\n".to_vec(), Some(Foreign::Jpeg2000)),
            (b"MM\0\x2B\0\x08".to_vec(), None),
            (b"II\x2A\0\x10\0\0\0CR\x02\0".to_vec(), Some(Foreign::CameraRaw)),
            (b"FUJIFILMCCD-RAW 0201".to_vec(), Some(Foreign::CameraRaw)),
            // A TIFF with a single entry: DNGVersion; then one with only a width.
            (b"II\x2A\0\x08\0\0\0\x01\0\x12\xC6\x01\0\x04\0\0\0\x01\x04\0\0".to_vec(), Some(Foreign::CameraRaw)),
            (b"II\x2A\0\x08\0\0\0\x01\0\x00\x01\x03\0\x01\0\0\0\x40\0\0\0".to_vec(), None),
            (b"\xFF\xD8\xFF\xE0".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(Foreign::of(&bytes), format, "{bytes:02x?}");
        }
    }

    #[test]
    fn the_whole_pictures_extent_is_the_largest() {
        let ispe =
            |w: u32, h: u32| [b"ispe\0\0\0\0".to_vec(), w.to_be_bytes().to_vec(), h.to_be_bytes().to_vec()].concat();
        assert_eq!(largest_extent(&[ispe(512, 512), ispe(4032, 3024), ispe(320, 240)].concat()), Some((4032, 3024)));
        assert_eq!(largest_extent(b"ispe"), None);
    }
}
