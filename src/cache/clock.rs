//! [`CacheClock`]: points in time as numbers.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the clock shows when it starts, in milliseconds: times up to 49 days earlier have numbers too.
const START: u64 = 1 << 32;

/// Milliseconds since the cache was first written to.
#[derive(Default)]
pub(super) struct CacheClock {
    start: OnceLock<Instant>,
}

impl CacheClock {
    /// The number of `time`, rounded down; the clock starts if it has not.
    pub(super) fn down(&self, time: Instant) -> u64 {
        let start = *self.start.get_or_init(|| time);
        match time.checked_duration_since(start) {
            Some(after) => START + down(after),
            None => START.saturating_sub(up(start - time)),
        }
    }

    /// The number of `time`, rounded up: since the time an answer came is rounded down, none is kept too long.
    /// None where the clock has not started.
    pub(super) fn up(&self, time: Instant) -> Option<u64> {
        let start = *self.start.get()?;
        Some(match time.checked_duration_since(start) {
            Some(after) => START + up(after),
            None => START.saturating_sub(down(start - time)),
        })
    }
}

fn down(duration: Duration) -> u64 {
    duration.as_secs().wrapping_mul(1000) + u64::from(duration.subsec_millis())
}

fn up(duration: Duration) -> u64 {
    duration.as_secs().wrapping_mul(1000) + u64::from(duration.subsec_nanos().div_ceil(1_000_000))
}
