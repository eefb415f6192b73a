//! A camera as a trait: it is opened, gives pictures in one of several codings, and may fail at any time. Tests implement
//! it by a script.

use std::time::Instant;

/// How a picture's bytes are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// A JPEG file for each picture, often without its Huffman tables.
    Mjpeg,
    /// Y U Y V: two pixels in four bytes.
    Yuyv,
    /// All Y, then U and V alternating, one pair for each block of 2×2 pixels.
    Nv12,
    /// Red, green and blue, a byte each.
    Rgb,
    /// Blue, green and red, a byte each.
    Bgr,
    /// Grey, one byte a pixel.
    Grey,
}

impl Coding {
    /// Name for people.
    fn name(self) -> &'static str {
        match self {
            Self::Mjpeg => "MJPEG",
            Self::Yuyv => "YUYV",
            Self::Nv12 => "NV12",
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
            Self::Grey => "grey",
        }
    }
}

/// A format that a camera offers: size, rate and coding of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Pictures a second.
    pub rate: u32,
    /// How pictures are coded.
    pub coding: Coding,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{} at {} frames/s, {}", self.width, self.height, self.rate, self.coding.name())
    }
}

/// Describes one picture that a camera sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// Width, pixels. Not used for MJPEG, whose files give their own size.
    pub width: u32,
    /// Height, pixels. Not used for MJPEG.
    pub height: u32,
    /// How the picture's bytes are coded.
    pub coding: Coding,
    /// Capture time, as exactly as the driver reports it.
    pub captured: Instant,
}

/// An open camera. It is used only by the thread that opened it.
pub trait CameraDevice {
    /// Describes the camera: its name, and the size, rate and coding in use.
    fn describe(&self) -> String;

    /// Width and height of the pictures, pixels, where known.
    fn size(&self) -> Option<(u32, u32)> {
        None
    }

    /// Pictures a second, where known.
    fn rate(&self) -> Option<f64>;

    /// Waits for the next picture, and replaces the contents of `into` by its bytes.
    ///
    /// # Errors
    /// The reason, if the camera is lost.
    fn grab(&mut self, into: &mut Vec<u8>) -> Result<Shot, String>;
}

/// Opens a camera; called again each time the camera was lost. Returns the reason if the camera can't be opened.
pub(crate) type Open = Box<dyn FnMut() -> Result<Box<dyn CameraDevice>, String> + Send>;

/// Sorts formats, the best first. Criteria, in order: at least 25 pictures a second; a size near 640×480, or else near
/// 1280×720; a coding that suits the size (raw up to 640×480, which needs no decoding; MJPEG above, because raw pictures
/// would be too much for USB); a rate near 30 pictures a second. Formats without a size are left out.
pub(crate) fn ranked(formats: &[Format]) -> Vec<Format> {
    let far = |f: &Format, width: f64, height: f64| {
        (f64::from(f.width) / width).ln().abs() + (f64::from(f.height) / height).ln().abs()
    };
    let key = |f: &Format| {
        let size = far(f, 640.0, 480.0).min(far(f, 1280.0, 720.0) + 0.5);
        let small = f.width * f.height <= 640 * 480;
        let coding = match f.coding {
            Coding::Mjpeg => u32::from(small),
            Coding::Grey => 3,
            _ if small => 0,
            _ => 2,
        };
        // Whole thousandths, because floats are not `Ord`.
        (f.rate < 25, (size * 1000.0) as u64, coding, f.rate.abs_diff(30))
    };
    let mut ranked: Vec<Format> = formats.iter().copied().filter(|f| f.width > 0 && f.height > 0).collect();
    ranked.sort_by_key(key);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(width: u32, height: u32, rate: u32, coding: Coding) -> Format {
        Format { width, height, rate, coding }
    }

    #[test]
    fn vga_comes_raw_and_hd_as_mjpeg() {
        let webcam = [
            format(640, 480, 30, Coding::Mjpeg),
            format(640, 480, 30, Coding::Yuyv),
            format(1280, 720, 30, Coding::Mjpeg),
            format(1280, 720, 10, Coding::Yuyv),
            format(1920, 1080, 30, Coding::Mjpeg),
        ];
        assert_eq!(ranked(&webcam)[0], webcam[1]);
        assert_eq!(ranked(&webcam[2..])[0], webcam[2]);
        assert_eq!(ranked(&[webcam[4], webcam[2]])[0], webcam[2]);
    }

    #[test]
    fn a_fast_format_goes_before_a_near_one_and_thirty_before_sixty() {
        let formats = [
            format(640, 480, 15, Coding::Yuyv),
            format(800, 600, 60, Coding::Mjpeg),
            format(800, 600, 30, Coding::Mjpeg),
        ];
        assert_eq!(ranked(&formats), [formats[2], formats[1], formats[0]]);
        assert_eq!(ranked(&formats[..1]), formats[..1], "what there is is taken");
        assert!(ranked(&[format(0, 0, 30, Coding::Yuyv)]).is_empty());
    }
}
