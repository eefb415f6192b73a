//! What each container that is written really takes: tables tried out by writing and decoding every codec with ffmpeg. What is
//! not in them would be refused by ffmpeg, or be in the file and play nowhere.

use std::path::Path;

use crate::error::{Error, Result};

/// A kind of file that videos are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `.mp4`, `.m4v`
    Mp4,
    /// `.mov`: QuickTime
    Mov,
    /// `.mkv`
    Matroska,
}

impl Container {
    /// By the ending of the file's name.
    ///
    /// # Errors
    /// If the ending is another one.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("mp4" | "m4v") => Ok(Self::Mp4),
            Some("mov") => Ok(Self::Mov),
            Some("mkv") => Ok(Self::Matroska),
            _ => Err(Error::Setting(format!("{}: name the video to write .mp4, .mov or .mkv", path.display()))),
        }
    }

    /// ffmpeg's name for it.
    pub(super) fn format(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Matroska => "matroska",
        }
    }

    /// Whether sound of this codec can be kept as it is.
    pub(super) fn takes_sound(self, codec: &str) -> bool {
        const EVERYWHERE: [&str; 4] = ["aac", "mp3", "ac3", "eac3"];
        const MOV: [&str; 18] = [
            "mp2",
            "alac",
            "adpcm_ima_qt",
            "pcm_alaw",
            "pcm_mulaw",
            "pcm_s8",
            "pcm_u8",
            "pcm_s16le",
            "pcm_s16be",
            "pcm_s24le",
            "pcm_s24be",
            "pcm_s32le",
            "pcm_s32be",
            "pcm_f32le",
            "pcm_f32be",
            "pcm_f64le",
            "pcm_f64be",
            "qdm2",
        ];
        const MATROSKA: [&str; 24] = [
            "mp2",
            "alac",
            "flac",
            "opus",
            "vorbis",
            "dts",
            "truehd",
            "mlp",
            "tta",
            "wavpack",
            "wmav1",
            "wmav2",
            "wmapro",
            "pcm_u8",
            "pcm_s16le",
            "pcm_s16be",
            "pcm_s24le",
            "pcm_s24be",
            "pcm_s32le",
            "pcm_s32be",
            "pcm_f32le",
            "pcm_f64le",
            "pcm_alaw",
            "pcm_mulaw",
        ];
        EVERYWHERE.contains(&codec)
            || match self {
                Self::Mp4 => ["alac", "opus"].contains(&codec),
                Self::Mov => MOV.contains(&codec),
                Self::Matroska => MATROSKA.contains(&codec),
            }
    }

    /// The codec that subtitles of codec `codec` get in here (`copy`: their own); `None` if they have no place.
    pub(super) fn subtitles(self, codec: &str) -> Option<&'static str> {
        let text = ["subrip", "ass", "ssa", "webvtt", "text", "mov_text", "eia_608"].contains(&codec);
        match (self, codec) {
            (
                Self::Matroska,
                "subrip" | "ass" | "ssa" | "webvtt" | "text" | "hdmv_pgs_subtitle" | "dvd_subtitle" | "dvb_subtitle",
            ) => Some("copy"),
            (Self::Matroska, _) if text => Some("srt"),
            (Self::Mp4 | Self::Mov, _) if text => Some("mov_text"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_kept_where_the_container_takes_it() {
        assert!(Container::Mp4.takes_sound("aac") && !Container::Mp4.takes_sound("pcm_s16le"));
        assert!(Container::Mov.takes_sound("pcm_s16le") && Container::Matroska.takes_sound("vorbis"));
        for container in [Container::Mp4, Container::Mov, Container::Matroska] {
            for codec in ["pcm_bluray", "pcm_dvd", "aac_latm", "adpcm_ms", "apac", ""] {
                assert!(!container.takes_sound(codec), "{container:?} {codec}");
            }
        }
        assert!(!Container::Matroska.takes_sound("adpcm_ima_qt") && !Container::Mov.takes_sound("opus"));
        assert!(Container::of(Path::new("a.webm")).is_err());
    }

    #[test]
    fn subtitles_become_what_the_container_takes_or_have_no_place() {
        assert_eq!(Container::Mp4.subtitles("hdmv_pgs_subtitle"), None);
        assert_eq!(Container::Matroska.subtitles("hdmv_pgs_subtitle"), Some("copy"));
        assert_eq!(Container::Matroska.subtitles("mov_text"), Some("srt"));
        assert_eq!(Container::Mov.subtitles("ass"), Some("mov_text"));
        for container in [Container::Mp4, Container::Mov, Container::Matroska] {
            assert_eq!(container.subtitles("dvb_teletext"), None);
            assert_eq!(container.subtitles(""), None);
        }
    }
}
