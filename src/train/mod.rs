//! Training: from annotated pictures to weights. A [`task::Task`] draws samples and computes the loss, the [`trainer`] runs the
//! loop, and the [`plan`] trains the nets of a cascade one after the other.

pub(crate) mod augment;
pub(crate) mod average;
pub mod cells;
pub(crate) mod checkpoint;
pub(crate) mod data;
pub(crate) mod degrade;
pub(crate) mod dual;
pub mod events;
pub(crate) mod faces;
pub(crate) mod held_back;
pub(crate) mod loss;
pub(crate) mod mining;
pub(crate) mod occlude;
pub(crate) mod octave;
pub(crate) mod optimizer;
pub(crate) mod pictures;
pub mod plan;
pub mod recipe;
pub(crate) mod scenes;
pub(crate) mod sheets;
pub(crate) mod simota;
pub(crate) mod smile;
pub(crate) mod task;
pub mod tensorboard;
pub(crate) mod trainer;
pub mod validation;
pub(crate) mod windows;
