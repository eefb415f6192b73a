//! What a picture file holds besides the one picture that is read of it: pages, frames of an animation, other pictures, a film.

use std::io::Cursor;

use image::{AnimationDecoder, ImageFormat};

use super::foreign::Foreign;
use super::ifd::{Tiff, tag};
use super::{heif, jpeg};

/// What a picture file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Pictures that stand for themselves, pages for instance; the frames of an animation count as one.
    pub pictures: usize,
    /// Whether there are frames of an animation.
    pub animation: bool,
    /// Whether the film of a motion photo is in it.
    pub film: bool,
}

impl Default for Holdings {
    fn default() -> Self {
        Self { pictures: 1, animation: false, film: false }
    }
}

impl Holdings {
    /// What the file with these bytes holds.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match Foreign::of(bytes) {
            Some(Foreign::Heic | Foreign::Avif) => return heif::holdings(bytes),
            Some(Foreign::JpegXl) => return Self { animation: jpeg_xl_moves(bytes) == Some(true), ..Self::default() },
            Some(_) => return Self::default(),
            None => {}
        }
        if Tiff::of(bytes).is_some() {
            return Self { pictures: pages(bytes).len().max(1), ..Self::default() };
        }
        match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => of_jpeg(bytes),
            Ok(format) => Self { animation: is_animation(bytes, format), ..Self::default() },
            Err(_) => Self::default(),
        }
    }

    /// Says which part of the file was not searched, if only the picture that is read of it was.
    pub fn unsearched(&self) -> Option<String> {
        if self.animation {
            return Some(
                "is an animation; only its first frame was searched (`facecascade video` searches all)".into(),
            );
        }
        (self.pictures > 1).then(|| format!("holds {} pictures; only the first was searched", self.pictures))
    }

    /// Says which part of the file is not in its copy, if only the first picture is.
    pub fn left_out(&self) -> Option<String> {
        let others = match self.pictures {
            0 | 1 => None,
            2 => Some("the second of its 2 pictures is left out".to_owned()),
            n => Some(format!("only the first of its {n} pictures is written; save the others as files of their own")),
        };
        let film = self.film.then(|| "the film of this motion photo is left out".to_owned());
        let said: Vec<String> = others.into_iter().chain(film).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// Where the directory of each page of a TIFF file begins: previews and masks are no pages.
pub(super) fn pages(bytes: &[u8]) -> Vec<u64> {
    let directories = Tiff::of(bytes).map(|tiff| tiff.directories()).unwrap_or_default();
    let pages: Vec<u64> = directories.iter().filter(|d| !d.is_preview() && !d.is_mask()).map(|d| d.offset).collect();
    // One that says it is a preview, and of nothing else in the file, is all there is.
    if pages.is_empty() { directories.first().map(|d| d.offset).into_iter().collect() } else { pages }
}

/// What a JPEG file holds: the pictures of a stereo pair or a panorama, as its multi-picture segment (CIPA DC-007) tells, without
/// previews, gain maps and the like; and a film behind its picture, as in motion photos.
fn of_jpeg(bytes: &[u8]) -> Holdings {
    let mut views = 0;
    let end = jpeg::markers(bytes, |marker, segment| {
        let structure = segment.strip_prefix(b"MPF\0").filter(|_| marker == 0xE2);
        let directories = structure.and_then(Tiff::of).map(|tiff| tiff.directories()).unwrap_or_default();
        let entries = directories.first().map(|d| d.words(tag::MP_ENTRIES)).unwrap_or_default();
        // The first of an entry's four words ends with the picture's type; types of several views begin with 2.
        views += entries.chunks(4).filter(|entry| entry[0] >> 16 & 0xFF == 2).count();
    });
    let behind = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
    let starts: [&[u8]; 3] = [b"ftypmp4", b"ftypiso", b"ftypqt "];
    let film = behind.windows(7).any(|w| starts.contains(&w));
    Holdings { pictures: views.max(1), animation: false, film }
}

/// Whether a JPEG XL file (ISO/IEC 18181-1 and -2) is an animation, by the first bits of its header; `None` if it is cut.
fn jpeg_xl_moves(bytes: &[u8]) -> Option<bool> {
    let parts = [(&b"jxlc"[..], 0), (b"jxlp", 4)];
    let inside = parts.iter().find_map(|(kind, head)| heif::inside(bytes, kind)?.get(*head..));
    let mut header = Bits { bytes: inside.unwrap_or(bytes).strip_prefix(b"\xFF\x0A")?, at: 0 };
    header.size()?;
    // All values are the default ones; none of the rarer fields is there.
    if header.take(1)? == 1 || header.take(1)? == 0 {
        return Some(false);
    }
    let _orientation = header.take(3)?;
    let another_size = header.take(1)? == 1;
    if another_size {
        header.size()?;
    }
    let preview = header.take(1)? == 1;
    Some(!preview && header.take(1)? == 1)
}

/// Bits of a JPEG XL header, each byte's lowest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let bit = |i: usize| Some(u32::from(self.bytes.get(i / 8)? >> (i % 8) & 1));
        let value = (self.at..self.at + count).rev().try_fold(0, |value, i| Some(value << 1 | bit(i)?))?;
        self.at += count;
        Some(value)
    }

    /// Passes over a picture's size.
    fn size(&mut self) -> Option<()> {
        let small = self.take(1)? == 1;
        self.side(small)?;
        let ratio = self.take(3)?;
        if ratio == 0 { self.side(small) } else { Some(()) }
    }

    fn side(&mut self, small: bool) -> Option<()> {
        let length = if small { 5 } else { [9, 13, 18, 30][self.take(2)? as usize] };
        self.take(length).map(drop)
    }
}

fn is_animation(bytes: &[u8], format: ImageFormat) -> bool {
    let file = Cursor::new(bytes);
    // Decoders are other people's code fed with other people's files; a panic is reported when the picture is read.
    let look = std::panic::catch_unwind(|| match format {
        ImageFormat::Gif => image::codecs::gif::GifDecoder::new(file)
            .is_ok_and(|gif| gif.into_frames().take(2).filter(|frame| frame.is_ok()).count() > 1),
        ImageFormat::WebP => image::codecs::webp::WebPDecoder::new(file).is_ok_and(|webp| webp.has_animation()),
        ImageFormat::Png => image::codecs::png::PngDecoder::new(file).is_ok_and(|png| png.is_apng().unwrap_or(false)),
        _ => false,
    });
    look.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        [&[0xFF, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
    }

    #[test]
    fn the_views_of_a_multi_picture_jpeg_are_counted_and_its_previews_are_not() {
        let of = |kinds: &[u32]| {
            let entries: Vec<u8> =
                kinds.iter().flat_map(|kind| [kind.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat()).collect();
            let size = (entries.len() as u32).to_be_bytes();
            let index =
                [b"MM\0\x2A\0\0\0\x08\0\x01\xB0\x02\0\x07", &size[..], &26_u32.to_be_bytes(), &[0; 4], &entries]
                    .concat();
            let jpeg = [&[0xFF, 0xD8][..], &segment(0xE2, &[b"MPF\0", &index[..]].concat()), &[0xFF, 0xD9]].concat();
            of_jpeg(&jpeg).pictures
        };
        // A stereo pair; a picture with a large preview; one with a gain map; a panorama.
        assert_eq!([of(&[0x2002_0002, 0x0002_0002]), of(&[0x2003_0000, 0x0001_0002])], [2, 1]);
        assert_eq!([of(&[0x2003_0000, 0]), of(&[0x0002_0001; 5]), of(&[])], [1, 5, 1]);
    }

    #[test]
    fn an_animated_jpeg_xl_is_told_by_its_header() {
        // Bits from the lowest on: 64×64 of few bits (1, 00111, ratio 001), not the defaults (0), rare fields (1), orientation
        // (000), no other size (0), no preview (0), an animation (1) or not.
        let head = |moves: u8| [0xFF, 0x0A, 0b0100_1111, 0b0000_0100, moves];
        assert_eq!([jpeg_xl_moves(&head(1)), jpeg_xl_moves(&head(0))], [Some(true), Some(false)]);
        let boxed = [b"\0\0\0\x0CJXL \r\n\x87\n\0\0\0\x0Djxlc", &head(1)[..]].concat();
        assert_eq!((jpeg_xl_moves(&boxed), Holdings::of(&boxed).animation), (Some(true), true));
        assert_eq!((jpeg_xl_moves(&head(1)[..4]), jpeg_xl_moves(b"\xFF\x0A\xFF\x01")), (None, Some(false)));
    }

    #[test]
    fn a_film_behind_the_picture_is_seen_and_one_in_its_text_is_not() {
        let with =
            |text: &[u8], trailer: &[u8]| [&[0xFF, 0xD8][..], &segment(0xFE, text), &[0xFF, 0xD9], trailer].concat();
        let film = |jpeg: &[u8]| of_jpeg(jpeg).film;
        assert!(film(&with(b"", b"MotionPhoto_Data\0\0\0\x18ftypmp42")));
        assert!(!film(&with(b"ftypmp42", b"")) && !film(&with(b"", b"SEFT")));
    }
}
