//! A real-time face detector: a cascade of small convolutional nets. The first looks everywhere and proposes windows, those behind it
//! look at these again, and each moves its windows to where the faces are (after Li et al., CVPR 2015, and the article
//! "Garage Deep Learning – Two Networks").
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
//! Call [`Cascade::shipped`] once, with [`Options`], then [`Cascade::detect`] for each picture: it returns a [`Face`] for each face
//! found, the best first. [`Options::model`] chooses between fast and sure, [`Options::min_face`] how small a face may be. A `Cascade`
//! never changes and is shared by threads. [`Cascade::load`] reads nets of your own.
//!
//! | feature | adds |
//! |---|---|
//! | none (`default-features = false`) | what this page shows |
//! | `cli` | the program: pictures and videos in and out |
//! | `camera`, `window` | cameras, and the window of the live preview |
//! | `gpu` | the image pyramid and the net of level 1 as compute shaders |
//! | `train` | datasets, evaluation and training |
//! | `monitor` | the page that follows training runs |
//! | `cuda` | the nets behind level 1 on an NVIDIA GPU |
//!
//! The library is what this page shows, and only that keeps to semantic versioning. The other modules are public because the
//! program, which is a crate of its own, its tests and its benches call them; they are hidden here and change without notice.
//! `CONTRIBUTING.md` tells how a frame goes through them.

mod error;
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod geometry;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod parallel;
#[doc(hidden)]
pub mod text;

// The modules of the program, in the order in which a frame meets them.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod frame;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod source;

#[doc(hidden)]
pub mod pyramid;

#[doc(hidden)]
pub mod nets;

#[doc(hidden)]
pub mod cascade;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod smile;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod track;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod pipeline;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod output;
#[cfg(feature = "cli")]
mod plotting;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod dataset;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod eval;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod inspection;
#[cfg(feature = "train")]
#[doc(hidden)]
pub mod train;

#[cfg(feature = "train")]
#[doc(hidden)]
pub mod experiments;

#[cfg(feature = "monitor")]
#[doc(hidden)]
pub mod monitor;

pub use cascade::placement::{Level1On, Placement, Precision, PyramidOn, RefinersOn};
pub use cascade::{Cascade, Model, Options};
pub use error::{Error, Result};
pub use geometry::{Face, Rect};

/// The README's snippet compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
