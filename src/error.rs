//! The library's errors. Each names the file or setting at fault and, where there is one, the remedy.

use std::path::PathBuf;

/// What can go wrong in the library. `Display` gives the complete text, causes included.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture can't be decoded or is too large.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// Why the picture was refused.
        reason: String,
    },
    /// A weights file is cut, holds a NaN or does not fit its net.
    #[error("weights {origin}: {reason}")]
    Weights {
        /// The file, or the net's name for weights that are built in.
        origin: String,
        /// What is wrong with the weights.
        reason: String,
    },
    /// The layers of a net do not fit each other.
    #[error("net {net}: {reason}")]
    Net {
        /// The net's name in the zoo.
        net: String,
        /// What does not fit.
        reason: String,
    },
    /// A setting is outside its range, or a recipe has a wrong key. The text names the setting.
    #[error("{0}")]
    Setting(String),
    /// A data folder lacks something, or an annotation can't be read.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is missing or wrong, and what to do.
        reason: String,
    },
    /// A child process (ffmpeg) could not be started, or failed.
    #[error("{0}")]
    Process(String),
    /// A stage of the pipeline failed.
    #[error("{source} (stage {stage})")]
    Stage {
        /// The stage's name.
        stage: &'static str,
        /// The stage's error.
        source: Box<Self>,
    },
    /// A camera is missing, busy or was lost.
    #[error("{0}")]
    Camera(String),
    /// A window on the screen can't be opened or drawn.
    #[error("{0}")]
    Window(String),
    /// A GPU is missing, can't be used or was lost.
    #[error("{0}")]
    Gpu(String),
    /// A library that training or drawing is built on failed.
    #[error("{0}")]
    Backend(String),
}

/// The result of everything in the library that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of the file system into [`Self::Io`] that names `path`; for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Makes a [`Self::Data`] of a file or folder and a reason.
    pub fn data(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Data { path: path.into(), reason: reason.into() }
    }
}

#[cfg(feature = "train")]
impl From<candle_core::Error> for Error {
    fn from(mut e: candle_core::Error) -> Self {
        // With RUST_BACKTRACE set, candle puts a backtrace of a hundred lines into the text.
        while let candle_core::Error::WithBacktrace { inner, .. } = e {
            e = *inner;
        }
        Self::Backend(format!("candle: {e}"))
    }
}
