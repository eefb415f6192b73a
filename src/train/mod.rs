//! Training: from annotated pictures to weights. A [`task::Task`] draws samples and knows its loss, the [`trainer`] runs the
//! loop.

pub mod augment;
pub mod checkpoint;
pub mod events;
pub mod loss;
pub mod mining;
pub mod octave;
pub mod optimizer;
pub mod pictures;
pub mod plan;
pub mod recipe;
pub mod smile;
pub mod task;
pub mod trainer;
pub mod windows;
