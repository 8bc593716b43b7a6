//! [`Heartbeat`]: shows that a thread makes progress. [`Health`]: the watchdog's finding.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::util::sync::lock;

/// Marks a thread that has finished; no count of beats gets this high.
pub(crate) const AT_REST: u64 = u64::MAX;

/// Beat count of one thread; only that thread writes it.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<Line>);

/// In its own cache line, so that threads do not contend.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Heartbeat {
    /// Counts one pass of the thread's loop.
    pub fn beat(&self) {
        self.0.0.store(self.count().wrapping_add(1), Ordering::Relaxed);
    }

    /// The thread ends normally. A thread that ends otherwise does not get here.
    pub fn rest(&self) {
        self.0.0.store(AT_REST, Ordering::Relaxed);
    }

    /// Beats so far, or [`AT_REST`].
    pub(crate) fn count(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// Why the resolver does not work, as last seen by the watchdog.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// The reason as text; none if all is well.
    pub fn fault(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    /// Sets the watchdog's current finding.
    pub(crate) fn set(&self, fault: Option<String>) {
        *lock(&self.0) = fault;
    }
}
