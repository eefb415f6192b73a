//! Makes a web page of inspections: the panels with what a pointer, or the keys, point at, the lost faces, the faces one by one and
//! the sums of all pictures. One HTML file that loads nothing.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use serde_json::{Value, json};

use super::Inspection;
use super::fates::Fate;
use super::followed::AtLevel;
use super::summary::Summary;
use crate::geometry::{Rect, Window};
use crate::text::ms;

const PAGE: &str = include_str!("page.html");
/// Longer side of a picture in the page, pixels; larger ones are made smaller.
const LARGEST: u32 = 1280;

/// Collects pictures, one by one, so that nothing but the page's own text is kept of each.
#[derive(Debug, Default)]
pub struct Page {
    pictures: Vec<Value>,
}

impl Page {
    /// Adds a picture; with `faces`, its faces one by one too.
    pub fn add(&mut self, inspection: &Inspection, picture: &RgbImage, faces: bool) {
        let Inspection { name, size, min_face, steps, thresholds, .. } = inspection;
        let last = steps.len().saturating_sub(1);
        let step = |(i, step): (usize, &crate::cascade::StepTrace)| {
            let accepted = if i < last { step.accepted.iter().map(window).collect() } else { Vec::new() };
            json!({
                "name": step.name,
                "ms": round(ms(step.elapsed) as f32, 100.0),
                "threshold": thresholds.get(i).copied().flatten(),
                "windows": step.windows.iter().map(window).collect::<Vec<_>>(),
                "accepted": accepted,
            })
        };
        let found = |face: &crate::Face| json!([numbers(&face.rect), round(face.score, 1000.0)]);
        let (counted, found_faces) = inspection.counts();
        self.pictures.push(json!({
            "name": name,
            "size": size,
            "minFace": min_face,
            "ms": round(inspection.ms() as f32, 100.0),
            "picture": format!("data:image/jpeg;base64,{}", base64::encode(jpeg(picture))),
            "steps": steps.iter().enumerate().map(step).collect::<Vec<_>>(),
            "faces": inspection.faces.iter().map(found).collect::<Vec<_>>(),
            "truth": truth(inspection),
            "counted": counted,
            "found": found_faces,
            "followed": if faces { followed(inspection) } else { Vec::new() },
        }));
    }

    /// The page, with the sums of all its pictures.
    pub fn html(&self, summary: &Summary) -> String {
        let step = |step: &super::summary::StepSum| {
            let (windows, ms) = summary.means(step);
            json!({"name": step.name, "windows": round(windows as f32, 10.0), "ms": round(ms as f32, 100.0), "lost": step.lost})
        };
        let data = json!({
            "heading": summary.heading(),
            "truth": summary.has_truth(),
            "summary": summary.steps.iter().map(step).collect::<Vec<_>>(),
            "pictures": self.pictures,
        });
        // Within a script element nothing but its end, and what looks like a comment, means anything: neither can be without a `<`.
        PAGE.replacen("{{DATA}}", &data.to_string().replace('<', "\\u003c"), 1)
    }
}

/// Each true face: its box, what became of it, and for a lost one where and why.
fn truth(inspection: &Inspection) -> Vec<Value> {
    let mut number = 0;
    let mut of = |(face, fate): &(crate::dataset::Truth, Fate)| match fate {
        Fate::NotCounted => json!({"rect": numbers(&face.rect), "fate": "not counted"}),
        Fate::Found(i) => json!({"rect": numbers(&face.rect), "fate": "found", "by": i}),
        Fate::Lost(loss) => {
            number += 1;
            let best = loss.best.as_ref().map(window);
            let words = inspection.describe(face, loss);
            json!({"rect": numbers(&face.rect), "fate": "lost", "number": number, "step": loss.step, "best": best, "words": words})
        }
    };
    inspection.truth.iter().map(&mut of).collect()
}

/// Each face with the windows on it, level by level.
fn followed(inspection: &Inspection) -> Vec<Value> {
    let all = inspection.followed.iter().map(|followed| {
        let level = |at: &AtLevel| match at {
            AtLevel::Nothing => json!({"what": "no window"}),
            AtLevel::Accepted => json!({"what": "accepted before"}),
            AtLevel::Moved { before, after } => {
                let iou = [before, after].map(|w| round(followed.overlap(w), 100.0));
                json!({"before": window(before), "after": window(after), "iou": iou})
            }
        };
        json!({
            "name": followed.subject.name(),
            "rect": numbers(&followed.rect),
            "score": followed.found.map(|face| round(face.score, 100.0)),
            "levels": followed.levels.iter().map(level).collect::<Vec<_>>(),
        })
    });
    all.collect()
}

/// Left, top, width, height and score.
fn window(window: &Window) -> Value {
    let [x, y, w, h] = numbers(&window.rect);
    json!([x, y, w, h, round(window.score, 100.0)])
}

fn numbers(rect: &Rect) -> [f64; 4] {
    [rect.x, rect.y, rect.w, rect.h].map(|v| round(v, 10.0))
}

/// Rounds to whole steps of 1 / `steps`; JSON has no number for what is not finite.
fn round(value: f32, steps: f64) -> f64 {
    if value.is_finite() { (f64::from(value) * steps).round() / steps } else { 0.0 }
}

/// The picture as a JPEG; empty if it can't be made.
fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let small = (width.max(height) > LARGEST).then(|| {
        let scale = f64::from(LARGEST) / f64::from(width.max(height));
        let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
        imageops::resize(picture, side(width), side(height), FilterType::Triangle)
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(small.unwrap_or_else(|| picture.clone()));
    let _ = JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&picture);
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::{Cascade, Options};
    use crate::dataset::Truth;

    #[test]
    fn the_page_loads_nothing_and_a_hostile_name_stays_a_name() {
        let cascade = Cascade::shipped(Options { min_face: 40.0, ..Options::default() }).unwrap();
        let picture = RgbImage::from_pixel(1400, 100, image::Rgb([120; 3]));
        let name = "</script><script>alert(1)</script> {{DATA}} <!-- \"&'.jpg";
        let face = Truth { rect: Rect::new(20.0, 20.0, 60.0, 60.0), ..Truth::default() };
        let inspection = Inspection::new(&cascade, name.into(), &picture, &[face]).unwrap();
        let (mut page, mut summary) = (Page::default(), Summary::default());
        for _ in 0..2 {
            page.add(&inspection, &picture, true);
            summary.add(&inspection);
        }
        let html = page.html(&summary);
        for outside in ["http:", "https:", "src=\"", "url(", "@import", "<link", "innerHTML"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!((html.matches("</script>").count(), html.matches("<!--").count()), (2, 0));
        let data = html.split("type=\"application/json\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&data["pictures"][1]["name"], &data["truth"]), (&name.into(), &true.into()));
        assert_eq!(data["pictures"][0]["steps"].as_array().unwrap().len(), 3 * cascade.levels());
        assert_eq!(data["pictures"][0]["truth"][0]["fate"], "lost");
        assert_eq!(data["pictures"][0]["followed"][0]["name"], "lost 1");
        assert_eq!(data["heading"], "2 pictures, 2 true faces: 0 found, 2 lost");
    }

    #[test]
    fn numbers_that_are_none_do_not_break_the_page() {
        for v in [f32::NAN, f32::INFINITY, -1e30] {
            assert!(serde_json::to_string(&window(&Window { rect: Rect::new(v, v, v, v), score: v })).is_ok());
        }
    }
}
