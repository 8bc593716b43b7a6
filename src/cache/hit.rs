//! [`Hit`]: a kept answer as it is found.

use std::time::Duration;

use crate::wire::answer::AnswerRef;

/// Room for the answers that a thread gets from the cache, one at a time: it grows to the largest of them.
#[derive(Debug, Default)]
pub struct Kept {
    pub(super) words: Vec<u64>,
}

impl Kept {
    /// Room for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Room of its own, without what is in it.
impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A kept answer.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'k> {
    /// The answer, as it was received.
    pub answer: AnswerRef<'k>,
    /// How long ago that was, to the millisecond.
    pub age: Duration,
    /// Whether it is still good.
    pub freshness: Freshness,
}

/// Whether a kept answer is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Fresh,
    /// It is, but not for long: it is in demand and should be fetched anew. This is said once.
    Expiring,
    /// Its time is over, and it is given because there is no newer one (RFC 8767).
    Stale,
}
