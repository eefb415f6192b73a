//! Opens the window of a live run, shows pictures of the window's size in it, and reports which keys were pressed.

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
        Ok(Self { window, pixels: Vec::new(), keys })
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
        pack(picture, &mut self.pixels);
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        self.window
            .update_with_buffer(&self.pixels, width, height)
            .map_err(|e| Error::Window(format!("the window can't be drawn: {e}")))
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

#[cfg(all(unix, not(target_os = "macos")))]
mod x11 {
    use std::ffi::c_int;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Mutex, PoisonError};

    use x11_dl::xlib::{Display, Xlib};

    type Rescue = Box<dyn FnOnce() + Send>;

    static RESCUE: Mutex<Option<Rescue>> = Mutex::new(None);

    pub(super) fn on_lost(rescue: Rescue) {
        // Without Xlib no window can be opened either, and opening one reports that.
        let Ok(xlib) = Xlib::open() else { return };
        *RESCUE.lock().unwrap_or_else(PoisonError::into_inner) = Some(rescue);
        // SAFETY: the function is Xlib's, of this signature; the handler lives as long as the program, and x11-dl never
        // unloads the library.
        unsafe { (xlib.XSetIOErrorHandler)(Some(lost)) };
    }

    /// Called by Xlib. A panic must not unwind into C, so it is caught.
    extern "C" fn lost(_: *mut Display) -> c_int {
        let rescue = RESCUE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rescue) = rescue {
            let _ = catch_unwind(AssertUnwindSafe(rescue));
        }
        0
    }
}

/// Packs each pixel into a number as minifb wants it: `0x00RRGGBB`.
fn pack(picture: &RgbImage, into: &mut Vec<u32>) {
    let bytes = picture.as_raw();
    into.resize(bytes.len() / 3, 0);
    // One read of four bytes a pixel: the fourth, of the next pixel, is shifted out. The last pixel has no next one.
    for (to, from) in into.iter_mut().zip(bytes.windows(4).step_by(3)) {
        *to = from.try_into().map_or(0, u32::from_be_bytes) >> 8;
    }
    if let (Some(to), Some([red, green, blue])) = (into.last_mut(), bytes.last_chunk()) {
        *to = u32::from_be_bytes([0, *red, *green, *blue]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_packed_in_order() {
        let mut pixels = vec![9; 5];
        for (width, bytes, packed) in [
            (2, vec![1, 2, 3, 255, 0, 128], vec![0x0001_0203, 0x00FF_0080]),
            (1, vec![255, 254, 253], vec![0x00FF_FEFD]),
            (0, Vec::new(), Vec::new()),
            (3, vec![0, 0, 0, 255, 255, 255, 7, 8, 9], vec![0, 0x00FF_FFFF, 0x0007_0809]),
        ] {
            pack(&RgbImage::from_raw(width, 1, bytes).unwrap(), &mut pixels);
            assert_eq!(pixels, packed);
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
