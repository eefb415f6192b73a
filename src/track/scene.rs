//! Tells where a new shot begins: at a cut, or within a dissolve, which shows two at once.
//!
//! Two shots of one place, or a shot and its mirrored self, may look alike as a whole. So a cut is also where most parts of a
//! frame are nowhere near where they were, while those of the frames before had stayed: in a shaky film, where parts go astray from
//! frame to frame, that says nothing.

use std::collections::VecDeque;

use image::RgbImage;

use super::appearance::{correlation, normalise};

/// Cells of a whole frame.
const CELLS: (usize, usize) = (96, 54);
/// Pixels of a cell that count, across and down.
const TAPS: usize = 4;
/// Cells of a whole frame, coarse, and how many of the fine ones make up one.
const COARSE: (usize, usize) = (CELLS.0 / STEP, CELLS.1 / STEP);
const STEP: usize = 3;
/// Cells across a part that is looked for in the next frame, how far apart parts are, and how far they are looked for.
const PART: usize = 12;
const PARTS_APART: (usize, usize) = (12, 10);
const REACH: isize = 3;
/// Farthest that the whole picture may have moved between two frames, coarse cells.
const FARTHEST: (isize, isize) = (10, 6);
/// Standard deviation of grey values, levels of 255, under which a whole frame shows nothing to compare, …
const FLAT: f32 = 2.0;
/// … and a part of it.
const FLAT_PART: f32 = 3.0;
/// Grey values up to which, and from which, a cell may be clipped, as in a flash.
const CLIPPED: (f32, f32) = (5.0, 250.0);
/// Parts that must be comparable to tell a cut.
const LEAST_PARTS: usize = 8;
/// Correlation from which no better place is looked for.
const SAME: f32 = 0.985;
/// Frames that correlate by less than this are of different shots. Measured: 0.97 and more from frame to frame of the clips
/// in `assets/`, 0.83 at one frame a second.
const SAME_SHOT: f32 = 0.5;
/// Frames that correlate by less than this are of one shot, one of them as a negative: an effect.
const NEGATIVE: f32 = -0.9;
/// Parts differ by 1 − their correlation; the median over a frame. Measured: up to 0.04 from frame to frame of these clips, 0.1 to 1
/// between any two of them and their mirrored selves. A cut lies where they differ by more than this …
const CUT: f32 = 0.08;
/// … and this many times as much as in the frames before.
const CUT_TIMES: f32 = 5.0;
/// Frames before that are compared with.
const USUAL: usize = 6;
/// Correlation of two frames under which what lies between them may be a dissolve.
const DISSOLVED: f32 = 0.7;
/// Correlation of two frames, one moved, from which the camera was turned between them.
const TURNED: f32 = 0.85;
/// By how much more a frame of a dissolve correlates with a later one than the frame before it does.
const NEARER: f32 = 0.002;
/// Share of a frame's variance that a mixture of two frames explains if it lies between them in a dissolve.
const MIXED: f32 = 0.82;
/// Share of either shot from which a frame shows both.
const LEAST_SHARE: f32 = 0.05;

/// A whole frame, small and grey.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    cells: Vec<f32>,
    coarse: Coarse,
}

/// A whole frame, smaller still: mean 0, norm 1.
#[derive(Debug, Clone)]
pub(super) struct Coarse {
    values: Box<[f32; COARSE.0 * COARSE.1]>,
    flat: bool,
}

impl Scene {
    pub(super) fn of(picture: &RgbImage) -> Self {
        let mut cells = vec![0.0; CELLS.0 * CELLS.1];
        sample(picture, &mut cells);
        let mut values = Box::new([0.0; COARSE.0 * COARSE.1]);
        for (row, line) in cells.chunks_exact(CELLS.0).enumerate() {
            let coarse = &mut values[row / STEP * COARSE.0..][..COARSE.0];
            for (to, from) in coarse.iter_mut().zip(line.chunks_exact(STEP)) {
                *to += from.iter().sum::<f32>() / (STEP * STEP) as f32;
            }
        }
        let flat = normalise(&mut values[..]) < FLAT;
        Self { cells, coarse: Coarse { values, flat } }
    }

    /// How much the parts of this frame differ from those of the frame `before`, 0..2, wherever they went; `None` where there is
    /// too little to compare.
    fn difference(&self, before: &Self) -> Option<f32> {
        let still = self.difference_moved(before, (0, 0))?;
        if still < CUT {
            return Some(still);
        }
        // The camera may have been turned.
        let (moved, _) = self.coarse.movement(&before.coarse);
        let step = STEP as isize;
        let turned = self.difference_moved(before, (moved.0 * step, moved.1 * step));
        Some(turned.map_or(still, |turned| turned.min(still)))
    }

    fn difference_moved(&self, before: &Self, moved: (isize, isize)) -> Option<f32> {
        let mut parts = Vec::with_capacity(64);
        for top in (0..=CELLS.1 - PART).step_by(PARTS_APART.1) {
            for left in (0..=CELLS.0 - PART).step_by(PARTS_APART.0) {
                let there = (left as isize + moved.0, top as isize + moved.1);
                if let (Some(part), Some(_)) =
                    (Part::of(&before.cells, (left as isize, top as isize)), Part::of(&self.cells, there))
                {
                    parts.push(1.0 - part.likeness(&self.cells, there));
                }
            }
        }
        parts.sort_by(f32::total_cmp);
        (parts.len() >= LEAST_PARTS).then(|| parts[parts.len() / 2])
    }
}

impl Coarse {
    fn correlation(&self, other: &Self) -> f32 {
        correlation(&self.values[..], &other.values[..])
    }

    /// By how many cells right and down the picture `before` is to be moved to look like this one, and the correlation then.
    fn movement(&self, before: &Self) -> ((isize, isize), f32) {
        let mut best = ((0, 0), f32::MIN);
        for dy in -FARTHEST.1..=FARTHEST.1 {
            for dx in -FARTHEST.0..=FARTHEST.0 {
                let (mut both, mut now, mut then) = (0.0, 1e-9_f32, 1e-9_f32);
                for y in dy.max(0)..(COARSE.1 as isize).min(COARSE.1 as isize + dy) {
                    let row = |y: isize, x: isize| (y * COARSE.0 as isize + x) as usize;
                    let (from, length) = (dx.max(0), (COARSE.0 as isize - dx.abs()) as usize);
                    let a = &self.values[row(y, from)..][..length];
                    let b = &before.values[row(y - dy, from - dx)..][..length];
                    both += correlation(a, b);
                    now += correlation(a, a);
                    then += correlation(b, b);
                }
                let likeness = both / (now * then).sqrt();
                if likeness > best.1 {
                    best = ((dx, dy), likeness);
                }
            }
        }
        best
    }

    /// Whether this frame, between two others, shows both of them; `None` if it is no mixture of them.
    fn mixes(&self, before: &Self, after: &Self) -> Option<bool> {
        // Least squares for two vectors of norm 1.
        let (with_before, with_after) = (self.correlation(before), self.correlation(after));
        let both = before.correlation(after);
        let det = 1.0 - both * both;
        let (a, b) = ((with_before - both * with_after) / det, (with_after - both * with_before) / det);
        let explained = a * with_before + b * with_after;
        let share = b / (a + b).max(1e-6);
        let mixed = explained >= MIXED && a > -LEAST_SHARE && b > -LEAST_SHARE;
        mixed.then_some((LEAST_SHARE..1.0 - LEAST_SHARE).contains(&share))
    }
}

/// A part of a frame that has something to compare.
struct Part([f32; PART * PART]);

impl Part {
    /// The part whose first cell is `at`; `None` if it is flat, clipped, or not all there.
    fn of(cells: &[f32], at: (isize, isize)) -> Option<Self> {
        let mut part = Self::cut(cells, at)?;
        let clipped = part.0.iter().filter(|v| **v <= CLIPPED.0 || **v >= CLIPPED.1).count();
        (clipped < PART * PART / 4 && normalise(&mut part.0) >= FLAT_PART).then_some(part)
    }

    fn cut(cells: &[f32], (x, y): (isize, isize)) -> Option<Self> {
        let fits = |v: isize, most: usize| (0..=(most - PART) as isize).contains(&v);
        if !fits(x, CELLS.0) || !fits(y, CELLS.1) {
            return None;
        }
        let mut values = [0.0; PART * PART];
        for (row, line) in values.chunks_exact_mut(PART).enumerate() {
            line.copy_from_slice(&cells[(y as usize + row) * CELLS.0 + x as usize..][..PART]);
        }
        Some(Self(values))
    }

    /// The correlation at the best place round `at`.
    fn likeness(&self, cells: &[f32], (x, y): (isize, isize)) -> f32 {
        let at = |dx: isize, dy: isize| {
            let mut there = Self::cut(cells, (x + dx, y + dy))?;
            normalise(&mut there.0);
            Some(correlation(&self.0, &there.0))
        };
        let mut most = at(0, 0).unwrap_or(-1.0);
        for (dx, dy) in (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dx, dy))) {
            if most >= SAME {
                break;
            }
            most = most.max(at(dx, dy).unwrap_or(-1.0));
        }
        most
    }
}

/// What lies between a frame and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing, or a movement.
    None,
    /// Most parts of the picture are gone: a cut, if no face stayed where it was.
    Likely,
    /// Another picture altogether.
    Cut,
}

/// Watches frame after frame.
#[derive(Debug, Default)]
pub(super) struct Shots {
    last: Option<Scene>,
    /// How much frames differed from one to the next, since the last cut.
    usual: VecDeque<f32>,
}

impl Shots {
    /// What lies before this frame, and the frame itself, coarse.
    pub(super) fn next(&mut self, picture: &RgbImage) -> (Change, Coarse) {
        let scene = Scene::of(picture);
        let coarse = scene.coarse.clone();
        let Some(before) = self.last.replace(scene) else { return (Change::None, coarse) };
        let Some(scene) = &self.last else { return (Change::None, coarse) };
        if coarse.flat || before.coarse.flat {
            return (Change::None, coarse);
        }
        let likeness = coarse.correlation(&before.coarse);
        if likeness < NEGATIVE {
            return (Change::None, coarse);
        }
        if likeness < SAME_SHOT {
            return (Change::Cut, coarse);
        }
        let Some(difference) = scene.difference(&before) else { return (Change::None, coarse) };
        let usual = self.usual.iter().copied().reduce(f32::max);
        let likely = usual.is_some_and(|usual| difference > CUT.max(usual * CUT_TIMES));
        self.usual.push_back(difference);
        if self.usual.len() > USUAL {
            self.usual.pop_front();
        }
        (if likely { Change::Likely } else { Change::None }, coarse)
    }

    /// A cut lies before the last frame.
    pub(super) fn begin(&mut self) {
        self.usual.clear();
    }
}

/// Which of `count` frames show two shots at once, if the last of them lies in a dissolve or behind it. `frame` gives a frame by its
/// number.
pub(super) fn dissolve<'a>(count: usize, frame: impl Fn(usize) -> &'a Coarse) -> Vec<usize> {
    let Some(newest) = count.checked_sub(1) else { return Vec::new() };
    let last = frame(newest);
    if last.flat {
        return Vec::new();
    }
    let other = |k: &usize| !frame(*k).flat && (NEGATIVE..DISSOLVED).contains(&frame(*k).correlation(last));
    let Some(mut first) = (0..newest).rev().find(other) else { return Vec::new() };
    // It began where frames begin to come nearer to the last one.
    while first > 0 && frame(first - 1).correlation(last) < frame(first).correlation(last) - NEARER {
        first -= 1;
    }
    let mut both = Vec::new();
    for k in first + 1..newest {
        match frame(k).mixes(frame(first), last) {
            Some(true) => both.push(k),
            Some(false) => {}
            None => return Vec::new(),
        }
    }
    // While the camera turns, too, frames lie between others.
    if !both.is_empty() && frame(first).movement(last).1 > TURNED {
        return Vec::new();
    }
    both
}

/// Mean grey values of cells.
fn sample(picture: &RgbImage, cells: &mut [f32]) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if width == 0 || height == 0 {
        return;
    }
    let places = |cells: usize, side: usize| -> Vec<usize> {
        (0..cells * TAPS).map(|tap| (2 * tap + 1) * side / (2 * cells * TAPS)).collect()
    };
    let (columns, rows) = (places(CELLS.0, width), places(CELLS.1, height));
    for (line, ys) in cells.chunks_exact_mut(CELLS.0).zip(rows.chunks_exact(TAPS)) {
        for y in ys {
            let pixels = &picture.as_raw()[y * width * 3..][..width * 3];
            for (cell, xs) in line.iter_mut().zip(columns.chunks_exact(TAPS)) {
                let grey = |x: &usize| {
                    let at = x * 3;
                    u32::from(pixels[at]) + 2 * u32::from(pixels[at + 1]) + u32::from(pixels[at + 2])
                };
                *cell += xs.iter().map(grey).sum::<u32>() as f32;
            }
        }
        line.iter_mut().for_each(|cell| *cell /= (4 * TAPS * TAPS) as f32);
    }
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;
