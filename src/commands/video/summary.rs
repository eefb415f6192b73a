//! What is said of a video: a progress bar while it runs, a table of times at its end.

use std::io::Write;
use std::time::Duration;

use facecascade::output::times::Times;
use facecascade::pipeline::Stage;
use facecascade::source::video::VideoInfo;
use facecascade::text::counted;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::film::Tally;

/// Faces whose smiles are listed.
const MOST_SMILES: usize = 20;

/// `name`: which video of how many.
pub(super) fn progress(info: &VideoInfo, name: String, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let fps = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    let (bar, template) = match info.frames {
        Some(frames) => (ProgressBar::new(frames), "{prefix}{bar:30} {pos}/{len} frames, {fps} a second, {eta} left"),
        None => (ProgressBar::new_spinner(), "{prefix}{spinner} {pos} frames, {fps} a second"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.with_key("fps", fps)).with_prefix(name)
}

/// Warns of what a video has that the written one will not have.
pub(super) fn warn(info: &VideoInfo) {
    let name = &info.name;
    if !info.other_pictures.is_empty() {
        let count = info.other_pictures.len() + 1;
        tracing::warn!("{name}: has {count} picture tracks; only the first is searched and written");
    }
    if info.transparent {
        tracing::warn!("{name}: has transparent parts; they are written as they look without transparency");
    }
    if info.interlaced {
        tracing::info!("{name}: is interlaced; frames are written whole");
    }
    let known = ["unknown", "reserved", "bt709", "smpte170m", "bt470bg", "smpte240m", "fcc", "bt2020nc"];
    if let Some(matrix) = info.colour[0].as_deref().filter(|matrix| !known.contains(matrix)) {
        tracing::warn!("{name}: colours of the matrix {matrix} may change a little");
    }
}

/// `from`, `to`: what was read and what was written; `levels`: those of the cascade that searched.
pub(super) fn print(
    from: &str,
    to: &[String],
    info: &VideoInfo,
    tally: &Tally,
    levels: usize,
    elapsed: Duration,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (width, height, rate) = (info.width, info.height, info.rate.per_second());
    writeln!(out, "{from} ({width}×{height}, {rate:.4} fps) -> {}", to.join(", "))?;
    let seconds = elapsed.as_secs_f64();
    let speed = tally.frames as f64 / seconds.max(1e-9);
    let faces = match &tally.ids {
        Some(ids) => format!("{} boxes round {}", tally.boxes, counted(ids.len(), "face")),
        None => format!("{} boxes", tally.boxes),
    };
    writeln!(out, "{}, {faces}, {seconds:.2} s, {speed:.1} frames/s", counted(tally.frames as usize, "frame"))?;
    writeln!(out, "ms a frame       p50       p95       p99       max")?;
    let of = |stage: Stage| &tally.stages[stage as usize];
    let searched = [Stage::Level1, Stage::Level2, Stage::Level3].map(|level| (level.name(), of(level)));
    let rows: [&[(&str, &Times)]; 3] = [
        &[("decode", of(Stage::Capture)), ("pyramid", of(Stage::Pyramid))],
        &searched[..levels],
        &[
            ("detect", &tally.search),
            ("track", &tally.track),
            ("draw", &tally.write.draw),
            ("encode", &tally.write.encode),
        ],
    ];
    for (name, times) in rows.into_iter().flatten().filter(|(_, times)| !times.is_empty()) {
        let [a, b, c, d] = [0.5, 0.95, 0.99, 1.0].map(|share| times.ms(share));
        writeln!(out, "{name:<10} {a:>9.2} {b:>9.2} {c:>9.2} {d:>9.2}")?;
    }
    if !tally.smiles.is_empty() {
        writeln!(out, "smiles, s           all   longest")?;
        for (id, smiled) in tally.smiles.iter().take(MOST_SMILES) {
            writeln!(out, "{:<12} {:>10.1} {:>9.1}", format!("face #{id}"), smiled.seconds, smiled.longest)?;
        }
        if let Some(more @ 1..) = tally.smiles.len().checked_sub(MOST_SMILES) {
            writeln!(out, "and {}", counted(more, "other face"))?;
        }
    }
    Ok(())
}
