//! Atomics and locks. With `namegate_loom` the atomics are loom's, whose models run through every order of steps.
//!
//! `.ci/sanitize` runs the models.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(namegate_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(namegate_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// `words` zeroed words; none if memory is short. Untouched pages use no memory.
#[cfg(not(namegate_loom))]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(words).ok()
}

/// The same with loom's words, whose history is recorded.
#[cfg(namegate_loom)]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// Locks `mutex`, even if another thread panicked while holding it: a panic leaves no data here half updated.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
