//! Whether a JPEG file holds its whole picture. The decoder behind `image` fills what is missing with grey and says nothing.

/// Whether a file begins as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Whether the markers of a JPEG file lead to its end-of-image marker. (Looking for its two bytes anywhere would find that
/// of the thumbnail.)
pub(crate) fn jpeg_is_whole(bytes: &[u8]) -> bool {
    end(bytes).is_some()
}

/// Where a JPEG's picture ends in its file: behind its end-of-image marker, if it has one.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    markers(bytes, |_, _| ())
}

/// Calls `each` with every marker and its segment, up to the end-of-image marker or the end of the bytes. Returns where the
/// end-of-image marker ends.
pub(super) fn markers(bytes: &[u8], mut each: impl FnMut(u8, &[u8])) -> Option<usize> {
    let mut at = 0;
    loop {
        // To the next marker: bytes of a scan, or padding, are passed over. FF 00 is an FF inside a scan.
        at += bytes[at..].windows(2).position(|w| w[0] == 0xFF && w[1] != 0 && w[1] != 0xFF)? + 2;
        match bytes[at - 1] {
            0xD9 => return Some(at),
            0x01 | 0xD0..=0xD8 => {}
            marker => {
                let length = bytes.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))?;
                let end = at + length.max(2);
                if end >= bytes.len() {
                    return None;
                }
                each(marker, &bytes[at + 2..end]);
                at = end;
            }
        }
    }
}

/// Two ways to go on with a file that has no end-of-image marker, each with one. If both give the same picture, nothing of it
/// is missing: its last scan had ended. `None` if scans are missing altogether.
pub(super) fn continued(bytes: &[u8]) -> Option<[Vec<u8>; 2]> {
    // Bits of both kinds, so that they can't both be what is missing.
    has_all_scans(bytes).then(|| [0x55, 0xB6].map(|filling| [bytes, &[filling; 256], &[0xFF, 0xD9]].concat()))
}

/// Whether there is a scan for every coefficient of every component, down to its last bit: a progressive file has many.
fn has_all_scans(bytes: &[u8]) -> bool {
    let (mut components, mut progressive) = (Vec::new(), false);
    // For each component, the bits that are still missing of each coefficient; 255: all.
    let mut missing: Vec<[u8; 64]> = Vec::new();
    markers(bytes, |marker, segment| match marker {
        // Start of frame.
        0xC0..=0xC2 => {
            progressive = marker == 0xC2;
            components = segment.get(6..).unwrap_or_default().chunks_exact(3).map(|c| c[0]).collect();
            missing = vec![[255; 64]; components.len()];
        }
        // Start of scan.
        0xDA => {
            let count = usize::from(segment.first().copied().unwrap_or(0));
            let Some([first, last, bits]) = segment.get(1 + 2 * count..4 + 2 * count) else { return };
            let (first, last, left) =
                if progressive { (usize::from(*first), usize::from(*last).min(63), bits & 15) } else { (0, 63, 0) };
            for id in segment[1..].chunks_exact(2).take(count).map(|c| c[0]) {
                if let Some(i) = components.iter().position(|c| *c == id) {
                    (first..=last).for_each(|k| missing[i][k] = left);
                }
            }
        }
        _ => {}
    });
    !missing.is_empty() && missing.iter().all(|component| component.iter().all(|bits| *bits == 0))
}

/// The quality, 1 to 100, whose luminance table (of the standard's annex K, as all common encoders scale it) is nearest to the
/// first one in the file.
pub(super) fn quality(bytes: &[u8]) -> Option<u8> {
    // Annex K's table 1, in zigzag order.
    const STANDARD: [u32; 64] = [
        16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51,
        61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77,
        113, 121, 112, 100, 120, 92, 101, 103, 99,
    ];
    let mut table = None;
    markers(bytes, |marker, segment| {
        if marker == 0xDB && table.is_none() && segment.first() == Some(&0) {
            table = segment.get(1..65).map(<[u8]>::to_vec);
        }
    });
    let table = table?;
    let error = |quality: u32| -> u32 {
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let scaled = STANDARD.iter().map(|v| ((v * scale + 50) / 100).clamp(1, 255));
        scaled.zip(&table).map(|(a, b)| a.abs_diff(u32::from(*b))).sum()
    };
    (1..=100).min_by_key(|quality| error(*quality)).map(|quality| quality as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, RgbImage};

    #[test]
    fn the_quality_that_a_file_was_written_with_is_told() {
        let picture =
            DynamicImage::ImageRgb8(RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 7, y as u8 * 7, 90])));
        for wanted in [30, 50, 75, 92, 97] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, wanted).encode_image(&picture).unwrap();
            let told = quality(&bytes.into_inner()).unwrap();
            assert!(told.abs_diff(wanted) <= 1, "{wanted}: {told}");
        }
        assert_eq!(quality(b"\xFF\xD8\xFF\xD9"), None);
    }

    #[test]
    fn a_file_whose_later_scans_are_missing_is_not_whole() {
        let frame = |marker: u8| [&[0xFF, marker, 0, 11, 8, 0, 8, 0, 8, 1, 7, 0x11, 0][..]].concat();
        let scan = |first: u8, last: u8, bits: u8| vec![0xFF, 0xDA, 0, 8, 1, 7, 0, first, last, bits, 0x12, 0x34];
        let whole = |parts: &[Vec<u8>]| has_all_scans(&[vec![0xFF, 0xD8], parts.concat()].concat());
        assert!(whole(&[frame(0xC0), scan(0, 63, 0)]));
        assert!(!whole(&[frame(0xC2), scan(0, 0, 0)]) && !whole(&[frame(0xC2), scan(0, 0, 1), scan(1, 63, 0)]));
        assert!(whole(&[frame(0xC2), scan(0, 0, 1), scan(1, 63, 0), scan(0, 0, 0x10)]));
        assert!(!whole(&[]));
    }
}
