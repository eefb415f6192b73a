//! The events of a run as TensorBoard reads them: a file of records, each a protobuf message `Event` with a scalar, framed with checksums
//! (TFRecord). Only the few fields that scalars need are written.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};

use super::events::Event;
use crate::error::{Error, Result};

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A file for TensorBoard that grows with a run: a folder of its own for each stage, so that each is a run of TensorBoard's.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    stages: HashMap<String, (PathBuf, File)>,
}

impl TensorBoard {
    /// Writes into `folder`, which is made when the first event comes. Files of earlier runs stay; TensorBoard joins them.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), stages: HashMap::new() }
    }

    /// Writes the figures of an event.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn push(&mut self, event: &Event) -> Result<()> {
        let (stage, step, figures) = match event {
            Event::Step { stage, step, loss, accuracy, rate, gradient_norm, samples_per_second, .. } => {
                let mut figures = vec![
                    ("loss/training".to_owned(), *loss),
                    ("accuracy/training".to_owned(), *accuracy),
                    ("error/training".to_owned(), 1.0 - accuracy),
                    ("rate".to_owned(), f64::from(*rate)),
                    ("samples_per_second".to_owned(), *samples_per_second),
                ];
                figures.extend(gradient_norm.map(|norm| ("gradient_norm".to_owned(), norm)));
                (stage, *step, figures)
            }
            Event::Validation { stage, step, loss, accuracy, sets, .. } => {
                let mut figures = Vec::new();
                figures.extend(loss.map(|loss| ("loss/validation".to_owned(), loss)));
                figures.extend(accuracy.map(|accuracy| ("accuracy/validation".to_owned(), accuracy)));
                figures.extend(accuracy.map(|accuracy| ("error/validation".to_owned(), 1.0 - accuracy)));
                for set in sets {
                    let measures = [("ap_h20", set.ap_h20), ("ap_h40", set.ap_h40), ("recall_h20", set.recall_h20)];
                    figures.extend(measures.map(|(name, value)| (format!("{name}/{}", set.set), value)));
                }
                (stage, *step, figures)
            }
            _ => return Ok(()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut bytes = Vec::new();
        for (tag, value) in figures {
            record(&scalar(now, step as u64, &tag, value as f32), &mut bytes);
        }
        let (path, file) = self.file(stage, now)?;
        // One write an event, so that a reader sees whole records.
        file.write_all(&bytes).map_err(Error::io(&*path))
    }

    /// The file of a stage, begun if it is not there yet.
    fn file(&mut self, stage: &str, now: Duration) -> Result<(PathBuf, &mut File)> {
        if !self.stages.contains_key(stage) {
            let made = begin(&self.folder.join(stage), now)?;
            self.stages.insert(stage.to_owned(), made);
        }
        match self.stages.get_mut(stage) {
            Some((path, file)) => Ok((path.clone(), file)),
            None => Err(Error::Backend(format!("{stage}: no file for TensorBoard"))),
        }
    }
}

/// Begins a file in `folder`, under a name that TensorBoard looks for and no other file has.
fn begin(folder: &Path, now: Duration) -> Result<(PathBuf, File)> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let name =
        format!("events.out.tfevents.{:010}.facecascade.{}.{}", now.as_secs(), std::process::id(), now.subsec_nanos());
    let path = folder.join(name);
    let mut file = File::create_new(&path).map_err(Error::io(&path))?;
    let mut bytes = Vec::new();
    record(&version(now), &mut bytes);
    file.write_all(&bytes).map_err(Error::io(&path))?;
    Ok((path, file))
}

/// Frames a message as a TFRecord: length, its checksum, message, its checksum.
fn record(message: &[u8], out: &mut Vec<u8>) {
    let length = (message.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length));
    out.extend(message);
    out.extend(masked(message));
}

/// The checksum as TFRecords hold it: turned and shifted, so that checksums of data with checksums in it are sound.
fn masked(bytes: &[u8]) -> [u8; 4] {
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// `Event { wall_time = 1, file_version = 3 }`, the first of a file.
fn version(now: Duration) -> Vec<u8> {
    let mut event = double(1, now.as_secs_f64());
    event.extend(bytes(3, b"brain.Event:2"));
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }`.
fn scalar(now: Duration, step: u64, tag: &str, value: f32) -> Vec<u8> {
    let mut summary_value = bytes(1, tag.as_bytes());
    summary_value.push(2 << 3 | 5);
    summary_value.extend(value.to_le_bytes());
    let mut event = double(1, now.as_secs_f64());
    event.push(2 << 3);
    varint(step, &mut event);
    event.extend(bytes(5, &bytes(1, &summary_value)));
    event
}

/// A field of eight bytes.
fn double(field: u8, value: f64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

/// A field of bytes, text or a message.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    varint(content.len() as u64, &mut out);
    out.extend(content);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_framed_as_the_format_says() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720), masked as in TensorFlow's crc32c.h.
        let masked_sum = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
        let mut out = Vec::new();
        record(b"123456789", &mut out);
        assert_eq!(
            (&out[..8], &out[12..21], &out[21..]),
            (&9u64.to_le_bytes()[..], &b"123456789"[..], &masked_sum[..])
        );
    }

    #[test]
    fn whole_numbers_take_seven_bits_a_byte() {
        for (value, expected) in
            [(0, vec![0]), (127, vec![127]), (300, vec![0xac, 2]), (u64::MAX, [vec![0xff; 9], vec![1]].concat())]
        {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!(out, expected, "{value}");
        }
    }
}
