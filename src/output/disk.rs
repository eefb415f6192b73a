//! Room on the disk: a video is ended while its index still has a place there, since without it an .mp4 does not play.

use std::path::Path;

/// Frames that the encoder and the pipe hold back: they come to the disk even after the last one was handed over.
const HELD_BACK: u64 = 40;
/// What the index takes, bytes a frame, also while it is put in front of the rest.
const INDEX: u64 = 128;
/// What else may come: sound that is ahead, the muxer's buffers.
const ELSE: u64 = 64 << 10;

/// Whether a video of `frames` frames of `pixels` pixels each, as far as it is in the file `partial`, should end now.
/// `false` where the system does not say.
pub(super) fn is_nearly_full(partial: &Path, frames: u64, pixels: u64) -> bool {
    let size = std::fs::metadata(partial).map_or(0, |m| m.len());
    free(partial).is_some_and(|free| free < reserve(size, frames, pixels))
}

/// Bytes that the end may take.
fn reserve(size: u64, frames: u64, pixels: u64) -> u64 {
    // At first only the size of a picture tells: a twelfth of a byte for each pixel, as of a busy one.
    let frame = size.checked_div(frames.saturating_sub(HELD_BACK)).map_or(pixels / 12, |mean| mean.max(512));
    let coming = frames.min(HELD_BACK) * frame;
    coming + coming / 2 + 2 * INDEX * frames + ELSE
}

/// Free bytes of the disk that holds `file`.
#[cfg(unix)]
#[allow(clippy::useless_conversion, reason = "on some systems these are smaller numbers")]
fn free(file: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(file).ok()?;
    Some(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_free_grows_with_frames_and_their_size() {
        let vga = 640 * 480;
        assert!(reserve(0, 1, vga) < 200 << 10, "a small disk may begin");
        // An hour at 5 kB a frame: the index of 108 000 frames, and forty of them.
        let hour = reserve(5_000 * 108_000, 108_000, vga);
        assert!((20 << 20..40 << 20).contains(&hour), "{hour}");
        assert!(reserve(50_000 * 1000, 1000, vga) > reserve(5_000 * 1000, 1000, vga));
    }

    #[cfg(unix)]
    #[test]
    fn a_disk_says_how_much_is_free() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(free(file.path()).unwrap() > 0);
        assert!(!is_nearly_full(file.path(), 1, 100) || free(file.path()).unwrap() < 1 << 20);
        assert!(!is_nearly_full(Path::new("/there/is/no/such/file"), 1, 100), "unknown is not full");
    }
}
