//! Opens the window of a live run, shows pictures of the window's size in it, and reports which keys were pressed.

#[cfg(all(unix, not(target_os = "macos")))]
mod x11;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use image::RgbImage;
use minifb::{InputCallback, ScaleMode, WindowOptions};

use super::overlay;
use crate::error::{Error, Result};

/// What the user asks for by pressing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// q or Escape: end the run.
    Quit,
    /// Space: pause, or end the pause.
    Pause,
    /// s: save the picture that is shown.
    Save,
    /// l: show or hide the times of each pipeline stage.
    Latency,
    /// p: show the next view: the windows after each step of the cascade, the image pyramid, the picture again.
    View,
}

/// An open window.
#[derive(Debug)]
pub struct Window {
    /// Before the window itself, since it must be dropped first.
    #[cfg(all(unix, not(target_os = "macos")))]
    shared: Option<x11::SharedMemory>,
    window: minifb::Window,
    pixels: Vec<u32>,
    keys: Receiver<Key>,
}

/// Sends each key to the window's channel as it is pressed, so that no key is missed between two frames.
struct Keys {
    send: Sender<Key>,
    /// Keys that are down now: minifb reports a key that is held down again and again.
    down: HashSet<minifb::Key>,
}

impl InputCallback for Keys {
    fn add_char(&mut self, _: u32) {}

    fn set_key_state(&mut self, key: minifb::Key, pressed: bool) {
        if !pressed {
            self.down.remove(&key);
        } else if self.down.insert(key) {
            let key = match key {
                minifb::Key::Q | minifb::Key::Escape => Key::Quit,
                minifb::Key::Space => Key::Pause,
                minifb::Key::S => Key::Save,
                minifb::Key::L => Key::Latency,
                minifb::Key::P => Key::View,
                _ => return,
            };
            let _ = self.send.send(key);
        }
    }
}

impl Window {
    /// Opens a window for pictures of `width` × `height` pixels.
    ///
    /// # Errors
    /// If there is no display.
    pub fn open(title: &str, width: u32, height: u32) -> Result<Self> {
        let (width, height) = overlay::fitting((width, height));
        // The canvas draws at the window's size, so minifb need not scale.
        let options = WindowOptions { resize: true, scale_mode: ScaleMode::UpperLeft, ..WindowOptions::default() };
        let mut window = minifb::Window::new(title, width as usize, height as usize, options).map_err(|e| {
            let e = e.to_string();
            let reason = e.strip_prefix("Failed to create window: ").unwrap_or(&e);
            Error::Window(format!(
                "no window can be opened ({reason}); is there a display? --headless runs without a window"
            ))
        })?;
        // No limit on the frame rate: the source sets the pace.
        window.set_target_fps(0);
        let (send, keys) = channel();
        window.set_input_callback(Box::new(Keys { send, down: HashSet::new() }));
        Ok(Self {
            #[cfg(all(unix, not(target_os = "macos")))]
            shared: x11::SharedMemory::with(&window),
            window,
            pixels: Vec::new(),
            keys,
        })
    }

    /// Width and height of the window now, pixels.
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = self.window.get_size();
        (width.max(1) as u32, height.max(1) as u32)
    }

    /// Shows a picture, and handles the window's events (keys, size, closing).
    ///
    /// # Errors
    /// If the display is gone.
    pub fn show(&mut self, picture: &RgbImage) -> Result<()> {
        if self.share(picture) {
            self.window.update();
            return Ok(());
        }
        let failed = |e: &dyn std::fmt::Display| Error::Window(format!("the window can't be drawn: {e}"));
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        self.pixels.resize(width * height, 0);
        pack(picture, &mut self.pixels).map_err(|e| failed(&e))?;
        self.window.update_with_buffer(&self.pixels, width, height).map_err(|e| failed(&e))
    }

    /// Gives a picture to the display in memory shared with it: half the work of minifb's own way, which sends each picture
    /// through a socket. Returns whether that was possible; if it fails once, minifb's way is taken from then on.
    #[cfg(all(unix, not(target_os = "macos")))]
    fn share(&mut self, picture: &RgbImage) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        let shown = shared.show(picture);
        if let Err(error) = &shown {
            tracing::debug!("pictures go to the window through its socket from now on: {error}");
            self.shared = None;
        }
        shown.is_ok()
    }

    /// Other systems' windows have no socket that could be avoided.
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    fn share(&mut self, _: &RgbImage) -> bool {
        false
    }

    /// Handles the window's events while there is no new picture.
    pub fn idle(&mut self) {
        self.window.update();
    }

    /// Returns the keys pressed since the last call, in order; with [`Key::Quit`] at the end if the window was closed.
    pub fn keys(&mut self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.keys.try_iter().collect();
        if !self.window.is_open() {
            keys.push(Key::Quit);
        }
        keys
    }
}

/// Calls `rescue` if the display is lost while a window is open. X11's library then ends the program as soon as `rescue`
/// returns, so `rescue` is the last chance to finish files. On other systems [`Window::show`] fails instead, and `rescue`
/// is never called.
pub fn on_display_lost(rescue: impl FnOnce() + Send + 'static) {
    #[cfg(all(unix, not(target_os = "macos")))]
    x11::on_lost(Box::new(rescue));
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    drop(rescue);
}

/// Writes each pixel as a number `0xFFRRGGBB`; windows pass over the first eight bits.
fn pack(picture: &RgbImage, into: &mut [u32]) -> std::result::Result<(), yuv::YuvError> {
    let (width, height) = picture.dimensions();
    yuv::rgb_to_bgra(picture.as_raw(), width * 3, bytemuck::cast_slice_mut(into), width * 4, width, height)?;
    // Does nothing where the lowest byte comes first, as it does nearly everywhere.
    into.iter_mut().for_each(|pixel| *pixel = u32::from_le(*pixel));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_packed_in_order() {
        for (width, height) in [(1, 1), (2, 3), (67, 5), (640, 2)] {
            let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y ^ 0x55) as u8]));
            let mut pixels = vec![9; (width * height) as usize];
            pack(&picture, &mut pixels).unwrap();
            let want = picture.pixels().map(|p| u32::from_be_bytes([255, p[0], p[1], p[2]]));
            assert!(pixels.into_iter().eq(want), "{width}×{height}");
        }
    }

    #[test]
    fn a_key_counts_once_however_long_it_is_held() {
        let (send, keys) = channel();
        let mut callback = Keys { send, down: HashSet::new() };
        for pressed in [true, true, true, false, true, false] {
            callback.set_key_state(minifb::Key::P, pressed);
        }
        callback.set_key_state(minifb::Key::X, true);
        callback.set_key_state(minifb::Key::Escape, true);
        assert_eq!(keys.try_iter().collect::<Vec<_>>(), [Key::View, Key::View, Key::Quit]);
    }
}
