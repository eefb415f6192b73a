//! Rectangles and their overlap, faces, and windows.

/// An axis-parallel rectangle in pixels: left, top, width, height; x to the right, y down. It may reach over the
/// picture's border.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Rect {
    /// Left edge, pixels.
    pub x: f32,
    /// Top edge, pixels.
    pub y: f32,
    /// Width, pixels.
    pub w: f32,
    /// Height, pixels.
    pub h: f32,
}

/// A face found: its box in pixels of the picture, a score in 0..1 and, where a smile net is loaded, a smile in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// Where: roughly hairline to chin, ear to ear.
    pub rect: Rect,
    /// How sure, 0..1.
    pub score: f32,
    /// How much of a smile, 0..1; `None` without a smile net.
    pub smile: Option<f32>,
}

/// A window on its way through the cascade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Where, in pixels of the picture.
    pub rect: Rect,
    /// The logit of the last net that saw it.
    pub score: f32,
}

impl Rect {
    /// A rectangle from its left, top, width and height.
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    /// The square of side `side` round (`cx`, `cy`).
    pub fn square(cx: f32, cy: f32, side: f32) -> Self {
        Self::new(cx - side / 2.0, cy - side / 2.0, side, side)
    }

    /// The centre.
    pub fn center(&self) -> (f32, f32) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    /// The square with the same centre whose side is the longer of width and height: what the cascade's windows are.
    pub fn to_square(&self) -> Self {
        let (cx, cy) = self.center();
        Self::square(cx, cy, self.w.max(self.h))
    }

    /// Width times height.
    pub fn area(&self) -> f32 {
        self.w * self.h
    }

    /// The area shared with `other`.
    pub fn intersection(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }

    /// Intersection over union, 0..1.
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = self.intersection(other);
        if shared <= 0.0 { 0.0 } else { shared / (self.area() + other.area() - shared) }
    }

    /// The intersection's share of the smaller of the two.
    pub fn overlap_of_smaller(&self, other: &Self) -> f32 {
        let smaller = self.area().min(other.area());
        if smaller <= 0.0 { 0.0 } else { self.intersection(other) / smaller }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rects() -> impl Strategy<Value = Rect> {
        (-50f32..50.0, -50f32..50.0, 1f32..60.0, 1f32..60.0).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_between_0_and_1(a in rects(), b in rects()) {
            prop_assert!((a.iou(&b) - b.iou(&a)).abs() < 1e-6);
            prop_assert!((0.0..=1.0 + 1e-5).contains(&a.iou(&b)));
            prop_assert!((a.iou(&a) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn half_shifted_squares_share_a_third() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        assert!((a.iou(&Rect::new(5.0, 0.0, 10.0, 10.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&Rect::new(10.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(a.overlap_of_smaller(&Rect::new(2.0, 2.0, 3.0, 3.0)), 1.0);
    }
}
