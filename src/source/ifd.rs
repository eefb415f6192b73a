//! Reads the directories of a TIFF structure (image file directories): those of TIFF and BigTIFF files, and of the segments of
//! JPEG files that are built alike. Tags and numbers only; decoders read the pictures.

use std::collections::HashSet;

/// Directories that are read of one file; the rest of a longer chain is passed over.
const MOST: usize = 1 << 16;

/// The tags that are asked for.
pub(super) mod tag {
    pub(in super::super) const NEW_SUBFILE_TYPE: u16 = 0x00FE;
    pub(in super::super) const SUBFILE_TYPE: u16 = 0x00FF;
    pub(in super::super) const WIDTH: u16 = 0x0100;
    pub(in super::super) const HEIGHT: u16 = 0x0101;
    pub(in super::super) const PHOTOMETRIC: u16 = 0x0106;
    pub(in super::super) const SUB_DIRECTORIES: u16 = 0x014A;
    pub(in super::super) const DNG_VERSION: u16 = 0xC612;
    /// Of a JPEG's multi-picture segment: 16 bytes for each of its pictures.
    pub(in super::super) const MP_ENTRIES: u16 = 0xB002;
}

/// A TIFF structure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    little_endian: bool,
    /// BigTIFF: offsets and counts have eight bytes.
    big: bool,
}

/// A directory of a TIFF structure.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    tiff: Tiff<'a>,
    /// Where it begins.
    pub(super) offset: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    tag: u16,
    /// Bytes of one value.
    size: usize,
    count: usize,
    /// Where the values begin.
    place: usize,
}

impl<'a> Tiff<'a> {
    /// The structure that begins with `bytes`, if they look like one.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (little_endian, big) = match bytes.get(..4)? {
            b"II\x2A\0" => (true, false),
            b"MM\0\x2A" => (false, false),
            b"II\x2B\0" => (true, true),
            b"MM\0\x2B" => (false, true),
            _ => return None,
        };
        Some(Self { bytes, little_endian, big })
    }

    /// The number in the `size` bytes at `place`.
    fn number(&self, place: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(place..place.checked_add(size)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
    }

    fn offset_size(&self) -> usize {
        if self.big { 8 } else { 4 }
    }

    /// Where the header says that the first directory begins.
    fn first(&self) -> std::ops::Range<usize> {
        self.offset_size()..2 * self.offset_size()
    }

    /// All directories of the chain, as far as they are in the file.
    pub(super) fn directories(&self) -> Vec<Directory<'a>> {
        self.chain().0
    }

    /// All directories of the chain, as far as they are in the file, and whether that is all of them.
    pub(super) fn chain(&self) -> (Vec<Directory<'a>>, bool) {
        let mut chain = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.number(self.first().start, self.offset_size());
        while let Some(offset) = next.filter(|offset| *offset != 0 && chain.len() < MOST) {
            if !seen.insert(offset) {
                // Back to a directory that was read.
                return (chain, true);
            }
            let Some((directory, after)) = self.directory(offset) else { return (chain, false) };
            chain.push(directory);
            next = after;
        }
        (chain, next == Some(0))
    }

    /// The directory at `offset`, and where the next one begins.
    fn directory(&self, offset: u64) -> Option<(Directory<'a>, Option<u64>)> {
        let (head, length, word) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let begin = usize::try_from(offset).ok()?;
        let count = usize::try_from(self.number(begin, head)?).ok()?;
        let begin = begin.checked_add(head)?;
        let end = begin.checked_add(count.checked_mul(length)?)?;
        let mut entries = Vec::new();
        for entry in (begin..end.min(self.bytes.len())).step_by(length) {
            let size = match self.number(entry + 2, 2)? {
                1 | 2 | 6 | 7 => 1,
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                _ => 8,
            };
            let count = usize::try_from(self.number(entry + 4, word)?).ok()?;
            let value = entry + 4 + word;
            let inside = count.checked_mul(size).is_some_and(|length| length <= word);
            let place = if inside { value } else { usize::try_from(self.number(value, word)?).ok()? };
            entries.push(Entry { tag: self.number(entry, 2)? as u16, size, count, place });
        }
        Some((Directory { tiff: *self, offset, entries }, self.number(end, word)))
    }
}

impl Directory<'_> {
    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The first value of a tag.
    pub(super) fn value(&self, tag: u16) -> Option<u64> {
        let entry = self.entry(tag)?;
        self.tiff.number(entry.place, entry.size)
    }

    /// The numbers of four bytes that the values of a tag are made of.
    pub(super) fn words(&self, tag: u16) -> Vec<u64> {
        let Some(entry) = self.entry(tag) else { return Vec::new() };
        let end = entry.size.saturating_mul(entry.count).saturating_add(entry.place).min(self.tiff.bytes.len());
        (entry.place..end).step_by(4).map_while(|place| self.tiff.number(place, 4)).collect()
    }

    /// Width and height of its picture.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        // As large as any file may say, the product of two stays within 64 bits.
        let side = |tag| self.value(tag).filter(|side| u32::try_from(*side).is_ok());
        side(tag::WIDTH).zip(side(tag::HEIGHT))
    }

    /// Whether its picture is a smaller copy of another one.
    pub(super) fn is_preview(&self) -> bool {
        self.value(tag::NEW_SUBFILE_TYPE).is_some_and(|v| v & 1 == 1) || self.value(tag::SUBFILE_TYPE) == Some(2)
    }

    /// Whether its picture is the mask of another one.
    pub(super) fn is_mask(&self) -> bool {
        self.value(tag::NEW_SUBFILE_TYPE).is_some_and(|v| v & 4 == 4)
    }
}

/// Makes the directory at `offset` the first one of a TIFF file: decoders read the first picture only.
pub(super) fn begin_at(bytes: &mut [u8], offset: u64) {
    let Some(tiff) = Tiff::of(bytes) else { return };
    let (first, little_endian) = (tiff.first(), tiff.little_endian);
    let number = if little_endian { offset.to_le_bytes() } else { offset.to_be_bytes() };
    let number = if little_endian { &number[..first.len()] } else { &number[8 - first.len()..] };
    bytes[first].copy_from_slice(number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_or_points_anywhere_is_no_panic() {
        for (magic, size) in [(b"II\x2A\0", 4), (b"MM\0\x2A", 4), (b"II\x2B\0", 8), (b"MM\0\x2B", 8)] {
            for offset in [0_u64, 5, 8, 16, 0xFFFF_FFFF, 0xFFFF_FFFE, u64::MAX] {
                let mut bytes = magic.to_vec();
                bytes.resize(2 * size, 0);
                bytes.extend([0xFF; 40]);
                begin_at(&mut bytes, offset);
                for length in 0..bytes.len() {
                    let Some(tiff) = Tiff::of(&bytes[..length]) else { continue };
                    tiff.directories().iter().for_each(|d| assert!(d.words(0xFFFF).len() < 40));
                }
            }
        }
    }

    #[test]
    fn a_chain_that_leads_back_ends() {
        // One directory without entries whose successor is itself.
        let bytes = b"II\x2A\0\x08\0\0\0\0\0\x08\0\0\0";
        let (chain, whole) = Tiff::of(bytes).unwrap().chain();
        assert_eq!((chain.len(), whole), (1, true));
    }

    #[test]
    fn a_chain_that_leads_out_of_the_file_is_not_whole() {
        let bytes = b"II\x2A\0\x08\0\0\0\0\0\xFF\0\0\0";
        assert_eq!([14, 13].map(|n| Tiff::of(&bytes[..n]).unwrap().chain().1), [false, false]);
    }

    #[test]
    fn values_are_read_in_both_orders_and_sizes() {
        let files: [&[u8]; 4] = [
            b"II\x2A\0\x08\0\0\0\x01\0\xFE\0\x03\0\x01\0\0\0\x05\0\0\0\0\0\0\0",
            b"MM\0\x2A\0\0\0\x08\0\x01\0\xFE\0\x03\0\0\0\x01\0\x05\0\0\0\0\0\0",
            b"II\x2B\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xFE\0\x03\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"MM\0\x2B\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\0\xFE\0\x03\0\0\0\0\0\0\0\x01\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ];
        for bytes in files {
            let all = Tiff::of(bytes).unwrap().directories();
            assert_eq!((all.len(), all[0].value(0xFE)), (1, Some(5)), "{bytes:02x?}");
            assert!(all[0].is_preview() && all[0].is_mask() && !all[0].has(0xFF));
        }
    }
}
