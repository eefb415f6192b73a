//! What comes out: boxes drawn into pictures ([`draw`]), what each stage saw as a sheet of panels ([`panels`]), JSON lines
//! ([`records`]) and video files ([`video`], with `matroska` to hand ffmpeg frames with their times). Of a live run: its
//! [`figures`], the [`overlay`], the `window` that shows it, and the [`recorder`]. How old frames are when they are shown is
//! measured by [`latency`], drawn by [`chart`], on what [`machine`] says. Nothing is printed here.

pub mod chart;
pub mod draw;
pub mod figures;
pub mod latency;
pub mod machine;
mod matroska;
pub mod overlay;
pub mod panels;
pub mod recorder;
pub mod records;
pub mod video;
#[cfg(feature = "window")]
pub mod window;
