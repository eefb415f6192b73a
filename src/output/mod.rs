//! What comes out: boxes drawn into pictures ([`draw`]), what each stage saw as a sheet of panels ([`panels`]), JSON lines
//! ([`records`]) and video files ([`video`], with `matroska` to hand ffmpeg frames with their times). Nothing is printed
//! here.

pub mod draw;
mod matroska;
pub mod panels;
pub mod records;
pub mod video;
