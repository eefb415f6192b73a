//! Nets: what they are ([`spec`], [`zoo`]), what they learned ([`weights`]), and the two engines that run one list of
//! layers: [`cpu`] for detection, `candle` for training.

pub mod cpu;
pub mod kernels;
pub mod spec;
pub mod weights;
pub mod zoo;

#[cfg(feature = "train")]
pub mod candle;
