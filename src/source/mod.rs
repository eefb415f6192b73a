//! Where pictures come from: picture files and folders of them ([`picture`]), and video files through ffmpeg as a child
//! process ([`video`], [`process`]). Everything is turned into upright 8-bit RGB here, so that no other room knows formats.

pub mod picture;
pub mod process;
pub mod video;
