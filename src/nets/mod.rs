//! Nets: what they are ([`spec`], [`zoo`]), what they learned ([`weights`]), and the engines that run one list of layers:
//! [`cpu`] for detection, `candle` for training and for detection on a GPU. [`windows`] is either, on batches of windows.

pub mod cpu;
pub mod kernels;
pub mod spec;
pub mod weights;
pub mod windows;
pub mod zoo;

#[cfg(feature = "train")]
pub mod candle;
