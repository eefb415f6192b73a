//! What pictures of curves have in common: colours, and DejaVu Sans, so that no font is looked for on the system.

use std::sync::Once;

use image::RgbImage;
use image::imageops::{self, FilterType};
use plotters::style::{FontFamily, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use crate::error::Error;

/// They are drawn so many times as large and reduced, for the drawing library's thick lines have ragged edges.
pub(crate) const FINER: u32 = 2;

/// Colour-blind-safe (Okabe & Ito).
pub(crate) const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
pub(crate) const GRID: RGBColor = RGBColor(222, 222, 222);
const FONT: &str = "dejavu";

/// Text, `size` pixels high once the picture is reduced.
pub(crate) fn text(size: u32) -> TextStyle<'static> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A font that is built in and was read by the tests can't fail; if it did, drawing would say that there is none.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    (FontFamily::Name(FONT), size * FINER).into_font().color(&INK)
}

/// The finished picture.
pub(crate) fn reduced(picture: &RgbImage) -> RgbImage {
    imageops::resize(picture, picture.width() / FINER, picture.height() / FINER, FilterType::Triangle)
}

/// The drawing library's error.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(format!("drawing a curve: {error}"))
}
