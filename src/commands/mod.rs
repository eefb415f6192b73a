//! One file a command: it joins the rooms and prints. Nothing else prints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use facecascade::source::Source;
use facecascade::source::playback::Playback;
use facecascade::source::synthetic::{Scene, SceneSettings, Synthetic};
use facecascade::{Cascade, Device, Options};

pub(crate) mod bench;
pub(crate) mod detect;
#[cfg(feature = "train")]
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod live;
mod place;
mod screen;
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

/// An error of the command line that only shows when files are looked at; exit status 2.
pub(crate) fn usage(message: &str) -> anyhow::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{message}\n")).into()
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
    /// Do not tell smiles
    #[arg(long)]
    pub(crate) no_smile: bool,
    /// Another cascade than the built-in one; its nets lie beside the file as NAME.safetensors
    #[arg(long, value_name = "SETTINGS.toml")]
    pub(crate) cascade: Option<PathBuf>,
    /// Where levels 2 and 3 run: an NVIDIA GPU where this program was built for one, or the CPU
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t)]
    pub(crate) device: DeviceArg,
    #[command(flatten)]
    pub(crate) place: place::PlaceArgs,
}

/// [`Device`] on the command line.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum DeviceArg {
    /// The GPU if there is one that can be used, else the CPU
    #[default]
    Auto,
    /// The CPU
    Cpu,
    /// The first NVIDIA GPU (cargo feature `cuda`)
    Cuda,
}

impl From<DeviceArg> for Device {
    fn from(device: DeviceArg) -> Self {
        match device {
            DeviceArg::Auto => Self::Auto,
            DeviceArg::Cpu => Self::Cpu,
            DeviceArg::Cuda => Self::Cuda,
        }
    }
}

impl DetectorArgs {
    /// The cascade that was asked for: `--cascade FILE`, or the one that ships; where it was asked to run.
    pub(crate) fn build(&self, min_face: f32) -> anyhow::Result<Cascade> {
        let cascade = self.place.apply(self.load(min_face)?)?;
        let cascade = cascade.on(self.device.into())?;
        let place = if cascade.device() == Device::Cuda { "the GPU" } else { "the CPU" };
        tracing::info!("levels 2 and 3 on {place}");
        Ok(cascade)
    }

    /// The same on the CPU.
    pub(crate) fn load(&self, min_face: f32) -> facecascade::Result<Cascade> {
        let options = Options { min_face, threshold: self.threshold, smile: !self.no_smile };
        match &self.cascade {
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
        }
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

/// Seconds, over 0.
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
            return Some(Err(usage(&format!("--source {name}: behind `synthetic` stand ,smile=SECONDS and ,faces=NUMBER"))));
        }
    }
    Some(Ok(settings))
}

/// `--source NAME`: `synthetic`, or a video or picture that is played, decoded with `threads` threads.
fn played(name: &Path, threads: usize) -> anyhow::Result<Box<dyn Source>> {
    if let Some(settings) = name.to_str().and_then(synthetic) {
        return Ok(Box::new(Synthetic::new(Scene::new(&settings?)?, None)));
    }
    Ok(Box::new(Playback::open(name, threads)?))
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
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
