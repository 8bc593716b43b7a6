//! [`Heartbeat`]: a thread shows that it makes progress; and [`Health`], what the watchdog makes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::util::sync::lock;

/// Stands for a thread that needs no beats any more; so many would take ages.
pub(crate) const AT_REST: u64 = u64::MAX;

/// Beats of one thread, which alone writes here.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<Line>);

/// In a cache line of its own, so that no thread waits for another's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Heartbeat {
    /// The thread went round its loop.
    pub fn beat(&self) {
        self.0.0.store(self.count().wrapping_add(1), Ordering::Relaxed);
    }

    /// The thread has done its work, and ends. One that ends otherwise does not get here.
    pub fn rest(&self) {
        self.0.0.store(AT_REST, Ordering::Relaxed);
    }

    /// Beats so far, or [`AT_REST`].
    pub(crate) fn count(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// Why the resolver does not work, as the watchdog saw it last.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// The reason, for people; none: all is well.
    pub fn fault(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    /// What the watchdog sees now.
    pub(crate) fn set(&self, fault: Option<String>) {
        *lock(&self.0) = fault;
    }
}
