//! Tests of the tracker: jitter, lag, gaps, ids.

use super::*;

fn face(x: f32, y: f32, side: f32) -> Face {
    Face { rect: Rect::new(x, y, side, side), score: 0.9, smile: None }
}

/// Noise with a standard deviation of 1.
fn noise(seed: &mut u64) -> f32 {
    let mut sum = 0.0;
    for _ in 0..12 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sum += (*seed >> 40) as f32 / (1 << 24) as f32;
    }
    sum - 6.0
}

/// Root mean square of the steps from frame to frame.
fn jitter(values: &[f32]) -> f32 {
    let squares: f32 = values.windows(2).map(|w| (w[1] - w[0]).powi(2)).sum();
    (squares / (values.len() - 1) as f32).sqrt()
}

#[test]
fn a_still_face_jitters_less_than_half_as_much_as_it_is_found() {
    for share in [0.01, 0.02, 0.03] {
        let mut seed = 7;
        let (mut tracker, mut raw, mut smooth) = (Tracker::default(), Vec::new(), Vec::new());
        for i in 0..600 {
            let found = face(100.0 + 80.0 * share * noise(&mut seed), 50.0, 80.0 + 80.0 * share * noise(&mut seed));
            let tracked = tracker.update(&[found], f64::from(i) / 30.0);
            assert_eq!((tracked.len(), tracked[0].id), (1, 1));
            if i > 30 {
                raw.push([found.rect.x, found.rect.w]);
                smooth.push([tracked[0].face.rect.x, tracked[0].face.rect.w]);
            }
        }
        for k in 0..2 {
            let of = |list: &[[f32; 2]]| jitter(&list.iter().map(|v| v[k]).collect::<Vec<_>>());
            assert!(of(&smooth) < 0.5 * of(&raw), "{share} {k}: {} of {}", of(&smooth), of(&raw));
        }
    }
}

#[test]
fn a_moving_face_is_less_than_a_frame_behind() {
    // Sides a second.
    for speed in [0.5, 2.0, 5.0] {
        let mut seed = 3;
        let (mut tracker, mut lag) = (Tracker::default(), 0.0);
        for i in 0..120 {
            let true_x = 80.0 * speed * (i as f32 / 30.0);
            let found = face(true_x + 0.8 * noise(&mut seed), 50.0, 80.0);
            let tracked = tracker.update(&[found], f64::from(i) / 30.0);
            assert_eq!(tracked.len(), 1, "speed {speed}, frame {i}");
            if i >= 30 {
                lag += (true_x - tracked[0].face.rect.x) / (80.0 * speed / 30.0) / 90.0;
            }
        }
        assert!(lag.abs() < 0.5, "{speed} sides a second: {lag} frames");
    }
    // To and fro, once a second: the shift that fits best.
    let (mut tracker, mut seed, mut at) = (Tracker::default(), 3, Vec::new());
    let swing = |frame: f32| 100.0 + 40.0 * (std::f32::consts::TAU * frame / 30.0).sin();
    for i in 0..300 {
        let found = face(swing(i as f32) + 0.8 * noise(&mut seed), 50.0, 80.0);
        at.push(tracker.update(&[found], f64::from(i) / 30.0)[0].face.rect.x);
    }
    let error = |shift: f32| -> f32 { (60..300).map(|i| (at[i] - swing(i as f32 - shift)).powi(2)).sum() };
    let best = (-20..40).map(|s| s as f32 / 10.0).min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap();
    assert!(best.abs() < 1.0, "{best} frames behind");
}

#[test]
fn a_face_shows_once_it_was_seen_in_two_of_three_frames() {
    let mut tracker = Tracker::default();
    let mut shown = |faces: &[Face], i: i32| {
        let tracked = tracker.update(faces, f64::from(i) / 30.0);
        tracked.iter().filter(|t| t.shown).count()
    };
    let a = [face(0.0, 0.0, 50.0)];
    assert_eq!([shown(&a, 0), shown(&[], 1), shown(&a, 2)], [0, 0, 1]);
    let other = [a[0], face(200.0, 0.0, 50.0)];
    assert_eq!([shown(&other, 3), shown(&a, 4), shown(&a, 5), shown(&other, 6)], [1, 1, 1, 1], "a flash");
}

#[test]
fn a_gap_of_five_frames_is_bridged_and_a_longer_one_ends_the_face() {
    for (gap, same) in [(1, true), (5, true), (6, false)] {
        let mut tracker = Tracker::default();
        for i in 0..10 {
            tracker.update(&[face(4.0 * i as f32, 0.0, 50.0)], f64::from(i) / 30.0);
        }
        for i in 10..10 + gap {
            let tracked = tracker.update(&[], f64::from(i) / 30.0);
            assert_eq!(tracked.iter().any(|t| t.shown), i < 15, "gap {gap}, frame {i}");
            if let Some(t) = tracked.first() {
                assert_eq!(t.basis, Basis::Guess);
                let x = 4.0 * i as f32;
                assert!((t.face.rect.x - x).abs() < 10.0, "{} {x}", t.face.rect.x);
            }
        }
        let end = 10 + gap;
        let tracked = tracker.update(&[face(4.0 * end as f32, 0.0, 50.0)], f64::from(end) / 30.0);
        assert_eq!(tracked.last().unwrap().id == 1, same, "gap {gap}");
    }
}

#[test]
fn ids_stay_through_a_crossing_even_where_one_face_hides_the_other() {
    for hidden in [false, true] {
        let mut tracker = Tracker::default();
        let mut ids = Vec::new();
        for i in 0..60 {
            // Two faces pass each other, 10 pixels apart in height.
            let (a, b) = (face(6.0 * i as f32, 100.0, 60.0), face(354.0 - 6.0 * i as f32, 110.0, 60.0));
            let mut faces = vec![a, b];
            if hidden && a.rect.iou(&b.rect) > 0.5 {
                faces.pop();
            }
            let tracked = tracker.update(&faces, f64::from(i) / 30.0);
            ids = faces.iter().map(|f| tracked.iter().find(|t| t.basis == Basis::Seen(f.rect)).unwrap().id).collect();
        }
        assert_eq!(ids, [1, 2], "hidden: {hidden}");
    }
}

#[test]
fn frames_that_are_not_searched_lose_nobody() {
    let mut tracker = Tracker::default();
    for i in 0..60 {
        let time = f64::from(i) / 30.0;
        let tracked = if i % 4 == 0 || i < 4 {
            tracker.update(&[face(3.0 * i as f32, 0.0, 50.0)], time)
        } else {
            tracker.skip(time)
        };
        assert!(tracked.len() == 1 && tracked[0].id == 1);
        assert!(i < 8 || (tracked[0].face.rect.x - 3.0 * i as f32).abs() < 6.0, "{i}: {:?}", tracked[0].face.rect);
    }
}

#[test]
fn nothing_odd_about_boxes_or_times_panics() {
    let mut tracker = Tracker::default();
    for (i, x) in [0.0, f32::NAN, f32::INFINITY, 1e30, -1e30].into_iter().enumerate() {
        tracker.update(&[face(x, x, 0.0), face(0.0, 0.0, x)], [0.0, f64::NAN, -5.0, 1e12, 0.0][i]);
        tracker.skip(f64::NAN);
    }
}

#[test]
fn another_guess_at_a_face_gets_no_id_of_its_own() {
    let better = Face { score: 0.95, ..face(100.0, 50.0, 80.0) };
    let mut tracker = Tracker::default();
    for i in 0..10 {
        // IoU with the better one: 60 / 100; and 40 / 120, which is a face of its own.
        let faces = [better, face(120.0, 50.0, 80.0), face(60.0, 50.0, 80.0)];
        assert_eq!(tracker.update(&faces, f64::from(i) / 30.0).len(), 2, "frame {i}");
    }
}
