//! What a picture's pyramids are on the GPU: where each level lies in the one buffer, and the passes that make it.

use std::ops::Range;

use super::filter::FilterTable;
use crate::pyramid::{Level, Plan, Pyramid, cpu};

/// Which shader makes a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `halve.wgsl`
    Halve,
    /// `resize_columns.wgsl`
    Columns,
    /// `resize_rows.wgsl`
    Rows,
}

/// One dispatch: `struct Pass` of `pass.wgsl`, where the fields are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    pub from_byte: usize,
    pub from_width: usize,
    pub to_byte: usize,
    pub width: usize,
    pub length: usize,
    pub weights_at: usize,
    pub taps: usize,
    pub shift: u32,
}

impl Pass {
    fn between(from: &PlacedLevel, to: &PlacedLevel, weights_at: usize, taps: usize, shift: u32) -> Self {
        Self {
            from_byte: from.byte,
            from_width: from.level.width,
            to_byte: to.byte,
            width: to.level.width,
            length: to.bytes().len(),
            weights_at,
            taps,
            shift,
        }
    }

    /// The words that the shader reads.
    pub(super) fn words(&self) -> [u32; 8] {
        let Self { from_byte, from_width, to_byte, width, length, weights_at, taps, shift } = *self;
        [from_byte, from_width, to_byte, width, length, weights_at, taps, shift as usize].map(|v| v as u32)
    }
}

/// A level in the buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedLevel {
    /// Its size and scales; the pixels are on the GPU.
    pub level: Level,
    /// Where its pixels begin, in bytes: at a whole word.
    pub byte: usize,
    /// Number of passes after which the level is done.
    passes: usize,
}

impl PlacedLevel {
    fn size(&self) -> (usize, usize) {
        (self.level.width, self.level.height)
    }

    fn bytes(&self) -> Range<usize> {
        self.byte..self.byte + self.level.width * self.level.height * 3
    }
}

/// The pyramids of all pictures of one size: first the picture, then its halves, then the first net's levels, then room
/// for what lies between the two passes of a resizing.
#[derive(Debug, PartialEq)]
pub struct Layout {
    size: (u32, u32),
    plan: Plan,
    halves: Vec<PlacedLevel>,
    levels: Vec<PlacedLevel>,
    passes: Vec<(Kind, Pass)>,
    weights: Vec<i32>,
    /// Where the halves begin, the levels begin, the levels end, and all ends, in bytes.
    ends: [usize; 4],
}

impl Layout {
    /// For pictures of `size`; `None` if there is nothing to make of them, or more than offsets can tell.
    pub fn new(size: (u32, u32), plan: &Plan) -> Option<Self> {
        let pixels = (size.0 as usize, size.1 as usize);
        let (mut halves, mut levels) = (Pyramid::default(), Pyramid::default());
        halves.outline(pixels, 1.0, 2.0, plan.shortest_half);
        let (shown, source) = halves.source_for(plan.first_scale)?;
        levels.outline(shown, plan.first_scale, plan.step, plan.shortest);

        let mut layout = Self {
            size,
            plan: *plan,
            halves: Vec::new(),
            levels: Vec::new(),
            passes: Vec::new(),
            weights: vec![0],
            ends: [0; 4],
        };
        let mut end = 0;
        let mut place = |level: Level| {
            let byte = end;
            end += (level.width * level.height * 3).next_multiple_of(4);
            PlacedLevel { level, byte, passes: 0 }
        };
        layout.halves = halves.levels.into_iter().map(&mut place).collect();
        layout.levels = levels.levels.into_iter().map(&mut place).collect();
        let first = layout.halves.get(1).or(layout.levels.first())?.byte;
        let between = layout.levels.first().map_or(end, |l| l.byte);
        layout.ends = [first, between, end, end];

        for k in 1..layout.halves.len() {
            layout.halve(layout.halves[k - 1].clone(), layout.halves[k].clone());
            layout.halves[k].passes = layout.passes.len();
        }
        for k in 0..layout.levels.len() {
            let to = layout.levels[k].clone();
            match k.checked_sub(1) {
                Some(above) if plan.step == 2.0 => layout.halve(layout.levels[above].clone(), to),
                Some(above) => layout.resize(layout.levels[above].clone(), to),
                None => layout.resize(layout.halves[source].clone(), to),
            }
            layout.levels[k].passes = layout.passes.len();
        }
        u32::try_from(layout.ends[3]).is_ok().then_some(layout)
    }

    fn halve(&mut self, from: PlacedLevel, to: PlacedLevel) {
        let pass = Pass::between(&from, &to, 0, 0, 1);
        self.passes.push((Kind::Halve, pass));
    }

    /// First the columns, then the rows, as fast_image_resize does with bytes: what lies between is rounded.
    fn resize(&mut self, mut from: PlacedLevel, to: PlacedLevel) {
        let filter = cpu::filter(from.size(), to.size());
        let mut pass = |kind, from: &PlacedLevel, to: &PlacedLevel, lengths: (usize, usize)| {
            let weights = FilterTable::new(lengths.0, lengths.1, filter);
            let pass = Pass::between(from, to, self.weights.len(), weights.taps, weights.shift);
            self.passes.push((kind, pass));
            self.weights.extend(weights.table);
        };
        if from.level.height != to.level.height {
            let mut between = to.clone();
            if from.level.width != to.level.width {
                between.level.width = from.level.width;
                between.byte = self.ends[2];
                self.ends[3] = self.ends[3].max(between.bytes().end.next_multiple_of(4));
            }
            pass(Kind::Columns, &from, &between, (from.level.height, to.level.height));
            from = between;
        }
        // Also where nothing changes: then this is a copy.
        if from.byte != to.byte {
            pass(Kind::Rows, &from, &to, (from.level.width, to.level.width));
        }
    }

    /// Whether this is the layout of pictures of `size`.
    pub(super) fn fits(&self, size: (u32, u32), plan: &Plan) -> bool {
        self.size == size && self.plan == *plan
    }

    /// All dispatches, in order.
    pub fn passes(&self) -> &[(Kind, Pass)] {
        &self.passes
    }

    /// All weights.
    pub fn weights(&self) -> &[i32] {
        &self.weights
    }

    /// The picture and its halves.
    pub fn halves(&self) -> &[PlacedLevel] {
        &self.halves
    }

    /// The first net's levels.
    pub fn levels(&self) -> &[PlacedLevel] {
        &self.levels
    }

    /// Bytes of the buffer.
    pub fn len(&self) -> usize {
        self.ends[3]
    }

    /// Bytes of the picture.
    pub(super) fn picture_bytes(&self) -> usize {
        self.size.0 as usize * self.size.1 as usize * 3
    }

    /// Whether the buffer is empty; it never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is read back: the halves, and the levels if they are wanted.
    pub(super) fn results(&self, levels: bool) -> Range<usize> {
        self.ends[0]..if levels { self.ends[2] } else { self.ends[1] }
    }

    /// The passes that make each level, the picture's halves first.
    pub(super) fn passes_by_level(&self) -> impl Iterator<Item = (&PlacedLevel, Range<usize>)> {
        let mut begin = 0;
        self.halves.iter().skip(1).chain(&self.levels).map(move |place| {
            let passes = begin..place.passes;
            begin = place.passes;
            (place, passes)
        })
    }

    /// Fills the pyramids from what was read back, which begins at byte `from` of the buffer.
    pub(super) fn unpack(
        &self,
        picture: &[u8],
        back: &[u8],
        with_levels: bool,
        halves: &mut Pyramid,
        levels: &mut Pyramid,
    ) {
        let from = self.ends[0];
        let bytes = |place: &PlacedLevel| &back[place.byte - from..place.bytes().end - from];
        halves.refill(self.halves.iter().enumerate().map(|(k, place)| {
            let pixels = if k == 0 { &picture[place.bytes()] } else { bytes(place) };
            (&place.level, pixels)
        }));
        levels.refill(self.levels.iter().map(|place| (&place.level, if with_levels { bytes(place) } else { &[][..] })));
    }
}

#[cfg(test)]
mod tests {
    use super::super::twins;
    use super::*;
    use image::RgbImage;
    use proptest::prelude::*;

    /// The twins, from the picture to both pyramids.
    pub(crate) fn by_twins(picture: &RgbImage, plan: &Plan) -> (Pyramid, Pyramid) {
        let (mut halves, mut levels) = (Pyramid::default(), Pyramid::default());
        if let Some(layout) = Layout::new(picture.dimensions(), plan) {
            let mut pixels = picture.as_raw().clone();
            pixels.resize(layout.len(), 0);
            twins::run(&layout, &mut pixels);
            let back = layout.results(true);
            layout.unpack(picture.as_raw(), &pixels[back], true, &mut halves, &mut levels);
        } else {
            plan.build(picture, &mut halves, &mut levels);
        }
        (halves, levels)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_twins_give_what_the_cpu_path_gives_to_the_last_bit(
            width in 1_u32..90, height in 1_u32..90, seed: u32,
            first_scale in 0.1_f32..1.6, step in prop_oneof![Just(2.0_f32), 1.1_f32..2.5], shortest in 1_usize..10,
        ) {
            let picture = super::super::tests::noise(width, height, seed);
            let plan = Plan { shortest_half: shortest, first_scale, step, shortest };
            let (mut halves, mut levels) = (Pyramid::default(), Pyramid::default());
            plan.build(&picture, &mut halves, &mut levels);
            let twins = by_twins(&picture, &plan);
            prop_assert_eq!(&twins.0.levels, &halves.levels);
            prop_assert_eq!(&twins.1.levels, &levels.levels);
        }
    }

    #[test]
    fn levels_lie_behind_each_other_and_none_on_another() {
        let plan = Plan { shortest_half: 8, first_scale: 0.6, step: 1.26, shortest: 12 };
        let layout = Layout::new((641, 481), &plan).unwrap();
        let mut end = 0;
        for place in layout.halves().iter().chain(layout.levels()) {
            assert!(place.byte >= end && place.byte.is_multiple_of(4));
            end = place.bytes().end;
        }
        assert!(end <= layout.results(true).end && layout.len() >= layout.results(true).end);
        assert_eq!(layout.passes_by_level().map(|(_, passes)| passes.len()).sum::<usize>(), layout.passes().len());
    }
}
