//! WIDER FACE: whole pictures with boxes round faces.

use std::collections::HashMap;
use std::path::Path;

use super::{Annotated, Split, Truth, folder_of, rect_of, table};
use crate::error::{Error, Result};

#[derive(serde::Deserialize)]
struct PictureRow {
    split: String,
    image: String,
    width: u32,
    height: u32,
}

#[derive(serde::Deserialize)]
struct FaceRow {
    split: String,
    image: String,
    width: u32,
    height: u32,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
    blur: u8,
    #[serde(default)]
    illumination: u8,
    invalid: u8,
    occlusion: u8,
    pose: u8,
}

/// Reads the pictures of one split, with every face of `annotations.csv`: first those of `images.csv` (which is optional), also
/// without faces, then those that only `annotations.csv` names. `data` holds `wider/`, or is that folder.
///
/// # Errors
/// If the split has no picture, or a row can't be read. The error names file and line.
pub fn read(data: &Path, split: Split) -> Result<Vec<Annotated>> {
    read_named(data, "wider", split)
}

/// Reads a split as [`read`], or nothing where no picture is of it.
///
/// # Errors
/// If a row can't be read. The error names file and line.
pub fn read_if_any(data: &Path, split: Split) -> Result<Vec<Annotated>> {
    read_all(data, "wider", split)
}

/// Every how many-th picture of `masks/` is held back from training, to choose by.
const HELD_BACK: usize = 5;
/// Height of faces in `masks/` below which they are marked invalid, pixels: many of those are not marked at all.
const LEAST_MASKED: f32 = 16.0;

/// Reads the pictures of people with masks in `masks/`, in the same format: every fifth as [`Split::Val`], the others as
/// [`Split::Train`]. Faces below 16 pixels are marked invalid; faces in the background are often unmarked.
///
/// # Errors
/// As [`read`].
pub fn masks(data: &Path, split: Split) -> Result<Vec<Annotated>> {
    let mut pictures = read_named(data, "masks", Split::Train)?;
    let mut number = 0;
    pictures.retain(|_| {
        number += 1;
        number % HELD_BACK == 0 && split == Split::Val || number % HELD_BACK != 0 && split == Split::Train
    });
    for face in pictures.iter_mut().flat_map(|picture| &mut picture.faces) {
        face.invalid |= face.rect.h < LEAST_MASKED;
    }
    Ok(pictures)
}

fn read_named(data: &Path, name: &str, split: Split) -> Result<Vec<Annotated>> {
    let pictures = read_all(data, name, split)?;
    if pictures.is_empty() {
        let annotations = folder_of(data, name, &["annotations.csv"])?.join("annotations.csv");
        return Err(Error::data(annotations, format!("has no row of split {}", split.name())));
    }
    Ok(pictures)
}

fn read_all(data: &Path, name: &str, split: Split) -> Result<Vec<Annotated>> {
    let folder = folder_of(data, name, &["annotations.csv"])?;
    let mut pictures: Vec<Annotated> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut entry = |pictures: &mut Vec<Annotated>, name: String, width: u32, height: u32| {
        *index.entry(name).or_insert_with_key(|name| {
            let image = folder.join(name);
            pictures.push(Annotated { image, name: name.clone(), width, height, faces: Vec::new() });
            pictures.len() - 1
        })
    };
    let list = folder.join("images.csv");
    if list.exists() {
        table::for_each(&list, |row: PictureRow| {
            if row.split == split.name() {
                entry(&mut pictures, row.image, row.width, row.height);
            }
            Ok(())
        })?;
    }
    table::for_each(&folder.join("annotations.csv"), |row: FaceRow| {
        if row.split != split.name() {
            return Ok(());
        }
        let rect = rect_of([row.x, row.y, row.w, row.h])?;
        let at = entry(&mut pictures, row.image, row.width, row.height);
        pictures[at].faces.push(Truth {
            rect,
            invalid: row.invalid != 0,
            blur: row.blur,
            occlusion: row.occlusion,
            pose_atypical: row.pose != 0,
            light_extreme: row.illumination != 0,
            ..Truth::default()
        });
        Ok(())
    })?;
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::research_data;

    const HEAD: &str = "split,image,width,height,x,y,w,h,blur,expression,illumination,invalid,occlusion,pose\n";

    fn folder(annotations: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("wider")).unwrap();
        std::fs::write(dir.path().join("wider/annotations.csv"), annotations).unwrap();
        dir
    }

    #[test]
    fn counts_are_those_of_the_data_folder() {
        let Some(data) = research_data() else { return };
        for (split, pictures, faces, invalid) in [(Split::Train, 6122, 89_055, 1165), (Split::Val, 394, 5287, 205)] {
            let list = read(&data, split).unwrap();
            assert_eq!(list.len(), pictures);
            assert_eq!(list.iter().map(|p| p.faces.len()).sum::<usize>(), faces);
            assert_eq!(list.iter().flat_map(|p| &p.faces).filter(|f| f.invalid).count(), invalid);
            assert!(list[0].image.is_file() && list[0].image.is_absolute());
        }
    }

    #[test]
    fn pictures_with_masks_are_for_training_or_held_back_and_never_both() {
        let Some(data) = research_data() else { return };
        let names = |split| -> Vec<String> { masks(&data, split).unwrap().into_iter().map(|p| p.name).collect() };
        let (train, held) = (names(Split::Train), names(Split::Val));
        assert_eq!((train.len(), held.len()), (456, 113));
        assert!(held.iter().all(|name| !train.contains(name)));
    }

    #[test]
    fn a_face_keeps_its_box_and_labels() {
        let dir =
            folder(&format!("{HEAD}val,val/a.webp,90,80,1.5,2,30,40.5,2,0,1,1,1,1\ntrain,b,1,1,1,1,1,1,0,0,0,0,0,0\n"));
        let list = read(dir.path(), Split::Val).unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].width, list[0].height, list[0].name.as_str()), (90, 80, "val/a.webp"));
        let face = &list[0].faces[0];
        assert_eq!(face.rect, crate::Rect::new(1.5, 2.0, 30.0, 40.5));
        assert_eq!((face.invalid, face.blur, face.occlusion, face.pose_atypical), (true, 2, 1, true));
        assert!(face.light_extreme);
    }

    #[test]
    fn faults_are_named_with_file_and_line() {
        let wrong = |annotations: &str| read(folder(annotations).path(), Split::Val).unwrap_err().to_string();
        let number = wrong(&format!("{HEAD}val,a,9,9,1,1,1,1,0,0,0,0,0,0\nval,a,9,9,1,x7,1,1,0,0,0,0,0,0\n"));
        assert!(number.contains("annotations.csv: line 3: column `y`"), "{number}");
        let column = wrong("split,image,width,height,x,y,w,blur\nval,a,9,9,1,1,1,1\n");
        assert!(column.contains("missing field `h`"), "{column}");
        let not_a_number = wrong(&format!("{HEAD}val,a,9,9,nan,1,1,1,0,0,0,0,0,0\n"));
        assert!(not_a_number.contains("line 2"), "{not_a_number}");
        let short = wrong(&format!("{HEAD}val,a,9\n"));
        assert!(short.contains("line 2: 3 columns"), "{short}");
        let none = read(Path::new("/nowhere"), Split::Val).unwrap_err().to_string();
        assert!(none.contains("--data must point to a folder that holds wider/"), "{none}");
        assert!(wrong(HEAD).contains("no row of split val"));
    }
}
