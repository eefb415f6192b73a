//! What comes out: boxes drawn into pictures ([`draw`]), what each stage saw as a sheet of panels ([`panels`]), JSON lines
//! ([`records`]) and video files ([`video`], with `planes` and `matroska` to hand ffmpeg frames and their times; written by
//! a thread of their own, [`writer`]), with faces made unrecognisable by [`redact`]. Of a live run: its [`figures`], the
//! [`overlay`], the `window` that shows it, and the [`recorder`]. How old frames are when
//! they are shown is measured by [`latency`], drawn by [`chart`], on what [`machine`] says. Nothing is printed here.

pub mod chart;
mod disk;
pub mod draw;
pub mod figures;
pub mod latency;
pub mod machine;
mod matroska;
pub mod overlay;
pub mod panels;
mod planes;
pub mod recorder;
pub mod records;
pub mod redact;
pub mod times;
pub mod video;
#[cfg(feature = "window")]
pub mod window;
pub mod writer;
