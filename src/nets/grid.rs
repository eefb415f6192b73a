//! Where a net that runs over whole pictures looks: its cells, the windows in each cell, and what its head's numbers say of
//! a window. Follows from the net's layers and its head; training, CPU, GPU and shaders all take it from here.

use super::lower::{Head, Purpose};
use super::spec::{Net, Output};

/// Numbers of an octave head for each window: logit, dx, dy, ln s.
pub(crate) const OCTAVE_NUMBERS: usize = 4;
/// Numbers of a cells head for each cell: logits of class and objectness, dx, dy, ln w, ln h.
pub(crate) const CELL_NUMBERS: usize = 6;
/// Side of the smallest face that a net with cells heads finds, in strides of its finest map: YuNet finds faces of ten pixels.
const SMALLEST_IN_CELLS: f32 = 1.25;

/// Three windows' sides between 12 and 24 pixels, as the shipped weights were measured with them: within 3 · 10⁻⁶ pixels of what
/// [`sizes`] computes.
const THREE: [f32; 3] = [13.469_545, 16.970_563, 21.381_567];

/// The cells of a net over a picture, and the square windows that are centred on each of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    /// The head that says whether a window shows a face.
    pub head: Output,
    /// Pixels between neighbouring cells. The window's side for a net whose branches see several resolutions, which can't be
    /// run over more than a window.
    pub stride: usize,
    /// Centre of the first cell along each axis, pixels (continuous: pixel i covers [i, i + 1)).
    pub offset: f32,
    /// Sides of the windows in each cell, pixels, the smallest first.
    pub sizes: Vec<f32>,
    /// Numbers of the head for each window.
    pub numbers: usize,
    /// How many of these, the first ones, are logits.
    logits: usize,
    /// Side of the smallest face that the net finds, pixels.
    pub smallest_face: f32,
    /// Shorter side of the smallest picture that the net is run over, pixels.
    pub shortest: usize,
    /// How far round a face the net looks, pixels.
    pub reach: usize,
}

impl Grid {
    /// The grid of `net`; `None` if it has neither an octave nor a face head, or if its layers do not fit each other.
    ///
    /// A net with an octave head finds faces from half its side to its side: n windows a cell, whose sides divide that octave
    /// evenly, round the centre of what the cell sees. A net with a face head finds faces of its side: one window a cell,
    /// which is the net's input.
    pub(crate) fn of(net: &Net) -> Option<Self> {
        let head = net.head(Output::Octave).or_else(|| net.head(Output::Face))?;
        let lowered = net.lower(Purpose::Inference).ok()?;
        let numbers = lowered.head(head.output)?.ops.output.c;
        let side = net.side as f32;
        let stride = lowered.trunk.stride().unwrap_or(net.side);
        let offset = lowered.first_center(0);
        let (head, reach) = (head.output, net.side);
        Some(if head == Output::Octave {
            let sizes = sizes(side, numbers / OCTAVE_NUMBERS);
            let (smallest_face, shortest) = (side / 2.0, 2 * stride);
            Self { head, stride, offset, sizes, numbers: OCTAVE_NUMBERS, logits: 1, smallest_face, shortest, reach }
        } else {
            let (smallest_face, shortest, offset) = (side, net.side, side / 2.0);
            Self { head, stride, offset, sizes: vec![side], numbers, logits: numbers, smallest_face, shortest, reach }
        })
    }

    /// One grid for each cells head of `net`, in its order; none if it has no such head or its layers do not fit each other.
    ///
    /// A cell's window is a square of one stride, and faces of all sizes are found by regression from it.
    pub(crate) fn of_cells(net: &Net) -> Vec<Self> {
        let Ok(lowered) = net.lower(Purpose::Inference) else { return Vec::new() };
        let heads = lowered.heads.iter().filter(|head| matches!(head.output, Output::Cells(_)));
        let strides: Vec<_> = heads.map(|head| (head, lowered.stride(head.from).unwrap_or(net.side))).collect();
        let finest = strides.iter().map(|(_, stride)| *stride).min().unwrap_or(1);
        let grid = |(head, stride): (&Head<_>, usize)| Self {
            head: head.output,
            stride,
            offset: lowered.first_center(head.from),
            sizes: vec![stride as f32],
            numbers: CELL_NUMBERS,
            logits: 2,
            smallest_face: SMALLEST_IN_CELLS * finest as f32,
            shortest: finest,
            reach: net.side,
        };
        strides.into_iter().map(grid).collect()
    }

    /// The centre of cell `i` along an axis, pixels.
    #[inline]
    pub(crate) fn center(&self, i: usize) -> f32 {
        i as f32 * self.stride as f32 + self.offset
    }

    /// Centre (x, y) and side, pixels, of window `i` over cells that come row by row, `columns` in each, with all sizes of a
    /// cell behind each other.
    #[inline]
    pub(crate) fn window(&self, i: usize, columns: usize) -> (f32, f32, f32) {
        let (cell, size) = (i / self.sizes.len(), i % self.sizes.len());
        (self.center(cell % columns), self.center(cell / columns), self.sizes[size])
    }

    /// How many of a window's numbers, the first ones, are logits.
    pub(crate) fn logits(&self) -> usize {
        self.logits
    }

    /// The face logit among a window's numbers.
    #[inline]
    pub(crate) fn logit(&self, numbers: &[f32]) -> f32 {
        match self.head {
            Output::Cells(_) => joint_logit(numbers[0], numbers[1]),
            _ => face_logit(&numbers[..self.logits]),
        }
    }
}

/// The face logit that a head's `outputs` for one window stand for: a single number, or face minus background of two.
#[inline]
pub(crate) fn face_logit(outputs: &[f32]) -> f32 {
    match outputs {
        [background, face] => face - background,
        [face, ..] => *face,
        [] => f32::NEG_INFINITY,
    }
}

/// The logit of √(σ(class) · σ(objectness)), a cell's score.
#[inline]
pub(crate) fn joint_logit(class: f32, objectness: f32) -> f32 {
    let ln_p = (ln_sigmoid(class) + ln_sigmoid(objectness)) / 2.0;
    // ln p − ln(1 − p); at p = 1 in 32 bits it is as large as it can be.
    ln_p - (-ln_p.exp_m1()).max(f32::MIN_POSITIVE).ln()
}

/// Returns ln σ(x) without overflow or loss of precision at large |x|.
#[inline]
pub(crate) fn ln_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// Sides of `n` windows that divide the octave from half of `side` to `side` evenly: side / 2 · 2^((2k + 1) / 2n).
fn sizes(side: f32, n: usize) -> Vec<f32> {
    if n == THREE.len() {
        return THREE.map(|size| size * (side / 24.0)).into();
    }
    let size = |k: usize| f64::from(side) / 2.0 * 2f64.powf((2 * k + 1) as f64 / (2 * n) as f64);
    (0..n).map(|k| size(k) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::spec::{Head, Layer};
    use crate::nets::weights::Weights;
    use crate::nets::{cpu, zoo};

    #[test]
    fn the_octave_nets_grid_is_that_of_its_layers() {
        let grid = Grid::of(&zoo::octave()).unwrap();
        assert_eq!((grid.head, grid.stride, grid.offset), (Output::Octave, 4, 0.5));
        assert_eq!((grid.smallest_face, grid.shortest, grid.reach), (12.0, 8, 24));
        let expected = [1.0, 3.0, 5.0].map(|k: f32| 12.0 * 2f32.powf(k / 6.0));
        assert!(grid.sizes.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{grid:?}");
        assert_eq!((grid.center(0), grid.center(7)), (0.5, 28.5));
        assert_eq!(grid.logit(&[3.0, 1.0, 1.0, 1.0]), 3.0);
    }

    #[test]
    fn the_articles_first_net_has_one_window_a_cell_which_is_its_input() {
        let grid = Grid::of(&zoo::by_name("net12").unwrap()).unwrap();
        assert_eq!((grid.head, grid.stride, grid.offset, grid.numbers), (Output::Face, 2, 6.0, 2));
        assert_eq!((grid.sizes.as_slice(), grid.smallest_face, grid.shortest), ([12.0].as_slice(), 12.0, 12));
        assert_eq!(grid.logit(&[1.0, 3.0]), 2.0);
        assert!(Grid::of(&zoo::by_name("net12_cal").unwrap()).is_none());
    }

    #[test]
    fn another_octave_net_needs_no_second_edit() {
        let mut net = zoo::octave();
        net.trunk.splice(0..0, [Layer::Conv { out: 8, kernel: 3, stride: 2, pad: 0 }]);
        net.side = 48;
        net.heads = vec![Head {
            output: Output::Octave,
            from: 0,
            layers: vec![Layer::Conv { out: 8, kernel: 1, stride: 1, pad: 0 }],
        }];
        net.check().unwrap();
        let grid = Grid::of(&net).unwrap();
        // The first cell sees 3 pixels whose middle one is pixel 1.
        assert_eq!((grid.stride, grid.offset, grid.shortest), (8, 1.5, 16));
        let expected = [1.0, 3.0].map(|k: f32| 24.0 * 2f32.powf(k / 4.0));
        assert!(grid.sizes.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{grid:?}");
    }

    #[test]
    fn the_cells_of_every_net_lie_as_far_apart_as_its_engines() {
        for net in zoo::NAMES.map(|name| zoo::by_name(name).unwrap()) {
            let engine = cpu::Engine::new(&net, &Weights::initial(&net, || 0.1)).unwrap();
            if let Some(grid) = Grid::of(&net) {
                assert_eq!(grid.stride, engine.stride(), "{}", net.name);
            }
        }
    }
}
