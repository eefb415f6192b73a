//! MTFL: crops of single faces with five landmarks, smile and pose.

use std::path::Path;

use super::{Annotated, Split, Truth, folder_of, rect_of, table};
use crate::error::{Error, Result};
use crate::geometry::Rect;

#[derive(serde::Deserialize)]
struct CropRow {
    split: String,
    image: String,
    smile: u8,
    pose: u8,
    lx1: f32,
    ly1: f32,
    lx2: f32,
    ly2: f32,
    lx3: f32,
    ly3: f32,
    lx4: f32,
    ly4: f32,
    lx5: f32,
    ly5: f32,
    size: u32,
}

/// Estimates the upright box that WIDER's annotators would draw round a face with these landmarks (eyes, nose tip, mouth
/// corners, in the order of [`Truth::landmarks`]). The constants were fitted to 520 unoccluded WIDER faces of 70 pixels and
/// more. The landmarks of both eyes and of the mouth must not all coincide.
pub fn box_from_landmarks(landmarks: &[(f32, f32); 5]) -> Rect {
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = *landmarks;
    let middle = |a: (f32, f32), b: (f32, f32)| ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
    let eyes = middle(left_eye, right_eye);
    let mouth = middle(left_mouth, right_mouth);
    let length = (mouth.0 - eyes.0).hypot(mouth.1 - eyes.1);
    // In a profile, the middle of the eyes and that of the mouth may coincide: the face is then taken as upright.
    let down = if length > 0.0 { ((mouth.0 - eyes.0) / length, (mouth.1 - eyes.1) / length) } else { (0.0, 1.0) };
    let right = (down.1, -down.0);
    let unit = length.max((right_eye.0 - left_eye.0).hypot(right_eye.1 - left_eye.1));
    let centre = middle(eyes, mouth);
    let turn = ((nose.0 - centre.0) * right.0 + (nose.1 - centre.1) * right.1) / unit;
    let aside = (-1.4 * turn).clamp(-0.5, 0.5) * unit;
    let mean = landmarks.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / 5.0, sum.1 + p.1 / 5.0));
    let cx = mean.0 + aside * right.0 - 0.22 * unit * down.0;
    let cy = mean.1 + aside * right.1 - 0.22 * unit * down.1;
    let h = 2.8 * unit;
    let w = 0.73 * h;
    Rect::new(cx - w / 2.0, cy - h / 2.0, w, h)
}

/// Reads the square crops of one split (train or test), with one face each, whose box is computed from its landmarks. `data`
/// holds `mtfl/`, or is that folder.
///
/// # Errors
/// If the split has no row, or a row can't be read. The error names file and line.
pub fn read(data: &Path, split: Split) -> Result<Vec<Annotated>> {
    let folder = folder_of(data, "mtfl", &["annotations.csv"])?;
    let annotations = folder.join("annotations.csv");
    let mut list = Vec::new();
    table::for_each(&annotations, |row: CropRow| {
        if row.split != split.name() {
            return Ok(());
        }
        let landmarks =
            [(row.lx1, row.ly1), (row.lx2, row.ly2), (row.lx3, row.ly3), (row.lx4, row.ly4), (row.lx5, row.ly5)];
        let rect = box_from_landmarks(&landmarks);
        let face = Truth {
            rect: rect_of([rect.x, rect.y, rect.w, rect.h])?,
            pose_atypical: matches!(row.pose, 1 | 5),
            pose: Some(row.pose),
            smile: Some(row.smile != 0),
            landmarks: Some(landmarks),
            ..Truth::default()
        };
        list.push(Annotated {
            image: folder.join(&row.image),
            name: row.image,
            width: row.size,
            height: row.size,
            faces: vec![face],
        });
        Ok(())
    })?;
    if list.is_empty() {
        return Err(Error::data(annotations, format!("has no row of split {}", split.name())));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::research_data;

    #[test]
    fn an_upright_frontal_face_gives_the_box_of_the_formula() {
        let rect = box_from_landmarks(&[(40.0, 50.0), (60.0, 50.0), (50.0, 60.0), (42.0, 70.0), (58.0, 70.0)]);
        // u = 20, centre = (50, 60 − 4.4), h = 56, w = 40.88
        let expected = Rect::new(50.0 - 20.44, 55.6 - 28.0, 40.88, 56.0);
        assert!(rect.iou(&expected) > 0.9999, "{rect:?}");
    }

    #[test]
    fn a_nose_to_the_right_moves_the_box_to_the_left() {
        let rect = box_from_landmarks(&[(40.0, 50.0), (60.0, 50.0), (55.0, 60.0), (42.0, 70.0), (58.0, 70.0)]);
        // turn 0.25: the mean moves right by 1, the box left by 0.35 · 20
        assert!((rect.center().0 - (51.0 - 7.0)).abs() < 1e-3);
    }

    #[test]
    fn boxes_agree_with_those_stored_in_the_csv() {
        #[derive(serde::Deserialize)]
        struct Stored {
            split: String,
            x: f32,
            y: f32,
            w: f32,
            h: f32,
        }
        let Some(data) = research_data() else { return };
        for (split, count, smiles) in [(Split::Train, 5849, 3439), (Split::Test, 2995, 1632)] {
            let list = read(&data, split).unwrap();
            assert_eq!(list.len(), count);
            assert_eq!(list.iter().filter(|c| c.faces[0].smile == Some(true)).count(), smiles);
            assert!(list[0].image.is_file());
            let mut rows = list.iter();
            table::for_each(&data.join("mtfl/annotations.csv"), |stored: Stored| {
                if stored.split == split.name() {
                    let crop = rows.next().ok_or("a row too many")?;
                    let iou = crop.faces[0].rect.iou(&Rect::new(stored.x, stored.y, stored.w, stored.h));
                    // Landmarks are stored to a tenth of a pixel.
                    if iou < 0.97 {
                        return Err(format!("{}: {:?}, IoU {iou}", crop.name, crop.faces[0].rect));
                    }
                }
                Ok(())
            })
            .unwrap();
        }
    }
}
