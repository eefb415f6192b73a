//! Sets text in the built-in font. What a line of text needs of the font is kept: a live run writes nearly the same letters into
//! every frame, and reading them out of the font takes longer than all else that is drawn.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    // The font is built into the program, and a test parses it.
    FontRef::try_from_slice(dejavu::sans::bold()).unwrap_or_else(|_| unreachable!("the built-in font is whole"))
});

/// Entries that are kept of each kind: more than all letters of a run have, and no end of them at changing sizes.
const MOST_KEPT: usize = 4096;

thread_local! {
    static LETTERS: RefCell<Letters> = RefCell::default();
}

/// What was read of the font. Heights and parts of pixels are told apart by their bits.
#[derive(Default)]
struct Letters {
    glyphs: HashMap<(char, u32), (GlyphId, f32)>,
    kerning: HashMap<(GlyphId, GlyphId, u32), f32>,
    shapes: HashMap<(GlyphId, u32, u32), Option<Rc<Shape>>>,
}

/// Which share of each pixel a letter covers.
#[derive(Debug)]
pub(super) struct Shape {
    /// Where the first of these pixels lies from the pen's pixel on the base line.
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) width: usize,
    /// Line by line, 0..1.
    pub(super) cover: Vec<f32>,
}

impl Letters {
    fn glyph(&mut self, letter: char, height: f32) -> (GlyphId, f32) {
        *kept(&mut self.glyphs, (letter, height.to_bits()), || {
            let font = FONT.as_scaled(PxScale::from(height));
            let id = font.glyph_id(letter);
            (id, font.h_advance(id))
        })
    }

    fn kern(&mut self, first: GlyphId, second: GlyphId, height: f32) -> f32 {
        *kept(&mut self.kerning, (first, second, height.to_bits()), || {
            FONT.as_scaled(PxScale::from(height)).kern(first, second)
        })
    }

    /// The glyph with the pen at `part` of a pixel; `None` of a space.
    fn shape(&mut self, id: GlyphId, height: f32, part: f32) -> Option<Rc<Shape>> {
        kept(&mut self.shapes, (id, height.to_bits(), part.to_bits()), || {
            let glyph = id.with_scale_and_position(PxScale::from(height), point(part, 0.0));
            let outlined = FONT.outline_glyph(glyph)?;
            let bounds = outlined.px_bounds();
            let width = bounds.width() as usize;
            let mut cover = vec![0.0; width * bounds.height() as usize];
            outlined.draw(|x, y, share| {
                if let Some(pixel) = cover.get_mut(y as usize * width + x as usize) {
                    *pixel = share.min(1.0);
                }
            });
            Some(Rc::new(Shape { left: bounds.min.x as i64, top: bounds.min.y as i64, width, cover }))
        })
        .clone()
    }

    /// Places the letters of a line of text, and gives its width, too.
    fn layout(&mut self, text: &str, height: f32) -> (Vec<(GlyphId, f32)>, f32) {
        let mut pen = 0.0;
        let mut last = None;
        let mut placed = Vec::with_capacity(text.len());
        for letter in text.chars() {
            let (id, advance) = self.glyph(letter, height);
            if let Some(last) = last {
                pen += self.kern(last, id, height);
            }
            placed.push((id, pen));
            pen += advance;
            last = Some(id);
        }
        (placed, pen)
    }
}

fn kept<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, read: impl FnOnce() -> V) -> &V {
    if map.len() >= MOST_KEPT && !map.contains_key(&key) {
        map.clear();
    }
    map.entry(key).or_insert_with(read)
}

/// Returns the width of a line of text that is `height` pixels high, pixels.
pub(super) fn width(text: &str, height: f32) -> f32 {
    LETTERS.with_borrow_mut(|letters| letters.layout(text, height).1)
}

/// How far the base line lies under the top of a line that is `height` pixels high, pixels.
pub(super) fn ascent(height: f32) -> f32 {
    FONT.as_scaled(PxScale::from(height)).ascent()
}

/// Gives each letter's shape, and the pen's pixel from the beginning of the line.
pub(super) fn each(text: &str, height: f32, mut put: impl FnMut(&Shape, i64)) {
    LETTERS.with_borrow_mut(|letters| {
        for (id, pen) in letters.layout(text, height).0 {
            let whole = pen.floor();
            if let Some(shape) = letters.shape(id, height, pen - whole) {
                put(&shape, whole as i64);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_letters_are_those_of_the_font() {
        for _ in 0..2 {
            for (text, height) in [("p95 12.3  max 4.5 ms", 13.0), ("#7  0.93", 20.0), ("äV Ta", 31.0)] {
                let font = FONT.as_scaled(PxScale::from(height));
                let (mut pen, mut last) = (0.0, None);
                let mut shapes = Vec::new();
                each(text, height, |shape, at| shapes.push((shape.left + at, shape.cover.clone())));
                let mut shapes = shapes.into_iter();
                for letter in text.chars() {
                    let id = font.glyph_id(letter);
                    pen += last.map_or(0.0, |last| font.kern(last, id));
                    if let Some(outlined) =
                        FONT.outline_glyph(id.with_scale_and_position(PxScale::from(height), point(pen, 0.0)))
                    {
                        let (left, cover) = shapes.next().unwrap();
                        assert_eq!(left, outlined.px_bounds().min.x as i64, "{letter}");
                        let columns = outlined.px_bounds().width() as usize;
                        outlined.draw(|x, y, share| {
                            let kept = cover[y as usize * columns + x as usize];
                            assert!((kept - share.min(1.0)).abs() < 2e-3, "{letter} at {x}, {y}: {kept}, {share}");
                        });
                    }
                    pen += font.h_advance(id);
                    last = Some(id);
                }
                assert!(shapes.next().is_none() && (width(text, height) - pen).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn no_end_of_heights_takes_no_end_of_memory() {
        for step in 0..2 * MOST_KEPT {
            width("a", 10.0 + step as f32 / 1000.0);
        }
        assert!(LETTERS.with_borrow(|letters| letters.glyphs.len()) <= MOST_KEPT);
    }
}
