//! Levels 2 and 3: a net that looks at each window again, at a higher resolution. One type, configured twice.

use super::LevelCount;
use super::calibrator::Calibrator;
use super::settings::RefinerSettings;
use super::work::{Work, crop_and_run, face_logit};
use crate::error::{Error, Result};
use crate::nets::spec::Output;
use crate::nets::windows::WindowNet;

/// A level on windows.
#[derive(Debug)]
pub(super) struct Refiner {
    net: WindowNet,
    calibrator: Calibrator,
    settings: RefinerSettings,
    /// Which level this is, counted from 0: where its logit is kept.
    level: usize,
}

impl Refiner {
    /// Level `level` (from 0) of a cascade; `load` makes a net by name.
    pub(super) fn new(
        settings: &RefinerSettings,
        level: usize,
        load: impl Fn(&str) -> Result<WindowNet>,
    ) -> Result<Self> {
        let net = load(&settings.net)?;
        if net.net().head(Output::Face).is_none() {
            let reason = "it has no face head, and so can't be a refiner".to_string();
            return Err(Error::Net { net: settings.net.clone(), reason });
        }
        let calibrator = Calibrator::new(net.net(), settings.calibration, settings.calibration_net.as_deref(), load)?;
        Ok(Self { net, calibrator, settings: settings.clone(), level })
    }

    /// Grows buffers to what a full batch of windows needs.
    pub(super) fn grow(&self, work: &mut Work) {
        self.net.grow(&mut work.input, &mut work.scratch);
        self.calibrator.grow(work);
    }

    /// The nets that run on windows.
    #[cfg(feature = "train")]
    pub(super) fn window_nets(&mut self) -> impl Iterator<Item = &mut WindowNet> {
        std::iter::once(&mut self.net).chain(self.calibrator.net_of_its_own())
    }

    /// Whether its net is on a device, not on the CPU.
    pub(super) fn is_on_device(&self) -> bool {
        self.net.is_on_device()
    }

    /// Looks at every window of all pictures and drops those under the threshold. Calibration is computed for the others
    /// only.
    pub(super) fn find(&self, works: &mut [&mut Work]) {
        let own = self.calibrator.own();
        let (face, code) = (
            self.net.cpu().trunk_multiply_adds() + self.net.cpu().head_multiply_adds(Output::Face),
            own.map_or(0, |code| self.net.cpu().head_multiply_adds(code.output())),
        );
        for work in works.iter_mut() {
            work.counts.push(LevelCount { windows: work.candidates.len(), ..Default::default() });
            work.codes.clear();
            work.kept = 0;
        }
        let mut chosen = std::mem::take(&mut works[0].rows);
        crop_and_run(works, &self.net, |works, rows, scratch| {
            let outputs = self.net.head(Output::Face, None, scratch);
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
                let codes = self.net.head(code.output(), Some(&chosen), scratch);
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
