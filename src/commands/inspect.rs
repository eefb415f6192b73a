//! `facecascade inspect`: draws the windows after each step of the cascade, and says which step lost which face.

use std::io::Write;
use std::path::{Path, PathBuf};

use facecascade::dataset::TrueFaces;
use facecascade::files::{same_file, write_whole};
use facecascade::inspection::Inspection;
use facecascade::inspection::page::Page;
use facecascade::inspection::summary::Summary;
use facecascade::source::picture;
use facecascade::text::{counted, ms};
use facecascade::{Cascade, Error};

use super::DetectorArgs;
use crate::cli::{Common, Outcome};

/// Draw what each stage of the cascade saw in pictures, and which faces it lost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade inspect group.jpg -o stages.png
  facecascade inspect group.jpg -o stages.png --truth faces.csv --faces
      also the true faces, those lost at the stage that lost them, and the window on each face before and after calibration
  facecascade inspect group.jpg --html stages.html --truth faces.csv
      the same as a web page: point at a window to read its score
  facecascade inspect holiday/ --truth faces.csv -o sheets
      a sheet for each picture, and a table of windows, times and lost faces stage by stage

One panel a stage: find, calibrate and filter of each level, the last being the global filter. Windows go from red (no \
face) to green (a face). ANNOTATIONS holds the true faces, drawn white: a data folder as of `eval --data` (wider/, masks/), or a file of \
lines x,y,w,h, of `detect --json`, or of a CSV with a heading image,…,x,y,w,h. A true face counts as found as in `eval --by`: if it is \
at least --min-face pixels high, not marked invalid, and a box of at least --threshold has an IoU of 0.5 with it.")]
pub(crate) struct InspectArgs {
    /// Pictures, or folders (the pictures right in them, by name)
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// The picture to write, .png or .jpg; of several pictures, the folder for theirs (made if missing)
    #[arg(short, long, value_name = "OUT.png", required_unless_present = "html")]
    output: Option<PathBuf>,
    /// The true faces: a data folder or a file
    #[arg(long, value_name = "ANNOTATIONS")]
    truth: Option<PathBuf>,
    /// Also show face by face the window before and after each calibration
    #[arg(long)]
    faces: bool,
    /// Write a web page with the same panels, which holds the pictures and loads nothing
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Side of the smallest face looked for, pixels
    #[arg(long, value_name = "PX", default_value_t = 20.0, value_parser = super::face_side)]
    min_face: f32,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Where the sheets go.
enum Sheets {
    Nowhere,
    /// The only picture's.
    File(PathBuf),
    /// Each picture's.
    Files(Vec<PathBuf>),
}

pub(crate) fn run(args: InspectArgs, _common: &Common) -> anyhow::Result<Outcome> {
    let pictures = picture::list(&args.pictures, None)?;
    let several = pictures.len() > 1 || args.pictures.iter().any(|path| path.is_dir());
    let sheets = match &args.output {
        None => Sheets::Nowhere,
        Some(folder) if several => {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
            Sheets::Files(super::detect::targets(&pictures, folder, |_| "png".to_owned()))
        }
        Some(file) => Sheets::File(checked(file, &pictures)?),
    };
    if let Some(page) = &args.html {
        let over = pictures.iter().chain(&args.truth).any(|read| same_file(page, read));
        anyhow::ensure!(!over, "{}: would overwrite what is read", page.display());
    }
    let truth = args.truth.as_deref().map(TrueFaces::read).transpose()?;
    // Panels show no smile, and the times under them are those of the cascade's steps.
    let cascade = DetectorArgs { no_smile: true, ..args.detector }.build(args.min_face)?;
    let looking = Looking { cascade, truth, faces: args.faces, several, warm: std::cell::Cell::new(false) };

    let (mut summary, mut page) = (Summary::default(), args.html.is_some().then(Page::default));
    let mut failed = false;
    for (i, path) in pictures.iter().enumerate() {
        let sheet = match &sheets {
            Sheets::Nowhere => None,
            Sheets::File(file) => Some(file),
            Sheets::Files(files) => files.get(i),
        };
        match looking.one(path, sheet.map(PathBuf::as_path), page.as_mut()) {
            Ok(inspection) => summary.add(&inspection),
            Err(error) if several && !super::is_broken_pipe(&error) => {
                failed = true;
                super::complain(&error);
            }
            Err(error) => return Err(error),
        }
    }
    if let (Some(page), Some(file)) = (&page, &args.html) {
        write_whole(file, page.html(&summary).as_bytes())?;
    }
    let mut out = std::io::stdout().lock();
    if several {
        write!(out, "{}", summary.table())?;
    }
    if let Some(file) = &args.html {
        writeln!(out, "wrote {}", file.display())?;
    }
    Ok(if failed { Outcome::PartlyFailed } else { Outcome::Done })
}

/// The file of a single sheet, if a picture can be written there.
fn checked(file: &Path, pictures: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let extension = file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let known = ["png", "jpg", "jpeg"].contains(&extension.as_str());
    anyhow::ensure!(known, "{}: name the picture to write .png or .jpg", file.display());
    let over = pictures.iter().any(|picture| same_file(file, picture));
    anyhow::ensure!(!over, "{}: would overwrite the picture that is read", file.display());
    Ok(file.to_owned())
}

/// What each picture is looked at with.
struct Looking {
    cascade: Cascade,
    truth: Option<TrueFaces>,
    faces: bool,
    several: bool,
    /// Whether a picture has been searched already.
    warm: std::cell::Cell<bool>,
}

impl Looking {
    /// Looks at one picture, draws its sheet, puts it on the page and prints what was found.
    fn one(&self, path: &Path, sheet: Option<&Path>, page: Option<&mut Page>) -> anyhow::Result<Inspection> {
        let picture = picture::read(path)?;
        let truth = self.truth.as_ref().map(|truth| truth.of(path)).transpose()?.unwrap_or_default();
        // The first run fills caches and buffers, so its times are not those of a frame.
        if !self.warm.replace(true) {
            self.cascade.detect(&picture)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inspection = Inspection::new(&self.cascade, name, &picture, &truth)?;
        if let Some(sheet) = sheet {
            super::detect::save(&inspection.sheet(&picture, self.faces), sheet)?;
        }
        if let Some(page) = page {
            page.add(&inspection, &picture, self.faces);
        }
        let mut out = std::io::stdout().lock();
        if !self.several {
            steps(&mut out, &inspection)?;
        }
        let found = counted(inspection.faces.len(), "face");
        let known = match inspection.counts() {
            (0, _) => String::new(),
            (faces, found) => format!(", {found} of {} found", counted(faces, "true face")),
        };
        let target = sheet.map_or(String::new(), |sheet| format!(" -> {}", sheet.display()));
        writeln!(out, "{}: {found}{known}{target}", path.display())?;
        for (i, (face, loss)) in inspection.lost().enumerate() {
            writeln!(out, "  lost {}: {}", i + 1, inspection.describe(face, loss))?;
        }
        Ok(inspection)
    }
}

/// Prints the windows and the time of each step.
fn steps(out: &mut impl Write, inspection: &Inspection) -> std::io::Result<()> {
    for step in &inspection.steps {
        let accepted = match step.accepted.len() {
            0 => String::new(),
            n => format!("  + {n} accepted"),
        };
        let (windows, elapsed) = (step.windows.len(), ms(step.elapsed));
        writeln!(out, "{:<12} {windows:>5} windows {elapsed:>8.2} ms{accepted}", step.name)?;
    }
    Ok(())
}
