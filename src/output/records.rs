//! Results as JSON lines: `detect --json` and `video --json`. Boxes are rounded to 2 decimals (pixels), scores to 4.

use serde::Serialize;

use crate::geometry::Face;
use crate::source::video::VideoInfo;
use crate::track::Tracked;

#[derive(Serialize)]
struct FaceRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    x: f64,
    y: f64,
    w: f64,
    h: f64,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    smile: Option<f64>,
}

#[derive(Serialize)]
struct PictureRecord<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    width: u32,
    height: u32,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<f64>,
    faces: Vec<FaceRecord>,
}

#[derive(Serialize)]
struct ErrorRecord<'a> {
    image: &'a str,
    error: &'a str,
}

#[derive(Serialize)]
struct VideoRecord<'a> {
    video: &'a str,
    width: u32,
    height: u32,
    fps: f64,
    facecascade: &'a str,
}

#[derive(Serialize)]
struct FrameRecord {
    frame: u64,
    t: f64,
    faces: Vec<FaceRecord>,
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

fn record(id: Option<u64>, f: &Face) -> FaceRecord {
    let pixels = |v: f32| round(v.into(), 2);
    let share = |v: f32| round(v.into(), 4);
    FaceRecord {
        id,
        x: pixels(f.rect.x),
        y: pixels(f.rect.y),
        w: pixels(f.rect.w),
        h: pixels(f.rect.h),
        score: share(f.score),
        smile: f.smile.map(share),
    }
}

fn faces(list: &[Face]) -> Vec<FaceRecord> {
    list.iter().map(|f| record(None, f)).collect()
}

fn line(record: &impl Serialize) -> String {
    // Only a map with keys that are no strings could fail here.
    serde_json::to_string(record).unwrap_or_default()
}

/// Time of the detection in one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionTime {
    /// Milliseconds of a clock on the wall.
    pub ms: f64,
    /// Milliseconds of the processor; `None` where they were not measured.
    pub cpu_ms: Option<f64>,
}

impl DetectionTime {
    /// A time on the wall alone.
    pub fn wall(ms: f64) -> Self {
        Self { ms, cpu_ms: None }
    }
}

/// A picture's line: `image` as it was given, its size in pixels, the time of the detection, faces best first.
pub fn picture(image: &str, size: (u32, u32), time: DetectionTime, found: &[Face]) -> String {
    page(image, None, size, time, found)
}

/// The line of a page of a picture that has several, counted from 1.
pub fn page(
    image: &str,
    page: Option<usize>,
    (width, height): (u32, u32),
    time: DetectionTime,
    found: &[Face],
) -> String {
    let DetectionTime { ms, cpu_ms } = time;
    let [ms, cpu_ms] = [Some(ms), cpu_ms].map(|ms| ms.map(|ms| round(ms, 3)));
    line(&PictureRecord { image, page, width, height, ms: ms.unwrap_or_default(), cpu_ms, faces: faces(found) })
}

/// The line of a picture that can't be read.
pub fn unreadable(image: &str, error: &str) -> String {
    line(&ErrorRecord { image, error })
}

/// The first line of a video's records.
pub fn video(video: &str, info: &VideoInfo) -> String {
    let fps = round(info.rate.per_second(), 4);
    line(&VideoRecord { video, width: info.width, height: info.height, fps, facecascade: env!("CARGO_PKG_VERSION") })
}

/// A frame's line: its number from 0, its time `t` in seconds from the start, its faces, best first.
pub fn frame(number: u64, t: f64, found: &[Face]) -> String {
    line(&FrameRecord { frame: number, t: round(t, 6), faces: faces(found) })
}

/// A frame's line with the faces that are shown and their ids, best first.
pub fn tracked(number: u64, t: f64, followed: &[Tracked]) -> String {
    let mut shown: Vec<&Tracked> = followed.iter().filter(|tracked| tracked.shown).collect();
    shown.sort_by(|a, b| b.face.score.total_cmp(&a.face.score));
    let faces = shown.into_iter().map(|tracked| record(Some(tracked.id), &tracked.face)).collect();
    line(&FrameRecord { frame: number, t: round(t, 6), faces })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;
    use crate::track::Basis;

    #[test]
    fn lines_are_as_the_contract_says() {
        let face = Face { rect: Rect::new(-1.0, 30.456, 48.2, 48.0), score: 0.997_12, smile: None };
        assert_eq!(
            picture("ä b.jpg", (640, 480), DetectionTime::wall(4.1), &[face, Face { smile: Some(0.91), ..face }]),
            concat!(
                r#"{"image":"ä b.jpg","width":640,"height":480,"ms":4.1,"faces":["#,
                r#"{"x":-1.0,"y":30.46,"w":48.2,"h":48.0,"score":0.9971},"#,
                r#"{"x":-1.0,"y":30.46,"w":48.2,"h":48.0,"score":0.9971,"smile":0.91}]}"#
            )
        );
        let measured = DetectionTime { ms: 2.0, cpu_ms: Some(1.2345) };
        let line = picture("a.jpg", (64, 48), measured, &[]);
        assert_eq!(line, r#"{"image":"a.jpg","width":64,"height":48,"ms":2.0,"cpu_ms":1.235,"faces":[]}"#);
        assert_eq!(unreadable("a\"b", "no"), r#"{"image":"a\"b","error":"no"}"#);
        assert_eq!(frame(3, 0.1, &[]), r#"{"frame":3,"t":0.1,"faces":[]}"#);
        let of = |id, score, shown| Tracked {
            id,
            face: Face { score, ..face },
            smiling: None,
            basis: Basis::Between,
            shown,
        };
        assert_eq!(
            tracked(3, 0.1, &[of(4, 0.5, true), of(6, 0.8, false), of(7, 0.9, true)]),
            concat!(
                r#"{"frame":3,"t":0.1,"faces":["#,
                r#"{"id":7,"x":-1.0,"y":30.46,"w":48.2,"h":48.0,"score":0.9},"#,
                r#"{"id":4,"x":-1.0,"y":30.46,"w":48.2,"h":48.0,"score":0.5}]}"#
            )
        );
    }
}
