//! `facecascade quantise`: makes 8-bit weights from float ones.

use std::path::{Path, PathBuf};

use facecascade::dataset::{self, Split};
use facecascade::nets::int8::quantised;
use facecascade::{Cascade, Options, Precision, source};

use crate::cli::{Common, Outcome};

/// Side of the smallest face looked for, pixels.
const MIN_FACE: f32 = 20.0;

/// Make the 8-bit weights of a cascade's nets from their float ones
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  facecascade quantise models/base.toml --data DIR
  facecascade quantise runs/all/cascade.toml --data DIR --pictures 400

The cascade detects in training pictures, in floats, and what each layer gives decides its scales. NAME.int8.safetensors is \
written beside each net's NAME.safetensors; detection takes it from there unless --precision f32 is given. Compare both with \
`facecascade eval`. DIR holds wider/ (docs/training.md).")]
pub(crate) struct QuantiseArgs {
    /// Settings of the cascade; its nets' weights lie beside the file
    #[arg(value_name = "SETTINGS.toml")]
    cascade: PathBuf,
    /// Data folder: holds wider/
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Training pictures to look at, taken evenly from all
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pictures: u32,
}

pub(crate) fn run(args: QuantiseArgs, common: &Common) -> anyhow::Result<Outcome> {
    let options = Options { min_face: MIN_FACE, precision: Precision::F32, ..Options::default() };
    let mut cascade = Cascade::load(&args.cascade, options)?.observing();
    let pictures = dataset::wider(&args.data, Split::Train)?;
    let every = pictures.len().div_ceil(args.pictures as usize).max(1);
    let chosen: Vec<_> = pictures.iter().step_by(every).collect();
    let bar = super::progress_bar(chosen.len(), common);
    for picture in chosen {
        cascade.detect(&source::picture::read(&picture.image)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let folder = args.cascade.parent().unwrap_or(Path::new(""));
    for (net, weights) in cascade.quantise()? {
        let file = quantised::file(folder, net);
        weights.save(&file)?;
        super::say(&format!("{net}: {} layers -> {}", weights.ops.len(), file.display()))?;
    }
    Ok(Outcome::Done)
}
