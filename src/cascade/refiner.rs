//! Levels 2 and 3: a net that looks at each window again, at a higher resolution. One type, configured twice.

use super::calibrator::{Calibrator, Code};
use super::settings::{AcceptSettings, RefinerSettings};
use super::skip;
use super::state::{Buffers, State, crop_and_run};
use super::{Candidate, LevelCount};
use crate::error::{Error, Result};
use crate::nets::grid::face_logit;
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

    /// Its score of a window that only the first `seen` levels looked at, if every later one had given `logit`.
    pub(super) fn score_with(&self, window: &Candidate, seen: usize, logit: f32) -> f32 {
        let mut logits = window.logits;
        logits[seen..].fill(logit);
        self.score(&logits)
    }

    /// The score of a window with these logits of all levels up to this one.
    fn score(&self, logits: &[f32]) -> f32 {
        let carried = self.settings.carry.iter().zip(logits).map(|(weight, earlier)| weight * earlier);
        logits[self.level] + carried.sum::<f32>()
    }

    /// Grows buffers to what a full batch of windows needs.
    pub(super) fn grow(&self, buffers: &mut Buffers) {
        buffers.crops.grow(&self.net, &mut buffers.scratch);
        self.calibrator.grow(buffers);
    }

    /// The nets that run on windows.
    pub(super) fn window_nets(&mut self) -> impl Iterator<Item = &mut WindowNet> {
        std::iter::once(&mut self.net).chain(self.calibrator.net_of_its_own())
    }

    /// Whether its net runs in 8 bits on the CPU.
    pub(super) fn is_int8(&self) -> bool {
        self.net.is_int8() && !self.net.is_on_device()
    }

    /// Whether its net is on a device, not on the CPU.
    pub(super) fn is_on_device(&self) -> bool {
        self.net.is_on_device()
    }

    /// Looks at the windows of all pictures and drops those under the threshold; if it `may_skip`, it need not look at all of them.
    pub(super) fn find(&self, pictures: &mut [&mut State], accept: Option<&AcceptSettings>, may_skip: bool) {
        let skip = self.settings.skip.as_ref().filter(|_| may_skip && self.is_int8());
        for state in pictures.iter_mut() {
            state.counts.push(LevelCount::default());
            if let Some(skip) = skip {
                skip::set_aside(state, skip);
            }
        }
        self.look(pictures, accept);
        let Some(skip) = skip else { return };
        for state in pictures.iter_mut() {
            skip::exchange(state, skip);
        }
        self.look(pictures, accept);
        for state in pictures.iter_mut() {
            state.candidates.append(&mut state.waiting);
        }
    }

    /// Looks at every window of all pictures and drops those under the threshold. Calibration is computed for the others
    /// only; those over the upper threshold, if there is one, are moved by the net's head for boxes, if it has one.
    fn look(&self, pictures: &mut [&mut State], accept: Option<&AcceptSettings>) {
        let own = self.calibrator.own_head();
        let (face, code) = (
            self.net.cpu().trunk_multiply_adds() + self.net.cpu().head_multiply_adds(Output::Face),
            own.map_or(0, |(_, output)| self.net.cpu().head_multiply_adds(output)),
        );
        for state in pictures.iter_mut() {
            if let Some(level) = state.counts.last_mut() {
                level.windows += state.candidates.len();
            }
        }
        let Some(first) = pictures.first_mut() else { return };
        let accept = accept
            .filter(|_| own.is_some_and(|(code, _)| code != Code::Box) && self.net.net().head(Output::Box).is_some());
        let mut chosen = std::mem::take(&mut first.buffers.chosen);
        crop_and_run(pictures, &self.net, self.settings.context, |pictures, rows, scratch| {
            let outputs = self.net.head(Output::Face, None, scratch);
            chosen.clear();
            for (i, (row, outputs)) in rows.iter().zip(outputs.chunks_exact(outputs.len() / rows.len())).enumerate() {
                let candidate = row.of(pictures);
                candidate.logits[self.level] = face_logit(outputs);
                candidate.score = self.score(&candidate.logits);
                candidate.moved = candidate.rect;
                if candidate.score > self.settings.threshold {
                    chosen.push(i);
                }
            }
            if let Some((code, output)) = own.filter(|_| !chosen.is_empty()) {
                let codes = self.net.head(output, Some(&chosen), scratch);
                for (i, numbers) in chosen.iter().zip(codes.chunks_exact(code.len())) {
                    let candidate = rows[*i].of(pictures);
                    candidate.moved = code.apply(&candidate.rect, numbers);
                }
            }
            if let Some(accept) = accept {
                chosen.retain(|i| rows[*i].of(pictures).score > accept.threshold);
                if !chosen.is_empty() {
                    let codes = self.net.head(Output::Box, Some(&chosen), scratch);
                    for (i, numbers) in chosen.iter().zip(codes.chunks_exact(Code::Box.len())) {
                        let candidate = rows[*i].of(pictures);
                        candidate.moved = Code::Box.apply(&candidate.rect, numbers);
                    }
                }
            }
        });
        pictures[0].buffers.chosen = chosen;
        for state in pictures.iter_mut() {
            let seen = state.candidates.len();
            if let Some(dropped) = &mut state.dropped {
                dropped.extend(state.candidates.iter().filter(|c| c.score <= self.settings.threshold));
            }
            state.candidates.retain(|c| c.score > self.settings.threshold);
            let sure =
                accept.map_or(0, |accept| state.candidates.iter().filter(|c| c.score > accept.threshold).count());
            let boxes = self.net.cpu().head_multiply_adds(Output::Box);
            state.count(seen as u64 * face + state.candidates.len() as u64 * code + sure as u64 * boxes);
        }
    }

    /// Moves the windows that are left.
    pub(super) fn calibrate(&self, pictures: &mut [&mut State]) {
        self.calibrator.calibrate(pictures);
    }

    /// Non-maximum suppression.
    pub(super) fn filter(&self, state: &mut State) {
        state.suppress(self.settings.overlap);
    }
}
