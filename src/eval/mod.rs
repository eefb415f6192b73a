//! How good detections are: matching with the marked faces after WIDER's and FDDB's protocols, ROC and precision–recall
//! curves, average precision, recall by size, and pictures of the curves.
//!
//! A set of pictures ([`crate::dataset`]) and the detections on it ([`Detection`], in the pictures' order) go into
//! [`report::wider`] or [`report::fddb`]; what comes out is a [`report::Report`].

pub mod assignment;
pub mod convention;
pub mod curves;
pub mod detections;
pub mod ellipses;
pub mod matching;
pub mod plots;
pub mod report;
pub mod smile;

#[cfg(test)]
mod agreement;

pub use detections::Detection;
pub use report::Report;
