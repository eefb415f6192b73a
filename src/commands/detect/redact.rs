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
        let (original, before) = match Original::read(path) {
            Ok(read) => read,
            Err(error) => return Report::unreadable(&name, &error, json),
        };
        match self.cover(original, before, target) {
            Ok((size, ms, faces)) => {
                let line = if json {
                    records::picture(&name, size, DetectionTime::wall(ms), &faces)
                } else {
                    readable(&name, &faces, ms)
                };
                Report { line: Some(line), complaint: None, unreadable: false }
            }
            Err(error) => {
                let complaint = format!("{name}: {}; nothing was written", super::super::explain(&error));
                Report { line: None, complaint: Some(complaint), unreadable: false }
            }
        }
    }

    fn cover(
        &self,
        original: Original,
        before: RgbImage,
        target: &Path,
    ) -> anyhow::Result<((u32, u32), f64, Vec<Face>)> {
        let (search, cascade) = self.cascade(before.height())?;
        let begin = Instant::now();
        let mut faces = cascade.detect(&before)?;
        let ms = begin.elapsed().as_secs_f64() * 1000.0;
        faces.retain(|face| search.scores.picture.takes(face, 1.0));
        let mut after = before.clone();
        if let Some(mut redactor) = self.redact.redactor() {
            redactor.cover_found(&mut after, &faces);
        }
        let bytes = original.with_changes(&before, &after).map_err(Error::Process)?;
        write_whole(target, &bytes)?;
        Ok((before.dimensions(), ms, faces))
    }
}
