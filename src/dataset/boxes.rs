//! Reads the true faces of any picture from a data folder, or from a file of boxes in one of three forms.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Annotated, Split, Truth};
use crate::error::{Error, Result};
use crate::geometry::Rect;

/// The true faces of pictures.
#[derive(Debug)]
pub struct TrueFaces {
    /// The file or folder that they were read from.
    origin: PathBuf,
    pictures: Vec<NamedFaces>,
}

/// The faces of one picture.
#[derive(Debug, Default)]
struct NamedFaces {
    /// The picture's name, if the file gives one.
    name: Option<String>,
    /// The picture's file, if that is known.
    image: Option<PathBuf>,
    faces: Vec<Truth>,
}

impl TrueFaces {
    /// Reads a data folder, as `eval --data` takes it (`wider/` and `masks/`), or a file: lines of `detect --json`, or lines
    /// `x,y,w,h`, or a CSV table with columns `x`, `y`, `w`, `h` and perhaps `image` and `invalid` (as the `annotations.csv` of
    /// WIDER FACE).
    ///
    /// # Errors
    /// If it can't be read or is in none of these forms.
    pub fn read(origin: &Path) -> Result<Self> {
        let pictures = if origin.is_dir() { folder(origin)? } else { file(origin)? };
        Ok(Self { origin: origin.to_owned(), pictures })
    }

    /// The faces in `picture`: those of its very file, else of the picture whose path has the same end, else of the one with the
    /// same file name. Boxes that stand in the file without a name, or under a single one, are those of any picture.
    ///
    /// # Errors
    /// If the picture is not named.
    pub fn of(&self, picture: &Path) -> Result<Vec<Truth>> {
        let own = std::fs::canonicalize(picture).ok();
        let itself = |f: &NamedFaces| own.is_some() && f.image == own;
        let alike = |f: &NamedFaces| {
            f.name.as_deref().is_none_or(|name| picture.ends_with(name) || Path::new(name).ends_with(picture))
        };
        let same_name =
            |f: &NamedFaces| f.name.as_deref().is_none_or(|name| Path::new(name).file_name() == picture.file_name());
        let fits: [&dyn Fn(&NamedFaces) -> bool; 3] = [&itself, &alike, &same_name];
        for fit in fits {
            let found: Vec<_> = self.pictures.iter().filter(|f| fit(f)).collect();
            if !found.is_empty() {
                return Ok(found.into_iter().flat_map(|f| f.faces.iter().cloned()).collect());
            }
        }
        // A file with a single picture means that one, even if the picture has been moved or renamed.
        match self.pictures.as_slice() {
            [only] if only.image.is_none() => Ok(only.faces.clone()),
            _ => Err(Error::data(&self.origin, format!("has no boxes for {}", picture.display()))),
        }
    }
}

/// The pictures of a data folder's sets.
fn folder(data: &Path) -> Result<Vec<NamedFaces>> {
    let sets = [super::wider(data, Split::Val), super::wider(data, Split::Train)];
    let masks = [super::masks(data, Split::Val), super::masks(data, Split::Train)];
    let mut read = Vec::new();
    let mut failed = None;
    for set in sets.into_iter().chain(if data.join("masks").is_dir() { Vec::from(masks) } else { Vec::new() }) {
        match set {
            Ok(pictures) => read.extend(pictures),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let named = |picture: Annotated| NamedFaces {
        name: Some(picture.name),
        image: std::fs::canonicalize(&picture.image).ok(),
        faces: picture.faces,
    };
    match failed {
        Some(error) if read.is_empty() => Err(error),
        _ => Ok(read.into_iter().map(named).collect()),
    }
}

fn file(annotations: &Path) -> Result<Vec<NamedFaces>> {
    let text = std::fs::read_to_string(annotations).map_err(Error::io(annotations))?;
    let lines: Vec<&str> =
        text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let fail = |reason: String| Error::data(annotations, reason);
    let rows = match lines.first() {
        None => return Err(fail("is empty; it needs a line x,y,w,h for each face".into())),
        Some(line) if line.starts_with('{') => json(&lines).map_err(fail)?,
        Some(_) => csv(&lines).map_err(fail)?,
    };
    let mut pictures: Vec<NamedFaces> = Vec::new();
    let mut index: HashMap<Option<String>, usize> = HashMap::new();
    for (name, faces) in rows {
        let at = *index.entry(name).or_insert_with_key(|name| {
            pictures.push(NamedFaces { name: name.clone(), ..NamedFaces::default() });
            pictures.len() - 1
        });
        pictures[at].faces.extend(faces);
    }
    Ok(pictures)
}

/// Faces, each list with the name of its picture if the file gives one.
type Named = Vec<(Option<String>, Vec<Truth>)>;

/// Parses lines of `detect --json`.
fn json(lines: &[&str]) -> std::result::Result<Named, String> {
    #[derive(serde::Deserialize)]
    struct Line {
        image: String,
        #[serde(default)]
        faces: Vec<Rect>,
    }
    let parse = |(i, line): (usize, &&str)| {
        let line: Line = serde_json::from_str(line).map_err(|e| format!("line {}: {e}", i + 1))?;
        let faces = line.faces.into_iter().map(|rect| Truth { rect, ..Truth::default() }).collect();
        Ok((Some(line.image), faces))
    };
    lines.iter().enumerate().map(parse).collect()
}

/// Parses comma separated values, with or without a heading.
fn csv(lines: &[&str]) -> std::result::Result<Named, String> {
    let heading: Vec<String> = lines[0].split(',').map(|c| c.trim().to_lowercase()).collect();
    let headed = heading.iter().any(|cell| cell.parse::<f32>().is_err());
    let column = |name: &str| heading.iter().position(|cell| cell == name);
    let columns: Vec<usize> = if headed {
        let find = |name| column(name).ok_or_else(|| format!("has no column {name} in its heading; it needs x,y,w,h"));
        ["x", "y", "w", "h"].into_iter().map(find).collect::<std::result::Result<_, _>>()?
    } else {
        vec![0, 1, 2, 3]
    };
    let [image, invalid] = ["image", "invalid"].map(|name| column(name).filter(|_| headed));
    let parse = |(i, line): (usize, &&str)| {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let mut values = [0.0f32; 4];
        for (value, at) in values.iter_mut().zip(&columns) {
            let cell = cells.get(*at).copied().unwrap_or("");
            let number = cell.parse().ok().filter(|v: &f32| v.is_finite());
            *value =
                number.ok_or_else(|| format!("line {}: \"{cell}\" is not a number; x,y,w,h are expected", i + 1))?;
        }
        let [x, y, w, h] = values;
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).copied();
        let invalid = cell(invalid).is_some_and(|cell| !cell.is_empty() && cell != "0");
        let face = Truth { rect: Rect::new(x, y, w, h), invalid, ..Truth::default() };
        Ok((cell(image).map(str::to_owned), vec![face]))
    };
    lines.iter().enumerate().skip(usize::from(headed)).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(text: &str, picture: &str) -> Result<Vec<Rect>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let faces = TrueFaces::read(file.path())?.of(Path::new(picture))?;
        Ok(faces.iter().map(|f| f.rect).collect())
    }

    #[test]
    fn plain_boxes_records_and_wider_rows_are_read() {
        let want = vec![Rect::new(1.0, 2.5, 3.0, 4.0)];
        assert_eq!(boxes("1, 2.5,3,4\n", "any.jpg").unwrap(), want);
        assert_eq!(boxes("x,y,w,h\n1,2.5,3,4\n\n", "any.jpg").unwrap(), want);
        let record =
            r#"{"image":"d/a.jpg","width":9,"height":9,"ms":1.0,"faces":[{"x":1,"y":2.5,"w":3,"h":4,"score":1}]}"#;
        assert_eq!(boxes(record, "moved.jpg").unwrap(), want);
        let other = record.replace("d/a", "e/a").replace("2.5", "7");
        assert_eq!(boxes(&format!("{other}\n{record}"), "x/d/a.jpg").unwrap(), want);
        let wider = "split,image,width,height,x,y,w,h,blur\ntrain,train/p/a.webp,9,9,1,2.5,3,4,0\ntrain,train/p/b.webp,9,9,5,6,7,8,0\n";
        assert_eq!(boxes(wider, "../data/wider/train/p/a.webp").unwrap(), want);
        assert_eq!(boxes(wider, "a.webp").unwrap(), want);
    }

    #[test]
    fn a_data_folder_gives_the_faces_of_its_own_pictures_with_their_marks() {
        let dir = tempfile::tempdir().unwrap();
        let wider = dir.path().join("wider/val/p");
        std::fs::create_dir_all(&wider).unwrap();
        std::fs::write(wider.join("a.png"), "").unwrap();
        let rows = "split,image,width,height,x,y,w,h,blur,invalid,occlusion,pose\nval,val/p/a.png,9,9,1,2.5,3,4,0,1,0,0\n\
                    train,train/q/a.png,9,9,5,6,7,8,0,0,0,0\n";
        std::fs::write(dir.path().join("wider/annotations.csv"), rows).unwrap();
        let truth = TrueFaces::read(dir.path()).unwrap();
        let faces = truth.of(&wider.join("a.png")).unwrap();
        assert_eq!((faces.len(), faces[0].invalid, faces[0].rect), (1, true, Rect::new(1.0, 2.5, 3.0, 4.0)));
        let error = truth.of(Path::new("elsewhere/b.png")).unwrap_err().to_string();
        assert!(error.contains("no boxes for elsewhere/b.png"), "{error}");
        let table = TrueFaces::read(&dir.path().join("wider/annotations.csv")).unwrap();
        assert!(table.of(Path::new("val/p/a.png")).unwrap()[0].invalid);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in
            [("", "empty"), ("a,b\n1,2\n", "column x"), ("1,2,x,4", "column y"), ("1,2,3", "\"\""), ("{", "line 1")]
        {
            let error = boxes(text, "a.jpg").unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
        assert!(boxes("image,x,y,w,h\nb.jpg,1,2,3,4\n", "a.jpg").is_ok(), "the only picture");
        assert!(boxes("image,x,y,w,h\nb.jpg,1,2,3,4\nc.jpg,1,2,3,4\n", "a.jpg").is_err());
    }
}
