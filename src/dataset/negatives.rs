//! Pictures without faces.

use std::path::Path;

use super::{Annotated, folder_of, table};
use crate::error::Result;

#[derive(serde::Deserialize)]
struct PictureRow {
    image: String,
    width: u32,
    height: u32,
}

/// Reads all pictures of `negatives/images.csv`; none has a face. `data` holds `negatives/`, or is that folder.
///
/// # Errors
/// If a row can't be read. The error names file and line.
pub fn read(data: &Path) -> Result<Vec<Annotated>> {
    let folder = folder_of(data, "negatives", &["images.csv"])?;
    let mut list = Vec::new();
    table::for_each(&folder.join("images.csv"), |row: PictureRow| {
        list.push(Annotated {
            image: folder.join(&row.image),
            name: row.image,
            width: row.width,
            height: row.height,
            faces: Vec::new(),
        });
        Ok(())
    })?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use crate::dataset::research_data;

    #[test]
    fn all_pictures_are_listed() {
        let Some(data) = research_data() else { return };
        let list = super::read(&data).unwrap();
        assert_eq!(list.len(), 3500);
        assert!(list.iter().all(|p| p.faces.is_empty()) && list[0].image.is_file());
    }
}
