//! [`CacheClock`]: times as numbers of milliseconds.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The clock's value when it starts, in milliseconds. Times up to 49 days earlier are representable.
const START: u64 = 1 << 32;

/// Milliseconds since the first write to the cache.
#[derive(Default)]
pub(super) struct CacheClock {
    start: OnceLock<Instant>,
}

impl CacheClock {
    /// `time` in milliseconds, rounded down; starts the clock if it has not started.
    pub(super) fn down(&self, time: Instant) -> u64 {
        let start = *self.start.get_or_init(|| time);
        match time.checked_duration_since(start) {
            Some(after) => START + down(after),
            None => START.saturating_sub(up(start - time)),
        }
    }

    /// `time` in milliseconds, rounded up. Storage times are rounded down, so no entry lives too long. `None` if the
    /// clock has not started.
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
