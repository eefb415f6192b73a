//! Measures detections: matches them with the marked faces after WIDER's and FDDB's protocols, and computes ROC and
//! precision–recall curves, average precision and recall by size. Draws the curves.
//!
//! [`report::wider`] and [`report::fddb`] take the pictures of a set ([`crate::dataset`]) and the detections on each
//! ([`Detection`]) and return a [`Report`]. [`redaction`] counts the faces that covers leave open.

pub(crate) mod assignment;
pub(crate) mod convention;
pub mod curves;
pub mod detections;
pub(crate) mod ellipses;
pub(crate) mod matching;
pub mod plots;
pub mod redaction;
pub mod report;
pub mod smile;

#[cfg(test)]
mod agreement;

pub use detections::Detection;
pub use report::Report;
