//! `facecascade inspect`: draws the windows after each step of the cascade.

use std::io::Write;
use std::path::PathBuf;

use facecascade::output::panels;
use facecascade::source::{picture, truth};
use facecascade::text::{counted, ms};

use super::DetectorArgs;
use crate::cli::{Common, Outcome};

/// Draw what each stage of the cascade saw in a picture
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade inspect group.jpg -o stages.png
  facecascade inspect group.jpg -o stages.png --truth faces.csv

One panel a stage: find, calibrate and filter of each level, the last being the global filter. Windows go from red (no \
face) to green (a face). ANNOTATIONS holds the true faces, drawn white: lines x,y,w,h, or lines of `detect --json`, or a \
CSV with a heading image,…,x,y,w,h.")]
pub(crate) struct InspectArgs {
    /// The picture
    #[arg(value_name = "PICTURE")]
    picture: PathBuf,
    /// The picture to write, .png or .jpg
    #[arg(short, long, value_name = "OUT.png")]
    output: PathBuf,
    /// Boxes of the true faces
    #[arg(long, value_name = "ANNOTATIONS")]
    truth: Option<PathBuf>,
    /// Side of the smallest face looked for, pixels
    #[arg(long, value_name = "PX", default_value_t = 20.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
}

pub(crate) fn run(args: InspectArgs, _common: &Common) -> anyhow::Result<Outcome> {
    let extension = args.output.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    anyhow::ensure!(
        ["png", "jpg", "jpeg"].contains(&extension.as_str()),
        "{}: name the picture to write .png or .jpg",
        args.output.display()
    );
    anyhow::ensure!(
        !facecascade::files::same_file(&args.output, &args.picture),
        "{}: would overwrite the picture that is read",
        args.output.display()
    );
    let picture = picture::read(&args.picture)?;
    let truth = match &args.truth {
        Some(file) => truth::read(file, &args.picture)?,
        None => Vec::new(),
    };
    // Panels show no smile, and the times under them are those of the cascade's steps.
    let cascade = DetectorArgs { no_smile: true, ..args.detector }.build(args.min_face)?;
    // The first run fills caches and buffers, so its times are not those of a frame.
    cascade.detect(&picture)?;
    let (faces, stages) = cascade.trace(&picture)?;

    let all: f64 = stages.iter().map(|s| ms(s.elapsed)).sum();
    let name = args.picture.file_name().unwrap_or_default().to_string_lossy();
    let (width, height) = picture.dimensions();
    let heading = format!("{name} · {width}×{height} · smallest face {} px · {all:.1} ms", args.min_face);
    super::detect::save(&panels::sheet(&picture, &heading, &stages, &faces, &truth), &args.output)?;

    let mut out = std::io::stdout().lock();
    for stage in &stages {
        let accepted = match stage.accepted.len() {
            0 => String::new(),
            n => format!("  + {n} accepted"),
        };
        let (windows, elapsed) = (stage.windows.len(), ms(stage.elapsed));
        writeln!(out, "{:<12} {windows:>5} windows {elapsed:>8.2} ms{accepted}", stage.name)?;
    }
    let found = counted(faces.len(), "face");
    writeln!(out, "{}: {found} -> {}", args.picture.display(), args.output.display())?;
    Ok(Outcome::Done)
}
