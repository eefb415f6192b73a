//! Scripted cameras fail in every way, and frames or clear errors come out.

use std::collections::VecDeque;

use super::device::{CameraDevice, Coding};
use super::*;

/// What a scripted camera does next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A grey picture of this width, as MJPEG.
    Picture(u32),
    /// An MJPEG picture that ends early.
    Damaged,
    /// Sends nothing for this many milliseconds.
    Stall(u64),
    /// A panic in the driver's library.
    Panic,
}

/// A camera that does what its script says, and is lost after that.
struct Scripted(VecDeque<Event>);

impl CameraDevice for Scripted {
    fn describe(&self) -> String {
        "scripted camera".into()
    }

    fn rate(&self) -> Option<f64> {
        Some(30.0)
    }

    fn grab(&mut self, into: &mut Vec<u8>) -> std::result::Result<Shot, String> {
        loop {
            let event = self.0.pop_front().ok_or("no such device")?;
            if let Event::Stall(ms) = event {
                std::thread::sleep(Duration::from_millis(ms));
                continue;
            }
            let width = if let Event::Picture(width) = event { width } else { 40 };
            *into = jpeg(width);
            match event {
                Event::Damaged => into.truncate(into.len() / 2),
                Event::Panic => panic!("the scripted driver gives up, as it should"),
                _ => {}
            }
            // Pictures come slowly enough for a reader that waits to see each one.
            std::thread::sleep(Duration::from_millis(15));
            return Ok(Shot { width, height: width, coding: Coding::Mjpeg, captured: Instant::now() });
        }
    }
}

fn jpeg(width: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(width, 32, image::Rgb([99; 3])).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// A camera with one script for each time that it is opened; with `None`, and after the last one, it can't be opened.
fn camera(scripts: &[Option<&[Event]>]) -> Result<Camera> {
    let mut scripts: VecDeque<_> = scripts.iter().map(|script| script.map(<[Event]>::to_vec)).collect();
    let open: Open = Box::new(move || match scripts.pop_front().flatten() {
        Some(script) => Ok(Box::new(Scripted(script.into())) as Box<dyn CameraDevice>),
        None => Err("nothing is plugged in".into()),
    });
    let ms = Duration::from_millis;
    Camera::start(open, Timeouts { stall: ms(250), retry: ms(20), give_up: ms(1000) })
}

/// Returns the widths of the pictures that come, and the error after them.
fn widths(camera: &mut Camera) -> (Vec<u32>, Error) {
    let (mut frame, mut widths) = (RgbImage::new(0, 0), Vec::new());
    loop {
        match camera.next(&mut frame) {
            Ok(Some(_)) => widths.push(frame.width()),
            Ok(None) => unreachable!("a camera never ends"),
            Err(error) => return (widths, error),
        }
    }
}

#[test]
fn a_camera_that_vanishes_is_an_error_after_it_was_retried() {
    let mut camera = camera(&[Some(&[Event::Picture(40); 3])]).unwrap();
    let begin = Instant::now();
    let (widths, error) = widths(&mut camera);
    assert_eq!(widths, [40; 3]);
    let error = error.to_string();
    assert!(error.contains("scripted camera") && error.contains("no such device"), "{error}");
    assert!(error.contains("did not come back within 1 s"), "{error}");
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_camera_that_comes_back_goes_on_where_it_was() {
    let pictures = [Event::Picture(40); 2];
    let mut camera = camera(&[Some(&pictures), None, None, Some(&[Event::Picture(48); 2])]).unwrap();
    let mut frame = RgbImage::new(0, 0);
    let mut times = Vec::new();
    for width in [40, 40, 48, 48] {
        times.push(camera.next(&mut frame).unwrap().unwrap().time);
        assert_eq!(frame.width(), width);
    }
    assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
    assert!(camera.next(&mut frame).is_err(), "the second time it stays away");
}

#[test]
fn a_short_stall_is_survived_and_one_without_end_is_an_error() {
    let script = [Event::Picture(40), Event::Stall(500), Event::Picture(44), Event::Stall(3000)];
    let mut camera = camera(&[Some(&script)]).unwrap();
    let (widths, error) = widths(&mut camera);
    assert_eq!(widths, [40, 44]);
    assert!(error.to_string().contains("sends no pictures"), "{error}");
}

#[test]
fn damaged_pictures_are_left_out_and_counted() {
    let script = [Event::Picture(40), Event::Damaged, Event::Damaged, Event::Picture(44)];
    let mut camera = camera(&[Some(&script)]).unwrap();
    let mut frame = RgbImage::new(0, 0);
    camera.next(&mut frame).unwrap().unwrap();
    camera.next(&mut frame).unwrap().unwrap();
    assert_eq!((frame.width(), camera.broken(), camera.dropped()), (44, 2, 2));
}

#[test]
fn a_camera_that_sends_only_damaged_pictures_is_an_error() {
    let mut camera = camera(&[Some(&[Event::Damaged; 200])]).unwrap();
    let (widths, error) = widths(&mut camera);
    assert!(widths.is_empty() && error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_new_size_comes_through() {
    let script = [Event::Picture(40), Event::Picture(80), Event::Picture(40)];
    assert_eq!(widths(&mut camera(&[Some(&script)]).unwrap()).0, [40, 80, 40]);
}

#[test]
fn a_late_reader_gets_the_newest_picture_and_the_others_are_counted() {
    let script: Vec<Event> = (0..10).map(|i| Event::Picture(40 + i)).chain([Event::Stall(5000)]).collect();
    let mut camera = camera(&[Some(&script)]).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let mut frame = RgbImage::new(0, 0);
    camera.next(&mut frame).unwrap().unwrap();
    assert_eq!((frame.width(), camera.dropped()), (49, 9));
}

#[test]
fn a_panic_in_the_driver_is_a_lost_camera() {
    let mut camera = camera(&[Some(&[Event::Picture(40), Event::Panic]), Some(&[Event::Picture(44)])]).unwrap();
    let (widths, error) = widths(&mut camera);
    assert_eq!(widths, [40, 44]);
    assert!(error.to_string().contains("no such device"), "{error}");
}

#[test]
fn a_camera_that_can_not_be_opened_says_why() {
    let error = camera(&[]).unwrap_err().to_string();
    assert!(error.contains("can't be opened") && error.contains("nothing is plugged in"), "{error}");
}
