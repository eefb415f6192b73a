//! Opens the system's cameras through nokhwa: V4L on Linux, AVFoundation on macOS, Media Foundation on Windows.

use std::time::{Duration, Instant, SystemTime};

use nokhwa::Camera;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, CameraInfo, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};

use super::device::{CameraDevice, Coding, Format, Open, Shot, ranked};
use crate::error::{Error, Result};

/// Codings that `decode` understands.
const CODINGS: [FrameFormat; 6] = [
    FrameFormat::MJPEG,
    FrameFormat::YUYV,
    FrameFormat::NV12,
    FrameFormat::RAWRGB,
    FrameFormat::RAWBGR,
    FrameFormat::GRAY,
];

/// Most formats to try: drivers refuse some of those that they offer.
const TRIES: usize = 4;

/// A camera of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCamera {
    /// Number of the camera, for `--camera`.
    pub index: u32,
    /// Name of the camera.
    pub name: String,
    /// Format that the camera would send, or the reason why it can't be opened. (Many cameras have a second entry that
    /// sends no pictures.)
    pub format: std::result::Result<Format, String>,
}

/// Lists the cameras of this machine, and opens each to learn its format.
///
/// # Errors
/// If the system can't list cameras.
pub fn list() -> Result<Vec<ListedCamera>> {
    let listed = query()?.into_iter().filter_map(|info| {
        let index = info.index().as_index().ok()?;
        let format = open(info.index()).map(|native| native.format);
        Some(ListedCamera { index, name: info.human_name(), format })
    });
    Ok(listed.collect())
}

/// Asks the system for its cameras, sorted by number.
fn query() -> Result<Vec<CameraInfo>> {
    let mut cameras =
        nokhwa::query(ApiBackend::Auto).map_err(|e| Error::Camera(format!("cameras can't be listed: {e}")))?;
    cameras.sort_by_key(|info| info.index().as_index().unwrap_or(u32::MAX));
    Ok(cameras)
}

/// Returns a function that opens camera number `index`, or the first one that can be opened. Called again, the function
/// opens the same camera, even if that has another number then.
///
/// # Errors
/// If there is no such camera.
pub(super) fn opener(index: Option<u32>) -> Result<Open> {
    let instead = "use --source FILE or --source synthetic instead";
    let cameras = query()?;
    if cameras.is_empty() {
        return Err(Error::Camera(format!("no camera was found: plug one in, or {instead}")));
    }
    let named = |info: &CameraInfo| info.index().as_index().ok() == index;
    if let Some(index) = index
        && !cameras.iter().any(named)
    {
        let list: Vec<String> =
            cameras.iter().map(|info| format!("{} ({})", info.index(), info.human_name())).collect();
        return Err(Error::Camera(format!(
            "there is no camera {index}; choose one of {}, or {instead}",
            list.join(", ")
        )));
    }
    let mut candidates: Vec<CameraInfo> = cameras.into_iter().filter(|info| index.is_none() || named(info)).collect();
    Ok(Box::new(move || {
        let mut reasons = Vec::new();
        for info in &candidates {
            match open(info.index()) {
                Ok(native) => {
                    candidates = again(info);
                    return Ok(Box::new(native) as Box<dyn CameraDevice>);
                }
                Err(reason) => reasons.push(format!("{}: {reason}", info.human_name())),
            }
        }
        // A camera that is plugged in again may have another number.
        if let [one] = candidates.as_slice() {
            candidates = again(one);
        }
        Err(reasons.join("; "))
    }))
}

/// Returns the camera, and after it other cameras of the same name.
fn again(camera: &CameraInfo) -> Vec<CameraInfo> {
    let others = query().unwrap_or_default().into_iter();
    let others = others.filter(|o| o.human_name() == camera.human_name() && o.index() != camera.index());
    std::iter::once(camera.clone()).chain(others).collect()
}

/// An open camera of the system.
struct Native {
    camera: Camera,
    format: Format,
}

/// Opens a camera with the best format that it accepts.
fn open(index: &CameraIndex) -> std::result::Result<Native, String> {
    let request = RequestedFormat::with_formats(RequestedFormatType::None, &CODINGS);
    let mut camera = Camera::new(index.clone(), request).map_err(|e| explain(&e.to_string()))?;
    let offered = camera.compatible_camera_formats().map_err(|e| explain(&e.to_string()))?;
    let offered: Vec<Format> = offered.iter().map(ours).collect();
    let exact = |format: &Format| {
        let format = RequestedFormatType::Exact(theirs(format));
        RequestedFormat::with_formats(format, &CODINGS)
    };
    let mut accepted = |format: &Format| camera.set_camera_requset(exact(format)).is_ok();
    // A camera that refuses all formats keeps the one it has.
    let _ = ranked(&offered).iter().take(TRIES).any(&mut accepted);
    camera.open_stream().map_err(|e| explain(&e.to_string()))?;
    let format = ours(&camera.camera_format());
    Ok(Native { camera, format })
}

/// Adds the remedy to a driver's message, where it is known.
fn explain(reason: &str) -> String {
    let hint = if reason.contains("ermission denied") {
        " (on Linux your user must be in the group `video`)"
    } else if reason.contains("busy") {
        " (another program uses it)"
    } else {
        ""
    };
    format!("{reason}{hint}")
}

/// Converts nokhwa's coding to [`Coding`].
fn coding(format: FrameFormat) -> Coding {
    match format {
        FrameFormat::MJPEG => Coding::Mjpeg,
        FrameFormat::YUYV => Coding::Yuyv,
        FrameFormat::NV12 => Coding::Nv12,
        FrameFormat::GRAY => Coding::Grey,
        FrameFormat::RAWRGB => Coding::Rgb,
        FrameFormat::RAWBGR => Coding::Bgr,
    }
}

/// Converts nokhwa's format to [`Format`].
fn ours(format: &CameraFormat) -> Format {
    let (width, height) = (format.width(), format.height());
    Format { width, height, rate: format.frame_rate(), coding: coding(format.format()) }
}

/// Converts [`Format`] to nokhwa's.
fn theirs(format: &Format) -> CameraFormat {
    let coding = CODINGS.into_iter().find(|c| coding(*c) == format.coding).unwrap_or(FrameFormat::MJPEG);
    CameraFormat::new(Resolution::new(format.width, format.height), coding, format.rate)
}

impl CameraDevice for Native {
    fn describe(&self) -> String {
        format!("{}, {}", self.camera.info().human_name(), self.format)
    }

    fn size(&self) -> Option<(u32, u32)> {
        Some((self.format.width, self.format.height))
    }

    fn rate(&self) -> Option<f64> {
        (self.format.rate > 0).then_some(f64::from(self.format.rate))
    }

    fn grab(&mut self, into: &mut Vec<u8>) -> std::result::Result<Shot, String> {
        let buffer = self.camera.frame().map_err(|e| e.to_string())?;
        let now = Instant::now();
        into.clear();
        into.extend_from_slice(buffer.buffer());
        // The driver gives the time of day of the capture; a time in the future or over a second ago is not believed.
        let age = buffer
            .capture_timestamp()
            .and_then(|taken| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + taken).ok())
            .filter(|age| *age < Duration::from_secs(1));
        let captured = now.checked_sub(age.unwrap_or_default()).unwrap_or(now);
        let (width, height) = (buffer.resolution().width(), buffer.resolution().height());
        Ok(Shot { width, height, coding: coding(buffer.source_frame_format()), captured })
    }
}
