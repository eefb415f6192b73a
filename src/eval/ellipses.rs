//! Computes the overlap of boxes with FDDB's ellipses by geometry; the published program counts pixels.

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::detections::Box64;
use crate::dataset::Ellipse;

/// Nodes of the quadrature.
const ORDER: usize = 96;

/// Nodes in −1..1 and weights of Gauss–Legendre quadrature. Nodes are the roots of the Legendre polynomial, found by Newton's
/// method.
static QUADRATURE: LazyLock<[(f64, f64); ORDER]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let n = ORDER as f64;
        let mut x = (PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut previous, mut value) = (1.0, x);
            for k in 2..=ORDER {
                let k = k as f64;
                (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
            }
            slope = n * (x * value - previous) / (x * x - 1.0);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
});

/// Returns the area of `ellipse` inside [x0, x1] × [y0, y1], square pixels, by integrating the chord over y.
pub(crate) fn shared_area(ellipse: &Ellipse, x0: f64, y0: f64, x1: f64, y1: f64) -> f64 {
    let Ellipse { major: a, minor: b, angle, cx, cy } = *ellipse;
    let (s, c) = angle.sin_cos();
    let (_, half_height) = ellipse.half_extent();
    let (top, bottom) = (y0.max(cy - half_height), y1.min(cy + half_height));
    if bottom <= top || x1 <= x0 {
        return 0.0;
    }
    // As a function of u in y = cy + half_height · sin u, the chord is smooth up to the ellipse's ends.
    let u0 = ((top - cy) / half_height).clamp(-1.0, 1.0).asin();
    let u1 = ((bottom - cy) / half_height).clamp(-1.0, 1.0).asin();
    // About its centre, the ellipse is qa x² + 2 qb x y + qc y² = 1.
    let qa = (c / a).powi(2) + (s / b).powi(2);
    let qb = c * s * (1.0 / (a * a) - 1.0 / (b * b));
    let qc = (s / a).powi(2) + (c / b).powi(2);
    let chords: f64 = QUADRATURE
        .iter()
        .map(|&(node, weight)| {
            let u = (u0 + u1) / 2.0 + (u1 - u0) / 2.0 * node;
            let y = half_height * u.sin();
            let half_chord = ((qb * y).powi(2) - qa * (qc * y * y - 1.0)).max(0.0).sqrt() / qa;
            let middle = cx - qb * y / qa;
            let chord = x1.min(middle + half_chord) - x0.max(middle - half_chord);
            chord.max(0.0) * half_height * u.cos() * weight
        })
        .sum();
    chords * (u1 - u0) / 2.0
}

/// An ellipse cut at the picture's edges, with its area, to be compared with many boxes.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    ellipse: Ellipse,
    /// Left, top, right, bottom of the whole ellipse, pixels.
    bounds: [f64; 4],
    width: f64,
    height: f64,
    area: f64,
}

impl Region {
    /// Cuts `ellipse` at the edges of a picture of `width` × `height` pixels.
    pub(crate) fn new(ellipse: &Ellipse, width: u32, height: u32) -> Self {
        let (width, height) = (f64::from(width), f64::from(height));
        let (hx, hy) = ellipse.half_extent();
        let bounds = [ellipse.cx - hx, ellipse.cy - hy, ellipse.cx + hx, ellipse.cy + hy];
        let inside = bounds[0] >= 0.0 && bounds[1] >= 0.0 && bounds[2] <= width && bounds[3] <= height;
        let area =
            if inside { PI * ellipse.major * ellipse.minor } else { shared_area(ellipse, 0.0, 0.0, width, height) };
        Self { ellipse: *ellipse, bounds, width, height, area }
    }

    /// Returns intersection over union with a box, both cut at the picture's edges, 0..1.
    pub(crate) fn iou(&self, rect: &Box64) -> f64 {
        let (x0, y0) = (rect[0].clamp(0.0, self.width), rect[1].clamp(0.0, self.height));
        let (x1, y1) = ((rect[0] + rect[2]).clamp(0.0, self.width), (rect[1] + rect[3]).clamp(0.0, self.height));
        let area = (x1 - x0) * (y1 - y0);
        let [left, top, right, bottom] = self.bounds;
        if area <= 0.0 || x1 <= left || x0 >= right || y1 <= top || y0 >= bottom {
            return 0.0;
        }
        let shared = shared_area(&self.ellipse, x0, y0, x1, y1);
        shared / (self.area + area - shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn overlap_is_that_of_a_fine_raster(
            (major, minor, angle) in (10f64..45.0, 6f64..30.0, -3f64..3.0),
            (cx, cy) in (0f64..120.0, 0f64..100.0),
            rect in (-20f64..80.0, -20f64..70.0, 10f64..80.0, 10f64..80.0),
        ) {
            let (ellipse, q) = (Ellipse { major, minor, angle, cx, cy }, 8);
            let rect = [rect.0, rect.1, rect.2, rect.3];
            let (mut both, mut any) = (0u32, 0u32);
            let (s, c) = angle.sin_cos();
            for i in 0..120 * q * 100 * q {
                let x = (f64::from(i % (120 * q)) + 0.5) / f64::from(q);
                let y = (f64::from(i / (120 * q)) + 0.5) / f64::from(q);
                let (u, v) = ((x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s);
                let in_ellipse = (u / major).powi(2) + (v / minor).powi(2) <= 1.0;
                let in_box = x >= rect[0] && x < rect[0] + rect[2] && y >= rect[1] && y < rect[1] + rect[3];
                both += u32::from(in_ellipse && in_box);
                any += u32::from(in_ellipse || in_box);
            }
            let raster = f64::from(both) / f64::from(any.max(1));
            let exact = Region::new(&ellipse, 120, 100).iou(&rect);
            prop_assert!((raster - exact).abs() < 3e-3, "{raster} {exact}");
        }
    }

    #[test]
    fn the_box_round_an_upright_ellipse_overlaps_it_by_a_quarter_of_pi() {
        let ellipse = Ellipse { major: 30.0, minor: 20.0, angle: PI / 2.0, cx: 50.0, cy: 50.0 };
        let overlap = Region::new(&ellipse, 200, 200).iou(&[30.0, 20.0, 40.0, 60.0]);
        assert!((overlap - PI / 4.0).abs() < 1e-9, "{overlap}");
    }

    #[test]
    fn a_box_that_misses_the_ellipse_or_the_picture_does_not_overlap() {
        let ellipse = Ellipse { major: 30.0, minor: 20.0, angle: 0.3, cx: 50.0, cy: 50.0 };
        let region = Region::new(&ellipse, 200, 200);
        assert_eq!(region.iou(&[120.0, 120.0, 20.0, 20.0]), 0.0);
        assert_eq!(region.iou(&[-50.0, 20.0, 40.0, 40.0]), 0.0);
    }
}
