//! Whether a found face smiles: a net on a square round the face's box, averaged over several views of it.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::crops::Crop;
use super::state::{Buffers, State};
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::nets::spec::Output;
use crate::nets::windows::{Scratch, WindowNet};
use crate::pyramid::Pyramid;

/// How a smile's probability is made from a face.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmileSettings {
    /// Name in the zoo of a net with a smile head.
    pub net: String,
    /// Side of the square that the net sees, as a share of the longer side of the face's box.
    pub reach: f32,
    /// How far the square's middle lies below the box's, as a share of the box's longer side: the mouth tells most.
    pub drop: f32,
    /// Views of each face, 1 to 8, whose logits are averaged; one view alone where only large faces are looked for.
    pub views: usize,
    /// The probability is sigmoid(`slope` · logit + `offset`).
    pub slope: f32,
    /// See `slope`.
    pub offset: f32,
}

/// Where faces have to be larger than this to be found, pixels, one view is enough: the rest of a frame costs so little there that
/// a second view of three faces would be more than a tenth of it.
const LARGE: f32 = 32.0;
/// Most faces of a picture that the net looks at, the largest ones: those of a crowd together cost less than a tenth of its frame.
const MOST: usize = 32;

/// Views of a face: centre moved across and down (shares of the square's side), side (ratio), mirrored. The first ones make
/// up for each other's shifts.
const VIEWS: [(f32, f32, f32, bool); 8] = [
    (0.0, 0.0, 1.0, false),
    (0.0, 0.0, 1.0, true),
    (0.04, 0.03, 0.94, false),
    (-0.04, -0.03, 1.06, true),
    (-0.04, 0.03, 1.06, false),
    (0.04, -0.03, 0.94, true),
    (0.0, 0.05, 1.0, false),
    (0.0, -0.05, 1.0, true),
];

impl SmileSettings {
    /// The probability of a smile, 0..1, for the mean logit of a face's views.
    pub fn probability(&self, logit: f32) -> f32 {
        1.0 / (1.0 + (-self.slope * logit - self.offset).exp())
    }

    /// The square on a face's box that the net sees.
    pub(crate) fn crop(&self, face: &Rect) -> Crop {
        let ((cx, cy), side) = (face.center(), face.w.max(face.h));
        Crop::upright(cx, cy + self.drop * side, side * self.reach)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// Names the first key at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, value: f32, range: &str| {
            Err(Error::Setting(format!("smile.{key} is {value}; it must {range}")))
        };
        if !(0.5..=3.0).contains(&self.reach) {
            return fail("reach", self.reach, "lie in 0.5..3");
        }
        if !(-0.5..=0.5).contains(&self.drop) {
            return fail("drop", self.drop, "lie in -0.5..0.5");
        }
        if !(1..=VIEWS.len()).contains(&self.views) {
            return fail("views", self.views as f32, "lie in 1..8");
        }
        if !(self.slope > 0.0 && self.slope.is_finite()) {
            return fail("slope", self.slope, "be greater than 0");
        }
        if !self.offset.is_finite() {
            return fail("offset", self.offset, "be a finite number");
        }
        Ok(())
    }
}

/// The smile net with its settings.
#[derive(Debug)]
pub(crate) struct SmileNet {
    net: WindowNet,
    views: &'static [(f32, f32, f32, bool)],
    settings: SmileSettings,
}

impl SmileNet {
    /// `load` makes a net by its name in the zoo; `min_face` is the side of the smallest face looked for, pixels.
    ///
    /// # Errors
    /// If `load` fails or the net has no smile head.
    pub(crate) fn new(
        settings: &SmileSettings,
        min_face: f32,
        load: impl Fn(&str) -> Result<WindowNet>,
    ) -> Result<Self> {
        settings.check()?;
        let net = load(&settings.net)?;
        if net.net().head(Output::Smile).is_none() {
            let reason = "it has no smile head, and so can't tell a smile".to_string();
            return Err(Error::Net { net: settings.net.clone(), reason });
        }
        let views = if min_face > LARGE { &VIEWS[..1] } else { &VIEWS[..settings.views] };
        Ok(Self { net, views, settings: settings.clone() })
    }

    pub(super) fn window_net(&mut self) -> &mut WindowNet {
        &mut self.net
    }

    /// How it is set.
    pub(crate) fn settings(&self) -> &SmileSettings {
        &self.settings
    }

    /// Grows buffers to what any number of faces needs.
    pub(super) fn grow(&self, buffers: &mut Buffers) {
        buffers.crops.grow(&self.net, &mut buffers.scratch);
    }

    /// Looks at the faces that are left behind the last level, at the largest ones if they are many.
    pub(super) fn look_at(&self, state: &mut State) {
        let State { picture, candidates, smiles, buffers: Buffers { crops, scratch, .. }, .. } = state;
        let side = |i: usize| candidates[i].rect.w.max(candidates[i].rect.h);
        let mut chosen: Vec<usize> = (0..candidates.len()).collect();
        chosen.sort_by(|a, b| side(*b).total_cmp(&side(*a)));
        chosen.truncate(MOST);
        let mut logits = Vec::with_capacity(chosen.len());
        self.look(&picture.halves, chosen.iter().map(|i| candidates[*i].rect), crops, scratch, &mut logits);
        smiles.clear();
        smiles.resize(candidates.len(), None);
        for (i, logit) in chosen.into_iter().zip(logits) {
            smiles[i] = Some(logit);
        }
    }

    /// Appends to `logits` the mean logit over the views of each of `faces` in the picture that `halves` (the picture and
    /// its halves) shows. `batch` and `scratch` are buffers.
    pub(crate) fn look(
        &self,
        halves: &Pyramid,
        mut faces: impl Iterator<Item = Rect>,
        batch: &mut Batch,
        scratch: &mut Scratch,
        logits: &mut Vec<f32>,
    ) {
        let of_face = |face: Rect| {
            let at = self.settings.crop(&face);
            self.views.iter().map(move |&(dx, dy, scale, mirror)| {
                let (cx, cy) = (at.cx + dx * at.side, at.cy + dy * at.side);
                Crop { cx, cy, side: at.side * scale, mirror, ..at }
            })
        };
        let most = (self.net.batch() / self.views.len()).max(1);
        let mut crops = Vec::with_capacity(most * self.views.len());
        loop {
            crops.clear();
            crops.extend(faces.by_ref().take(most).flat_map(of_face));
            if crops.is_empty() {
                return;
            }
            batch.run(&self.net, crops.iter().map(|at| (halves, *at)), scratch);
            let found = self.net.head(Output::Smile, None, scratch);
            logits.extend(found.chunks_exact(self.views.len()).map(|v| v.iter().sum::<f32>() / v.len() as f32));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cascade::{CascadeSettings, Model, shipped_weights};

    #[test]
    fn the_shipped_probability_is_the_one_fitted_to_the_shipped_weights() {
        let settings = CascadeSettings::of(Model::Base).smile.unwrap();
        let notes = shipped_weights(&settings.net).unwrap().notes;
        assert_eq!((notes["slope"].parse(), notes["offset"].parse()), (Ok(settings.slope), Ok(settings.offset)));
    }
}
