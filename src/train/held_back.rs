//! Validation: what a net makes of samples from pictures that it does not learn from. Figures go to the record, pictures to the run's
//! folder.

use image::codecs::jpeg::JpegEncoder;
use rand::rngs::StdRng;

use super::events::{Event, Events, SamplePicture};
use super::sheets::Sheet;
use super::task::{Figures, Task};
use super::trainer::{self, TrainingStage, forward};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::nets::candle::{Mode, Model, Ops};
use crate::nets::weights::Weights;

/// Samples that are run at once.
const BATCH: usize = 64;

/// The random numbers of a batch to validate on, from 1 on: the same in all runs, so that their figures can be compared. 0: those that
/// a task needs before it draws.
pub(crate) fn rng(batch: usize) -> StdRng {
    trainer::rng(0, "validation", 0, batch as u64)
}

/// Records how `weights` do on what is not learned from, as far as there is any.
pub(super) fn validate<T: Task>(
    held_back: Option<&T>,
    stage: &TrainingStage<'_>,
    step: usize,
    weights: &Weights,
    events: &mut Events<'_>,
) -> Result<()> {
    let held_back = held_back.map(|task| held_back_figures(task, stage, weights)).transpose()?;
    let (figures, sheets) = held_back.unzip();
    let sets = stage.measure.map(|measure| measure(weights)).transpose()?;
    if figures.is_none() && sets.is_none() {
        return Ok(());
    }
    events.push(&Event::Validation {
        stage: stage.name.to_string(),
        step,
        samples: (step * stage.schedule.batch) as u64,
        loss: figures.map(|figures| figures.loss),
        accuracy: figures.map(|figures| figures.accuracy()),
        sets: sets.unwrap_or_default(),
    })?;
    match sheets {
        Some(sheets) if !sheets.is_empty() => events.push(&write_sheets(sheets, stage, step)?),
        _ => Ok(()),
    }
}

/// Writes pictures to the run's folder.
fn write_sheets(sheets: Vec<Sheet>, stage: &TrainingStage<'_>, step: usize) -> Result<Event> {
    let folder = stage.run.join("samples");
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let mut pictures = Vec::new();
    for Sheet { name, shows, picture } in sheets {
        let name = format!("{}-{step:06}-{name}.jpg", stage.name);
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, 85);
        picture.write_with_encoder(encoder).map_err(|e| Error::Backend(format!("{name}: {e}")))?;
        write_whole(&folder.join(&name), &bytes)?;
        pictures.push(SamplePicture { file: format!("samples/{name}"), shows });
    }
    Ok(Event::Pictures { stage: stage.name.to_string(), step, pictures })
}

/// Loss and accuracy of `weights` on samples of `task`, the same ones every time, and pictures of the first of them.
fn held_back_figures<T: Task>(task: &T, stage: &TrainingStage<'_>, weights: &Weights) -> Result<(Figures, Vec<Sheet>)> {
    let model = Model::new(stage.net, weights, Ops::Own, &stage.device)?;
    let (mut all, mut sheets) = (Figures::default(), Vec::new());
    let batches = stage.validation_samples.div_ceil(BATCH);
    for batch in 0..batches {
        let samples = task.draw(&mut rng(batch + 1), BATCH);
        let (_, mut predictions) = forward(&model, &samples, &stage.device, &mut Mode::Inference)?;
        if batch == 0 {
            sheets = task.sheets(&samples, &predictions);
        }
        let figures = task.loss(&samples.targets, &mut predictions);
        all.loss += figures.loss / batches as f64;
        all.right += figures.right;
        all.decisions += figures.decisions;
    }
    Ok((all, sheets))
}
