//! Colours and text of the pictures of curves. Text is set in DejaVu Sans, which is built in: no font of the system is needed.

use std::sync::Once;

use image::RgbImage;
use image::imageops::{self, FilterType};
use plotters::style::{FontFamily, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use crate::error::Error;

/// Factor by which curves are drawn larger and then reduced: smooths the ragged edges of the drawing library's thick lines.
pub(crate) const FINER: u32 = 2;

/// Colours of the lines, told apart by colour-blind readers too (Okabe & Ito).
pub(crate) const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
/// Colour of text and axes.
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
/// Colour of the grid.
pub(crate) const GRID: RGBColor = RGBColor(222, 222, 222);
const FONT: &str = "dejavu";

/// Returns the style of text that is `size` pixels high in the reduced picture.
pub(crate) fn text(size: u32) -> TextStyle<'static> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Registering can only fail on a broken font. The tests draw with this one; drawing without it says that it is missing.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    (FontFamily::Name(FONT), size * FINER).into_font().color(&INK)
}

/// Reduces a picture that was drawn [`FINER`] times as large.
pub(crate) fn reduced(picture: &RgbImage) -> RgbImage {
    imageops::resize(picture, picture.width() / FINER, picture.height() / FINER, FilterType::Triangle)
}

/// Makes an error of the drawing library into the library's own.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(format!("drawing a curve: {error}"))
}
