//! The commands, one module each: they connect the library's modules and print. No other module prints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use facecascade::source::Source;
use facecascade::source::playback::Playback;
use facecascade::source::synthetic::{Scene, SceneSettings, Synthetic};
use facecascade::{Cascade, Model, Options, Precision};

pub(crate) mod bench;
pub(crate) mod detect;
#[cfg(feature = "train")]
pub(crate) mod eval;
#[cfg(feature = "train")]
pub(crate) mod experiment;
pub(crate) mod inspect;
pub(crate) mod live;
#[cfg(feature = "monitor")]
pub(crate) mod monitor;
mod place;
#[cfg(feature = "train")]
pub(crate) mod quantise;
mod redaction;
mod screen;
#[cfg(feature = "train")]
pub(crate) mod train;
pub(crate) mod video;

/// Prints an error to stderr, with its causes, on one line.
pub(crate) fn complain(error: &anyhow::Error) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "facecascade: {}", explain(error));
}

/// Writes an error with its causes on one line.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    // The text of a library error already contains that of its causes.
    match error.downcast_ref::<facecascade::Error>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}

/// An error in the command line that clap could not see; exit status 2.
pub(crate) fn usage(message: &str) -> anyhow::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{message}\n")).into()
}

/// Whether an error means that nobody reads stdout any more (`| head`), which is neither a failure nor reported.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Options of the commands that detect: which cascade, and the lowest score.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DetectorArgs {
    /// Lowest score of the faces to report (0..1); 0.02 reports nearly all that are found [default: 0.5]
    #[arg(long, value_name = "T", value_parser = share)]
    pub(crate) threshold: Option<f32>,
    /// Leave smiles out
    #[arg(long)]
    pub(crate) no_smile: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) placement: place::PlacementArgs,
}

/// Options of the commands that need a cascade: which one, and its nets' numbers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// Which of the built-in cascades. fast: for small processors; base: for everything; sure: misses the fewest faces and takes the
    /// longest [default: base; with --redact: sure]
    #[arg(long, value_name = "fast|base|sure", conflicts_with = "cascade")]
    model: Option<Model>,
    /// Use the cascade of this file instead of the built-in one; its nets lie beside the file as NAME.safetensors
    #[arg(long, value_name = "SETTINGS.toml")]
    cascade: Option<PathBuf>,
    /// Numbers that nets compute with on the CPU. auto: 8 bits for each net that has 8-bit weights (those that ship do), which is about
    /// twice as fast; f32: floats
    #[arg(long, value_name = "auto|f32|int8", default_value_t)]
    precision: Precision,
}

impl ModelArgs {
    /// Loads the cascade that was asked for, else the built-in `model` of the options, to run on the CPU.
    pub(crate) fn load(&self, options: Options) -> facecascade::Result<Cascade> {
        let model = self.model.unwrap_or(options.model);
        let options = Options { model, precision: self.precision, ..options };
        tracing::info!(
            "cascade {}, smallest face {} pixels, threshold {}",
            self.name(model),
            options.min_face,
            options.threshold
        );
        match &self.cascade {
            Some(file) => Cascade::load(file, options),
            None => Cascade::shipped(options),
        }
    }

    /// Its name, for messages: with `default` if none was asked for.
    pub(crate) fn name(&self, default: Model) -> String {
        match &self.cascade {
            Some(file) => file.display().to_string(),
            None => self.model.unwrap_or(default).to_string(),
        }
    }
}

impl DetectorArgs {
    /// Loads the cascade that was asked for, and moves its parts to where they were asked to run.
    pub(crate) fn build(&self, min_face: f32) -> anyhow::Result<Cascade> {
        self.build_for(self.options(min_face))
    }

    /// Loads the cascade with `options` in place of the command line's, and moves its parts to where they were asked to run.
    pub(crate) fn build_for(&self, options: Options) -> anyhow::Result<Cascade> {
        self.placement.apply(self.model.load(options)?)
    }

    /// Loads the cascade of `--cascade`, or a built-in one, to run on the CPU.
    pub(crate) fn load(&self, min_face: f32) -> facecascade::Result<Cascade> {
        self.model.load(self.options(min_face))
    }

    fn options(&self, min_face: f32) -> Options {
        let threshold = self.threshold.unwrap_or(Options::default().threshold);
        Options { min_face, threshold, smile: !self.no_smile, ..Options::default() }
    }
}

/// Parses a number in 0..1.
fn share(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("must be between 0 and 1".into()) }
}

/// Parses the side of the smallest face, pixels. Below 8 the picture would have to be enlarged, which the cascade refuses.
pub(crate) fn face_side(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (8.0..=100_000.0).contains(&value) { Ok(value) } else { Err("must be 8 pixels or more".into()) }
}

/// Parses a number of seconds over 0.
fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value < 1e9 { Ok(value) } else { Err("must be over 0".into()) }
}

/// The synthetic camera by its name: `synthetic`, with `,smile=S` and `,faces=N` behind it; `None`: another source.
fn synthetic(name: &str) -> Option<anyhow::Result<SceneSettings>> {
    let options = name.strip_prefix("synthetic")?;
    if !(options.is_empty() || options.starts_with(',')) {
        return None;
    }
    let mut settings = SceneSettings::default();
    for option in options.split(',').skip(1) {
        let known = match option.split_once('=') {
            Some(("smile", seconds)) => seconds.parse().map(|s| settings.smile = Some(s)).is_ok(),
            Some(("faces", faces)) => faces.parse().map(|n| settings.faces = n).is_ok(),
            _ => false,
        };
        if !known {
            return Some(Err(usage(&format!(
                "--source {name}: behind `synthetic` stand ,smile=SECONDS and ,faces=NUMBER"
            ))));
        }
    }
    Some(Ok(settings))
}

/// Opens the source that `--source NAME` names: `synthetic`, an address, or a video or picture, decoded with `threads` threads.
/// Setting `stop` ends the reading of a pipe.
fn played(name: &Path, threads: usize, stop: &AtomicBool) -> anyhow::Result<Box<dyn Source>> {
    if let Some(settings) = name.to_str().and_then(synthetic) {
        return Ok(Box::new(Synthetic::new(Scene::new(&settings?)?, None)));
    }
    #[cfg(feature = "camera")]
    if let Some(address) = name.to_str().filter(|_| facecascade::source::input::is_address(name)) {
        return Ok(facecascade::source::camera::network::open(address, threads)?);
    }
    Ok(Box::new(Playback::open(name, threads, stop)?))
}

/// A bar that counts pictures; hidden with --quiet.
#[cfg(feature = "train")]
fn progress_bar(pictures: usize, common: &crate::cli::Common) -> indicatif::ProgressBar {
    if common.quiet {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {per_sec:.1}, {eta} left");
    let bar = indicatif::ProgressBar::new(pictures as u64);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Writes pictures as PNG into a folder, which is made if missing; gives their paths.
#[cfg(feature = "train")]
fn write_plots(
    folder: &Path,
    drawings: impl IntoIterator<Item = (String, image::RgbImage)>,
) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(facecascade::Error::io(folder))?;
    let mut paths = Vec::new();
    for (name, picture) in drawings {
        let path = folder.join(name);
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png)?;
        facecascade::files::write_whole(&path, png.get_ref())?;
        paths.push(path);
    }
    Ok(paths)
}

/// Returns a flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

/// Prints one line of results to stdout. A closed pipe is no error.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}
