//! A real-time face detector: a cascade of three levels of tiny convolutional nets, each finding windows and each
//! followed by a calibration of them (Li et al., CVPR 2015, and the article "Garage Deep Learning – Two Networks").
//!
//! ```
//! use facecascade::{Cascade, Options};
//!
//! let cascade = Cascade::shipped(Options { min_face: 40.0, ..Options::default() })?;
//! let picture = image::open("assets/astronaut.jpg")?.to_rgb8();
//! for face in cascade.detect(&picture)? {
//!     println!("{:.2} at {:?}", face.score, face.rect);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without default features this is all there is: `cli` adds pictures and videos in and out and the program, `camera`
//! cameras, `window` the window of the live preview, `gpu` the pyramid and the first net as compute shaders, `train` datasets,
//! evaluation and training, `cuda` levels 2 and 3 on an NVIDIA GPU.
//!
//! Read the modules from top to bottom to follow a frame: it comes from a `source`, [`pyramid`] makes it into an image
//! pyramid, [`nets`] are run over it by the [`cascade`], which finds faces; `track` follows them, and `output` shows or
//! writes them. `pipeline` says which thread does what, and when.

pub mod error;
pub mod geometry;

#[cfg(feature = "cli")]
pub mod frame;
#[cfg(feature = "cli")]
pub mod source;

pub mod pyramid;

pub mod nets;

pub mod cascade;

#[cfg(feature = "cli")]
pub mod track;

#[cfg(feature = "cli")]
pub mod pipeline;

#[cfg(feature = "cli")]
pub mod output;
#[cfg(feature = "cli")]
mod plotting;

#[cfg(feature = "train")]
pub mod dataset;
#[cfg(feature = "train")]
pub mod eval;
#[cfg(feature = "train")]
pub mod train;

pub use cascade::{Cascade, Device, Options};
pub use error::{Error, Result};
pub use geometry::{Face, Rect};

/// The README's snippet compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
