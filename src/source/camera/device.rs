//! What a camera is to us: a thing that is opened, gives pictures as they are coded, and may fail at any time. Tests have
//! scripted ones.

use std::time::Instant;

/// How a picture's bytes are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// A JPEG file for each picture, often without its Huffman tables.
    Mjpeg,
    /// Y U Y V: two pixels in four bytes.
    Yuyv,
    /// All Y, then U and V in turns for blocks of 2×2 pixels.
    Nv12,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One byte of grey.
    Grey,
}

impl Coding {
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

/// What a camera offers: pictures of a size and coding, at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures a second.
    pub rate: u32,
    /// How they are coded.
    pub coding: Coding,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{} at {} frames/s, {}", self.width, self.height, self.rate, self.coding.name())
    }
}

/// One picture, as it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// Pixels. (Of MJPEG, the picture itself says how large it is.)
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How its bytes are coded.
    pub coding: Coding,
    /// When it was taken, as exactly as the driver tells.
    pub captured: Instant,
}

/// An open camera. It lives in the thread that opened it.
pub trait CameraDevice {
    /// Its name, and what was chosen: size, rate, coding.
    fn describe(&self) -> String;

    /// Width and height of its pictures, pixels, where they are known.
    fn size(&self) -> Option<(u32, u32)> {
        None
    }

    /// Pictures a second, where it is known.
    fn rate(&self) -> Option<f64>;

    /// Waits for the next picture, and puts its bytes into `into` in place of what is there.
    ///
    /// # Errors
    /// If the camera is gone, with the reason.
    fn grab(&mut self, into: &mut Vec<u8>) -> Result<Shot, String>;
}

/// Opens a camera, again and again if need be; the reason, if it can't be opened.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn CameraDevice>, String> + Send>;

/// The formats, best first: 25 frames a second or more, then near to 640×480 or else to 1280×720, then a coding that fits
/// the size (raw pictures up to VGA, as there is nothing to decode; MJPEG above, as raw ones do not fit through USB), then
/// near to 30 frames a second.
pub fn ranked(formats: &[Format]) -> Vec<Format> {
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
        // In thousandths: floats have no order of their own.
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
