//! What threads share: atomics, the machine's or loom's where models go through every order of their steps, and locks.
//!
//! `.ci/sanitize` runs the models.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(namegate_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(namegate_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// So many words, all zero; none where there is no memory for them. Memory that was never written takes none.
#[cfg(not(namegate_loom))]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(words).ok()
}

/// The same of words whose history is kept.
#[cfg(namegate_loom)]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// What `mutex` holds, also where another thread panicked with it: nothing here is left half done by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
