//! Reuses arrays from one training step to the next: allocating a map of some megabytes costs more in page faults than
//! computing it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A stock of arrays. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// An array of `len` floats of any value.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let mut free = lock(&self.0);
        let fitting = free.iter().enumerate().filter(|(_, v)| v.len() >= len && v.len() <= 2 * len.max(4096));
        let data = match fitting.min_by_key(|(_, v)| v.len()).map(|(i, _)| i) {
            Some(i) => free.swap_remove(i),
            None => vec![0.0; len],
        };
        Buffer { data, len, home: self.clone() }
    }

    /// An array of `len` times `value`.
    pub(super) fn filled(&self, len: usize, value: f32) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(value);
        buffer
    }
}

/// An array that goes back into its stock when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<f32>,
    len: usize,
    home: Buffers,
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        lock(&self.home.0).push(std::mem::take(&mut self.data));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
