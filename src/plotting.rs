//! Colours and text of the pictures of curves. Text is set in DejaVu Sans, which is built in: no font of the system is needed.

use std::sync::Once;

use image::RgbImage;
use image::imageops::{self, FilterType};
use plotters::chart::{ChartContext, MeshStyle, SeriesLabelPosition};
use plotters::coord::CoordTranslate;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::DrawingBackend;
use plotters::style::{Color, FontFamily, FontStyle, IntoFont, RGBColor, TRANSPARENT, TextStyle, WHITE, register_font};

use crate::error::{Error, Result};

/// Factor by which curves are drawn larger and then reduced: smooths the ragged edges of the drawing library's thick lines.
pub(crate) const FINER: u32 = 2;

/// Colours of the lines, told apart by colour-blind readers too (Okabe & Ito).
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
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

/// Gives axes and grid their look, with names `names` and numbers `numbers` pixels high.
pub(crate) fn look<X, Y, DB>(mesh: &mut MeshStyle<'_, '_, X, Y, DB>, names: u32, numbers: u32)
where
    X: Ranged + ValueFormatter<<X as Ranged>::ValueType>,
    Y: Ranged + ValueFormatter<<Y as Ranged>::ValueType>,
    DB: DrawingBackend,
{
    mesh.axis_desc_style(text(names))
        .label_style(text(numbers))
        .bold_line_style(GRID.stroke_width(FINER))
        .light_line_style(TRANSPARENT)
        .axis_style(INK.stroke_width(FINER));
}

/// How a legend looks.
pub(crate) struct Legend {
    pub position: SeriesLabelPosition,
    /// Width of what stands before a name, pixels.
    pub key: u32,
    /// Room round it, pixels.
    pub margin: u32,
    /// Height of the names, pixels.
    pub text: u32,
    /// How far it covers what lies below, 0..1.
    pub cover: f64,
}

impl Legend {
    /// Draws the legend.
    ///
    /// # Errors
    /// If the drawing library fails.
    pub(crate) fn draw<'a, DB, C>(self, chart: &mut ChartContext<'a, DB, C>) -> Result<()>
    where
        DB: DrawingBackend + 'a,
        DB::ErrorType: 'static,
        C: CoordTranslate,
    {
        chart
            .configure_series_labels()
            .position(self.position)
            .legend_area_size(self.key * FINER)
            .margin(self.margin * FINER)
            .label_font(text(self.text))
            .background_style(WHITE.mix(self.cover))
            .border_style(GRID.stroke_width(FINER))
            .draw()
            .map_err(failed)
    }
}

/// Reduces a picture that was drawn [`FINER`] times as large.
pub(crate) fn reduced(picture: &RgbImage) -> RgbImage {
    imageops::resize(picture, picture.width() / FINER, picture.height() / FINER, FilterType::Triangle)
}

/// Makes an error of the drawing library into the library's own.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(format!("drawing a curve: {error}"))
}

/// Counts pixels of about this colour: reduced lines have soft edges.
#[cfg(test)]
pub(crate) fn coloured(picture: &RgbImage, colour: RGBColor) -> usize {
    let near = |p: &image::Rgb<u8>| p.0.iter().zip([colour.0, colour.1, colour.2]).all(|(a, b)| a.abs_diff(b) < 40);
    picture.pixels().filter(|p| near(p)).count()
}
