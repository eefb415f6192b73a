//! Nets: what they are ([`spec`], [`zoo`]), what they learned ([`weights`]), their operations ([`lower`]), and the engines
//! that run them with one set of [`kernels`]:
//! [`cpu`] for detection, `gpu` for the first net where a GPU builds the pyramid, `candle` for training and for CUDA.
//! [`windows`] is a net on `cpu` or on CUDA, for batches of windows.

pub mod cpu;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod grid;
pub(crate) mod input;
pub mod int8;
pub(crate) mod kernels;
pub(crate) mod lower;
pub mod spec;
#[cfg(feature = "train")]
pub mod variant;
pub mod weights;
pub mod windows;
pub mod zoo;

#[cfg(feature = "train")]
pub mod candle;
