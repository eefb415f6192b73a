//! Measures detections: matches them with the marked faces after WIDER's and FDDB's protocols, and computes ROC and
//! precision–recall curves, average precision and recall by size. Draws the curves.
//!
//! [`report::wider`] and [`report::fddb`] take the pictures of a set ([`crate::dataset`]) and the detections on each
//! ([`Detection`]) and return a [`Report`]. [`by_label`] counts faces found and missed at one score, [`redaction`] those that
//! covers leave open.

pub(crate) mod assignment;
pub mod by_label;
pub(crate) mod convention;
pub mod curves;
pub mod detections;
pub(crate) mod ellipses;
pub(crate) mod matching;
pub mod plots;
pub mod redaction;
pub mod report;
pub mod smile;
pub mod tradeoff;

#[cfg(test)]
mod agreement;

pub use detections::Detection;
pub use report::Report;
