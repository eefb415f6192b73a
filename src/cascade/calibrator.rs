//! How a level moves its windows onto faces: by a head of its own net or by a net of its own, by classes or by
//! regression.

use super::calibration;
use super::settings::Correction;
use super::work::{Work, crop_and_run};
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
}

impl Code {
    /// The head it comes from.
    pub(super) fn output(self) -> Output {
        match self {
            Self::Classes => Output::Calibration,
            Self::Box => Output::Box,
            Self::Octave => Output::Octave,
        }
    }

    /// Numbers for one window.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Classes => calibration::CLASSES.len(),
            Self::Box => 4,
            Self::Octave => 3,
        }
    }

    /// The window, moved; as it was if the numbers make no sense.
    fn apply(self, window: &Rect, code: &[f32]) -> Rect {
        let moved = match self {
            Self::Classes => calibration::correct(window, code),
            Self::Box => calibration::decode_box(&window.to_square(), code),
            Self::Octave => calibration::decode_box(window, &[code[0], code[1], code[2], code[2]]),
        };
        if [moved.x, moved.y, moved.w, moved.h].iter().all(|v| v.is_finite()) { moved } else { *window }
    }
}

/// A level's calibration.
#[derive(Debug)]
pub(super) enum Calibrator {
    /// Windows stay where they are.
    None,
    /// A head of the net that found them; its numbers are in [`Work::codes`].
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
            Correction::Box => Code::Box,
        };
        let has = |net: &Net| match net.head(code.output()) {
            Some(_) => Ok(()),
            None => Err(Error::Setting(format!(
                "the net {} has no {:?} head: set calibration to one that it has, or calibration_net",
                net.name,
                code.output()
            ))),
        };
        let Some(net) = net else {
            has(finder)?;
            return Ok(Self::Own(code));
        };
        let own = load(net)?;
        has(own.net())?;
        Ok(Self::Net(Box::new(own), code))
    }

    /// The code that the level's own net must leave in [`Work::codes`].
    pub(super) fn own(&self) -> Option<Code> {
        if let Self::Own(code) = self { Some(*code) } else { None }
    }

    /// The net that only calibrates, if there is one.
    #[cfg(feature = "train")]
    pub(super) fn net_of_its_own(&mut self) -> Option<&mut WindowNet> {
        if let Self::Net(net, _) = self { Some(net) } else { None }
    }

    /// Grows buffers to what a full batch of windows needs.
    pub(super) fn grow(&self, work: &mut Work) {
        if let Self::Net(net, _) = self {
            net.grow(&mut work.input, &mut work.scratch);
        }
    }

    /// Moves all windows of all pictures.
    pub(super) fn calibrate(&self, works: &mut [&mut Work]) {
        match self {
            Self::None => {}
            Self::Own(code) => {
                for work in works {
                    for (c, numbers) in work.candidates.iter_mut().zip(work.codes.chunks_exact(code.len())) {
                        c.rect = code.apply(&c.rect, numbers);
                    }
                }
            }
            Self::Net(net, code) => {
                let cost = net.cpu().trunk_multiply_adds() + net.cpu().head_multiply_adds(code.output());
                for work in works.iter_mut() {
                    work.count(work.candidates.len() as u64 * cost);
                }
                crop_and_run(works, net, |works, rows, scratch| {
                    let numbers = net.head(code.output(), None, scratch);
                    for (row, numbers) in rows.iter().zip(numbers.chunks_exact(code.len())) {
                        let c = &mut works[row.picture].candidates[row.window];
                        c.rect = code.apply(&c.rect, numbers);
                    }
                });
            }
        }
    }
}
