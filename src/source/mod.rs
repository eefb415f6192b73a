//! Where pictures come from: picture files and folders of them ([`picture`]), and video files through ffmpeg as a child
//! process ([`video`]). Everything is turned into upright 8-bit RGB here, so that no other room knows formats. Boxes that
//! people drew for a picture are read by [`truth`].

pub mod picture;
pub(crate) mod process;
pub mod truth;
pub mod video;
