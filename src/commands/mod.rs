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

/// Prints one line of results to stdout. A closed pipe is no error.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}
