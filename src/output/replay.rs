//! Reads the records of an earlier run (`video --redact … --json`), edited or not, so that its faces can be covered again.

use std::io::BufRead;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::geometry::{Face, Rect};
use crate::track::{Basis, Tracked};

/// The faces of a film by frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Width and height of the film that the boxes belong to, pixels; `None` if the records do not say.
    pub size: Option<(u32, u32)>,
    /// Whether every face has an id.
    pub has_ids: bool,
    frames: Vec<Vec<Tracked>>,
}

#[derive(Deserialize)]
struct Line {
    width: Option<u32>,
    height: Option<u32>,
    frame: Option<usize>,
    faces: Option<Vec<FaceLine>>,
}

#[derive(Deserialize)]
struct FaceLine {
    id: Option<u64>,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
    #[serde(default = "one")]
    score: f32,
}

fn one() -> f32 {
    1.0
}

/// Frames that a file of records may name: a day at 240 a second.
const MOST_FRAMES: usize = 24 * 3600 * 240;

impl Replay {
    /// Reads `path`: JSON lines with `frame` (counted from 0) and `faces` (`x`, `y`, `w`, `h`, and `id` where there is one).
    /// Frames between that are not named have no faces.
    ///
    /// # Errors
    /// Names the first line that can't be read, and why.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut replay = Self { size: None, has_ids: true, frames: Vec::new() };
        for (number, text) in std::io::BufReader::new(file).lines().enumerate() {
            let text = text.map_err(Error::io(path))?;
            if text.trim().is_empty() {
                continue;
            }
            let wrong = |reason: String| Error::Setting(format!("{}, line {}: {reason}", path.display(), number + 1));
            let line: Line = serde_json::from_str(&text)
                .map_err(|e| wrong(format!("{e}; wanted are the lines of `facecascade video --json`")))?;
            replay.size = replay.size.or(line.width.zip(line.height));
            let Some(frame) = line.frame else { continue };
            if frame >= MOST_FRAMES {
                return Err(wrong(format!("frame {frame} is of no film")));
            }
            if frame >= replay.frames.len() {
                replay.frames.resize(frame + 1, Vec::new());
            }
            for face in line.faces.unwrap_or_default() {
                let FaceLine { id, x, y, w, h, score } = face;
                let rect = Rect::new(x, y, w, h);
                if ![x, y, w, h].iter().all(|v| v.is_finite()) || w <= 0.0 || h <= 0.0 {
                    return Err(wrong(format!("{x} {y} {w} {h} is no box")));
                }
                replay.has_ids &= id.is_some();
                let face = Face { rect, score, smile: None };
                replay.frames[frame].push(Tracked {
                    id: id.unwrap_or(0),
                    face,
                    smiling: None,
                    basis: Basis::Guess,
                    shown: true,
                });
            }
        }
        if replay.frames.is_empty() {
            return Err(Error::Setting(format!("{}: holds no frame", path.display())));
        }
        Ok(replay)
    }

    /// The faces of frame `number`, counted from 0; `None` behind the last frame that is named.
    pub fn faces(&self, number: usize) -> Option<&[Tracked]> {
        self.frames.get(number).map(Vec::as_slice)
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Replay> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Replay::read(file.path())
    }

    #[test]
    fn lines_of_records_are_read_by_frame_and_gaps_are_empty() {
        let replay = read(concat!(
            r#"{"video":"a.mp4","width":64,"height":48,"fps":25.0}"#,
            "\n\n",
            r#"{"frame":2,"t":0.1,"faces":[{"id":7,"x":-1.0,"y":2,"w":3,"h":4,"score":0.5},{"x":1,"y":2,"w":3,"h":4}]}"#
        ))
        .unwrap();
        assert_eq!((replay.size, replay.has_ids, replay.frames()), (Some((64, 48)), false, 3));
        assert_eq!(replay.faces(0), Some(&[][..]));
        assert_eq!(replay.faces(2).unwrap().iter().map(|t| t.id).collect::<Vec<_>>(), [7, 0]);
        assert_eq!(replay.faces(3), None);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, word) in [
            ("{\"frame\":0,\"faces\":[{\"x\":1}]}", "line 1"),
            ("{\"frame\":0,\"faces\":[{\"x\":1,\"y\":1,\"w\":0,\"h\":1}]}", "no box"),
            ("{\"width\":3,\"height\":3}", "holds no frame"),
            ("\n[", "line 2"),
            ("{\"frame\":99999999999}", "no film"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(word) && message.lines().count() == 1, "{text}: {message}");
        }
    }
}
