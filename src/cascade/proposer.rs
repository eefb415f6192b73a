//! Level 1: a net run fully convolutionally over every level of the pyramid. One type for two kinds of net: the
//! octave net (three sizes a cell, pyramid step 2) and the article's 12-net (one size, step 1.26).

use super::calibrator::{Calibrator, Code};
use super::settings::ProposerSettings;
use super::work::{Work, face_logit};
use super::{Candidate, LevelCount, crops};
use crate::error::{Error, Result};
use crate::geometry::Rect;
use crate::nets::cpu::Engine;
#[cfg(feature = "gpu")]
use crate::nets::gpu::{self, OctaveNet};
#[cfg(feature = "gpu")]
use crate::nets::spec::Dims;
use crate::nets::spec::Output;
use crate::nets::windows::WindowNet;
#[cfg(feature = "gpu")]
use crate::pyramid::gpu::GpuDevice;
use crate::pyramid::{Level, Plan, sizes};

/// The octave net finds faces of this side to twice this side, pixels of its level.
pub const OCTAVE_FACE: f32 = 12.0;
/// Sides of the octave net's three windows in each cell, pixels of its level: 12 · 2^(1/6), 12 · 2^(3/6), 12 · 2^(5/6).
pub const OCTAVE_SIZES: [f32; 3] = [13.469_545, 16.970_563, 21.381_567];
/// Numbers of the octave head for each of its sizes: logit, dx, dy, ln s.
const OCTAVE_NUMBERS: usize = 4;
/// The pyramid ends where its shorter side would be less, pixels.
const OCTAVE_SHORTEST: usize = 8;

/// The centre of the octave net's cell `i` along an axis, pixels of its level (continuous): (i, j) → (4 j + .5, 4 i + .5).
pub fn octave_center(i: usize) -> f32 {
    4.0 * i as f32 + 0.5
}

/// The first level.
#[derive(Debug)]
pub(super) struct Proposer {
    net: WindowNet,
    calibrator: Calibrator,
    settings: ProposerSettings,
    octave: bool,
    /// Scale of the first pyramid level.
    first_scale: f32,
    shortest: usize,
}

impl Proposer {
    /// `load` makes a net by name.
    pub(super) fn new(
        settings: &ProposerSettings,
        min_face: f32,
        load: impl Fn(&str) -> Result<WindowNet>,
    ) -> Result<Self> {
        let loaded = load(&settings.net)?;
        let net = loaded.net();
        let octave = net.head(Output::Octave).is_some();
        if !octave && net.head(Output::Face).is_none() {
            let reason = "it has neither an octave nor a face head, and so can't be the proposer".to_string();
            return Err(Error::Net { net: settings.net.clone(), reason });
        }
        let (face, shortest) = if octave { (OCTAVE_FACE, OCTAVE_SHORTEST) } else { (net.side as f32, net.side) };
        let calibrator = Calibrator::new(net, settings.calibration, settings.calibration_net.as_deref(), load)?;
        let first_scale = face / min_face;
        Ok(Self { net: loaded, calibrator, settings: settings.clone(), octave, first_scale, shortest })
    }

    /// It runs over whole levels, which only the CPU's engine can.
    fn engine(&self) -> &Engine {
        self.net.cpu()
    }

    /// All windows of all levels over the threshold, where the cells lie.
    pub(super) fn find(&self, work: &mut Work) {
        work.counts.push(LevelCount::default());
        work.candidates.clear();
        work.codes.clear();
        work.ends.clear();
        let levels = std::mem::take(&mut work.levels);
        let within = work.within.take();
        #[cfg(feature = "gpu")]
        if self.found_on_gpu(&levels.levels, work) {
            work.levels = levels;
            return;
        }
        for (i, level) in levels.levels.iter().enumerate() {
            match &within {
                Some(regions) if i == 0 => {
                    for part in regions.iter().filter_map(|r| Part::of(level, r, self.engine().stride(), self.reach()))
                    {
                        self.find_in(level, part, work);
                    }
                }
                _ => self.find_in(level, Part::whole(level), work),
            }
            work.ends.push(work.candidates.len());
        }
        work.levels = levels;
    }

    /// How far round a face the net looks, pixels of the level.
    fn reach(&self) -> usize {
        if self.octave { 2 * OCTAVE_FACE as usize } else { self.net.net().side }
    }

    /// The pyramids: the picture and its halves for crops, and from these the proposer's own.
    pub(super) fn plan(&self) -> Plan {
        let Self { first_scale, shortest, .. } = *self;
        Plan { shortest_half: crops::SHORTEST, first_scale, step: self.settings.step, shortest }
    }

    fn find_in(&self, level: &Level, part: Part, work: &mut Work) {
        let Part { x: left, y: top, w, h } = part;
        let pixels = part.pixels(level, &mut work.part);
        let Some(cells) = self.engine().trunk_rgb(pixels, 1, h, w, &mut work.scratch.cpu) else { return };
        let (left, top) = (left as f32, top as f32);
        work.count(self.engine().multiply_adds(h, w));
        let head = if self.octave { Output::Octave } else { Output::Face };
        let outputs = self.engine().head(head, None, &mut work.scratch.cpu);
        let numbers = outputs.len() / (cells.h * cells.w).max(1);
        work.rows.clear();
        let mut looked_at = 0;
        for (i, outputs) in outputs.chunks_exact(numbers.max(1)).enumerate() {
            let (column, row) = (i % cells.w, i / cells.w);
            if self.octave {
                looked_at += OCTAVE_SIZES.len();
                for (size, numbers) in OCTAVE_SIZES.iter().zip(outputs.chunks_exact(OCTAVE_NUMBERS)) {
                    if numbers[0] > self.settings.threshold {
                        let (x, y) = (left + octave_center(column), top + octave_center(row));
                        work.candidates.push(octave_window(level, (x, y), *size, numbers));
                        work.codes.extend(&numbers[1..]);
                    }
                }
            } else {
                looked_at += 1;
                let logit = face_logit(outputs);
                if logit > self.settings.threshold {
                    let (side, stride) = (self.net.net().side as f32, self.engine().stride() as f32);
                    let center = |i: usize| i as f32 * stride + side / 2.0;
                    let rect = picture_square(level, left + center(column), top + center(row), side);
                    work.candidates.push(Candidate::found(rect, logit));
                    work.rows.push(i);
                }
            }
        }
        if let Some(count) = work.counts.last_mut() {
            count.windows += looked_at;
        }
        // The cells' own calibration, where a net of one size has a head for it.
        if let Some(code) = self.calibrator.own().filter(|c| *c != Code::Octave && !work.rows.is_empty()) {
            let all = self.engine().head(code.output(), None, &mut work.scratch.cpu);
            for cell in &work.rows {
                work.codes.extend(&all[cell * code.len()..(cell + 1) * code.len()]);
            }
        }
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

    /// Takes the windows that a GPU found, if one did.
    #[cfg(feature = "gpu")]
    fn found_on_gpu(&self, levels: &[Level], work: &mut Work) -> bool {
        if work.behind.is_empty() {
            return false;
        }
        let mut list = std::mem::take(&mut work.found);
        gpu::read(&work.behind, &mut list);
        let mut found = list.iter().peekable();
        let (mut first, mut multiply_adds) = (0, 0);
        for level in levels {
            let cells = self.engine().dims(level.height, level.width).unwrap_or(Dims::new(0, 0, 0));
            while let Some(f) = found.next_if(|f| f.cell < first + cells.h * cells.w) {
                let (column, row) = ((f.cell - first) % cells.w, (f.cell - first) / cells.w);
                let center = (octave_center(column), octave_center(row));
                work.candidates.push(octave_window(level, center, OCTAVE_SIZES[f.size], &f.numbers));
                work.codes.extend(&f.numbers[1..]);
            }
            first += cells.h * cells.w;
            multiply_adds += self.engine().multiply_adds(level.height, level.width);
            work.ends.push(work.candidates.len());
        }
        work.found = list;
        work.count(multiply_adds);
        if let Some(count) = work.counts.last_mut() {
            count.windows += first * OCTAVE_SIZES.len();
        }
        true
    }

    /// Moves windows by what the net, or the calibration net, says of them.
    pub(super) fn calibrate(&self, works: &mut [&mut Work]) {
        self.calibrator.calibrate(works);
    }

    /// Non-maximum suppression within each level, then across.
    pub(super) fn filter(&self, work: &mut Work) {
        work.filtered.clear();
        let mut begin = 0;
        for &end in &work.ends {
            let level = &work.candidates[begin..end];
            let kept = work.suppressor.select(level, self.settings.level_overlap);
            work.filtered.extend(kept.iter().map(|i| level[*i as usize]));
            begin = end;
        }
        std::mem::swap(&mut work.candidates, &mut work.filtered);
        work.suppress(self.settings.overlap);
    }

    /// Multiply-adds over a picture of `width` × `height` pixels, without those of a calibration net on windows.
    pub(super) fn multiply_adds(&self, width: usize, height: usize) -> u64 {
        sizes((width, height), self.first_scale, self.settings.step, self.shortest)
            .map(|(w, h)| self.engine().multiply_adds(h, w))
            .sum()
    }
}

/// A window of the octave net: its centre and size, pixels of the level, and what the net says of it.
fn octave_window(level: &Level, (x, y): (f32, f32), size: f32, numbers: &[f32]) -> Candidate {
    Candidate::found(picture_square(level, x, y, size), numbers[0])
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

    /// Its pixels: the level's own if it is the whole, else copied into `buffer`.
    fn pixels<'a>(&self, level: &'a Level, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if (self.w, self.h) == (level.width, level.height) {
            return &level.pixels;
        }
        buffer.clear();
        for y in self.y..self.y + self.h {
            let start = (y * level.width + self.x) * 3;
            buffer.extend_from_slice(&level.pixels[start..start + self.w * 3]);
        }
        buffer
    }
}

/// A square of the level (centre and side in its pixels) in pixels of the picture.
fn picture_square(level: &Level, cx: f32, cy: f32, side: f32) -> Rect {
    // Both scales differ by rounding to whole pixels only.
    let scale = (level.scale_x + level.scale_y) / 2.0;
    Rect::square(cx / level.scale_x, cy / level.scale_y, side / scale)
}
