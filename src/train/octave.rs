//! Samples of the octave net: crops of whole scenes, every cell of which is labelled.

use rand::Rng;
use rand::rngs::StdRng;

use super::augment::Light;
use super::loss;
use super::occlude::Occluder;
use super::pictures::{box_in_crop, is_clear};
use super::scenes::{Scenes, Shares};
use super::sheets::{self, SceneFinds, Sheet};
use super::task::{Figures, Prediction, Samples, Task};
use super::windows::Sources;
use crate::cascade::crops;
use crate::geometry::Rect;
use crate::nets::grid::{Grid, OCTAVE_NUMBERS};

/// Side of a sample, pixels.
pub(crate) const SIDE: usize = 160;
/// Faces smaller than this in a crop (pixels) are neither face nor background.
const TINY: f32 = 9.0;

/// What is right at one cell and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Label {
    /// No face of about this size here.
    Background,
    /// Neither.
    Ignored,
    /// A face; its square's (dx, dy) in sides of the window from its centre, and ln of its side over the window's.
    Face([f32; 3]),
}

/// The task of the octave net.
#[derive(Debug)]
pub(crate) struct Octave<'a> {
    grid: Grid,
    scenes: Scenes<'a>,
    light: Light,
    occluder: Occluder<'a>,
}

impl<'a> Octave<'a> {
    /// Trains a net with that `grid` on crops of `sources`, drawn in these `shares`.
    pub(crate) fn new(grid: Grid, sources: Sources<'a>, shares: Shares, rng: &mut StdRng) -> Self {
        let scenes = Scenes::new(sources, shares, grid.smallest_face);
        Self { grid, scenes, light: Light::new(rng), occluder: Occluder::new(shares.occluded, sources.negatives) }
    }
}

/// Cells of a sample along an axis.
fn cells_of(grid: &Grid) -> usize {
    SIDE.div_ceil(grid.stride)
}

/// Labels of all windows of a sample, `[cells, cells, sizes]`, for faces (their squares; `true` = ignored) in crop pixels.
pub(crate) fn label(grid: &Grid, faces: &[(Rect, bool)]) -> Vec<Label> {
    let (n, sizes, stride) = (cells_of(grid), grid.sizes.len(), grid.stride as f32);
    let mut labels = vec![Label::Background; n * n * sizes];
    let mut best = vec![0.0f32; labels.len()];
    for (face, ignored) in faces {
        for (k, &size) in grid.sizes.iter().enumerate() {
            // Cells whose window touches the face.
            let cells = |from: f32, length: f32| {
                let cell = |p: f32| (p - grid.offset) / stride;
                let first = cell(from - size / 2.0).floor().max(0.0) as usize;
                first..(cell(from + length + size / 2.0).ceil().max(-1.0) + 1.0).min(n as f32) as usize
            };
            for i in cells(face.y, face.h) {
                for j in cells(face.x, face.w) {
                    let window = Rect::square(grid.center(j), grid.center(i), size);
                    let iou = window.iou(face);
                    let at = (i * n + j) * sizes + k;
                    if *ignored {
                        let covered = window.intersection(face) >= 0.5 * window.area();
                        if (covered || iou >= 0.3) && !matches!(labels[at], Label::Face(_)) {
                            labels[at] = Label::Ignored;
                        }
                    } else if iou >= 0.5 && iou > best[at] {
                        best[at] = iou;
                        let (x, y) = face.center();
                        let (dx, dy) = ((x - grid.center(j)) / size, (y - grid.center(i)) / size);
                        labels[at] = Label::Face([dx, dy, (face.w / size).ln()]);
                    } else if iou >= 0.3 && labels[at] == Label::Background {
                        labels[at] = Label::Ignored;
                    }
                }
            }
        }
    }
    labels
}

/// Ignores backgrounds that lie on no face, in a sample whose other faces may be unmarked.
fn ignore_away_from(grid: &Grid, faces: &[(Rect, bool)], labels: &mut [Label]) {
    for (at, label) in labels.iter_mut().enumerate().filter(|(_, label)| **label == Label::Background) {
        let (x, y, side) = grid.window(at, cells_of(grid));
        let window = Rect::square(x, y, side);
        if faces.iter().all(|(face, _)| window.intersection(face) == 0.0) {
            *label = Label::Ignored;
        }
    }
}

impl Task for Octave<'_> {
    type Targets = Vec<Label>;

    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Vec<Label>> {
        let len = SIDE * SIDE * 3;
        let mut input = vec![0.0; n * len];
        let mut targets = Vec::with_capacity(n * cells_of(&self.grid).pow(2) * self.grid.sizes.len());
        let mut faces = Vec::new();
        for crop in input.chunks_exact_mut(len) {
            let wanted = |rng: &mut StdRng| self.grid.smallest_face * 2f32.powf(rng.random_range(-0.05..1.05));
            let (picture, at) = self.scenes.place(rng, SIDE, wanted);
            crops::sample(&picture.pyramid, 0, &at, SIDE, crop);
            faces.clear();
            for face in &picture.faces {
                let square = box_in_crop(&face.rect, &at, SIDE).to_square();
                let ignored = !is_clear(face) || square.w < TINY || face.rect.h < 8.0;
                if !ignored {
                    self.occluder.change(rng, crop, SIDE, &at, &face.rect);
                }
                faces.push((square, ignored));
            }
            self.light.change(rng, crop);
            let first = targets.len();
            targets.extend(label(&self.grid, &faces));
            if picture.partly_marked {
                ignore_away_from(&self.grid, &faces, &mut targets[first..]);
            }
        }
        Samples { input, n, side: SIDE, targets }
    }

    fn loss(&self, targets: &Vec<Label>, predictions: &mut [Prediction]) -> Figures {
        const ALPHA: f32 = 0.4;
        const GAMMA: f32 = 2.0;
        const BOX_WEIGHT: f32 = 2.0;
        const BETA: f32 = 0.05;
        let positives = targets.iter().filter(|t| matches!(t, Label::Face(_))).count().max(1) as f32;
        let mut figures = Figures::default();
        for head in predictions {
            let cells = head.values.chunks_exact(OCTAVE_NUMBERS).zip(head.gradient.chunks_exact_mut(OCTAVE_NUMBERS));
            for ((values, gradient), target) in cells.zip(targets) {
                let face = match target {
                    Label::Ignored => continue,
                    Label::Background => None,
                    Label::Face(shift) => Some(shift),
                };
                let (l, g) = loss::focal(values[0], face.is_some(), ALPHA, GAMMA);
                gradient[0] = g / positives;
                figures.loss += f64::from(l / positives);
                if let Some(shift) = face {
                    for i in 0..3 {
                        let (l, g) = loss::smooth_l1(values[1 + i] - shift[i], BETA);
                        gradient[1 + i] = BOX_WEIGHT * g / positives;
                        figures.loss += f64::from(BOX_WEIGHT * l / positives);
                    }
                    // Accuracy: of faces only; the many cells of background would drown it.
                    figures.right += f64::from(u8::from(values[0] > -1.5));
                    figures.decisions += 1.0;
                }
            }
        }
        figures
    }

    fn sheets(&self, samples: &Samples<Vec<Label>>, predictions: &[Prediction]) -> Vec<Sheet> {
        let windows = cells_of(&self.grid).pow(2) * self.grid.sizes.len();
        let moved = |i: usize, shift: &[f32]| {
            let (x, y, side) = self.grid.window(i, cells_of(&self.grid));
            Rect::square(x + shift[0] * side, y + shift[1] * side, side * shift[2].clamp(-2.0, 2.0).exp())
        };
        let mut finds = Vec::with_capacity(samples.n);
        for (scene, labels) in samples.targets.chunks_exact(windows).enumerate() {
            let mut find = SceneFinds::default();
            for (i, label) in labels.iter().enumerate() {
                match label {
                    // Several windows learn a face; it is drawn once.
                    Label::Face(shift) => {
                        let face = moved(i, shift);
                        if find.truth.iter().all(|known| known.iou(&face) < 0.9) {
                            find.truth.push(face);
                        }
                    }
                    Label::Ignored => {
                        let (x, y, side) = self.grid.window(i, cells_of(&self.grid));
                        find.ignored.push(Rect::square(x, y, side));
                    }
                    Label::Background => {}
                }
            }
            for head in predictions {
                let values = head.values.chunks_exact(OCTAVE_NUMBERS).skip(scene * windows).take(windows);
                let faces = values.enumerate().filter(|(_, numbers)| numbers[0] > 0.0);
                find.found.extend(faces.map(|(i, numbers)| (moved(i, &numbers[1..]), numbers[0])));
            }
            finds.push(find);
        }
        sheets::scenes(samples, finds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::zoo;

    fn grid() -> Grid {
        Grid::of(&zoo::octave()).unwrap()
    }

    /// The window with this number among the labels.
    fn window(at: usize) -> Rect {
        let (x, y, side) = grid().window(at, cells_of(&grid()));
        Rect::square(x, y, side)
    }

    #[test]
    fn a_face_on_a_cell_is_labelled_there_at_its_size_and_nowhere_far() {
        let (grid, centre) = (grid(), grid().center(20));
        let labels = label(&grid, &[(Rect::square(centre, centre, grid.sizes[1]), false)]);
        let at = |i: usize, j: usize, k: usize| labels[(i * cells_of(&grid) + j) * grid.sizes.len() + k];
        assert_eq!(at(20, 20, 1), Label::Face([0.0, 0.0, 0.0]));
        assert!(matches!(at(20, 21, 1), Label::Face([dx, 0.0, _]) if dx < 0.0));
        assert_eq!(at(20, 30, 1), Label::Background);
        assert!(labels.iter().filter(|l| matches!(l, Label::Face(_))).count() < 30);
    }

    #[test]
    fn a_face_that_is_ignored_is_neither() {
        let labels = label(&grid(), &[(Rect::square(80.0, 80.0, 60.0), true), (Rect::square(80.0, 80.0, 17.0), false)]);
        assert!(labels.iter().any(|l| matches!(l, Label::Face(_))));
        for (at, label) in labels.iter().enumerate() {
            if window(at).intersection(&Rect::square(80.0, 80.0, 60.0)) > 0.51 * window(at).area() {
                assert_ne!(*label, Label::Background);
            }
        }
    }

    #[test]
    fn where_faces_may_be_unmarked_only_what_touches_a_face_is_background() {
        let faces = [(Rect::square(80.0, 80.0, 17.0), false)];
        let mut labels = label(&grid(), &faces);
        let whole = labels.clone();
        ignore_away_from(&grid(), &faces, &mut labels);
        for (at, (label, before)) in labels.iter().zip(&whole).enumerate() {
            let touches = window(at).intersection(&faces[0].0) > 0.0;
            assert_eq!(label, if touches || *before != Label::Background { before } else { &Label::Ignored });
        }
        assert!(labels.contains(&Label::Background) && labels.contains(&Label::Ignored));
    }

    #[test]
    fn labels_agree_with_every_windows_overlap() {
        let faces = [(Rect::square(40.0, 70.0, 14.0), false), (Rect::square(51.0, 74.0, 20.0), false)];
        for (at, label) in label(&grid(), &faces).into_iter().enumerate() {
            let best = faces.iter().map(|f| f.0.iou(&window(at))).fold(0.0, f32::max);
            match label {
                Label::Face(_) => assert!(best >= 0.5),
                Label::Ignored => assert!((0.3..0.5).contains(&best)),
                Label::Background => assert!(best < 0.3),
            }
        }
    }
}
