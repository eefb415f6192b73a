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

/// Logits of a net that has learned anything differ by more: those of a unit that has died, not at all.
const LEAST_SPREAD: f32 = 0.1;

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
    let held_back = held_back.map(|task| HeldBack::of(task, stage, weights)).transpose()?;
    if let Some(HeldBack { spread, .. }) = held_back
        && spread < LEAST_SPREAD
        && step >= stage.schedule.warm_up
    {
        tracing::warn!(
            "{}: at step {step} the net says nearly the same of every sample (its outputs differ by {spread:.3} at most); \
             if that stays, lower `peak` in the recipe",
            stage.name
        );
    }
    let figures = held_back.as_ref().map(|held_back| held_back.figures);
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
    match held_back {
        Some(HeldBack { sheets, .. }) if !sheets.is_empty() => events.push(&write_sheets(sheets, stage, step)?),
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

/// What a net makes of the samples held back.
struct HeldBack {
    /// Loss and accuracy.
    figures: Figures,
    /// Pictures of the first samples.
    sheets: Vec<Sheet>,
    /// The most by which an output of the net differs between samples.
    spread: f32,
}

impl HeldBack {
    /// Of `weights`, on samples of `task`, the same ones every time.
    fn of<T: Task>(task: &T, stage: &TrainingStage<'_>, weights: &Weights) -> Result<Self> {
        let model = Model::new(stage.net, weights, Ops::Own, &stage.device)?;
        let mut all = Self { figures: Figures::default(), sheets: Vec::new(), spread: 0.0 };
        let batches = stage.validation_samples.div_ceil(BATCH);
        for batch in 0..batches {
            let samples = task.draw(&mut rng(batch + 1), BATCH);
            let (_, mut predictions) = forward(&model, &samples, &stage.device, &mut Mode::Inference)?;
            if batch == 0 {
                all.sheets = task.sheets(&samples, &predictions);
            }
            all.spread = predictions.iter().map(|p| spread(&p.values, samples.n)).fold(all.spread, f32::max);
            let figures = task.loss(&samples.targets, &mut predictions);
            all.figures.loss += figures.loss / batches as f64;
            all.figures.right += figures.right;
            all.figures.decisions += figures.decisions;
        }
        Ok(all)
    }
}

/// The most by which one of the outputs `values` of `n` samples, all of one sample together, differs between them.
fn spread(values: &[f32], n: usize) -> f32 {
    let outputs = values.len() / n.max(1);
    let differ = |output: usize| {
        let of_all = values[output..].iter().step_by(outputs);
        let (least, most) = of_all.fold((f32::MAX, f32::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
        most - least
    };
    (0..outputs).map(differ).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn only_a_net_that_says_the_same_of_every_sample_has_no_spread() {
        assert_eq!(spread(&[1.0, -3.0, 1.0, -3.0, 1.0, -3.0], 3), 0.0);
        assert_eq!(spread(&[1.0, -3.0, 1.5, -3.0, 1.0, -5.0], 3), 2.0);
        assert_eq!(spread(&[], 0), 0.0);
    }
}
