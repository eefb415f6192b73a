//! Shows the pictures of `live` and `bench` in a window, or nowhere (`--headless`). Built without windows, only nowhere.

#[cfg(feature = "window")]
pub(crate) use with_window::{Key, Screen, on_display_lost};
#[cfg(not(feature = "window"))]
pub(crate) use without_window::{Key, Screen, on_display_lost};

#[cfg(feature = "window")]
mod with_window {
    use facecascade::Result;
    use facecascade::output::window::Window;
    pub(crate) use facecascade::output::window::{Key, on_display_lost};
    use image::RgbImage;

    /// A window, or none.
    pub(crate) enum Screen {
        None,
        Window(Box<Window>),
    }

    impl Screen {
        pub(crate) fn open(title: &str, (width, height): (u32, u32)) -> Result<Self> {
            Ok(Self::Window(Box::new(Window::open(title, width, height)?)))
        }

        pub(crate) fn size(&self) -> Option<(u32, u32)> {
            match self {
                Self::None => None,
                Self::Window(window) => Some(window.size()),
            }
        }

        pub(crate) fn show(&mut self, picture: &RgbImage) -> Result<()> {
            match self {
                Self::None => Ok(()),
                Self::Window(window) => window.show(picture),
            }
        }

        pub(crate) fn idle(&mut self) {
            if let Self::Window(window) = self {
                window.idle();
            }
        }

        pub(crate) fn keys(&mut self) -> Vec<Key> {
            match self {
                Self::None => Vec::new(),
                Self::Window(window) => window.keys(),
            }
        }
    }
}

#[cfg(not(feature = "window"))]
mod without_window {
    use facecascade::{Error, Result};
    use image::RgbImage;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[allow(dead_code, reason = "keys belong to a window")]
    pub(crate) enum Key {
        Quit,
        Pause,
        Save,
        Latency,
        View,
    }

    pub(crate) fn on_display_lost(_: impl FnOnce() + Send + 'static) {}

    /// No window.
    pub(crate) enum Screen {
        None,
    }

    impl Screen {
        pub(crate) fn open(_: &str, _: (u32, u32)) -> Result<Self> {
            let reason = "this program was built without windows (cargo feature `window`); use --headless";
            Err(Error::Window(reason.into()))
        }

        pub(crate) fn size(&self) -> Option<(u32, u32)> {
            None
        }

        pub(crate) fn show(&mut self, _: &RgbImage) -> Result<()> {
            Ok(())
        }

        pub(crate) fn idle(&mut self) {}

        pub(crate) fn keys(&mut self) -> Vec<Key> {
            Vec::new()
        }
    }
}
