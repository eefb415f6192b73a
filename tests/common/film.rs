//! Films looked at frame by frame: where faces are, and what is left of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use facecascade::Rect;
use image::RgbImage;

/// Of each face, the frames in which it was shown and where.
pub type Faces = BTreeMap<u64, BTreeMap<usize, Rect>>;

pub fn faces(records: &Path) -> Faces {
    let mut faces = Faces::new();
    for line in std::fs::read_to_string(records).unwrap().lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let frame = line["frame"].as_u64().unwrap() as usize;
        for face in line["faces"].as_array().unwrap() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| face[key].as_f64().unwrap() as f32);
            faces.entry(face["id"].as_u64().unwrap()).or_default().insert(frame, Rect::new(x, y, w, h));
        }
    }
    faces
}

pub fn decoded(file: &Path, (width, height): (u32, u32)) -> Vec<RgbImage> {
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"])
        .output()
        .unwrap();
    assert!(out.status.success());
    let frames = out.stdout.chunks_exact((width * height * 3) as usize);
    frames.map(|bytes| RgbImage::from_raw(width, height, bytes.to_vec()).unwrap()).collect()
}

/// How much of a face's fine detail there is in another picture of it: 1 in the same, about 0 where nothing is left of it.
/// What counts are the differences of each pixel in the box's ellipse from the mean of those round it.
pub fn kept(original: &RgbImage, other: &RgbImage, face: &Rect) -> f64 {
    let light = |p: &RgbImage, x: i64, y: i64| {
        let inside = |v: i64, most: u32| v.clamp(0, i64::from(most) - 1) as u32;
        p.get_pixel(inside(x, p.width()), inside(y, p.height())).0.iter().map(|v| f64::from(*v)).sum::<f64>()
    };
    let detail = |p: &RgbImage, x: i64, y: i64| {
        let reach = 2;
        let around = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
        light(p, x, y) - around.map(|(dx, dy)| light(p, x + dx, y + dy)).sum::<f64>() / 25.0
    };
    let (cx, cy) = face.center();
    let (mut both, mut alone) = (0.0, 0.0);
    for y in face.y.max(0.0) as u32..((face.y + face.h) as u32).min(original.height()) {
        for x in face.x.max(0.0) as u32..((face.x + face.w) as u32).min(original.width()) {
            let (dx, dy) = ((x as f32 + 0.5 - cx) / face.w * 2.0, (y as f32 + 0.5 - cy) / face.h * 2.0);
            if dx * dx + dy * dy < 1.0 {
                let (a, b) = (detail(original, x.into(), y.into()), detail(other, x.into(), y.into()));
                both += a * b;
                alone += a * a;
            }
        }
    }
    if alone > 0.0 { both / alone } else { 0.0 }
}

/// The share of the ellipse that is dark and grey.
pub fn solid(picture: &RgbImage, face: &Rect) -> f64 {
    let (cx, cy) = face.center();
    let (mut dark, mut all) = (0, 0);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let (dx, dy) = ((x as f32 + 0.5 - cx) / face.w * 2.0, (y as f32 + 0.5 - cy) / face.h * 2.0);
        if dx * dx + dy * dy < 1.0 {
            all += 1;
            dark += usize::from(pixel.0.iter().all(|v| *v < 48));
        }
    }
    if all == 0 { 1.0 } else { f64::from(dark as u32) / f64::from(all) }
}

/// Every frame's faces, with or without ids.
pub fn by_frame(records: &Path) -> Vec<Vec<Rect>> {
    let text = std::fs::read_to_string(records).unwrap();
    let frames = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    frames
        .filter_map(|line| {
            let side = |face: &serde_json::Value, key: &str| face[key].as_f64().unwrap() as f32;
            let rect = |f: &serde_json::Value| Rect::new(side(f, "x"), side(f, "y"), side(f, "w"), side(f, "h"));
            line["faces"].as_array().map(|faces| faces.iter().map(rect).collect())
        })
        .collect()
}
