//! Counts the faces found and missed at one score, by size and by the labels of the set: pose, occlusion, blur, light.

use super::detections::Detection;
use super::matching::{self, Label, counts};
use super::report::SIZES;
use crate::dataset::{Annotated, Truth};

/// What faces are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// Height of the box, in the ranges of [`SIZES`].
    Size,
    /// Typical or atypical: turned or tilted far.
    Pose,
    /// None, partial or heavy.
    Occlusion,
    /// None, normal or heavy.
    Blur,
    /// Normal or extreme.
    Light,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Size, Self::Pose, Self::Occlusion, Self::Blur, Self::Light];

    /// Returns its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Pose => "pose",
            Self::Occlusion => "occlusion",
            Self::Blur => "blur",
            Self::Light => "light",
        }
    }

    /// Returns the names of its values, in order.
    pub fn values(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Size => {
                let range = |i: usize| match SIZES.get(i + 1) {
                    Some(below) => format!("{}–{below}", SIZES[i]),
                    None => format!("{}+", SIZES[i]),
                };
                return (0..SIZES.len()).map(range).collect();
            }
            Self::Pose => &["typical", "atypical"],
            Self::Occlusion => &["none", "partial", "heavy"],
            Self::Blur => &["clear", "normal", "heavy"],
            Self::Light => &["normal", "extreme"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Returns the index of a face's value; `None` for a face smaller than all sizes.
    fn of(self, face: &Truth) -> Option<usize> {
        match self {
            Self::Size => SIZES.iter().rposition(|&from| f64::from(face.rect.h) >= from),
            Self::Pose => Some(usize::from(face.pose_atypical)),
            Self::Occlusion => Some(usize::from(face.occlusion.min(2))),
            Self::Blur => Some(usize::from(face.blur.min(2))),
            Self::Light => Some(usize::from(face.light_extreme)),
        }
    }
}

/// Faces of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoundCount {
    /// Faces that count.
    pub faces: usize,
    /// Those of them that were found.
    pub found: usize,
}

impl FoundCount {
    /// Returns how many were not found.
    pub fn missed(&self) -> usize {
        self.faces - self.found
    }

    /// Returns the share that was found, 0..1; 0 without faces.
    pub fn recall(&self) -> f64 {
        if self.faces == 0 { 0.0 } else { self.found as f64 / self.faces as f64 }
    }

    fn add(&mut self, found: bool) {
        self.faces += 1;
        self.found += usize::from(found);
    }
}

/// What a detector found on a set at one score.
#[derive(Debug, Clone, PartialEq)]
pub struct ByLabel {
    /// Least score of the detections that count.
    pub score: f64,
    /// Least height of the faces that count, pixels; by size, all from the least of [`SIZES`] on count.
    pub least_height: f64,
    /// All faces that count.
    pub all: FoundCount,
    /// Detections that are false alarms.
    pub false_alarms: usize,
    /// For each attribute that was asked for, the counts of its values, in the order of [`Attribute::values`].
    pub rows: Vec<(Attribute, Vec<FoundCount>)>,
}

/// What became of the faces and detections of one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FoundFaces {
    /// Whether each face was found.
    pub found: Vec<bool>,
    /// How many detections are false alarms, none lower than the least height.
    pub false_alarms: usize,
}

/// Finds out which of a picture's `faces` are found by `detections` (best first) of at least this score, by WIDER's protocol. Faces
/// count from `least_height` pixels on, or from the least of [`SIZES`] if that is less.
pub fn found_faces(faces: &[Truth], detections: &[Detection], score: f64, least_height: f64) -> FoundFaces {
    let above = detections.partition_point(|d| d.score >= score);
    let mut result = FoundFaces { found: vec![false; faces.len()], false_alarms: 0 };
    // Faces of all heights that are listed by size may be taken, so that no two tables disagree about one face.
    for (label, detection) in
        matching::wider(faces, &detections[..above], least_height.min(SIZES[0])).into_iter().zip(detections)
    {
        match label {
            Label::Hit(face) => result.found[face] = true,
            Label::FalseAlarm => result.false_alarms += usize::from(detection.rect[3] >= least_height),
            Label::Ignored => {}
        }
    }
    result
}

/// Returns whether a face counts among all: not marked invalid, and at least this high.
pub fn is_counted(face: &Truth, least_height: f64) -> bool {
    counts(face, least_height)
}

/// Counts the faces found at a score by `attributes`; `found` holds each picture's detections, best first.
pub fn by_label(
    pictures: &[Annotated],
    found: &[Vec<Detection>],
    score: f64,
    least_height: f64,
    attributes: &[Attribute],
) -> ByLabel {
    let rows = attributes.iter().map(|&a| (a, vec![FoundCount::default(); a.values().len()])).collect();
    let mut result = ByLabel { score, least_height, all: FoundCount::default(), false_alarms: 0, rows };
    for (picture, detections) in pictures.iter().zip(found) {
        let FoundFaces { found, false_alarms } = found_faces(&picture.faces, detections, score, least_height);
        result.false_alarms += false_alarms;
        for (face, found) in picture.faces.iter().zip(found).filter(|(face, _)| !face.invalid) {
            let counted = is_counted(face, least_height);
            if counted {
                result.all.add(found);
            }
            for (attribute, counts) in &mut result.rows {
                if counted || *attribute == Attribute::Size {
                    attribute.of(face).into_iter().for_each(|value| counts[value].add(found));
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    fn face(x: f32, side: f32) -> Truth {
        Truth { rect: Rect::new(x, 0.0, side, side), ..Truth::default() }
    }

    fn on(face: &Truth, score: f64) -> Detection {
        Detection { rect: super::super::detections::exact(&face.rect), score }
    }

    #[test]
    fn each_face_is_counted_once_for_each_attribute_and_small_or_invalid_ones_only_where_they_belong() {
        let faces = vec![
            Truth { blur: 2, light_extreme: true, ..face(0.0, 30.0) },
            Truth { pose_atypical: true, occlusion: 1, ..face(100.0, 90.0) },
            face(300.0, 12.0),
            Truth { invalid: true, ..face(400.0, 40.0) },
            face(500.0, 8.0),
        ];
        let mut found: Vec<Detection> = vec![on(&faces[1], 0.9), on(&faces[2], 0.8), on(&faces[3], 0.7)];
        found.extend([on(&face(700.0, 50.0), 0.6), on(&face(800.0, 15.0), 0.5), on(&faces[0], 0.2)]);
        let picture = Annotated { image: "a".into(), name: "a".into(), width: 900, height: 99, faces };
        let counts = by_label(&[picture], &[found], 0.3, 20.0, &Attribute::ALL);
        let count = |faces, found| FoundCount { faces, found };
        // The one of 15 pixels is on no face, but lower than the faces that count.
        assert_eq!((counts.all, counts.false_alarms), (count(2, 1), 1));
        let row = |attribute| counts.rows.iter().find(|(a, _)| *a == attribute).unwrap().1.clone();
        let size = row(Attribute::Size);
        assert_eq!((size[0], size[3], size[5]), (count(1, 1), count(1, 0), count(1, 1)));
        assert_eq!(row(Attribute::Pose), [count(1, 0), count(1, 1)]);
        assert_eq!(row(Attribute::Occlusion), [count(1, 0), count(1, 1), count(0, 0)]);
        assert_eq!(row(Attribute::Blur), [count(1, 1), count(0, 0), count(1, 0)]);
        assert_eq!(row(Attribute::Light), [count(1, 1), count(1, 0)]);
        assert_eq!((counts.all.missed(), counts.all.recall(), count(0, 0).recall()), (1, 0.5, 0.0));
    }

    #[test]
    fn a_second_box_on_a_face_is_a_false_alarm_and_not_a_second_face() {
        let faces = [face(0.0, 40.0)];
        let found = [on(&faces[0], 0.9), on(&faces[0], 0.8)];
        let result = found_faces(&faces, &found, 0.0, 20.0);
        assert_eq!(result, FoundFaces { found: vec![true], false_alarms: 1 });
    }
}
