//! Level 1: a net run fully convolutionally over every level of the pyramid. One type for all kinds of net, which differ in
//! their [`Grid`]: the octave net has three sizes a cell and a pyramid step of 2, the article's 12-net one size and a step of
//! 1.26.

use super::calibrator::{Calibrator, Code};
use super::settings::ProposerSettings;
use super::state::{Buffers, State};
use super::{Candidate, LevelCount, crops};
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::nets::cpu::Engine;
#[cfg(feature = "gpu")]
use crate::nets::gpu::{self, OctaveNet};
use crate::nets::grid::Grid;
#[cfg(feature = "gpu")]
use crate::nets::spec::Dims;
use crate::nets::spec::Output;
use crate::nets::windows::WindowNet;
#[cfg(feature = "gpu")]
use crate::pyramid::gpu::GpuDevice;
use crate::pyramid::{Level, Plan, sizes};

/// The first level.
#[derive(Debug)]
pub(super) struct Proposer {
    net: WindowNet,
    /// Where the net's cells lie; of a net with cells heads, one for each of them.
    grids: Vec<Grid>,
    calibrator: Calibrator,
    settings: ProposerSettings,
    /// Scale of the first pyramid level.
    first_scale: f32,
}

impl Proposer {
    /// `load` makes a net by name.
    pub(super) fn new(
        settings: &ProposerSettings,
        min_face: f32,
        load: impl Fn(&str) -> Result<WindowNet>,
    ) -> Result<Self> {
        let net = load(&settings.net)?;
        let grids = Grid::of(net.net()).map_or_else(|| Grid::of_cells(net.net()), |grid| vec![grid]);
        let Some(grid) = grids.first() else {
            let reason = "it has neither octave nor face nor cells heads, and so can't be the proposer".to_string();
            return Err(Error::Net { net: settings.net.clone(), reason });
        };
        let calibrator = Calibrator::new(net.net(), settings.calibration, settings.calibration_net.as_deref(), load)?;
        let first_scale = settings.smallest.unwrap_or(grid.smallest_face) / min_face;
        Ok(Self { net, grids, calibrator, settings: settings.clone(), first_scale })
    }

    /// The CPU's engine for floats, which knows dimensions and costs.
    fn engine(&self) -> &Engine {
        self.net.cpu()
    }

    /// The grid of the net's first head, which has the finest cells.
    fn grid(&self) -> &Grid {
        &self.grids[0]
    }

    /// Whether a pyramid level shows faces of one octave only, so that a search for the smallest may leave out parts of the
    /// first one.
    fn is_by_octaves(&self) -> bool {
        !matches!(self.grid().head, Output::Cells(_))
    }

    /// Which pyramids a picture needs: itself and its halves for crops, and from these the proposer's own.
    pub(super) fn plan(&self) -> Plan {
        let Self { first_scale, .. } = *self;
        let shortest = self.grid().shortest;
        Plan { shortest_half: crops::SHORTEST, first_scale, step: self.settings.step, shortest }
    }

    /// Finds the windows over the threshold in all pyramid levels, where the cells lie.
    pub(super) fn find(&self, state: &mut State) {
        state.candidates.clear();
        let mut count = LevelCount::default();
        if !self.take_from_gpu(state, &mut count) {
            let State { picture, candidates, dropped, buffers, .. } = state;
            for (number, level) in picture.levels.levels.iter().enumerate() {
                let mut find = |part| {
                    let mut found = Windows { candidates: &mut *candidates, dropped: dropped.as_mut() };
                    self.find_in(number, level, part, &mut found, &mut count, buffers);
                };
                match &picture.within {
                    Some(regions) if number == 0 && self.is_by_octaves() => {
                        let part = |region| Part::of(level, region, self.grid().stride, self.grid().reach);
                        regions.iter().filter_map(part).for_each(find);
                    }
                    _ => find(Part::whole(level)),
                }
            }
        }
        state.counts.push(count);
    }

    /// Finds the windows over the threshold in a part of a pyramid level, the one with this `number`.
    fn find_in(
        &self,
        number: usize,
        level: &Level,
        part: Part,
        windows: &mut Windows<'_>,
        count: &mut LevelCount,
        buffers: &mut Buffers,
    ) {
        let Windows { candidates, dropped } = windows;
        let Buffers { part: pixels, scratch, chosen, .. } = buffers;
        // A net with cells heads has none in a smaller part than one cell of its coarsest.
        let least = if self.is_by_octaves() { 0 } else { self.grids.iter().map(|g| g.stride).max().unwrap_or(0) };
        let (h, w) = (part.h.max(least), part.w.max(least));
        if self.net.run_picture(part.pixels(level, (h, w), pixels), h, w, scratch).is_none() {
            return;
        }
        count.multiply_adds += self.engine().multiply_adds(h, w);
        for grid in &self.grids {
            let Some(cells) = self.engine().head_dims(grid.head, h, w) else { continue };
            let outputs = self.net.head_of_picture(grid.head, scratch);
            count.windows += outputs.len() / grid.numbers;
            let seen = Seen { grid, number, level, left: part.x as f32, top: part.y as f32, columns: cells.w };
            let first = candidates.len();
            chosen.clear();
            for (i, numbers) in outputs.chunks_exact(grid.numbers).enumerate() {
                if grid.logit(numbers) > self.settings.threshold {
                    candidates.push(self.window(&seen, i, numbers));
                    chosen.push(i / grid.sizes.len());
                } else if let Some(dropped) = dropped {
                    dropped.push(self.window(&seen, i, numbers));
                }
            }
            // Where calibration is another head's, its numbers are those of the window's cell.
            if let Some((code, output)) = self.calibrator.own_head().filter(|_| !chosen.is_empty()) {
                let codes = self.net.head_of_picture(output, scratch);
                for (candidate, cell) in candidates[first..].iter_mut().zip(chosen.iter()) {
                    candidate.moved = code.apply(&candidate.rect, &codes[*cell * code.len()..][..code.len()]);
                }
            }
        }
    }

    /// The window with number `i` among those of all cells that were `seen`, of which the net says `numbers`.
    fn window(&self, seen: &Seen<'_>, i: usize, numbers: &[f32]) -> Candidate {
        let (x, y, side) = seen.grid.window(i, seen.columns);
        let rect = picture_square(seen.level, seen.left + x, seen.top + y, side);
        let moved = match self.calibrator.own() {
            Some(code @ (Code::Octave | Code::Cells)) => code.apply(&rect, &numbers[seen.grid.logits()..]),
            _ => rect,
        };
        Candidate { moved, pyramid_level: seen.number, ..Candidate::found(rect, seen.grid.logit(numbers)) }
    }

    /// All nets.
    pub(super) fn nets(&mut self) -> impl Iterator<Item = &mut WindowNet> {
        std::iter::once(&mut self.net).chain(self.calibrator.net_of_its_own())
    }

    /// Whether the net that looks at pictures does so in 8 bits.
    pub(super) fn is_int8(&self) -> bool {
        self.net.is_int8()
    }

    /// The nets that run on windows.
    #[cfg(feature = "train")]
    pub(super) fn window_nets(&mut self) -> impl Iterator<Item = &mut WindowNet> {
        self.calibrator.net_of_its_own().into_iter()
    }

    /// The net for a GPU.
    #[cfg(feature = "gpu")]
    pub(super) fn on_gpu(&self, device: &GpuDevice) -> Result<OctaveNet> {
        OctaveNet::new(device, self.net.net(), self.net.weights(), self.settings.threshold, OctaveNet::AT_ONCE)
    }

    /// Takes the windows that a GPU found; false if none looked for them.
    #[cfg(feature = "gpu")]
    fn take_from_gpu(&self, state: &mut State, count: &mut LevelCount) -> bool {
        let State { picture, candidates, buffers, .. } = state;
        if picture.from_gpu.is_empty() {
            return false;
        }
        gpu::read(&picture.from_gpu, &mut buffers.found);
        let mut found = buffers.found.iter().peekable();
        for (number, level) in picture.levels.levels.iter().enumerate() {
            let cells = self.engine().dims(level.height, level.width).unwrap_or(Dims::new(0, 0, 0));
            let seen = Seen { grid: self.grid(), number, level, left: 0.0, top: 0.0, columns: cells.w };
            let first = count.windows;
            count.windows += cells.h * cells.w * self.grid().sizes.len();
            count.multiply_adds += self.engine().multiply_adds(level.height, level.width);
            while let Some(f) = found.next_if(|f| f.window < count.windows) {
                candidates.push(self.window(&seen, f.window - first, &f.numbers));
            }
        }
        true
    }

    #[cfg(not(feature = "gpu"))]
    #[expect(clippy::unused_self, reason = "with the feature `gpu` it is used")]
    fn take_from_gpu(&self, _state: &mut State, _count: &mut LevelCount) -> bool {
        false
    }

    /// Moves windows by what the net, or the calibration net, says of them.
    pub(super) fn calibrate(&self, pictures: &mut [&mut State]) {
        self.calibrator.calibrate(pictures);
    }

    /// Non-maximum suppression within each pyramid level, then across.
    pub(super) fn filter(&self, state: &mut State) {
        let State { candidates, buffers: Buffers { before, suppression, .. }, .. } = state;
        std::mem::swap(candidates, before);
        candidates.clear();
        for level in before.chunk_by(|a, b| a.pyramid_level == b.pyramid_level) {
            let kept = suppression.select(level, self.settings.level_overlap);
            candidates.extend(kept.iter().map(|i| level[*i as usize]));
        }
        state.suppress(self.settings.overlap);
    }

    /// Multiply-adds over a picture of `width` × `height` pixels, without those of a calibration net on windows.
    pub(super) fn multiply_adds(&self, width: usize, height: usize) -> u64 {
        sizes((width, height), self.first_scale, self.settings.step, self.grid().shortest)
            .map(|(w, h)| self.engine().multiply_adds(h, w))
            .sum()
    }
}

/// Where windows go.
struct Windows<'a> {
    /// Those over the threshold.
    candidates: &'a mut Vec<Candidate>,
    /// The others, where a trace asked for them.
    dropped: Option<&'a mut Vec<Candidate>>,
}

/// What a net was run over: a pyramid level or a part of it.
struct Seen<'a> {
    /// The cells of the head that found windows.
    grid: &'a Grid,
    /// Number of the pyramid level, the largest first.
    number: usize,
    level: &'a Level,
    /// Where the part begins, pixels of the level.
    left: f32,
    top: f32,
    /// Cells in a row.
    columns: usize,
}

/// A rectangle of a level, in its pixels.
#[derive(Clone, Copy)]
struct Part {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

impl Part {
    fn whole(level: &Level) -> Self {
        Self { x: 0, y: 0, w: level.width, h: level.height }
    }

    /// What shows `region` (pixels of the picture) and `reach` pixels round it, on the grid of the net's cells; `None` if
    /// that lies outside.
    fn of(level: &Level, region: &Rect, stride: usize, reach: usize) -> Option<Self> {
        let span = |from: f32, length: f32, scale: f32, limit: usize| {
            let (begin, end) = ((from * scale).max(0.0) as usize, ((from + length) * scale).ceil().max(0.0) as usize);
            let begin = begin.saturating_sub(reach) / stride * stride;
            let end = (end + reach).min(limit);
            (begin < end).then(|| (begin, end - begin))
        };
        let (x, w) = span(region.x, region.w, level.scale_x, level.width)?;
        let (y, h) = span(region.y, region.h, level.scale_y, level.height)?;
        Some(Self { x, y, w, h })
    }

    /// Its pixels, and grey behind them up to `h` rows and `w` columns: the level's own if it is the whole, else copied into
    /// `buffer`.
    fn pixels<'a>(&self, level: &'a Level, (h, w): (usize, usize), buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if (w, h) == (level.width, level.height) {
            return &level.pixels;
        }
        buffer.clear();
        for y in self.y..self.y + self.h {
            let start = (y * level.width + self.x) * 3;
            buffer.extend_from_slice(&level.pixels[start..start + self.w * 3]);
            buffer.resize(buffer.len() + (w - self.w) * 3, crops::OUTSIDE as u8);
        }
        buffer.resize(h * w * 3, crops::OUTSIDE as u8);
        buffer
    }
}

/// A square of the level (centre and side in its pixels) in pixels of the picture.
fn picture_square(level: &Level, cx: f32, cy: f32, side: f32) -> Rect {
    // Both scales differ by rounding to whole pixels only.
    let scale = (level.scale_x + level.scale_y) / 2.0;
    Rect::square(cx / level.scale_x, cy / level.scale_y, side / scale)
}
