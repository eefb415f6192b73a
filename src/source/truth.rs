//! Reads the true faces of one picture from a file of boxes in one of three forms.

use std::path::Path;

use crate::error::{Error, Result};
use crate::geometry::Rect;

/// Reads the boxes that the file `annotations` gives for `picture`, in pixels. The file holds lines of `detect --json`, or
/// lines `x,y,w,h`, or a CSV table with columns `x`, `y`, `w`, `h` and perhaps `image` (as the `annotations.csv` of WIDER
/// FACE). Where the file names pictures, boxes are taken from the picture whose path has the same end as `picture`, else
/// from the one with the same file name.
///
/// # Errors
/// If the file can't be read, is in none of these forms, or does not name the picture.
pub fn read(annotations: &Path, picture: &Path) -> Result<Vec<Rect>> {
    let text = std::fs::read_to_string(annotations).map_err(Error::io(annotations))?;
    let lines: Vec<&str> =
        text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let fail = |reason: String| Error::data(annotations, reason);
    let named = match lines.first() {
        None => return Err(fail("is empty; it needs a line x,y,w,h for each face".into())),
        Some(line) if line.starts_with('{') => json(&lines).map_err(fail)?,
        Some(_) => csv(&lines).map_err(fail)?,
    };
    let not_named = || fail(format!("has no boxes for {}", picture.display()));
    choose(named, picture).ok_or_else(not_named)
}

/// Boxes, each list with the name of its picture if the file gives one.
type Named = Vec<(Option<String>, Vec<Rect>)>;

/// Chooses the boxes of `picture`.
fn choose(named: Named, picture: &Path) -> Option<Vec<Rect>> {
    let alike = |name: &str| picture.ends_with(name) || Path::new(name).ends_with(picture);
    let same_name = |name: &str| Path::new(name).file_name() == picture.file_name();
    let fits: [&dyn Fn(&str) -> bool; 2] = [&alike, &same_name];
    for fit in fits {
        let found: Vec<_> = named.iter().filter(|(name, _)| name.as_deref().is_none_or(fit)).collect();
        if !found.is_empty() {
            return Some(found.into_iter().flat_map(|(_, boxes)| boxes.iter().copied()).collect());
        }
    }
    // A file with a single picture means that one, even if the picture has been moved or renamed.
    if named.len() == 1 { named.into_iter().next().map(|(_, boxes)| boxes) } else { None }
}

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
        Ok((Some(line.image), line.faces))
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
    let image = column("image").filter(|_| headed);
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
        Ok((image.and_then(|at| cells.get(at)).map(|s| (*s).to_owned()), vec![Rect::new(x, y, w, h)]))
    };
    lines.iter().enumerate().skip(usize::from(headed)).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(text: &str, picture: &str) -> Result<Vec<Rect>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), Path::new(picture))
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
