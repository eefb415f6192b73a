//! The choice by measurement: a GPU is looked for and measured while the CPU builds the first second's pictures.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::device::likely;
use super::{Adapters, Gpu, measure};
use crate::pyramid::Plan;
use crate::text::ms;

/// Shorter runs never ask for a GPU: opening its driver takes longer than the GPU could save.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks for a GPU when the time has come.
#[derive(Debug)]
pub struct Auto {
    which: Adapters,
    patience: Duration,
    begin: OnceLock<Instant>,
    outcome: Arc<OnceLock<Choice>>,
    search: Mutex<Option<JoinHandle<()>>>,
}

/// What was chosen, and why.
#[derive(Debug)]
pub struct Choice {
    gpu: Option<Gpu>,
    reason: String,
}

impl Choice {
    /// What was chosen, and why.
    pub fn describe(&self) -> &str {
        &self.reason
    }
}

impl Default for Auto {
    fn default() -> Self {
        Self::new(Adapters::Real, PATIENCE)
    }
}

impl Auto {
    /// Chooses among the GPUs `which`, once a run has lasted for `patience`.
    fn new(which: Adapters, patience: Duration) -> Self {
        Self { which, patience, begin: OnceLock::new(), outcome: Arc::default(), search: Mutex::default() }
    }

    /// The GPU, if it was found to be faster.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.outcome.get()?.gpu.as_ref()
    }

    /// What was chosen, and why.
    pub fn describe(&self) -> String {
        match self.outcome.get() {
            Some(Choice { gpu: Some(gpu), .. }) if gpu.fault().is_some() => {
                format!("on the CPU: {} failed ({})", gpu.name(), gpu.fault().unwrap_or_default())
            }
            Some(outcome) => outcome.reason.clone(),
            None if !likely() => "on the CPU: this machine has no GPU".into(),
            None => "on the CPU; GPUs are looked for in runs of more than a second".into(),
        }
    }

    /// Tells that a picture of `size` is about to be built. Returns at once.
    pub(in crate::pyramid) fn consider(&self, size: (u32, u32), plan: &Plan) {
        if self.outcome.get().is_some() || self.begin.get_or_init(Instant::now).elapsed() < self.patience {
            return;
        }
        let Ok(mut search) = self.search.try_lock() else { return };
        if search.is_some() {
            return;
        }
        if self.which == Adapters::Real && !likely() {
            let _ = self.outcome.set(choose(self.which, size, plan));
            return;
        }
        let (outcome, plan, which) = (Arc::clone(&self.outcome), *plan, self.which);
        let thread = std::thread::Builder::new().name("gpu-probe".into()).spawn(move || {
            let found = choose(which, size, &plan);
            tracing::info!("pyramid {}", found.reason);
            let _ = outcome.set(found);
        });
        match thread {
            Ok(thread) => *search = Some(thread),
            Err(e) => {
                let _ = self.outcome.set(Choice { gpu: None, reason: format!("on the CPU: no thread to probe ({e})") });
            }
        }
    }
}

impl Drop for Auto {
    /// A program must not end while a driver is at work in one of its threads.
    fn drop(&mut self) {
        if let Some(thread) = self.search.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

/// Opens the best GPU of those and measures both ways, for pictures of `size`.
pub fn choose(which: Adapters, size: (u32, u32), plan: &Plan) -> Choice {
    let on_cpu = |reason: String| Choice { gpu: None, reason: format!("on the CPU: {reason}") };
    if which == Adapters::Real && !likely() {
        return on_cpu("this machine has no GPU".into());
    }
    let gpu = match Gpu::open(which) {
        Ok(gpu) => gpu,
        Err(e) => return on_cpu(e.to_string()),
    };
    let Some((on_gpu, cpu)) = measure::both(&gpu, size, plan) else {
        return on_cpu(format!("{} gives other pixels, or none", gpu.name()));
    };
    let name = gpu.name();
    if on_gpu < cpu {
        let reason = format!("on {name}: {:.2} ms a picture, the CPU takes {:.2}", ms(on_gpu), ms(cpu));
        Choice { gpu: Some(gpu), reason }
    } else {
        on_cpu(format!("{:.2} ms a picture, {name} takes {:.2}", ms(cpu), ms(on_gpu)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyramid::gpu::tests::{PLAN, gpu};

    #[test]
    fn what_is_chosen_is_what_was_measured_to_be_faster() {
        if gpu().is_none() {
            return;
        }
        let outcome = choose(Adapters::All, (160, 120), &PLAN);
        assert_eq!(
            outcome.gpu.is_some(),
            outcome.reason.starts_with("on ") && !outcome.reason.starts_with("on the CPU")
        );
        assert!(outcome.reason.contains(" ms a picture"), "{}", outcome.reason);
    }

    #[test]
    fn software_renderers_are_not_chosen_by_themselves() {
        // Where there is a real GPU, that is what is found.
        if let Ok(gpu) = Gpu::open(Adapters::Real) {
            assert!(!gpu.name().contains("llvmpipe"), "{}", gpu.name());
        }
    }

    #[test]
    fn a_gpu_is_looked_for_beside_the_work_and_the_search_is_over_when_the_run_is() {
        let Some(_) = gpu() else { return };
        let auto = Auto::new(Adapters::All, Duration::ZERO);
        auto.consider((64, 48), &PLAN);
        auto.consider((64, 48), &PLAN);
        let outcome = Arc::clone(&auto.outcome);
        drop(auto);
        let outcome = outcome.get().expect("the search has ended");
        assert!(outcome.describe().contains(" ms a picture"), "{}", outcome.describe());
    }

    #[test]
    fn a_short_run_asks_no_driver() {
        let auto = Auto::default();
        auto.consider((64, 64), &PLAN);
        auto.consider((64, 64), &PLAN);
        assert!(auto.search.lock().unwrap().is_none() && auto.gpu().is_none());
        assert!(auto.describe().starts_with("on the CPU"));
    }
}
