//! What covers leave open: faces of which too little is covered, by size, and covers on no face.

use super::detections::{Box64, Detection, exact, intersection};
use crate::dataset::Annotated;
use crate::geometry::Rect;

/// Share of a face's inner ellipse, the one in its box, from which it counts as covered.
pub const ENOUGH: f64 = 0.7;
/// Heights of faces, pixels: from, below.
pub const SIZES: [(f64, f64); 4] = [(12.0, 20.0), (20.0, 40.0), (40.0, 80.0), (80.0, f64::INFINITY)];
/// Share of the smaller of cover and face that lies in both, from which a cover belongs to a face.
const TOUCHES: f64 = 0.33;
/// Points across the inner ellipse at which it is looked at.
const POINTS: usize = 32;

/// Leaks on a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaks {
    /// Faces, by [`SIZES`].
    pub faces: [usize; 4],
    /// Those of them that are open.
    pub open: [usize; 4],
    /// Covers that belong to no face.
    pub wrong: usize,
    /// Pictures, or frames.
    pub pictures: usize,
}

impl Leaks {
    /// The share of faces of each size that is open, 0..1; 0 where there are none.
    pub fn rates(&self) -> [f64; 4] {
        std::array::from_fn(|i| self.open[i] as f64 / self.faces[i].max(1) as f64)
    }

    /// Covers on no face, a picture.
    pub fn wrong_each(&self) -> f64 {
        self.wrong as f64 / self.pictures.max(1) as f64
    }

    /// Adds a picture: `faces` that count, `others` that do not but are faces, and the covers' boxes, whose ellipses are grown
    /// by `margin` of their longer side. Gives the faces that are open.
    pub fn add(&mut self, faces: &[Box64], others: &[Box64], covers: &[Box64], margin: f64) -> Vec<Box64> {
        self.pictures += 1;
        let mut open = Vec::new();
        for face in faces {
            let Some(size) = SIZES.iter().position(|(from, below)| (*from..*below).contains(&face[3])) else {
                continue;
            };
            self.faces[size] += 1;
            if covered(face, covers, margin) < ENOUGH {
                self.open[size] += 1;
                open.push(*face);
            }
        }
        let touches = |cover: &Box64, face: &Box64| {
            intersection(cover, face) >= TOUCHES * (cover[2] * cover[3]).min(face[2] * face[3])
        };
        self.wrong +=
            covers.iter().filter(|cover| !faces.iter().chain(others).any(|face| touches(cover, face))).count();
        open
    }
}

/// The leaks on `pictures`, of which `found` was covered.
pub fn leaks(pictures: &[Annotated], found: &[Vec<Detection>], margin: f64) -> Leaks {
    let mut leaks = Leaks::default();
    for (picture, found) in pictures.iter().zip(found) {
        let of = |invalid: bool| -> Vec<Box64> {
            picture.faces.iter().filter(|f| f.invalid == invalid).map(|f| exact(&f.rect)).collect()
        };
        let covers: Vec<Box64> = found.iter().map(|d| d.rect).collect();
        leaks.add(&of(false), &of(true), &covers, margin);
    }
    leaks
}

/// The share of the ellipse in `face` that lies in the covers' ellipses, 0..1.
pub fn covered(face: &Box64, covers: &[Box64], margin: f64) -> f64 {
    let near: Vec<&Box64> = covers
        .iter()
        .filter(|c| {
            let more = margin * c[2].max(c[3]);
            intersection(face, &[c[0] - more, c[1] - more, c[2] + 2.0 * more, c[3] + 2.0 * more]) > 0.0
        })
        .collect();
    let (mut inside, mut hidden) = (0, 0);
    let step = |i: usize| (i as f64 + 0.5) / POINTS as f64 * 2.0 - 1.0;
    for row in 0..POINTS {
        for column in 0..POINTS {
            let (u, v) = (step(column), step(row));
            if u * u + v * v >= 1.0 {
                continue;
            }
            inside += 1;
            let (x, y) = (face[0] + face[2] * (u + 1.0) / 2.0, face[1] + face[3] * (v + 1.0) / 2.0);
            let covers = |c: &&&Box64| {
                let more = margin * c[2].max(c[3]);
                let dx = (x - c[0] - c[2] / 2.0) / (c[2] / 2.0 + more);
                let dy = (y - c[1] - c[3] / 2.0) / (c[3] / 2.0 + more);
                dx * dx + dy * dy <= 1.0
            };
            hidden += usize::from(near.iter().any(|c| covers(&c)));
        }
    }
    f64::from(hidden as u32) / f64::from(inside)
}

/// A rectangle as the figures take it.
pub fn boxed(rect: &Rect) -> Box64 {
    exact(rect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_face_is_covered_by_its_own_box_and_open_beside_it() {
        let face = [10.0, 10.0, 40.0, 50.0];
        assert_eq!(covered(&face, &[face], 0.0), 1.0);
        assert_eq!(covered(&face, &[], 0.3), 0.0);
        let half = covered(&face, &[[10.0, 10.0 - 25.0, 40.0, 50.0]], 0.0);
        assert!((0.3..0.5).contains(&half), "{half}");
        // Two covers together, and a margin.
        assert!(covered(&face, &[[10.0, -10.0, 40.0, 50.0], [10.0, 30.0, 40.0, 50.0]], 0.1) > 0.8);
        assert!(covered(&face, &[[18.0, 18.0, 24.0, 30.0]], 0.3) > ENOUGH);
        assert!(covered(&face, &[[18.0, 18.0, 24.0, 30.0]], 0.0) < ENOUGH);
    }

    #[test]
    fn leaks_are_counted_by_size_and_covers_on_no_face_once() {
        let mut leaks = Leaks::default();
        let faces = [[0.0, 0.0, 10.0, 13.0], [100.0, 0.0, 30.0, 40.0], [200.0, 0.0, 70.0, 90.0], [0.0, 90.0, 5.0, 6.0]];
        let ignored = [[300.0, 0.0, 30.0, 30.0]];
        let covers = [[100.0, 0.0, 30.0, 40.0], [300.0, 0.0, 30.0, 30.0], [400.0, 200.0, 20.0, 20.0]];
        let open = leaks.add(&faces, &ignored, &covers, 0.2);
        assert_eq!((leaks.faces, leaks.open, leaks.wrong), ([1, 0, 1, 1], [1, 0, 0, 1], 1));
        assert_eq!(open, [faces[0], faces[2]]);
        assert_eq!(leaks.rates(), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(leaks.wrong_each(), 1.0);
    }
}
