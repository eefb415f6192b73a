//! The faces that samples are drawn round.

use rand::Rng;
use rand::rngs::StdRng;

use super::pictures::{Picture, is_clear};
use crate::dataset::Truth;
use crate::geometry::Rect;

/// How often a face that is turned or covered is drawn, where another one is drawn once: these are missed most.
const RARE: f64 = 2.5;

/// Faces, each with its share of the draws: less in a crowd, more for an atypical pose or a face that is
/// partly covered.
#[derive(Debug)]
pub(crate) struct Faces<'a> {
    list: Vec<(&'a Picture, &'a Rect)>,
    cumulative: Vec<f64>,
}

impl<'a> Faces<'a> {
    /// Takes the clear faces of `pictures` to which `weight` gives a number over 0, and draws them in proportion to it.
    pub(crate) fn new(pictures: &'a [Picture], weight: impl Fn(&Truth) -> f64) -> Self {
        let (mut list, mut cumulative, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for picture in pictures {
            let clear = picture.faces.iter().filter(|face| is_clear(face));
            let weighted: Vec<_> = clear.map(|face| (face, weight(face))).filter(|(_, weight)| *weight > 0.0).collect();
            let crowd = (8.0 / weighted.len() as f64).sqrt().min(1.0);
            for (face, weight) in weighted {
                let rare = face.pose_atypical || face.occlusion > 0;
                sum += crowd * if rare { RARE } else { 1.0 } * weight;
                list.push((picture, &face.rect));
                cumulative.push(sum);
            }
        }
        Self { list, cumulative }
    }

    /// Returns whether there is no face.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Draws a face and its picture.
    ///
    /// # Panics
    /// If there is no face.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> (&'a Picture, &'a Rect) {
        let at = rng.random_range(0.0..self.cumulative.last().copied().unwrap_or(1.0));
        self.list[self.cumulative.partition_point(|c| *c < at).min(self.list.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn faces_are_drawn_in_proportion_to_their_weights() {
        let face =
            |h: f32, pose_atypical| Truth { rect: Rect::new(0.0, 0.0, 10.0, h), pose_atypical, ..Truth::default() };
        let faces = vec![face(10.0, false), face(20.0, false), face(40.0, true)];
        let picture = Picture { pyramid: crate::pyramid::Pyramid::default(), faces, partly_marked: false };
        let pictures = [picture];
        let list = Faces::new(&pictures, |face| if face.rect.h < 15.0 { 0.0 } else { f64::from(face.rect.h) / 20.0 });
        let mut rng = StdRng::seed_from_u64(1);
        let mut drawn = [0.0; 2];
        for _ in 0..6000 {
            drawn[usize::from(list.draw(&mut rng).1.h > 30.0)] += 1.0 / 6000.0;
        }
        // 1 for the smaller, 2 × 2.5 for the larger, whose pose is atypical.
        assert!((drawn[0] - 1.0 / 6.0_f64).abs() < 0.02 && (drawn[1] - 5.0 / 6.0_f64).abs() < 0.02, "{drawn:?}");
    }
}
