//! How the video is written: its encoder and quality, its sound, what the input says of itself.

use facecascade::Error;
use facecascade::output::container::Container;
use facecascade::output::encoder::{Encoder, WORST};
use facecascade::source::video::Rate;

use super::super::usage;
use super::targets::Job;

/// The encoder that nobody asked for.
const USUAL: &str = "libx264";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EncodingArgs {
    /// Quality of the picture, from 0 (nothing is lost, large) to 51 (coarse, small) [default: 20]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(0..=i64::from(WORST)))]
    quality: Option<u8>,
    /// What encodes the picture, by ffmpeg's name: libx265, libsvtav1, h264_nvenc, h264_qsv, h264_vaapi, h264_videotoolbox …;
    /// tried before the run
    #[arg(long, value_name = "NAME", default_value = USUAL)]
    encoder: String,
    /// Pictures a second, where IN is pictures
    #[arg(long, value_name = "N", default_value = "25", value_parser = frame_rate)]
    pub(super) frame_rate: Rate,
    /// Leave the sound out
    #[arg(long)]
    pub(super) no_audio: bool,
    /// Keep what the input says of itself: place, device, date, title, comments, chapters. Without --redact it is always kept
    #[arg(long, requires = "redact")]
    pub(super) keep_metadata: bool,
}

impl EncodingArgs {
    /// The encoder that was asked for; another one than the usual is tried with each kind of file that is to be written.
    ///
    /// # Errors
    /// One of the command line, if it has no such quality, is not there, or can't encode here.
    pub(super) fn checked_encoder(&self, jobs: &[Job]) -> anyhow::Result<Encoder> {
        let wrong = |error: Error| usage(&error.to_string());
        let encoder = Encoder::new(&self.encoder, self.quality).map_err(wrong)?;
        if self.encoder != USUAL {
            let mut tried = Vec::new();
            for target in jobs.iter().filter_map(|job| job.video.as_ref()) {
                let container = Container::of(&target.path)?;
                if !tried.contains(&container) {
                    encoder.check(container).map_err(wrong)?;
                    tried.push(container);
                }
            }
        }
        Ok(encoder)
    }
}

/// Frames a second, over 0; fractions to the thousandth.
fn frame_rate(text: &str) -> Result<Rate, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.001..=1000.0).contains(&value) {
        return Err("must be between 0.001 and 1000".into());
    }
    Ok(match value.fract() {
        0.0 => Rate { frames: value as u32, seconds: 1 },
        _ => Rate { frames: (value * 1000.0).round() as u32, seconds: 1000 },
    })
}
