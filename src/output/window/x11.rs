//! What minifb leaves out of X11: pictures in memory shared with the display, and word of a display that is lost.

use std::ffi::c_int;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use raw_window_handle::{
    DisplayHandle, HandleError, HasDisplayHandle, HasWindowHandle, RawDisplayHandle, RawWindowHandle, WindowHandle,
    XlibDisplayHandle,
};
use softbuffer::{Context, SoftBufferError, Surface};
use x11_dl::xlib::{Display, Xlib};
use x11_dl::xlib_xcb::Xlib_xcb;

/// A window's picture in memory shared with the display.
#[derive(Debug)]
pub(super) struct SharedMemory(Surface<Handles, Handles>);

/// A window's handles, without its lifetime.
#[derive(Debug, Clone, Copy)]
struct Handles {
    display: RawDisplayHandle,
    window: RawWindowHandle,
}

impl HasDisplayHandle for Handles {
    fn display_handle(&self) -> Result<DisplayHandle<'_>, HandleError> {
        // SAFETY: the handles are dropped before the window and its display.
        Ok(unsafe { DisplayHandle::borrow_raw(self.display) })
    }
}

impl HasWindowHandle for Handles {
    fn window_handle(&self) -> Result<WindowHandle<'_>, HandleError> {
        // SAFETY: the handles are dropped before the window.
        Ok(unsafe { WindowHandle::borrow_raw(self.window) })
    }
}

impl SharedMemory {
    /// Memory for the pictures of `window`, which must outlive it; `None` if the display can't share any. (softbuffer would send
    /// pictures through the socket then, at twice the display's work that minifb's way is.)
    pub(super) fn with(window: &minifb::Window) -> Option<Self> {
        let display = window.display_handle().ok()?.as_raw();
        let handles = Handles { display, window: window.window_handle().ok()?.as_raw() };
        if !is_shared_by(display) {
            return None;
        }
        let surface = Context::new(handles).and_then(|context| Surface::new(&context, handles));
        surface.inspect_err(|e| tracing::debug!("pictures go to the window in minifb's way: {e}")).ok().map(Self)
    }

    /// Shows a picture at the window's upper left corner.
    pub(super) fn show(&mut self, picture: &RgbImage) -> Result<(), SoftBufferError> {
        let (Some(width), Some(height)) = (NonZeroU32::new(picture.width()), NonZeroU32::new(picture.height())) else {
            return Ok(());
        };
        self.0.resize(width, height)?;
        let mut buffer = self.0.buffer_mut()?;
        super::pack(picture, &mut buffer).map_err(|e| SoftBufferError::PlatformError(None, Some(Box::new(e))))?;
        buffer.present()
    }
}

/// Whether a display has the extension that shares memory, and this machine the library by which softbuffer reaches it.
fn is_shared_by(display: RawDisplayHandle) -> bool {
    let RawDisplayHandle::Xlib(XlibDisplayHandle { display: Some(display), .. }) = display else { return false };
    // softbuffer ends with a panic without it.
    let (Ok(xlib), Ok(_)) = (Xlib::open(), Xlib_xcb::open()) else { return false };
    let [mut opcode, mut event, mut error] = [0; 3];
    // SAFETY: the display is open, the name is a C string, and the function writes to the three numbers only.
    let found = unsafe {
        (xlib.XQueryExtension)(display.as_ptr().cast(), c"MIT-SHM".as_ptr(), &mut opcode, &mut event, &mut error)
    };
    found != 0
}

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
