//! Pictures as a film: those of a folder, or those that a pattern such as `frame_%05d.png` names.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};

use super::video::{Rate, VideoInfo};
use super::{Source, Stamp, picture};
use crate::error::{Error, Result};

/// Files with these endings in a folder are films of their own.
const VIDEOS: [&str; 13] =
    ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "flv", "mpg", "mpeg", "wmv"];

/// Pictures shown one after the other. The first one sets the size; others are fitted into it, with bars.
#[derive(Debug)]
pub struct Sequence {
    pictures: Vec<PathBuf>,
    info: VideoInfo,
    next: usize,
}

impl Sequence {
    /// Shows `pictures` at `rate`; `name` is for messages.
    ///
    /// # Errors
    /// If the first one can't be read.
    pub fn new(pictures: Vec<PathBuf>, name: &str, rate: Rate) -> Result<Self> {
        let first = pictures.first().ok_or_else(|| Error::Process(format!("{name}: holds no picture")))?;
        let size = picture::read(first)?.dimensions();
        let info = VideoInfo {
            name: name.to_owned(),
            frames: Some(pictures.len() as u64),
            duration: Some(pictures.len() as f64 / rate.per_second()),
            ..VideoInfo::of_frames(size, rate)
        };
        Ok(Self { pictures, info, next: 0 })
    }

    /// What it is, as a video.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }
}

impl Source for Sequence {
    fn describe(&self) -> String {
        let info = &self.info;
        format!("{} ({} pictures, {}×{})", info.name, self.pictures.len(), info.width, info.height)
    }

    fn size(&self) -> Option<(u32, u32)> {
        Some((self.info.width, self.info.height))
    }

    fn frame_rate(&self) -> Option<f64> {
        Some(self.info.rate.per_second())
    }

    fn next(&mut self, into: &mut RgbImage) -> Result<Option<Stamp>> {
        let captured = Instant::now();
        let Some(path) = self.pictures.get(self.next) else { return Ok(None) };
        *into = fitted(picture::read(path)?, (self.info.width, self.info.height));
        let time = self.next as f64 / self.info.rate.per_second();
        self.next += 1;
        Ok(Some(Stamp { captured, time }))
    }
}

/// The picture in a frame of this size: as large as it fits, in the middle, black where it does not reach.
fn fitted(picture: RgbImage, (width, height): (u32, u32)) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture;
    }
    let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
    let scale = (f64::from(width) / w).min(f64::from(height) / h);
    let side = |side: f64, most: u32| ((side * scale).round() as u32).clamp(1, most);
    let (w, h) = (side(w, width), side(h, height));
    let mut frame = RgbImage::from_pixel(width, height, Rgb([0; 3]));
    let inside = resize(&picture, w, h, FilterType::Triangle);
    overlay(&mut frame, &inside, i64::from((width - w) / 2), i64::from((height - h) / 2));
    frame
}

/// The pictures of a folder that is a film, by name, numbers by their value.
///
/// # Errors
/// If it can't be read, holds fewer than two pictures, or videos.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |reason: &str| Error::Process(format!("{}: {reason}", folder.display()));
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.is_dir() {
            continue;
        }
        if path.extension().is_some_and(|e| VIDEOS.iter().any(|video| e.eq_ignore_ascii_case(video))) {
            return Err(fail("is a folder with videos; name the videos in it"));
        }
        if picture::is_named_like_one(&path) {
            pictures.push(path);
        }
    }
    if pictures.len() < 2 {
        return Err(fail("is a folder with fewer than two pictures, no film"));
    }
    pictures.sort_by(|a, b| by_number(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(pictures)
}

/// The files that a pattern names, by their numbers, which may have gaps; `None` if `path` is no pattern.
///
/// # Errors
/// If its folder can't be read, or holds no such file.
pub(super) fn of_pattern(path: &Path) -> Option<Result<Vec<PathBuf>>> {
    let name = path.file_name()?.to_str()?;
    let (before, rest) = name.split_once('%')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let after = rest[digits..].strip_prefix('d')?;
    let least: usize = rest[..digits].parse().unwrap_or(1);
    let number = |file: &str| -> Option<u64> {
        let number = file.strip_prefix(before)?.strip_suffix(after)?;
        let fits = number.len() == least || number.len() > least && !number.starts_with('0');
        (fits && number.bytes().all(|b| b.is_ascii_digit())).then(|| number.parse().ok())?
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let list = || {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            if let Some(number) = entry.file_name().to_str().and_then(number) {
                found.push((number, entry.path()));
            }
        }
        found.sort();
        if found.is_empty() {
            return Err(Error::Process(format!("{}: no file has such a name", path.display())));
        }
        Ok(found.into_iter().map(|(_, path)| path).collect())
    };
    Some(list())
}

/// Compares names; numbers in them by their value.
fn by_number(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    loop {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (n, m) = (digits(a_rest), digits(b_rest));
        let order = if n > 0 && m > 0 {
            let (x, y) = (a_rest[..n].trim_start_matches('0'), b_rest[..m].trim_start_matches('0'));
            (a_rest, b_rest) = (&a_rest[n..], &b_rest[m..]);
            x.len().cmp(&y.len()).then(x.cmp(y))
        } else {
            let (x, y) = (a_rest.chars().next(), b_rest.chars().next());
            if x.is_none() || y.is_none() {
                return x.cmp(&y).then(a.cmp(b));
            }
            let after = |text: &str, c: Option<char>| c.map_or(0, char::len_utf8).min(text.len());
            (a_rest, b_rest) = (&a_rest[after(a_rest, x)..], &b_rest[after(b_rest, y)..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: Vec<PathBuf>) -> Vec<String> {
        paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn pictures_come_by_their_numbers_whatever_their_digits() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
        ["f10.png", "f9.png", "f1.png", ".f2.png", "notes.txt", "f100.png", "g1.png", "f02.png"]
            .iter()
            .for_each(|name| make(name));
        assert_eq!(
            names(in_folder(dir.path()).unwrap()),
            ["f1.png", "f02.png", "f9.png", "f10.png", "f100.png", "g1.png"]
        );
        let pattern = |name: &str| of_pattern(&dir.path().join(name));
        assert_eq!(names(pattern("f%d.png").unwrap().unwrap()), ["f1.png", "f9.png", "f10.png", "f100.png"]);
        assert_eq!(names(pattern("f%02d.png").unwrap().unwrap()), ["f02.png", "f10.png", "f100.png"]);
        assert!(pattern("h%d.png").unwrap().is_err() && pattern("100%.png").is_none() && pattern("f1.png").is_none());
        make("film.MP4");
        assert!(in_folder(dir.path()).unwrap_err().to_string().contains("videos"));
    }

    #[test]
    fn a_picture_of_another_size_gets_bars_and_is_never_stretched() {
        let frame = fitted(RgbImage::from_pixel(10, 20, Rgb([200; 3])), (40, 20));
        assert_eq!(
            (frame.dimensions(), frame.get_pixel(14, 10).0, frame.get_pixel(15, 10).0),
            ((40, 20), [0; 3], [200; 3])
        );
        assert_eq!((frame.get_pixel(24, 0).0, frame.get_pixel(25, 19).0), ([200; 3], [0; 3]));
    }
}
