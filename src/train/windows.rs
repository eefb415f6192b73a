//! Samples for nets that rate one window: windows misplaced at random round faces, mined windows, and backgrounds. A window's
//! labels follow from its overlap with the face, measured in the crop that the net sees.

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::augment::{self, Light};
use super::faces::Faces;
use super::loss;
use super::mining::{MinedWindow, MinedWindows};
use super::occlude::Occluder;
use super::pictures::{Picture, box_in_crop};
use super::sheets::{self, Sheet};
use super::task::{Figures, Prediction, Samples, Task};
use crate::cascade::calibration;
use crate::cascade::crops::{self, Crop};
use crate::geometry::Rect;
use crate::nets::spec::Output;

/// Share of the hardest samples of a batch whose face loss counts (Shrivastava et al. 2016; .7 as in MTCNN).
const HARDEST: f32 = 0.7;
/// Weight of the calibration loss beside the face loss.
const CALIBRATION_WEIGHT: f32 = 0.3;

/// How windows are drawn and labelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSettings {
    /// Level of the cascade that the net is for, 1 to 3. From 2 on, windows are mined with the levels before.
    pub level: usize,
    /// IoU (of squares) from which a window counts as a face.
    #[serde(default = "default_positive")]
    pub positive: f32,
    /// IoU from which calibration and box regression are learned.
    #[serde(default = "default_part")]
    pub part: f32,
    /// IoU below which a window counts as background.
    #[serde(default = "default_negative")]
    pub negative: f32,
    /// Height of the smallest face learned from, pixels.
    pub smallest: f32,
    /// Share of samples that are mined windows on faces.
    #[serde(default)]
    pub mined: f64,
    /// Share of the mined windows on faces whose face has no box that fits, after the net as it was before this round.
    #[serde(default)]
    pub missed: f64,
    /// Share of samples that are backgrounds.
    #[serde(default)]
    pub negatives: f64,
    /// Share of the backgrounds that are random squares, not mined.
    #[serde(default)]
    pub random: f64,
    /// Share of the backgrounds that the net itself took for faces before this round.
    #[serde(default)]
    pub hard: f64,
    /// Share of the windows drawn round faces that are moved far off.
    #[serde(default)]
    pub shifted: f64,
    /// Share of the windows drawn round faces whose face comes from `wider_faces/`.
    #[serde(default)]
    pub faces: f64,
    /// Share of the windows drawn round faces whose face comes from `mtfl/`.
    #[serde(default)]
    pub portraits: f64,
    /// Share of the windows drawn round faces whose face comes from `masks/`.
    #[serde(default)]
    pub masked: f64,
    /// Share of faces that are partly covered ([`super::occlude`]).
    #[serde(default)]
    pub occluded: f64,
    /// Thresholds of the levels during mining, level 1 first; at or below those of detection.
    #[serde(default)]
    pub mining_thresholds: Vec<f32>,
    /// Side of the smallest face during mining, pixels.
    #[serde(default = "default_mining_face")]
    pub mining_min_face: f32,
}

fn default_positive() -> f32 {
    0.65
}

fn default_part() -> f32 {
    0.4
}

fn default_negative() -> f32 {
    0.25
}

fn default_mining_face() -> f32 {
    18.0
}

impl WindowSettings {
    /// Says which value is out of its range, if one is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let Self { positive, negative, part, smallest, .. } = *self;
        let shares = [
            self.mined,
            self.missed,
            self.negatives,
            self.random,
            self.hard,
            self.shifted,
            self.faces,
            self.portraits,
            self.masked,
            self.occluded,
        ];
        let sums = [self.mined + self.negatives, self.faces + self.portraits + self.masked];
        if !(1..=3).contains(&self.level) {
            Some("samples.level must be 1, 2 or 3")
        } else if !(0.0 < negative && negative <= positive && 0.0 < part && positive < 1.0 && smallest > 0.0) {
            Some("samples: 0 < negative ≤ positive < 1, part > 0 and smallest > 0 are needed")
        } else if shares.iter().chain(&sums).any(|s| !(0.0..=1.0).contains(s)) {
            Some("samples: shares, mined + negatives and faces + portraits + masked must lie in 0..1")
        } else {
            None
        }
    }
}

/// What the net should predict for one window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Target {
    /// Whether the window shows a face; `None`: between face and background, not learned from.
    pub face: Option<bool>,
    /// Calibration class that moves the window onto its face, and the face's box in the crop; `None` where the overlap is too small.
    pub shift: Option<(usize, Rect)>,
}

/// The pictures that windows are drawn from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sources<'a> {
    /// Whole pictures with faces.
    pub pictures: &'a [Picture],
    /// Pictures without faces.
    pub negatives: &'a [Picture],
    /// Crops of single faces at full resolution (`wider_faces/`).
    pub faces: &'a [Picture],
    /// Crops of single faces from portraits (`mtfl/`).
    pub portraits: &'a [Picture],
    /// Whole pictures of people with masks (`masks/`).
    pub masked: &'a [Picture],
}

impl<'a> Sources<'a> {
    /// Returns the picture that a mined window's index means: those with faces first, then those without.
    pub(crate) fn indexed(&self, index: usize) -> Option<&'a Picture> {
        self.pictures.get(index).or_else(|| self.negatives.get(index - self.pictures.len()))
    }
}

/// The training task of a net that rates windows.
#[derive(Debug)]
pub(crate) struct Windows<'a> {
    side: usize,
    /// Side of the crop that the net sees, in sides of the window.
    context: f32,
    settings: WindowSettings,
    sources: Sources<'a>,
    mined: &'a MinedWindows,
    light: Light,
    in_pictures: Faces<'a>,
    in_faces: Faces<'a>,
    in_portraits: Faces<'a>,
    in_masked: Faces<'a>,
    occluder: Occluder<'a>,
}

impl<'a> Windows<'a> {
    /// Makes the task for crops of `side` × `side` pixels, which show `context` sides of a window.
    pub(crate) fn new(
        side: usize,
        context: f32,
        settings: &WindowSettings,
        sources: Sources<'a>,
        mined: &'a MinedWindows,
        rng: &mut StdRng,
    ) -> Self {
        let smallest = f64::from(settings.smallest);
        let weight = |face: &crate::dataset::Truth| f64::from(u8::from(f64::from(face.rect.h) >= smallest));
        Self {
            side,
            context,
            settings: settings.clone(),
            sources,
            mined,
            light: Light::new(rng),
            in_pictures: Faces::new(sources.pictures, weight),
            in_faces: Faces::new(sources.faces, weight),
            in_portraits: Faces::new(sources.portraits, weight),
            in_masked: Faces::new(sources.masked, weight),
            occluder: Occluder::new(settings.occluded, sources.negatives),
        }
    }

    /// Draws a picture, a crop of it, and the crop's face, if it has one.
    fn draw_window(&self, rng: &mut StdRng) -> (&'a Picture, Crop, Option<&'a Rect>) {
        let s = &self.settings;
        let at: f64 = rng.random();
        if at < s.mined && !self.mined.missed.is_empty() && rng.random_bool(s.missed) {
            return self.mined_window(rng, &self.mined.missed);
        }
        if at < s.mined && !self.mined.faces.is_empty() {
            return self.mined_window(rng, &self.mined.faces);
        }
        if at < s.mined + s.negatives {
            if !self.mined.hard.is_empty() && rng.random_bool(s.hard) {
                return self.mined_window(rng, &self.mined.hard);
            }
            if !self.mined.negatives.is_empty() && !rng.random_bool(s.random) {
                return self.mined_window(rng, &self.mined.negatives);
            }
            return self.background(rng);
        }
        let from: f64 = rng.random();
        let faces = if from < s.faces && !self.in_faces.is_empty() {
            &self.in_faces
        } else if from < s.faces + s.portraits && !self.in_portraits.is_empty() {
            &self.in_portraits
        } else if from < s.faces + s.portraits + s.masked && !self.in_masked.is_empty() {
            &self.in_masked
        } else {
            &self.in_pictures
        };
        if faces.is_empty() {
            return self.background(rng);
        }
        let (picture, face) = faces.draw(rng);
        // Some windows are moved far, so that the net learns what is near a face but no longer one.
        let (scale, shift): (f32, f32) = match rng.random::<f64>() {
            u if u < s.shifted => (0.4, 0.5),
            u if u < 0.3 => (0.24, 0.25),
            _ => (0.20, 0.18),
        };
        let square = face.to_square();
        let (x, y) = square.center();
        let side = square.w * rng.random_range(-scale..scale).exp();
        let mut off = || rng.random_range(-shift..shift) * square.w;
        let (cx, cy) = (x + off(), y + off());
        (picture, self.turned(rng, Crop::upright(cx, cy, side)), Some(face))
    }

    /// Draws a mined window and moves and scales it a little, so that no window is seen twice the same.
    fn mined_window(&self, rng: &mut StdRng, mined: &[MinedWindow]) -> (&'a Picture, Crop, Option<&'a Rect>) {
        let window = &mined[rng.random_range(0..mined.len())];
        let Some(picture) = self.sources.indexed(window.picture) else { return self.background(rng) };
        let face = window.face.and_then(|f| picture.faces.get(f)).map(|f| &f.rect);
        let (cx, cy) = window.window.center();
        let side = window.window.w;
        let mut off = || rng.random_range(-0.03..0.03) * side;
        let at = Crop::upright(cx + off(), cy + off(), side * rng.random_range(-0.04f32..0.04).exp());
        (picture, self.turned(rng, at), face)
    }

    /// Draws a random square that overlaps no face by [`WindowSettings::negative`] or more.
    fn background(&self, rng: &mut StdRng) -> (&'a Picture, Crop, Option<&'a Rect>) {
        let all = self.sources.pictures.len() + self.sources.negatives.len();
        loop {
            let Some(picture) = self.sources.indexed(rng.random_range(0..all)) else { continue };
            let (w, h) = picture.size();
            let largest = w.min(h).max(self.settings.smallest + 1.0);
            let side = self.settings.smallest * (largest / self.settings.smallest).powf(rng.random());
            let mut along = |size: f32| rng.random_range(0.0..=1.0) * (size - side) + side / 2.0;
            let (cx, cy) = (along(w), along(h));
            let window = Rect::square(cx, cy, side);
            let free = |f: &crate::dataset::Truth| f.rect.to_square().iou(&window) < self.settings.negative;
            if picture.faces.iter().all(free) {
                return (picture, self.turned(rng, Crop::upright(cx, cy, side)), None);
            }
        }
    }

    /// The crop that shows a window and what lies round it, turned by a random angle; every other one is mirrored.
    fn turned(&self, rng: &mut StdRng, window: Crop) -> Crop {
        Crop { side: window.side * self.context, angle: augment::angle(rng, 0.2), mirror: rng.random(), ..window }
    }

    /// The window in its crop.
    pub(crate) fn window(&self) -> Rect {
        let middle = self.side as f32 / 2.0;
        Rect::square(middle, middle, self.side as f32 / self.context)
    }

    /// Labels a crop from its overlap with `face`.
    fn target(&self, at: &Crop, face: Option<&Rect>) -> Target {
        let Some(face) = face else { return Target { face: Some(false), shift: None } };
        let window = self.window();
        let face = box_in_crop(face, at, self.side);
        let iou = window.iou(&face.to_square());
        let s = &self.settings;
        Target {
            face: if iou >= s.positive { Some(true) } else { (iou < s.negative).then_some(false) },
            shift: (iou >= s.part).then(|| (calibration::label(&window, &face), face)),
        }
    }
}

impl Task for Windows<'_> {
    type Targets = Vec<Target>;

    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Vec<Target>> {
        let len = self.side * self.side * 3;
        let mut input = vec![0.0; n * len];
        let mut targets = Vec::with_capacity(n);
        for crop in input.chunks_exact_mut(len) {
            let (picture, at, face) = self.draw_window(rng);
            let coarser = usize::from(rng.random_bool(0.15));
            crops::sample(&picture.pyramid, coarser, &at, self.side, crop);
            if let Some(face) = face {
                self.occluder.change(rng, crop, self.side, &at, face);
            }
            self.light.change(rng, crop);
            targets.push(self.target(&at, face));
        }
        Samples { input, n, side: self.side, targets }
    }

    fn loss(&self, targets: &Vec<Target>, predictions: &mut [Prediction]) -> Figures {
        let mut figures = Figures::default();
        for head in predictions {
            match head.output {
                Output::Face => face_loss(targets, head, &mut figures),
                Output::Calibration => calibration_loss(targets, head, &mut figures),
                Output::Box => box_loss(&self.window(), targets, head, &mut figures),
                Output::Octave | Output::Smile | Output::Cells(_) => {}
            }
        }
        figures
    }

    fn sheets(&self, samples: &Samples<Vec<Target>>, predictions: &[Prediction]) -> Vec<Sheet> {
        sheets::windows(&self.window(), samples, predictions)
    }
}

/// Computes the cross-entropy over the hardest samples. The logit of a head with two outputs (background, face) is their
/// difference.
fn face_loss(targets: &[Target], head: &mut Prediction, figures: &mut Figures) {
    let width = head.values.len() / targets.len().max(1);
    let logit = |v: &[f32]| if width == 2 { v[1] - v[0] } else { v[0] };
    let mut losses: Vec<(f32, f32, usize)> = Vec::with_capacity(targets.len());
    for (i, (values, target)) in head.values.chunks_exact(width).zip(targets).enumerate() {
        let Some(face) = target.face else { continue };
        let logit = logit(values);
        let (loss, gradient) = loss::cross_entropy(logit, face);
        losses.push((loss, gradient, i));
        figures.right += f64::from(u8::from((logit > 0.0) == face));
        figures.decisions += 1.0;
    }
    losses.sort_by(|a, b| b.0.total_cmp(&a.0));
    losses.truncate((losses.len() as f32 * HARDEST).ceil() as usize);
    let share = 1.0 / losses.len().max(1) as f32;
    for (loss, gradient, i) in losses {
        figures.loss += f64::from(loss * share);
        let gradients = &mut head.gradient[i * width..(i + 1) * width];
        gradients[width - 1] = gradient * share;
        if width == 2 {
            gradients[0] = -gradient * share;
        }
    }
}

/// Computes the cross-entropy of the calibration classes, over windows that have one.
fn calibration_loss(targets: &[Target], head: &mut Prediction, figures: &mut Figures) {
    let alone = figures.decisions == 0.0;
    let classes = calibration::CLASSES.len();
    let share = 1.0 / targets.iter().filter(|t| t.shift.is_some()).count().max(1) as f32;
    let rows = head.values.chunks_exact(classes).zip(head.gradient.chunks_exact_mut(classes));
    for ((values, gradient), target) in rows.zip(targets) {
        let Some((class, _)) = target.shift else { continue };
        let loss = loss::softmax_cross_entropy(values, class, CALIBRATION_WEIGHT * share, gradient);
        figures.loss += f64::from(CALIBRATION_WEIGHT * share * loss);
        if alone {
            // A net without a face head is judged by its calibration classes.
            let best = (0..classes).max_by(|a, b| values[*a].total_cmp(&values[*b]));
            figures.right += f64::from(u8::from(best == Some(class)));
            figures.decisions += 1.0;
        }
    }
}

/// Computes the EIoU loss of the box regression from `window`, over windows that have one.
fn box_loss(window: &Rect, targets: &[Target], head: &mut Prediction, figures: &mut Figures) {
    let share = 1.0 / targets.iter().filter(|t| t.shift.is_some()).count().max(1) as f32;
    let rows = head.values.chunks_exact(4).zip(head.gradient.chunks_exact_mut(4));
    for ((values, gradient), target) in rows.zip(targets) {
        let Some((_, face)) = &target.shift else { continue };
        let code = [values[0], values[1], values[2], values[3]];
        let (loss, slope) = loss::eiou(window, code, face);
        gradient.iter_mut().zip(slope).for_each(|(to, slope)| *to = slope * share);
        figures.loss += f64::from(loss * share);
    }
}
