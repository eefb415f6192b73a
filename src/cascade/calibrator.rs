//! How a level moves its windows onto faces: by a head of its own net or by a net of its own, by classes or by
//! regression.

use super::calibration;
use super::settings::Correction;
use super::state::{Buffers, State, crop_and_run};
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::nets::spec::{Net, Output};
use crate::nets::windows::WindowNet;

/// What the numbers of a calibration head mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// 45 logits.
    Classes,
    /// dx, dy, ln w, ln h in window sides.
    Box,
    /// dx, dy, ln s in window sides.
    Octave,
    /// dx, dy, ln w, ln h in strides.
    Cells,
}

impl Code {
    /// The head it comes from, where that is not the one that finds windows.
    pub(super) fn output(self) -> Option<Output> {
        match self {
            Self::Classes => Some(Output::Calibration),
            Self::Box => Some(Output::Box),
            Self::Octave | Self::Cells => None,
        }
    }

    /// Numbers for one window.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Classes => calibration::CLASSES.len(),
            Self::Box | Self::Cells => 4,
            Self::Octave => 3,
        }
    }

    /// Moves `window`; leaves it where it is if the numbers make no sense.
    pub(super) fn apply(self, window: &Rect, code: &[f32]) -> Rect {
        let moved = match self {
            Self::Classes => calibration::correct(window, code),
            Self::Box => calibration::decode_box(&window.to_square(), code),
            Self::Octave => calibration::decode_box(window, &[code[0], code[1], code[2], code[2]]),
            Self::Cells => calibration::decode_cell(window, code),
        };
        if [moved.x, moved.y, moved.w, moved.h].iter().all(|v| v.is_finite()) { moved } else { *window }
    }
}

/// A level's calibration.
#[derive(Debug)]
pub(super) enum Calibrator {
    /// Windows stay where they are.
    None,
    /// By a head of the net that found them, which has left in [`super::Candidate::moved`] where they go.
    Own(Code),
    /// A net of its own, run on crops of the windows.
    Net(Box<WindowNet>, Code),
}

impl Calibrator {
    /// The calibration that the settings ask for, of the level whose net is `finder`; `load` makes a net by name.
    pub(super) fn new(
        finder: &Net,
        correction: Correction,
        net: Option<&str>,
        load: impl Fn(&str) -> Result<WindowNet>,
    ) -> Result<Self> {
        let code = match correction {
            Correction::None => return Ok(Self::None),
            Correction::Classes => Code::Classes,
            Correction::Box if finder.head(Output::Octave).is_some() && net.is_none() => Code::Octave,
            Correction::Box if finder.heads.iter().any(|h| matches!(h.output, Output::Cells(_))) && net.is_none() => {
                Code::Cells
            }
            Correction::Box => Code::Box,
        };
        let has = |net: &Net| match code.output() {
            Some(output) if net.head(output).is_none() => Err(Error::Setting(format!(
                "the net {} has no {output:?} head: set calibration to one that it has, or calibration_net",
                net.name,
            ))),
            _ => Ok(()),
        };
        let Some(net) = net else {
            has(finder)?;
            return Ok(Self::Own(code));
        };
        let own = load(net)?;
        has(own.net())?;
        Ok(Self::Net(Box::new(own), code))
    }

    /// The code by which the level's own net must fill [`super::Candidate::moved`].
    pub(super) fn own(&self) -> Option<Code> {
        if let Self::Own(code) = self { Some(*code) } else { None }
    }

    /// The same where its numbers come from another head than the one that finds windows, with that head.
    pub(super) fn own_head(&self) -> Option<(Code, Output)> {
        self.own().and_then(|code| Some((code, code.output()?)))
    }

    /// The net that only calibrates, if there is one.
    pub(super) fn net_of_its_own(&mut self) -> Option<&mut WindowNet> {
        if let Self::Net(net, _) = self { Some(net) } else { None }
    }

    /// Grows buffers to what a full batch of windows needs.
    pub(super) fn grow(&self, buffers: &mut Buffers) {
        if let Self::Net(net, _) = self {
            buffers.crops.grow(net, &mut buffers.scratch);
        }
    }

    /// Moves all windows of all pictures.
    pub(super) fn calibrate(&self, pictures: &mut [&mut State]) {
        match self {
            Self::None => {}
            Self::Own(_) => {
                for candidate in pictures.iter_mut().flat_map(|state| &mut state.candidates) {
                    candidate.rect = candidate.moved;
                }
            }
            Self::Net(net, code) => {
                let Some(output) = code.output() else { return };
                let cost = net.cpu().trunk_multiply_adds() + net.cpu().head_multiply_adds(output);
                for state in pictures.iter_mut() {
                    state.count(state.candidates.len() as u64 * cost);
                }
                crop_and_run(pictures, net, 1.0, |pictures, rows, scratch| {
                    let numbers = net.head(output, None, scratch);
                    for (row, numbers) in rows.iter().zip(numbers.chunks_exact(code.len())) {
                        let candidate = row.of(pictures);
                        candidate.rect = code.apply(&candidate.rect, numbers);
                    }
                });
            }
        }
    }
}
