//! A page to check a redacted film by: of every face that was followed a strip of pictures, its times, scores and sizes,
//! doubtful ones first. One HTML file that loads nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};

use crate::geometry::Rect;
use crate::track::{Basis, Tracked};

const PAGE: &str = include_str!("review.html");
/// Pictures of a face.
const STRIP: usize = 8;
/// Side of a picture, pixels.
const SIDE: u32 = 96;
/// What is shown round a face's box, sides.
const AROUND: f32 = 0.35;
/// Faces of which pictures are kept, so that memory stays within bounds: about 30 KB each.
const MOST_FACES: usize = 4000;
/// Under this, a face is doubtful.
const DOUBT: f64 = 0.6;

/// What is known of one face.
#[derive(Debug)]
struct Record {
    from: f64,
    to: f64,
    covered: u64,
    seen: u64,
    best: f32,
    sum: f64,
    smallest: f32,
    largest: f32,
    /// JPEGs of every `step`th sighting, with their times.
    strip: Vec<(f64, Vec<u8>)>,
    step: u64,
}

/// The faces of a film, collected frame by frame.
#[derive(Debug, Default)]
pub struct Review {
    faces: BTreeMap<u64, Record>,
}

impl Review {
    /// Notes the faces of the frame at `seconds`, before it is covered.
    pub fn frame(&mut self, picture: &RgbImage, seconds: f64, faces: &[Tracked]) {
        for tracked in faces {
            let many = self.faces.len() >= MOST_FACES;
            let side = tracked.face.rect.w.max(tracked.face.rect.h);
            let record = self.faces.entry(tracked.id).or_insert(Record {
                from: seconds,
                to: seconds,
                covered: 0,
                seen: 0,
                best: 0.0,
                sum: 0.0,
                smallest: f32::INFINITY,
                largest: 0.0,
                strip: Vec::new(),
                step: 1,
            });
            record.to = seconds;
            record.covered += 1;
            if let Basis::Seen(found) = tracked.basis {
                record.best = record.best.max(tracked.face.score);
                record.sum += f64::from(tracked.face.score);
                (record.smallest, record.largest) = (record.smallest.min(side), record.largest.max(side));
                if record.seen.is_multiple_of(record.step) && !many {
                    record.strip.push((seconds, cut_out(picture, &found)));
                    if record.strip.len() > STRIP {
                        // Every other one goes; the first stays.
                        let mut number = 0;
                        record.strip.retain(|_| {
                            number += 1;
                            number % 2 == 1
                        });
                        record.step *= 2;
                    }
                }
                record.seen += 1;
            }
        }
    }

    /// The page. `name`: the film; `command`: what was run, without a choice of ids; `covers`: whether a face is covered.
    pub fn page(&self, name: &str, command: &str, covers: impl Fn(u64) -> bool) -> String {
        let mut faces: Vec<_> = self.faces.iter().collect();
        faces.sort_by(|a, b| a.1.trust().total_cmp(&b.1.trust()));
        let mut list = String::new();
        for (id, record) in &faces {
            record.write(**id, covers(**id), &mut list);
        }
        let count = match faces.len() {
            0 => "No face".to_owned(),
            1 => "1 face".to_owned(),
            n => format!("{n} faces"),
        };
        // The texts may hold what looks like a place to fill in: each is put in once, from the back.
        let mut page = PAGE.to_owned();
        for (place, text) in [("{{FACES}}", &list), ("{{COUNT}}", &count)] {
            page = page.replacen(place, text, 1);
        }
        page.replace("{{NAME}}", &escaped(name)).replace("{{COMMAND}}", &escaped(command))
    }
}

impl Record {
    /// 0..1: how sure it is that this is a face.
    fn trust(&self) -> f64 {
        f64::from(self.best) * (1.0 - 0.8_f64.powf(self.seen as f64))
    }

    /// One entry of the list. Writing to a string can't fail.
    fn write(&self, id: u64, covered: bool, out: &mut String) {
        let doubt = if self.trust() < DOUBT { "<span class=\"doubt\">doubtful</span>" } else { "" };
        let _ = writeln!(out, "<li><div class=\"head\"><h2>Face {id}</h2>{doubt}");
        let checked = if covered { "" } else { " checked" };
        let _ = writeln!(
            out,
            "<label><input type=\"checkbox\" value=\"{id}\" aria-label=\"Leave face {id} open\"{checked}> Leave open</label></div>"
        );
        let mean = if self.seen > 0 { self.sum / self.seen as f64 } else { 0.0 };
        let _ = writeln!(
            out,
            "<p class=\"facts\">{} to {} · found in {} of {} frames · score {mean:.2} on average, {:.2} at best{}</p>",
            clock(self.from),
            clock(self.to),
            self.seen,
            self.covered,
            self.best,
            if self.seen > 0 {
                format!(" · {:.0} to {:.0} pixels", self.smallest, self.largest)
            } else {
                String::new()
            },
        );
        if self.strip.is_empty() {
            let _ = writeln!(out, "<p>No pictures of this face were kept.</p></li>");
            return;
        }
        let _ = writeln!(out, "<div class=\"strip\">");
        for (seconds, jpeg) in &self.strip {
            let time = clock(*seconds);
            let _ = writeln!(
                out,
                "<figure><img width=\"{SIDE}\" height=\"{SIDE}\" alt=\"Face {id} at {time}\" \
                 src=\"data:image/jpeg;base64,{}\"><figcaption>{time}</figcaption></figure>",
                base64::encode(jpeg)
            );
        }
        let _ = writeln!(out, "</div></li>");
    }
}

/// A square round the face as a JPEG; empty if it can't be made.
fn cut_out(picture: &RgbImage, rect: &Rect) -> Vec<u8> {
    let side = rect.w.max(rect.h) * (1.0 + 2.0 * AROUND);
    let (cx, cy) = rect.center();
    let inside = |v: f32, most: u32| v.max(0.0).min(most as f32) as u32;
    let (x, y) = (inside(cx - side / 2.0, picture.width()), inside(cy - side / 2.0, picture.height()));
    let (right, bottom) = (inside(cx + side / 2.0, picture.width()), inside(cy + side / 2.0, picture.height()));
    let mut square = RgbImage::from_pixel(SIDE, SIDE, image::Rgb([119; 3]));
    if right > x && bottom > y {
        let part = imageops::crop_imm(picture, x, y, right - x, bottom - y).to_image();
        let part = DynamicImage::ImageRgb8(part).resize(SIDE, SIDE, FilterType::Triangle).into_rgb8();
        let place = |outer: u32, inner: u32| i64::from((outer - inner.min(outer)) / 2);
        let (left, top) = (place(SIDE, part.width()), place(SIDE, part.height()));
        imageops::replace(&mut square, &part, left, top);
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    let _ = JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&square);
    bytes.into_inner()
}

/// `1:02:03.4`, or `2:03.4`.
fn clock(seconds: f64) -> String {
    let tenths = (seconds.max(0.0) * 10.0).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let rest = format!("{:02}.{}", rest / 10, rest % 10);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest}") } else { format!("{minutes}:{rest}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Face;

    fn tracked(id: u64, score: f32) -> Tracked {
        let rect = Rect::new(20.0, 10.0, 30.0, 40.0);
        Tracked { id, face: Face { rect, score, smile: None }, smiling: None, basis: Basis::Seen(rect), shown: true }
    }

    #[test]
    fn doubtful_faces_come_first_and_the_page_loads_nothing() {
        let mut review = Review::default();
        let picture = RgbImage::from_pixel(160, 90, image::Rgb([90, 80, 70]));
        for i in 0..100 {
            let mut faces = vec![tracked(1, 0.95)];
            faces.extend((40..43).contains(&i).then(|| tracked(2, 0.2)));
            review.frame(&picture, f64::from(i) / 25.0, &faces);
        }
        let page = review.page("a <b> \"c\".mp4", "facecascade video 'a <b>' --redact solid", |id| id != 2);
        assert!(page.find("Face 2").unwrap() < page.find("Face 1").unwrap());
        assert!(page.contains("2 faces in a &lt;b&gt; &quot;c&quot;.mp4") && !page.contains("{{"));
        assert!(page.contains("face 2 open\" checked>") && page.contains("face 1 open\">"));
        assert!(page.contains("0:00.0 to 0:04.0 · found in 100 of 100 frames"), "{}", &page[page.len() / 2..]);
        for outside in ["http:", "https:", "src=\"/", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let pictures = page.matches("data:image/jpeg").count();
        assert!((3 + 4..=3 + STRIP).contains(&pictures), "{pictures}");
    }

    #[test]
    fn nothing_odd_about_boxes_panics() {
        let picture = RgbImage::new(20, 10);
        for v in [f32::NAN, f32::INFINITY, -1e30, 0.0, 1e9] {
            let rect = Rect::new(v, v, v, 5.0);
            let face = Tracked { basis: Basis::Seen(rect), ..tracked(1, v) };
            let mut review = Review::default();
            review.frame(&picture, f64::from(v), &[face]);
            let _ = review.page("", "", |_| true);
        }
    }
}
