//! FDDB (Jain & Learned-Miller 2010): heads marked by ellipses, in ten folds. Reads two forms: the tables `ellipses.csv` and
//! `images.csv`, or the published lists `FDDB-fold-01-ellipseList.txt` to `-10-`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Annotated, Ellipse, Truth, folder_of, table};
use crate::error::{Error, Result};

#[derive(serde::Deserialize)]
struct PictureRow {
    image: String,
    width: u32,
    height: u32,
}

#[derive(serde::Deserialize)]
struct EllipseRow {
    image: String,
    major: f64,
    minor: f64,
    angle: f64,
    cx: f64,
    cy: f64,
}

/// Reads all folds, in the order of the files. `data` holds `fddb/`, or is that folder. In the published form, the lists lie in
/// `FDDB-folds/` and the pictures in `originalPics/`, as in the archives, or both in the folder itself; the pictures must be
/// there, because their sizes are read from their files.
///
/// # Errors
/// If neither form is there, or a row or line can't be read. The error names file and line.
pub fn read(data: &Path) -> Result<Vec<Annotated>> {
    let folder = folder_of(data, "fddb", &["ellipses.csv", "FDDB-folds", "FDDB-fold-01-ellipseList.txt"])?;
    if folder.join("ellipses.csv").exists() {
        return tables(&folder);
    }
    let lists = if folder.join("FDDB-folds").is_dir() { folder.join("FDDB-folds") } else { folder.clone() };
    let pictures = if folder.join("originalPics").is_dir() { folder.join("originalPics") } else { folder.clone() };
    let mut all = Vec::new();
    for fold in 1..=10 {
        let path = lists.join(format!("FDDB-fold-{fold:02}-ellipseList.txt"));
        if path.exists() {
            fold_list(&path, &pictures, &mut all)?;
        }
    }
    if all.is_empty() {
        let wanted =
            "holds neither ellipses.csv and images.csv nor FDDB-fold-NN-ellipseList.txt; unpack FDDB-folds.tgz here";
        return Err(Error::data(folder, wanted));
    }
    Ok(all)
}

/// Makes a face of an ellipse.
///
/// # Errors
/// If a number is not finite or an axis is not above 0.
fn truth(ellipse: Ellipse) -> std::result::Result<Truth, String> {
    let Ellipse { major, minor, angle, cx, cy } = ellipse;
    if [major, minor, angle, cx, cy].iter().all(|v| v.is_finite()) && major > 0.0 && minor > 0.0 {
        Ok(Truth { rect: ellipse.bounds(), ellipse: Some(ellipse), ..Truth::default() })
    } else {
        Err(format!("radii {major} {minor}, angle {angle}, centre {cx} {cy}: no ellipse; correct or remove the row"))
    }
}

fn tables(folder: &Path) -> Result<Vec<Annotated>> {
    let mut list: Vec<Annotated> = Vec::new();
    let mut index = HashMap::new();
    table::for_each(&folder.join("images.csv"), |row: PictureRow| {
        if index.insert(row.image.clone(), list.len()).is_some() {
            return Err(format!("{} is listed twice", row.image));
        }
        list.push(Annotated {
            image: with_extension(folder.join(&row.image)),
            name: row.image,
            width: row.width,
            height: row.height,
            faces: Vec::new(),
        });
        Ok(())
    })?;
    table::for_each(&folder.join("ellipses.csv"), |row: EllipseRow| {
        let at = *index.get(&row.image).ok_or_else(|| format!("{} is not in images.csv", row.image))?;
        let EllipseRow { major, minor, angle, cx, cy, .. } = row;
        list[at].faces.push(truth(Ellipse { major, minor, angle, cx, cy })?);
        Ok(())
    })?;
    Ok(list)
}

/// Adds the extension that the picture's file has: FDDB's lists name pictures without it.
fn with_extension(path: PathBuf) -> PathBuf {
    if path.exists() {
        return path;
    }
    let named = |e: &str| PathBuf::from(format!("{}.{e}", path.display()));
    ["jpg", "webp", "png"].iter().map(|e| named(e)).find(|p| p.exists()).unwrap_or(path)
}

/// Reads one published list and adds its pictures to `all`.
fn fold_list(path: &Path, pictures: &Path, all: &mut Vec<Annotated>) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let wrong = |number: usize, reason: String| Error::data(path, format!("line {}: {reason}", number + 1));
    while let Some((number, name)) = lines.next() {
        let name = name.trim();
        let image = with_extension(pictures.join(name));
        let (width, height) = image::image_dimensions(&image).map_err(|e| Error::Picture {
            path: image.clone(),
            reason: format!("{e}; unpack FDDB's originalPics.tar.gz to {}", pictures.display()),
        })?;
        let (at, count) = lines.next().ok_or_else(|| wrong(number, "the number of faces is missing".into()))?;
        let count: usize = count.trim().parse().map_err(|_| wrong(at, format!("{count} is no number of faces")))?;
        let mut faces = Vec::new();
        for _ in 0..count {
            let (at, line) = lines.next().ok_or_else(|| wrong(number, format!("not all {count} faces are there")))?;
            let numbers = line
                .split_whitespace()
                .map(|v| v.parse::<f64>().map_err(|_| wrong(at, format!("{v} is no number"))))
                .collect::<Result<Vec<f64>>>()?;
            let &[major, minor, angle, cx, cy, ..] = numbers.as_slice() else {
                return Err(wrong(at, "fewer than 5 numbers: major and minor radius, angle, centre x and y".into()));
            };
            let ellipse = Ellipse { major, minor, angle, cx, cy };
            faces.push(truth(ellipse).map_err(|reason| wrong(at, reason))?);
        }
        all.push(Annotated { image, name: name.to_owned(), width, height, faces });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_faces() {
        let row = "67.363819 44.511485 -1.476417 105.249970 87.209036";
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("2002/08")).unwrap();
        image::RgbImage::new(200, 150).save(dir.path().join("2002/08/img_1.png")).unwrap();
        let list = dir.path().join("FDDB-fold-01-ellipseList.txt");
        std::fs::write(&list, format!("2002/08/img_1\n1\n{row}  1\n")).unwrap();
        let published = read(dir.path()).unwrap();
        std::fs::write(dir.path().join("images.csv"), "fold,image,width,height\n1,2002/08/img_1,200,150\n").unwrap();
        let table = format!("fold,image,major,minor,angle,cx,cy\n1,2002/08/img_1,{}\n", row.replace(' ', ","));
        std::fs::write(dir.path().join("ellipses.csv"), table).unwrap();
        assert_eq!(read(dir.path()).unwrap(), published);
        assert_eq!((published[0].width, published[0].height), (200, 150));
        assert!(published[0].image.is_file());
    }

    #[test]
    fn a_cut_list_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        image::RgbImage::new(20, 15).save(dir.path().join("a.png")).unwrap();
        std::fs::write(dir.path().join("FDDB-fold-01-ellipseList.txt"), "a\n2\n9 8 0 5 5 1\n").unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("ellipseList.txt: line 1: not all 2 faces"), "{error}");
        std::fs::write(dir.path().join("FDDB-fold-01-ellipseList.txt"), "a\n1\n9 8 o 5 5 1\n").unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("line 3: o is no number"), "{error}");
    }

    #[test]
    fn the_box_of_an_upright_ellipse_is_as_wide_as_its_minor_axis() {
        let ellipse = Ellipse { major: 30.0, minor: 20.0, angle: std::f64::consts::FRAC_PI_2, cx: 50.0, cy: 60.0 };
        assert!(ellipse.bounds().iou(&crate::Rect::new(30.0, 30.0, 40.0, 60.0)) > 0.9999);
    }
}
