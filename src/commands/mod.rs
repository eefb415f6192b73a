//! One file a command: it joins the rooms and prints. Nothing else prints.

pub(crate) mod detect;
#[cfg(feature = "train")]
pub(crate) mod eval;
pub(crate) mod inspect;
#[cfg(feature = "train")]
pub(crate) mod train;
pub(crate) mod video;

/// Prints an error to stderr, with its causes, on one line.
pub(crate) fn complain(error: &anyhow::Error) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "facecascade: {error:#}");
}
