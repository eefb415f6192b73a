//! Draws, writes and measures what comes out. [`draw`] draws boxes into pictures, `letters` sets their text, [`panels`] draws one
//! step of the cascade. [`records`] writes JSON lines; [`video`] writes video files (`planes` and `matroska` hand ffmpeg
//! the frames and their times, [`writer`] does so on a thread of its own; [`container`], [`encoder`] and [`tracks`] say what
//! goes into the file), and [`redact`] makes faces in them unrecognisable: faces found, or faces that [`replay`] reads from the
//! records of an earlier run. [`review`] writes the page to check them by. For a live run: [`figures`] counts, [`overlay`]
//! draws, `window` shows, [`recorder`] records.
//! [`latency`] measures how old frames are when they are shown, from [`times`], [`chart`] draws the measurement, and
//! [`machine`] describes the machine. Nothing here prints.

pub mod chart;
pub mod container;
mod disk;
pub mod draw;
pub mod encoder;
pub mod figures;
pub mod latency;
mod letters;
pub mod machine;
mod matroska;
pub mod overlay;
pub mod panels;
mod planes;
pub mod recorder;
pub mod records;
pub mod redact;
pub mod replay;
pub mod review;
pub mod times;
pub mod tracks;
pub mod video;
#[cfg(feature = "window")]
pub mod window;
pub mod writer;
