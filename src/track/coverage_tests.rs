//! What is covered of a face that is found in some frames only.

use super::super::appearance::tests::frame;
use super::*;

const SIDE: f32 = 60.0;

fn found(x: f32, score: f32) -> Face {
    Face { rect: Rect::new(x, 50.0, SIDE, SIDE), score, smile: None }
}

/// A film of `rate` frames a second: of each frame the picture and what is found in it. Gives what is covered.
fn covered(rate: f64, frames: &[(RgbImage, Option<Face>)]) -> Vec<Vec<Tracked>> {
    let mut coverage = Coverage::new(Scores::default());
    let mut all = Vec::new();
    for (i, (picture, face)) in frames.iter().enumerate() {
        coverage.push(picture.clone(), i as f64 / rate, face.as_slice());
        all.extend(std::iter::from_fn(|| coverage.ready()));
    }
    all.extend(std::iter::from_fn(|| coverage.flush()));
    assert_eq!(all.len(), frames.len(), "every frame comes out");
    assert!(all.iter().zip(frames).all(|(known, (picture, _))| known.picture == *picture), "and in order");
    all.into_iter().map(|known| known.faces).collect()
}

/// Whether the middle of the face at `x` is covered.
fn covers(faces: &[Tracked], x: f32) -> bool {
    let middle = Rect::new(x + 15.0, 65.0, 30.0, 30.0);
    faces.iter().any(|t| t.face.rect.overlap_of_smaller(&middle) > 0.95)
}

#[test]
fn a_gap_is_bridged_at_any_rate_by_time_or_frames() {
    for rate in [1.0, 2.0, 5.0, 12.0, 30.0, 60.0, 120.0, 240.0_f64] {
        // Half a second, at least four frames.
        let gap = f64::max(rate / 2.0, 4.0) as usize;
        let x = |i: usize| 40.0 + 30.0 * (i as f32 / (gap + 12) as f32);
        let frames: Vec<_> = (0..gap + 12)
            .map(|i| (frame(0, Some((x(i), 50.0)), 1.0), (!(6..6 + gap).contains(&i)).then(|| found(x(i), 0.9))))
            .collect();
        let all = covered(rate, &frames);
        for (i, faces) in all.iter().enumerate() {
            assert!(covers(faces, x(i)), "{rate} frames/s, frame {i}: {faces:?}");
        }
    }
}

#[test]
fn a_face_found_late_in_a_fade_is_covered_from_the_first_frame_on() {
    for rate in [12.0, 25.0, 60.0] {
        let length = (2.0 * rate) as usize;
        let x = |i: usize| 40.0 + 40.0 * i as f32 / length as f32;
        let light = |i: usize| (i as f32 / length as f32).min(1.0);
        // Darker frames hold two grey levels: nobody sees a face in them.
        let dark = (0..length).take_while(|i| light(*i) < 0.05).count();
        let frames: Vec<_> = (0..length + 10)
            .map(|i| {
                let light = light(i);
                (frame(0, Some((x(i), 50.0)), light), (light > 0.8).then(|| found(x(i), 0.6)))
            })
            .collect();
        let all = covered(rate, &frames);
        for (i, faces) in all.iter().enumerate().skip(dark) {
            assert!(covers(faces, x(i)), "fading in at {rate} frames/s, frame {i}: {faces:?}");
        }
        // And the same backwards: found early, faded out.
        let mirrored: Vec<_> = frames.iter().rev().cloned().collect();
        let all = covered(rate, &mirrored);
        for (i, faces) in all.iter().rev().enumerate().skip(dark) {
            assert!(covers(faces, x(i)), "fading out at {rate} frames/s, frame {i} from the end");
        }
    }
}

#[test]
fn covers_stop_at_a_cut_in_both_directions() {
    let with = |i: usize| (10..20).contains(&i);
    let frames: Vec<_> = (0..30)
        .map(|i| {
            let scene = if with(i) { 0 } else { 1 };
            let square = with(i).then_some((80.0, 50.0));
            (frame(scene, square, 1.0), (13..17).contains(&i).then(|| found(80.0, 0.9)))
        })
        .collect();
    for (i, faces) in covered(30.0, &frames).iter().enumerate() {
        assert_eq!(covers(faces, 80.0), with(i), "frame {i}: {faces:?}");
    }
}

#[test]
fn faces_of_two_shots_that_one_find_stands_for_are_both_covered_in_a_dissolve() {
    let (before, behind) = (frame(0, Some((60.0, 50.0)), 1.0), frame(1, Some((110.0, 50.0)), 1.0));
    let share = |i: usize| ((i as f32 - 12.0) / 24.0).clamp(0.0, 1.0);
    let frames: Vec<_> = (0..48)
        .map(|i| {
            let mut picture = before.clone();
            for (to, from) in picture.iter_mut().zip(behind.iter()) {
                *to = (f32::from(*to) * (1.0 - share(i)) + f32::from(*from) * share(i)) as u8;
            }
            let face = match share(i) {
                s if s < 0.3 => found(60.0, 0.9),
                s if s > 0.7 => found(110.0, 0.9),
                _ => Face { rect: Rect::new(95.0, 60.0, 40.0, 40.0), ..found(0.0, 0.6) },
            };
            (picture, Some(face))
        })
        .collect();
    for (i, faces) in covered(12.0, &frames).iter().enumerate() {
        assert!(share(i) > 0.875 || covers(faces, 60.0), "the first, frame {i}: {faces:?}");
        assert!(share(i) < 0.125 || covers(faces, 110.0), "the second, frame {i}: {faces:?}");
    }
}

#[test]
fn a_faint_face_is_covered_once_seen_twice_and_a_flash_is_not() {
    let film = |seen: &[usize], score: f32| -> usize {
        let frames: Vec<_> =
            (0..40).map(|i| (frame(0, None, 1.0), seen.contains(&i).then(|| found(80.0, score)))).collect();
        covered(30.0, &frames).iter().filter(|faces| covers(faces, 80.0)).count()
    };
    assert_eq!(film(&[20], 0.36), 0, "a flash");
    assert!(film(&[20], 0.9) > 20, "a sure face, seen once");
    assert!(film(&[10, 20], 0.36) > 20, "seen again after a third of a second");
    assert_eq!(film(&[10, 12, 14, 16], 0.15), 0, "too faint to begin with");
    assert!(film(&[39], 0.36) > 0, "no second chance in the last frame");
}

#[test]
fn memory_is_bounded_and_large_frames_still_wait_for_a_gap() {
    let mut coverage = Coverage::new(Scores::default());
    let mut most = 0;
    for i in 0..40 {
        coverage.push(RgbImage::new(8192, 8192), f64::from(i) / 240.0, &[]);
        while coverage.ready().is_some() {}
        most = most.max(coverage.held.len());
    }
    assert!(most >= LEAST_HELD && most * 8192 * 8192 * 3 <= WINDOW_BYTES.max(LEAST_HELD * 8192 * 8192 * 3), "{most}");
}

#[test]
fn nothing_odd_about_boxes_or_times_panics() {
    let mut coverage = Coverage::new(Scores::default());
    for (i, x) in [0.0, f32::NAN, f32::INFINITY, 1e30, -1e30, 5.0, 5.0].into_iter().enumerate() {
        let time = [0.0, f64::NAN, -5.0, 1e12, 0.0, 0.1, f64::INFINITY][i];
        coverage.push(frame(0, None, 1.0), time, &[found(x, 0.9), found(x + 1.0, x)]);
        coverage.ready();
    }
    while coverage.flush().is_some() {}
}

#[test]
fn another_guess_at_a_face_gets_no_id_of_its_own() {
    // IoU of the first two: 45 / 75; of the first and the third: 20 / 100.
    let faces = [found(40.0, 0.9), found(55.0, 0.5), found(80.0, 0.6)];
    let mut coverage = Coverage::new(Scores::default());
    for i in 0..6 {
        coverage.push(frame(0, Some((40.0, 50.0)), 1.0), f64::from(i) / 12.0, &faces);
    }
    let last = std::iter::from_fn(|| coverage.flush()).last().map_or(vec![], |known| known.faces);
    assert_eq!(last.len(), 2, "{last:?}");
}
