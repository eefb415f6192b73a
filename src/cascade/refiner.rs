//! Levels 2 and 3: a net that looks at each window again, at a higher resolution. One type, configured twice.

use super::LevelCount;
use super::calibrator::Calibrator;
use super::settings::RefinerSettings;
use super::work::{Work, crop_and_run, face_logit, head_cost, trunk_cost};
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

    /// Looks at every window of all pictures and drops those under the threshold. Calibration is computed for the others
    /// only.
    pub(super) fn find(&self, works: &mut [&mut Work]) {
        let own = self.calibrator.own();
        let (face, code) = (
            trunk_cost(&self.engine) + head_cost(&self.engine, Output::Face),
            own.map_or(0, |code| head_cost(&self.engine, code.output())),
        );
        for work in works.iter_mut() {
            work.counts.push(LevelCount { windows: work.candidates.len(), ..Default::default() });
            work.codes.clear();
            work.kept = 0;
        }
        let mut chosen = std::mem::take(&mut works[0].rows);
        crop_and_run(works, &self.engine, |works, rows, scratch| {
            let outputs = self.engine.head(Output::Face, None, scratch);
            chosen.clear();
            for (i, (row, outputs)) in rows.iter().zip(outputs.chunks_exact(outputs.len() / rows.len())).enumerate() {
                let work = &mut works[row.picture];
                let mut candidate = work.candidates[row.window];
                let logit = face_logit(outputs);
                candidate.logits[self.level] = logit;
                let carried =
                    self.settings.carry.iter().zip(candidate.logits).map(|(weight, earlier)| weight * earlier);
                candidate.score = logit + carried.sum::<f32>();
                if candidate.score > self.settings.threshold {
                    work.candidates[work.kept] = candidate;
                    work.kept += 1;
                    chosen.push(i);
                }
            }
            if let Some(code) = own.filter(|_| !chosen.is_empty()) {
                let codes = self.engine.head(code.output(), Some(&chosen), scratch);
                for (i, numbers) in chosen.iter().zip(codes.chunks_exact(code.len())) {
                    works[rows[*i].picture].codes.extend(numbers);
                }
            }
        });
        works[0].rows = chosen;
        for work in works.iter_mut() {
            let (seen, kept) = (work.candidates.len(), work.kept);
            work.candidates.truncate(kept);
            work.count(seen as u64 * face + kept as u64 * code);
        }
    }

    /// Moves the windows that are left.
    pub(super) fn calibrate(&self, works: &mut [&mut Work]) {
        self.calibrator.calibrate(works);
    }

    /// Non-maximum suppression.
    pub(super) fn filter(&self, work: &mut Work) {
        work.suppress(self.settings.overlap);
    }
}
