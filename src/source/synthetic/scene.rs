//! A [`Scene`]: what the synthetic camera shows, and where its faces are.

use std::sync::LazyLock;

use image::RgbImage;

use super::Random;
use super::ground::Ground;
use super::noise::Noise;
use super::portrait::{PORTRAITS, Portrait};
use crate::error::{Error, Result};
use crate::geometry::Rect;

/// What the synthetic camera shows, frame by frame. The same settings give the same frames on any machine.
#[derive(Debug)]
pub struct Scene {
    width: u32,
    height: u32,
    rate: f64,
    speed: f64,
    enter: f64,
    smile: Option<f64>,
    actors: Vec<Actor>,
    ground: Ground,
    noise: Option<Noise>,
}

/// Settings of a [`Scene`].
#[derive(Debug, Clone, PartialEq)]
pub struct SceneSettings {
    /// Width of a frame, pixels; at least 160.
    pub width: u32,
    /// Height of a frame, pixels; at least 120.
    pub height: u32,
    /// Frames a second, 0.1 to 1000.
    pub rate: f64,
    /// Number of faces, 0 to 3. In a frame of 640×480 they are 80 to 200 pixels high; in other frames in proportion.
    pub faces: usize,
    /// Seed of the faces' paths, the background and the noise.
    pub seed: u64,
    /// How fast faces move and grow: 1 like people in front of a camera, 0 not at all. The background moves in any case.
    pub speed: f64,
    /// Time at which the faces appear, seconds.
    pub enter: f64,
    /// Standard deviation of the sensor's noise, grey levels, 0 to 100.
    pub noise: f32,
    /// Seconds after which all faces smile, none before; `None`: each as its portrait does.
    pub smile: Option<f64>,
}

impl Default for SceneSettings {
    fn default() -> Self {
        Self { width: 640, height: 480, rate: 30.0, faces: 3, seed: 1, speed: 1.0, enter: 0.0, noise: 0.0, smile: None }
    }
}

impl Scene {
    /// Makes a scene.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(settings: &SceneSettings) -> Result<Self> {
        let SceneSettings { width, height, rate, faces, seed, speed, enter, noise, smile } = *settings;
        let fits = (160..=8192).contains(&width) && (120..=8192).contains(&height);
        let fits = fits && speed.is_finite() && enter.is_finite() && (0.0..=100.0).contains(&noise);
        if !fits || !smile.is_none_or(f64::is_finite) || !(0.1..=1000.0).contains(&rate) || faces > ZONES.len() {
            return Err(Error::Setting(format!(
                "synthetic camera: {width}×{height} pixels, {rate} frames a second, {faces} faces; it has at least \
                 160×120 pixels, 0.1 to 1000 frames a second and 0 to {} faces; its noise is 0 to 100",
                ZONES.len()
            )));
        }
        // The portraits are decoded now, so that the first frame is not late.
        LazyLock::force(&PORTRAITS);
        let mut random = Random(seed);
        let actors = ZONES.iter().take(faces).map(|zone| Actor::new(zone, faces, &mut random)).collect();
        let ground = Ground::new(&mut random);
        let noise = (noise > 0.0).then(|| Noise::new(noise, &mut random));
        Ok(Self { width, height, rate, speed, enter, smile, actors, ground, noise })
    }

    /// Size of a frame, pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Frames a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns the number of the frame that is shown `seconds` after the first one.
    pub fn frame_at(&self, seconds: f64) -> u64 {
        (seconds * self.rate).round().max(0.0) as u64
    }

    /// Returns the true boxes of the faces in frame `frame` (from 0), pixels: from hairline to chin and from ear to ear.
    pub fn truth(&self, frame: u64) -> Vec<Rect> {
        self.places(frame).map(|(_, place)| place).collect()
    }

    /// Draws frame `frame` (from 0) into `into`, whose buffer is used again.
    pub fn draw(&self, frame: u64, into: &mut RgbImage) {
        if into.dimensions() != self.size() {
            *into = RgbImage::new(self.width, self.height);
        }
        self.ground.draw(into, self.seconds(frame));
        for (actor, place) in self.places(frame) {
            match self.smile {
                None => actor.portrait().draw(into, &place, actor.mirror, 1.0),
                Some(smile) => {
                    let share = ((self.seconds(frame) - smile) / SMILE_GROWS).clamp(0.0, 1.0) as f32;
                    for (portrait, cover) in [(SERIOUS, 1.0), (SMILING, share)] {
                        let portrait = &PORTRAITS[portrait];
                        portrait.draw(into, &portrait.fitted(&place), actor.mirror, cover);
                    }
                }
            }
        }
        if let Some(noise) = &self.noise {
            noise.add(into, frame);
        }
    }

    /// Returns the faces in a frame, each with its box.
    fn places(&self, frame: u64) -> impl Iterator<Item = (&Actor, Rect)> {
        let seconds = self.seconds(frame);
        let there = if seconds >= self.enter { self.actors.len() } else { 0 };
        self.actors[..there].iter().map(move |actor| (actor, actor.place(self.size(), seconds * self.speed)))
    }

    /// Time of frame `frame`, seconds.
    pub(super) fn seconds(&self, frame: u64) -> f64 {
        frame as f64 / self.rate
    }
}

/// The portrait that does not smile, and the one that does.
const SERIOUS: usize = 0;
const SMILING: usize = 1;
/// Seconds from a serious face to a smiling one.
const SMILE_GROWS: f64 = 0.15;

/// The part of the picture in which one face moves, so that no face covers another: left and right end as shares of the
/// width (0..1), and the smallest and largest height of the face, pixels in a frame of 640×480.
struct Zone {
    portrait: usize,
    mirror: bool,
    from: f32,
    to: f32,
    smallest: f32,
    largest: f32,
}

/// The largest face comes first, so that faces drawn later cover its hair and not its face.
const ZONES: [Zone; 3] = [
    Zone { portrait: 0, mirror: false, from: 0.30, to: 0.72, smallest: 110.0, largest: 200.0 },
    Zone { portrait: 1, mirror: false, from: 0.0, to: 0.27, smallest: 80.0, largest: 118.0 },
    Zone { portrait: 1, mirror: true, from: 0.75, to: 1.0, smallest: 80.0, largest: 110.0 },
];

/// A moving face: x, y and size swing, each with a period and a phase of its own.
#[derive(Debug)]
struct Actor {
    portrait: usize,
    mirror: bool,
    /// Left and right end of its zone, shares of the width.
    range: (f32, f32),
    /// Smallest and largest height, pixels in a frame of 640×480.
    sides: (f32, f32),
    /// Period in seconds and phase in turns (0..1) of x, y and size.
    swings: [(f64, f64); 3],
}

impl Actor {
    fn new(zone: &Zone, faces: usize, random: &mut Random) -> Self {
        // A single face moves in the whole picture.
        let range = if faces == 1 { (0.0, 1.0) } else { (zone.from, zone.to) };
        let swings = [(4.0, 7.0), (5.0, 9.0), (6.0, 11.0)]
            .map(|(from, to)| (from + (to - from) * random.share(), random.share()));
        let sides = (zone.smallest, zone.largest);
        Self { portrait: zone.portrait, mirror: zone.mirror, range, sides, swings }
    }

    fn portrait(&self) -> &'static Portrait {
        &PORTRAITS[self.portrait]
    }

    /// Box of the face after `seconds`, in a frame of `width` × `height` pixels.
    fn place(&self, (width, height): (u32, u32), seconds: f64) -> Rect {
        let swing = |i: usize| {
            let (period, phase) = self.swings[i];
            (0.5 + 0.5 * (std::f64::consts::TAU * (seconds / period + phase)).sin()) as f32
        };
        let between = |low: f32, high: f32, share: f32| low + (high - low).max(0.0) * share;
        let (width, height) = (width as f32, height as f32);
        let [from, to] = [self.range.0 * width, self.range.1 * width];
        // Pixels in this frame for one in a frame of 640×480; narrow frames are limited by their width.
        let unit = (height / 480.0).min(width / 640.0);
        let h = between(self.sides.0, self.sides.1, swing(2)) * unit;
        let w = h * self.portrait().aspect();
        let edge = 2.0 * unit;
        let x = between(from + edge, to - edge - w, swing(0));
        // The face keeps a distance from the upper edge for its hair, and from the lower one for its neck.
        let y = between(0.3 * h, height - 1.25 * h, swing(1));
        Rect::new(x, y, w, h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(faces: usize, seed: u64) -> Scene {
        Scene::new(&SceneSettings { faces, seed, ..Default::default() }).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_frames_and_another_one_others() {
        let mut frames = [(); 3].map(|()| RgbImage::new(0, 0));
        for (frame, seed) in frames.iter_mut().zip([5, 5, 6]) {
            scene(3, seed).draw(77, frame);
        }
        assert_eq!(frames[0], frames[1]);
        assert_ne!(frames[0], frames[2]);
    }

    #[test]
    fn faces_stay_in_the_picture_apart_and_between_80_and_200_pixels_and_move_smoothly() {
        for seed in 0..20 {
            let scene = scene(3, seed);
            let mut before: Option<Vec<Rect>> = None;
            for frame in 0..900 {
                let truth = scene.truth(frame);
                assert_eq!(truth.len(), 3);
                for (i, a) in truth.iter().enumerate() {
                    assert!((80.0..=200.0).contains(&a.h), "{a:?}");
                    assert!(a.x >= 0.0 && a.y >= 0.0 && a.x + a.w <= 640.0 && a.y + a.h <= 480.0, "{a:?}");
                    assert!(truth[..i].iter().all(|b| a.intersection(b) == 0.0), "{truth:?}");
                    if let Some(before) = &before {
                        let ((x, y), (bx, by)) = (a.center(), before[i].center());
                        assert!((x - bx).hypot(y - by) < 12.0 && (a.h - before[i].h).abs() < 3.0);
                    }
                }
                before = Some(truth);
            }
        }
    }

    #[test]
    fn every_pixel_of_the_background_changes_within_a_second() {
        let scene = scene(0, 3);
        let (mut a, mut b) = (RgbImage::new(0, 0), RgbImage::new(0, 0));
        scene.draw(0, &mut a);
        scene.draw(30, &mut b);
        let same = a.pixels().zip(b.pixels()).filter(|(a, b)| a == b).count();
        assert!(same < 640 * 480 / 50, "{same} pixels stayed");
    }

    #[test]
    fn other_sizes_are_drawn_and_impossible_ones_named() {
        for (width, height) in [(160, 120), (240, 720), (1921, 1079)] {
            let scene = Scene::new(&SceneSettings { width, height, ..Default::default() }).unwrap();
            let mut frame = RgbImage::new(0, 0);
            scene.draw(12, &mut frame);
            assert_eq!(frame.dimensions(), (width, height));
        }
        for bad in [
            SceneSettings { width: 0, ..Default::default() },
            SceneSettings { rate: f64::NAN, ..Default::default() },
            SceneSettings { faces: 4, ..Default::default() },
        ] {
            assert!(Scene::new(&bad).unwrap_err().to_string().contains("synthetic camera"));
        }
    }

    #[test]
    fn faces_change_when_they_begin_to_smile_and_not_before() {
        let drawn = |smile, frame| {
            let settings = SceneSettings { faces: 1, speed: 0.0, smile: Some(smile), ..Default::default() };
            let mut picture = RgbImage::new(0, 0);
            Scene::new(&settings).unwrap().draw(frame, &mut picture);
            picture
        };
        for (frame, same) in [(0, true), (30, true), (33, false), (60, false)] {
            assert_eq!(drawn(1.0, frame) == drawn(9.0, frame), same, "frame {frame}");
        }
    }

    #[test]
    fn the_cascade_finds_the_faces_where_they_are_said_to_be() {
        let options = crate::Options { min_face: 40.0, ..Default::default() };
        let cascade = crate::Cascade::shipped(options).unwrap();
        let scene = scene(3, 8);
        let mut frame = RgbImage::new(0, 0);
        let (mut found, mut all) = (0, 0);
        for number in (0..600).step_by(30) {
            scene.draw(number, &mut frame);
            let faces = cascade.detect(&frame).unwrap();
            for truth in scene.truth(number) {
                all += 1;
                found += usize::from(faces.iter().any(|face| face.rect.iou(&truth) > 0.5));
            }
        }
        assert!(found * 20 >= all * 19, "{found} of {all}");
    }
}
