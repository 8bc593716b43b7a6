//! The atomics that threads share without locks: the machine's, or loom's where models go through every order of their steps.
//!
//! `.ci/sanitize` runs the models.

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
