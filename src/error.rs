//! The library's errors: each names the file or the setting at fault, and where there is one, the remedy.

use std::path::PathBuf;

/// What can go wrong in the library. The text is complete: callers only print it.
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
    /// A picture that can't be decoded, or that is too large.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// Why it was refused.
        reason: String,
    },
    /// A weights file that is cut, holds a NaN or does not fit its net.
    #[error("weights {origin}: {reason}")]
    Weights {
        /// The file, or the net's name for weights that are built in.
        origin: String,
        /// What is wrong with them.
        reason: String,
    },
    /// A net whose layers do not fit each other.
    #[error("net {net}: {reason}")]
    Net {
        /// The net's name in the zoo.
        net: String,
        /// What does not fit.
        reason: String,
    },
    /// A setting outside its range, or a recipe with a wrong key.
    #[error("{0}")]
    Setting(String),
    /// A data folder that lacks something, or an annotation that can't be read.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A child process (ffmpeg) that could not be started or failed.
    #[error("{0}")]
    Process(String),
    /// A stage of the pipeline failed.
    #[error("{source} (stage {stage})")]
    Stage {
        /// Its name.
        stage: &'static str,
        /// What happened.
        source: Box<Self>,
    },
    /// A camera that is missing, busy or was lost.
    #[error("{0}")]
    Camera(String),
    /// A window that can't be opened or drawn.
    #[error("{0}")]
    Window(String),
    /// A GPU that is missing, can't be used or was lost.
    #[error("{0}")]
    Gpu(String),
    /// Training or drawing failed in a library below.
    #[error("{0}")]
    Backend(String),
}

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An input/output error at `path`; for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// An error in a data folder or an annotation file.
    pub fn data(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Data { path: path.into(), reason: reason.into() }
    }
}

#[cfg(feature = "train")]
impl From<candle_core::Error> for Error {
    fn from(mut e: candle_core::Error) -> Self {
        // Where RUST_BACKTRACE is set, the text would hold a hundred lines.
        while let candle_core::Error::WithBacktrace { inner, .. } = e {
            e = *inner;
        }
        Self::Backend(format!("candle: {e}"))
    }
}
