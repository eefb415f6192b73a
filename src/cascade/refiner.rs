//! Levels 2 and 3: a net that looks at each window again, at a higher resolution. One type, configured twice.

use super::LevelCount;
use super::calibrator::Calibrator;
use super::settings::RefinerSettings;
use super::work::{Work, face_logit, head_cost, trunk_cost};
use crate::error::{Error, Result};
use crate::nets::cpu::Engine;
use crate::nets::spec::Output;

/// A level on windows.
#[derive(Debug)]
pub(super) struct Refiner {
    engine: Engine,
    calibrator: Calibrator,
    settings: RefinerSettings,
    /// Which level this is, counted from 0: where its logit is kept.
    level: usize,
}

impl Refiner {
    /// Level `level` (from 0) of a cascade; `load` makes an engine by name.
    pub(super) fn new(settings: &RefinerSettings, level: usize, load: impl Fn(&str) -> Result<Engine>) -> Result<Self> {
        let engine = load(&settings.net)?;
        if engine.net().head(Output::Face).is_none() {
            let reason = "it has no face head, and so can't be a refiner".to_string();
            return Err(Error::Net { net: settings.net.clone(), reason });
        }
        let calibrator = Calibrator::new(&engine, settings.calibration, settings.calibration_net.as_deref(), load)?;
        Ok(Self { engine, calibrator, settings: settings.clone(), level })
    }

    /// Looks at every window and drops those under the threshold. Calibration is computed for the others only.
    pub(super) fn find(&self, work: &mut Work) {
        let seen = work.candidates.len();
        work.counts.push(LevelCount { windows: seen, ..Default::default() });
        work.codes.clear();
        let mut kept = 0;
        work.crop_and_run(&self.engine, |work, first, n| {
            let outputs = self.engine.head(Output::Face, None, &mut work.scratch);
            work.rows.clear();
            for (row, outputs) in outputs.chunks_exact(outputs.len() / n).enumerate() {
                let mut candidate = work.candidates[first + row];
                let logit = face_logit(outputs);
                candidate.logits[self.level] = logit;
                let carried =
                    self.settings.carry.iter().zip(candidate.logits).map(|(weight, earlier)| weight * earlier);
                candidate.score = logit + carried.sum::<f32>();
                if candidate.score > self.settings.threshold {
                    work.candidates[kept] = candidate;
                    work.rows.push(row);
                    kept += 1;
                }
            }
            if let Some(code) = self.calibrator.own().filter(|_| !work.rows.is_empty()) {
                work.codes.extend(self.engine.head(code.output(), Some(&work.rows), &mut work.scratch));
            }
        });
        work.candidates.truncate(kept);
        let own = self.calibrator.own().map_or(0, |code| head_cost(&self.engine, code.output()));
        let face = trunk_cost(&self.engine) + head_cost(&self.engine, Output::Face);
        work.count(seen as u64 * face + kept as u64 * own);
    }

    /// Moves the windows that are left.
    pub(super) fn calibrate(&self, work: &mut Work) {
        self.calibrator.calibrate(work);
    }

    /// Non-maximum suppression.
    pub(super) fn filter(&self, work: &mut Work) {
        work.suppress(self.settings.overlap);
    }
}
