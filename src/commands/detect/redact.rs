//! `detect --redact`: pictures written again with their faces covered, in their own format, without what else their files tell.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use facecascade::files::write_whole;
use facecascade::output::records::{self, DetectionTime};
use facecascade::source::original::Original;
use facecascade::{Cascade, Error, Face};
use image::RgbImage;

use super::super::DetectorArgs;
use super::super::redaction::{RedactArgs, SearchSettings};
use super::{Report, readable};

/// Covers the faces of pictures of any size.
pub(super) struct Redaction<'a> {
    detector: &'a DetectorArgs,
    min_face: Option<f32>,
    redact: &'a RedactArgs,
    /// Cascades by what they search for: few, since smallest faces are rounded.
    cascades: Mutex<Vec<(SearchSettings, Arc<Cascade>)>>,
}

impl<'a> Redaction<'a> {
    /// What is wrong with the cascade shows here.
    pub(super) fn new(
        detector: &'a DetectorArgs,
        min_face: Option<f32>,
        redact: &'a RedactArgs,
    ) -> anyhow::Result<Self> {
        let redaction = Self { detector, min_face, redact, cascades: Mutex::default() };
        redaction.cascade(480)?;
        Ok(redaction)
    }

    /// The cascade for pictures `height` pixels high.
    fn cascade(&self, height: u32) -> anyhow::Result<(SearchSettings, Arc<Cascade>)> {
        let search = SearchSettings::new(self.detector, self.min_face, height);
        let mut cascades = self.cascades.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cascade)) = cascades.iter().find(|(same, _)| *same == search) {
            return Ok((search, Arc::clone(cascade)));
        }
        let cascade = Arc::new(search.build(self.detector)?);
        cascades.push((search, Arc::clone(&cascade)));
        Ok((search, cascade))
    }

    /// Reads, searches, covers and writes one picture.
    pub(super) fn one(&self, path: &Path, target: &Path, json: bool) -> Report {
        let name = path.to_string_lossy();
        let original = match Original::read(path) {
            Ok(original) => original,
            Err(error) => return Report::unreadable(&name, &error, json),
        };
        let (pages, warning) = (original.pages(), original.left_out().map(|what| format!("{name}: {what}")));
        match self.cover(original, target) {
            Ok(found) => {
                let line = |(i, page): (usize, &Found)| {
                    let number = (pages > 1).then_some(i + 1);
                    if json {
                        records::page(&name, number, page.size, DetectionTime::wall(page.ms), &page.faces)
                    } else {
                        let of = number.map_or(String::new(), |number| format!(", page {number}"));
                        readable(&format!("{name}{of}"), &page.faces, page.ms)
                    }
                };
                let lines: Vec<String> = found.iter().enumerate().map(line).collect();
                Report { line: Some(lines.join("\n")), warning, complaint: None, unreadable: false }
            }
            Err(error) => match error.downcast_ref::<Error>() {
                Some(error @ Error::Picture { .. }) => Report::unreadable(&name, error, json),
                _ => {
                    let complaint = format!("{name}: {}; nothing was written", super::super::explain(&error));
                    Report { line: None, warning: None, complaint: Some(complaint), unreadable: false }
                }
            },
        }
    }

    fn cover(&self, original: Original, target: &Path) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        let bytes = original.rewritten(|before| -> anyhow::Result<RgbImage> {
            let (search, cascade) = self.cascade(before.height())?;
            let begin = Instant::now();
            let mut faces = cascade.detect(before)?;
            let ms = begin.elapsed().as_secs_f64() * 1000.0;
            faces.retain(|face| search.scores.picture.takes(face, 1.0));
            let mut after = before.clone();
            if let Some(mut redactor) = self.redact.redactor() {
                redactor.cover_found(&mut after, &faces);
            }
            found.push(Found { size: before.dimensions(), ms, faces });
            Ok(after)
        })?;
        write_whole(target, &bytes)?;
        Ok(found)
    }
}

/// What was found on a page.
struct Found {
    size: (u32, u32),
    ms: f64,
    faces: Vec<Face>,
}
