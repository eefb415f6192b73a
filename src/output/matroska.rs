//! A stream of raw frames with their times, as ffmpeg reads it from a pipe: Matroska (RFC 9559) is the simplest
//! container that carries times, and raw video alone has none.

use std::io::{self, Write};

/// A microsecond, in Matroska's nanoseconds.
const TIME_SCALE: u64 = 1000;

fn element(id: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_vec();
    bytes.extend(size(payload.len() as u64));
    bytes.extend(payload);
    bytes
}

/// A size in Matroska's eight-byte form.
fn size(n: u64) -> [u8; 8] {
    (n | 1 << 56).to_be_bytes()
}

fn unsigned(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// What comes before the first frame; `rate` is about how many there are a second, which says how long the last one is shown.
pub(super) fn header(width: u32, height: u32, rate: f64) -> Vec<u8> {
    let ebml = [
        unsigned(&[0x42, 0x86], 1),
        unsigned(&[0x42, 0xF7], 1),
        unsigned(&[0x42, 0xF2], 4),
        unsigned(&[0x42, 0xF3], 8),
        element(&[0x42, 0x82], b"matroska"),
        unsigned(&[0x42, 0x87], 4),
        unsigned(&[0x42, 0x85], 2),
    ];
    let info = [
        unsigned(&[0x2A, 0xD7, 0xB1], TIME_SCALE),
        element(&[0x4D, 0x80], b"facecascade"),
        element(&[0x57, 0x41], b"facecascade"),
    ];
    let video = [
        unsigned(&[0xB0], width.into()),
        unsigned(&[0xBA], height.into()),
        // Brightness, then colours at half the size.
        element(&[0x2E, 0xB5, 0x24], b"I420"),
    ];
    let track = [
        unsigned(&[0xD7], 1),
        unsigned(&[0x73, 0xC5], 1),
        unsigned(&[0x83], 1),
        unsigned(&[0x23, 0xE3, 0x83], (1e9 / rate.clamp(1e-3, 1e6)).round() as u64),
        // Without this it would be English.
        element(&[0x22, 0xB5, 0x9C], b"und"),
        element(&[0x86], b"V_UNCOMPRESSED"),
        element(&[0xE0], &video.concat()),
    ];
    let mut bytes = element(&[0x1A, 0x45, 0xDF, 0xA3], &ebml.concat());
    // A segment of unknown size: it ends with the pipe.
    bytes.extend([0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend(element(&[0x15, 0x49, 0xA9, 0x66], &info.concat()));
    bytes.extend(element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track.concat())));
    bytes
}

/// Writes what stands before a frame of `length` bytes shown at `seconds`: a cluster of its own.
pub(super) fn before_frame(pipe: &mut impl Write, seconds: f64, length: usize) -> io::Result<()> {
    let time = unsigned(&[0xE7], (seconds.max(0.0) * 1e6).round() as u64);
    let block = length as u64 + 4;
    pipe.write_all(&[0x1F, 0x43, 0xB6, 0x75])?;
    pipe.write_all(&size(time.len() as u64 + 1 + 8 + block))?;
    pipe.write_all(&time)?;
    pipe.write_all(&[0xA3])?;
    pipe.write_all(&size(block))?;
    // Track 1, at the cluster's own time, a key frame.
    pipe.write_all(&[0x81, 0, 0, 0x80])
}
