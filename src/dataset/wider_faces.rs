//! Single faces of WIDER FACE's train part, cut out at full resolution.

use std::path::Path;

use super::{Annotated, Truth, folder_of, rect_of, table};
use crate::error::Result;

#[derive(serde::Deserialize)]
struct CropRow {
    image: String,
    size: u32,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
    blur: u8,
    occlusion: u8,
    pose: u8,
    source: String,
}

/// Reads all square crops, with one marked face each; others may be visible in the margin. A crop has the name of the picture of
/// `wider/train` that it was cut from. `data` holds `wider_faces/`, or is
/// that folder.
///
/// # Errors
/// If a row can't be read. The error names file and line.
pub fn read(data: &Path) -> Result<Vec<Annotated>> {
    let folder = folder_of(data, "wider_faces", &["annotations.csv"])?;
    let mut list = Vec::new();
    table::for_each(&folder.join("annotations.csv"), |row: CropRow| {
        let face = Truth {
            rect: rect_of([row.x, row.y, row.w, row.h])?,
            blur: row.blur,
            occlusion: row.occlusion,
            pose_atypical: row.pose != 0,
            ..Truth::default()
        };
        list.push(Annotated {
            image: folder.join(&row.image),
            name: row.source,
            width: row.size,
            height: row.size,
            faces: vec![face],
        });
        Ok(())
    })?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use crate::dataset::research_data;

    #[test]
    fn each_crop_holds_its_face() {
        let Some(data) = research_data() else { return };
        let list = super::read(&data).unwrap();
        assert_eq!(list.len(), 19_546);
        for crop in &list {
            let (cx, cy) = crop.faces[0].rect.center();
            let middle = crop.width as f32 / 2.0;
            assert!((cx - middle).abs() < 3.0 && (cy - middle).abs() < 3.0, "{}", crop.name);
        }
        assert!(list[7].image.is_file() && list[7].name.starts_with("0--Parade/"), "{}", list[7].name);
    }
}
