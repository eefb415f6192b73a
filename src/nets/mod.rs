//! Nets: what they are ([`spec`], [`zoo`]), what they learned ([`weights`]), and the engines that run one list of layers:
//! [`cpu`] for detection, `gpu` for the first net where a GPU builds the pyramid, `candle` for training and for CUDA.
//! [`windows`] is a net on `cpu` or on CUDA, for batches of windows.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod grid;
pub mod input;
pub mod kernels;
pub mod spec;
pub mod weights;
pub mod windows;
pub mod zoo;

#[cfg(feature = "train")]
pub mod candle;
