//! [`Hit`]: a cache entry that was found.

use std::time::Duration;

use crate::wire::answer::AnswerRef;

/// A thread's buffer for answers from the cache, one at a time. It grows to the largest of them.
#[derive(Debug, Default)]
pub struct HitBuffer {
    pub(super) words: Vec<u64>,
}

impl HitBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Clones to a new, empty buffer.
impl Clone for HitBuffer {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A cache entry that was found.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'k> {
    /// The answer as received.
    pub answer: AnswerRef<'k>,
    /// Time since it was received.
    pub age: Duration,
    /// Whether it is fresh.
    pub freshness: Freshness,
}

/// Whether a cache entry is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The entry is fresh.
    Fresh,
    /// Fresh, but it expires soon and is in demand: fetch it again. Reported once per entry.
    Expiring,
    /// Expired; served because no newer answer is available (RFC 8767).
    Stale,
}
