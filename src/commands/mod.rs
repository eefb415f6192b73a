//! One file a command: it joins the rooms and prints. Nothing else prints.

use std::path::PathBuf;

use facecascade::{Cascade, Options};

pub(crate) mod bench_pyramid;
pub(crate) mod detect;
#[cfg(feature = "train")]
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod live;
mod place;
#[cfg(feature = "train")]
pub(crate) mod train;
pub(crate) mod video;

/// Prints an error to stderr, with its causes, on one line.
pub(crate) fn complain(error: &anyhow::Error) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "facecascade: {}", explain(error));
}

/// An error with its causes, on one line.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    // The library's errors already hold the text of their causes.
    match error.downcast_ref::<facecascade::Error>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}

/// Whether the reader of our output went away (`| head`): no failure, and nothing to say.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Which cascade, and from which score on.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DetectorArgs {
    /// Leave out faces with a lower score (0..1); 0.02 gives nearly all that is found
    #[arg(long, value_name = "T", value_parser = share, default_value_t = Options::default().threshold)]
    pub(crate) threshold: f32,
    /// Another cascade than the built-in one; its nets lie beside the file as NAME.safetensors
    #[arg(long, value_name = "SETTINGS.toml")]
    pub(crate) cascade: Option<PathBuf>,
    #[command(flatten)]
    place: place::PlaceArgs,
}

impl DetectorArgs {
    /// The cascade that was asked for: `--cascade FILE`, or the one that ships.
    pub(crate) fn build(&self, min_face: f32) -> facecascade::Result<Cascade> {
        let options = Options { min_face, threshold: self.threshold };
        let cascade = match &self.cascade {
            Some(file) => {
                tracing::info!(
                    "cascade {}, smallest face {min_face} pixels, threshold {}",
                    file.display(),
                    self.threshold
                );
                Cascade::load(file, options)
            }
            None => {
                tracing::info!("built-in cascade, smallest face {min_face} pixels, threshold {}", self.threshold);
                Cascade::shipped(options)
            }
        };
        self.place.apply(cascade?)
    }
}

/// A number in 0..1.
fn share(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("must be between 0 and 1".into()) }
}

/// Side of the smallest face, pixels. Below 8 the cascade refuses: the picture would have to be blown up.
pub(crate) fn face_side(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (8.0..=100_000.0).contains(&value) { Ok(value) } else { Err("must be 8 pixels or more".into()) }
}

/// `--threads N` as a number of threads: 0 is one for each core.
pub(crate) fn thread_count(threads: usize) -> usize {
    if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, std::num::NonZero::get) }
}

/// Prints one line of results to stdout. A closed pipe is no error.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}
