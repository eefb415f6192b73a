//! Tells how many pictures an HEIC or AVIF file holds, by its boxes (ISO/IEC 14496-12 and 23008-12). ffmpeg reads the pictures.

use std::collections::HashSet;

use super::holdings::Holdings;

/// The boxes in `bytes`, with their content, as far as they are whole.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = usize::try_from(number(rest, 0, 4)?).ok()?;
        let kind = rest.get(4..8)?;
        let (head, size) = match size {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(number(rest, 8, 8)?).ok()?),
            size => (8, size),
        };
        let content = rest.get(head..size)?;
        rest = &rest[size..];
        Some((kind, content))
    })
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    Some(bytes.get(at..at + size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The content of the first box of a kind.
pub(super) fn inside<'a>(bytes: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    boxes(bytes).find_map(|(k, content)| (k == kind).then_some(content))
}

/// Whether a picture of the file is made of tiles.
pub(super) fn is_tiled(file: &[u8]) -> bool {
    let meta = inside(file, b"meta").and_then(|meta| meta.get(4..)).unwrap_or_default();
    inside(meta, b"iinf").is_some_and(|list| list.windows(4).any(|w| w == b"grid"))
}

/// What a file holds. Thumbnails, tiles, depths and masks are no pictures of their own; an image sequence is an animation.
pub(super) fn holdings(file: &[u8]) -> Holdings {
    let meta = inside(file, b"meta").and_then(|meta| meta.get(4..)).unwrap_or_default();
    let (parts, companions) = references(inside(meta, b"iref").unwrap_or_default());
    let items = items(inside(meta, b"iinf").unwrap_or_default());
    let own = items.iter().filter(|id| !parts.contains(id) && !companions.contains(id)).count();
    let has = |kind: &[u8]| boxes(file).any(|(k, _)| k == kind);
    Holdings { pictures: own.max(1), animation: has(b"moov"), film: has(b"mpvd") }
}

/// The items of an `iinf` box that are pictures and not hidden.
fn items(list: &[u8]) -> Vec<u64> {
    let head = if list.first() == Some(&0) { 6 } else { 8 };
    let entries = boxes(list.get(head..).unwrap_or_default()).filter(|(kind, _)| *kind == b"infe");
    let id = |(_, entry): (&[u8], &[u8])| {
        let size = if *entry.first()? == 3 { 4 } else { 2 };
        let picture = !matches!(entry.get(6 + size..10 + size)?, b"Exif" | b"mime" | b"uri ");
        let hidden = entry.get(3)? & 1 == 1;
        (picture && !hidden).then(|| number(entry, 4, size)).flatten()
    };
    entries.filter_map(id).collect()
}

/// Of an `iref` box: the items that others are made of, and those that only accompany others (thumbnails, depths, masks).
fn references(list: &[u8]) -> (HashSet<u64>, HashSet<u64>) {
    let size = if list.first() == Some(&0) { 2 } else { 4 };
    let (mut parts, mut companions) = (HashSet::new(), HashSet::new());
    for (kind, content) in boxes(list.get(4..).unwrap_or_default()) {
        match kind {
            b"thmb" | b"auxl" => companions.extend(number(content, 0, size)),
            b"dimg" => {
                let count = number(content, size, 2).unwrap_or(0) as usize;
                parts.extend((0..count).map_while(|i| number(content, size + 2 + i * size, size)));
            }
            _ => {}
        }
    }
    (parts, companions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes(), &kind[..], content].concat()
    }

    fn item(id: u8, kind: &[u8; 4], hidden: u8) -> Vec<u8> {
        of(b"infe", &[&[2, 0, 0, hidden, 0, id, 0, 0], &kind[..], b"\0"].concat())
    }

    fn reference(kind: &[u8; 4], from: u8, to: &[u8]) -> Vec<u8> {
        let to: Vec<u8> = to.iter().flat_map(|id| [0, *id]).collect();
        of(kind, &[&[0, from, 0, (to.len() / 2) as u8], &to[..]].concat())
    }

    fn file(items: &[Vec<u8>], references: &[Vec<u8>]) -> Vec<u8> {
        let list = [&[0, 0, 0, 0, 0, items.len() as u8], &items.concat()[..]].concat();
        let references = [&[0; 4], &references.concat()[..]].concat();
        let meta = [&[0; 4], &of(b"iinf", &list)[..], &of(b"iref", &references)].concat();
        [of(b"ftyp", b"heic\0\0\0\0mif1heic"), of(b"meta", &meta), of(b"mdat", b"0123")].concat()
    }

    #[test]
    fn thumbnails_tiles_depths_and_texts_are_no_pictures_of_their_own() {
        // As phones write them: a grid of two tiles, its thumbnail, its depth, EXIF.
        let phone = [
            item(1, b"hvc1", 1),
            item(2, b"hvc1", 0),
            item(3, b"grid", 0),
            item(4, b"hvc1", 0),
            item(5, b"hvc1", 0),
            item(6, b"Exif", 0),
        ];
        let links = [
            reference(b"dimg", 3, &[1, 2]),
            reference(b"thmb", 4, &[3]),
            reference(b"auxl", 5, &[3]),
            reference(b"cdsc", 6, &[3]),
        ];
        let phone = file(&phone, &links);
        assert_eq!(holdings(&phone), Holdings { pictures: 1, animation: false, film: false });
        assert!(is_tiled(&phone));
        let two = [item(1, b"hvc1", 0), item(2, b"hvc1", 0)];
        assert_eq!(holdings(&file(&two, &[])).pictures, 2);
        let sequence = [file(&two[..1], &[]), of(b"moov", b""), of(b"mpvd", b"")].concat();
        assert_eq!(holdings(&sequence), Holdings { pictures: 1, animation: true, film: true });
    }

    #[test]
    fn a_cut_file_holds_at_least_one_picture() {
        let whole = file(&[item(1, b"hvc1", 0), item(2, b"hvc1", 0)], &[reference(b"dimg", 1, &[2])]);
        for length in 0..whole.len() {
            assert_eq!(holdings(&whole[..length]).pictures, 1);
        }
    }
}
