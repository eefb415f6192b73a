//! Samples of a net with cells heads (YuNet's plan): crops of whole scenes with faces of all sizes, whose cells are assigned to faces
//! by [`super::simota`] while the net learns.

use rand::Rng;
use rand::rngs::StdRng;

use super::augment::Light;
use super::degrade;
use super::loss::{self, sigmoid};
use super::occlude::Occluder;
use super::pictures::{box_in_crop, is_clear};
use super::scenes::{Scenes, Shares};
use super::sheets::{self, SceneFinds, Sheet};
use super::simota::{self, Cell};
use super::task::{Figures, Prediction, Samples, Task};
use super::windows::Sources;
use crate::cascade::calibration::decode_cell;
use crate::cascade::crops;
use crate::geometry::Rect;
use crate::nets::grid::{CELL_NUMBERS, Grid, joint_logit};
use crate::nets::spec::{Net, Output};
use crate::nets::weights::{Weights, head_path, slots};

/// Faces whose square is smaller in a crop (pixels) are neither face nor background.
const TINY: f32 = 8.0;
/// Longest side of a crop, in shorter sides of its picture.
const WIDEST: f32 = 1.5;
/// Weight of the boxes' loss beside those of class and objectness.
const BOX_WEIGHT: f32 = 5.0;
/// Objectness and class before training, logits: most cells hold no face.
const FIRST_LOGIT: f32 = -4.0;

/// How scenes are drawn.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSettings {
    /// Side of a crop, pixels; a multiple of the net's greatest stride.
    pub side: usize,
    /// Share of crops from pictures without faces.
    pub background: f64,
    /// Share of the crops round faces whose face comes from `masks/`.
    #[serde(default)]
    pub masked: f64,
    /// Share of faces that are partly covered ([`super::occlude`]).
    #[serde(default)]
    pub occluded: f64,
    /// Sides of the chosen face's square in the crop, from and to, pixels; drawn evenly by their logarithm.
    pub faces: (f32, f32),
}

/// The faces in one crop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene {
    faces: Vec<Rect>,
    /// Boxes that are neither face nor background.
    ignored: Vec<Rect>,
    /// Whether what lies far from faces may hold faces that nobody marked.
    partly_marked: bool,
}

/// The task of a net with cells heads.
#[derive(Debug)]
pub(crate) struct Cells<'a> {
    grids: Vec<Grid>,
    settings: CellSettings,
    scenes: Scenes<'a>,
    light: Light,
    occluder: Occluder<'a>,
}

impl<'a> Cells<'a> {
    /// Trains a net with those `grids` on crops of `sources`.
    pub(crate) fn new(grids: Vec<Grid>, settings: CellSettings, sources: Sources<'a>, rng: &mut StdRng) -> Self {
        let smallest = grids.first().map_or(TINY, |grid| grid.smallest_face);
        let CellSettings { background, masked, occluded, .. } = settings;
        let scenes = Scenes::new(sources, Shares { background, masked, occluded }, smallest).at_most(WIDEST);
        let occluder = Occluder::new(occluded, sources.negatives);
        Self { grids, settings, scenes, light: Light::new(rng), occluder }
    }

    /// Draws a crop into `input` and returns what it shows.
    fn scene(&self, rng: &mut StdRng, input: &mut [f32]) -> Scene {
        let side = self.settings.side;
        let (from, to) = self.settings.faces;
        let wanted = |rng: &mut StdRng| rng.random_range(from.ln()..=to.ln()).exp();
        let (picture, at) = self.scenes.place(rng, side, wanted);
        crops::sample(&picture.pyramid, 0, &at, side, input);
        let mut scene = Scene { partly_marked: picture.partly_marked, ..Scene::default() };
        for face in &picture.faces {
            let rect = box_in_crop(&face.rect, &at, side);
            let square = rect.to_square();
            let whole = Rect::new(0.0, 0.0, side as f32, side as f32);
            let seen = rect.intersection(&whole) / rect.area();
            if seen <= 0.0 {
                continue;
            }
            // A face whose larger part lies outside can't be told from other things.
            let clear = is_clear(face) && square.w >= TINY && seen > 0.4;
            if clear {
                self.occluder.change(rng, input, side, &at, &face.rect);
            }
            if clear { &mut scene.faces } else { &mut scene.ignored }.push(rect);
        }
        self.light.change(rng, input);
        degrade::change(rng, input, side);
        scene
    }

    /// Adds the loss of one scene, whose cells the heads describe by `numbers`, and its gradients; all are divided by
    /// `positives` later. Returns loss and the number of assigned cells.
    fn scene_loss(
        &self,
        scene: &Scene,
        numbers: &[&[f32]],
        gradients: &mut [&mut [f32]],
        figures: &mut Figures,
    ) -> usize {
        let mut cells = Vec::new();
        for (grid, numbers) in self.grids.iter().zip(numbers) {
            let columns = self.settings.side / grid.stride;
            cells.extend(numbers.chunks_exact(CELL_NUMBERS).enumerate().map(|(i, numbers)| {
                let (x, y, side) = grid.window(i, columns);
                let window = Rect::square(x, y, side);
                Cell {
                    window,
                    rect: decode_cell(&window, &numbers[2..]),
                    score: sigmoid(joint_logit(numbers[0], numbers[1])),
                }
            }));
        }
        let assigned = simota::assign(&cells, &scene.faces);
        let all = numbers.iter().zip(gradients).flat_map(|(numbers, gradients)| {
            numbers.chunks_exact(CELL_NUMBERS).zip(gradients.chunks_exact_mut(CELL_NUMBERS))
        });
        let mut positives = 0;
        for ((cell, assigned), (numbers, gradient)) in cells.iter().zip(assigned).zip(all) {
            let Some(assigned) = assigned else {
                if !scene.ignores(cell) {
                    let (l, g) = loss::cross_entropy(numbers[1], false);
                    gradient[1] = g;
                    figures.loss += f64::from(l);
                }
                continue;
            };
            positives += 1;
            let (class, g) = loss::soft_cross_entropy(numbers[0], assigned.iou);
            gradient[0] = g;
            let (objectness, g) = loss::cross_entropy(numbers[1], true);
            gradient[1] = g;
            let code = [numbers[2], numbers[3], numbers[4], numbers[5]];
            let (eiou, g) = loss::eiou(&cell.window, code, &scene.faces[assigned.face]);
            gradient[2..].iter_mut().zip(g).for_each(|(to, g)| *to = BOX_WEIGHT * g);
            figures.loss += f64::from(class + objectness + BOX_WEIGHT * eiou);
            // Accuracy: of cells with faces only; the many of background would drown it.
            figures.right += f64::from(u8::from(cell.score > 0.5 && assigned.iou >= 0.5));
            figures.decisions += 1.0;
        }
        positives
    }
}

impl Scene {
    /// Whether a cell that is assigned to no face is not background for certain either.
    fn ignores(&self, cell: &Cell) -> bool {
        let (x, y) = cell.window.center();
        let within = |r: &Rect, times: f32| {
            let (cx, cy) = r.center();
            (x - cx).abs() <= times * r.w / 2.0 && (y - cy).abs() <= times * r.h / 2.0
        };
        // Half a stride more: small boxes lie between the centres of cells.
        let margin = cell.window.w;
        let in_ignored =
            |r: &Rect| within(&Rect::new(r.x - margin / 2.0, r.y - margin / 2.0, r.w + margin, r.h + margin), 1.0);
        self.ignored.iter().any(in_ignored) || self.partly_marked && !self.faces.iter().any(|r| within(r, 3.0))
    }
}

/// Lowers the first logits of all cells heads, so that the many cells without a face do not drown the others at first.
pub(crate) fn lower_first_logits(net: &Net, weights: &mut Weights) {
    for head in net.heads.iter().filter(|head| matches!(head.output, Output::Cells(_))) {
        let parent = format!("{}.", head_path(head.output));
        let is_bias = |name: &str| name.starts_with(&parent) && name.ends_with("bias");
        let last = slots(net).into_iter().flatten().rfind(|slot| is_bias(&slot.name));
        if let Some(bias) = last.and_then(|slot| weights.arrays.get_mut(&slot.name)) {
            bias.data[..2].fill(FIRST_LOGIT);
        }
    }
}

impl Task for Cells<'_> {
    type Targets = Vec<Scene>;

    fn draw(&self, rng: &mut StdRng, n: usize) -> Samples<Vec<Scene>> {
        let side = self.settings.side;
        let len = side * side * 3;
        let mut input = vec![0.0; n * len];
        let targets = input.chunks_exact_mut(len).map(|crop| self.scene(rng, crop)).collect();
        Samples { input, n, side, targets }
    }

    fn loss(&self, targets: &Vec<Scene>, predictions: &mut [Prediction]) -> Figures {
        let mut figures = Figures::default();
        let mut positives = 0;
        for (i, scene) in targets.iter().enumerate() {
            let (mut numbers, mut gradients) = (Vec::new(), Vec::new());
            for Prediction { values, gradient, .. } in predictions.iter_mut() {
                let len = values.len() / targets.len();
                numbers.push(&values[i * len..][..len]);
                gradients.push(&mut gradient[i * len..][..len]);
            }
            positives += self.scene_loss(scene, &numbers, &mut gradients, &mut figures);
        }
        let share = 1.0 / positives.max(1) as f32;
        predictions.iter_mut().flat_map(|p| &mut p.gradient).for_each(|g| *g *= share);
        figures.loss *= f64::from(share);
        figures
    }

    fn sheets(&self, samples: &Samples<Vec<Scene>>, predictions: &[Prediction]) -> Vec<Sheet> {
        let mut finds: Vec<SceneFinds> = samples
            .targets
            .iter()
            .map(|scene| SceneFinds { truth: scene.faces.clone(), ignored: scene.ignored.clone(), found: Vec::new() })
            .collect();
        for (grid, head) in self.grids.iter().zip(predictions) {
            let (len, columns) = (head.values.len() / samples.n.max(1), samples.side / grid.stride);
            for (scene, values) in finds.iter_mut().zip(head.values.chunks_exact(len)) {
                for (i, numbers) in values.chunks_exact(CELL_NUMBERS).enumerate() {
                    let logit = joint_logit(numbers[0], numbers[1]);
                    if logit > 0.0 {
                        let (x, y, side) = grid.window(i, columns);
                        scene.found.push((decode_cell(&Rect::square(x, y, side), &numbers[2..]), logit));
                    }
                }
            }
        }
        sheets::scenes(samples, finds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::zoo;

    #[test]
    fn only_logits_of_cells_heads_are_lowered() {
        for name in zoo::NAMES {
            let net = zoo::by_name(name).unwrap();
            let first = Weights::initial(&net, || 0.5);
            let mut lowered = first.clone();
            lower_first_logits(&net, &mut lowered);
            let changed = first.arrays.iter().filter(|(name, array)| lowered.arrays[*name] != **array);
            assert_eq!(changed.count(), if name == "yunet" { 3 } else { 0 }, "{name}");
        }
    }

    #[test]
    fn the_gradients_of_a_scenes_loss_are_right() {
        let grids = Grid::of_cells(&zoo::yunet());
        assert_eq!(grids.iter().map(|g| (g.stride, g.offset)).collect::<Vec<_>>(), [(8, 3.5), (16, 7.5), (32, 15.5)]);
        let settings = CellSettings { side: 64, background: 0.0, masked: 0.0, occluded: 0.0, faces: (9.0, 40.0) };
        let mut rng = rand::SeedableRng::seed_from_u64(1);
        let task = Cells::new(grids, settings, Sources::default(), &mut rng);
        let scene = Scene {
            faces: vec![Rect::new(8.0, 10.0, 14.0, 18.0), Rect::new(30.0, 25.0, 30.0, 36.0)],
            ignored: vec![Rect::new(50.0, 2.0, 8.0, 8.0)],
            partly_marked: false,
        };
        let lens = [64, 16, 4].map(|cells| cells * CELL_NUMBERS);
        let values: Vec<Vec<f32>> =
            lens.iter().map(|n| (0..*n).map(|_| rng.random_range(-0.5..0.5)).collect()).collect();
        let run = |values: &[Vec<f32>]| {
            let heads = values.iter().zip([8, 16, 32]).map(|(values, stride)| Prediction {
                output: Output::Cells(stride),
                values: values.clone(),
                gradient: vec![0.0; values.len()],
            });
            let mut heads: Vec<Prediction> = heads.collect();
            let figures = task.loss(&vec![scene.clone()], &mut heads);
            (figures, heads)
        };
        let (figures, heads) = run(&values);
        assert!(figures.decisions >= 2.0 && figures.loss > 0.0);
        let mut off = 0;
        for (head, at) in (0..3).flat_map(|head| (0..lens[head]).step_by(7).map(move |at| (head, at))) {
            let at_shift = |h: f32| {
                let mut values = values.clone();
                values[head][at] += h;
                run(&values).0.loss
            };
            let numeric = (at_shift(1e-2) - at_shift(-1e-2)) / 2e-2;
            let gradient = f64::from(heads[head].gradient[at]);
            // The target of a class, an IoU, moves with the box; its gradient leaves that out.
            off += usize::from((numeric - gradient).abs() > 0.01 + 0.1 * gradient.abs());
        }
        assert!(off <= 4, "{off} gradients differ");
    }
}
