//! [`WallClock`]: converts monotonic timestamps of the packet path to wall-clock time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Converts [`Instant`]s to wall-clock time and formats them.
#[derive(Debug)]
pub struct WallClock {
    steady: Instant,
    day: SystemTime,
    /// The time in `text`, in milliseconds since 1970.
    shown: u128,
    text: String,
}

impl WallClock {
    /// `day` is the wall-clock time at `steady`.
    pub fn new(steady: Instant, day: SystemTime) -> Self {
        Self { steady, day, shown: u128::MAX, text: String::new() }
    }

    /// Sets the clock again.
    pub fn set(&mut self, steady: Instant, day: SystemTime) {
        (self.steady, self.day) = (steady, day);
    }

    /// The wall-clock time at `moment`.
    pub fn time(&self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.steady) {
            Some(after) => self.day + after,
            None => self.day - self.steady.saturating_duration_since(moment),
        }
    }

    /// The wall-clock time at `moment` as RFC 3339 with milliseconds.
    pub fn text(&mut self, moment: Instant) -> &str {
        let since = self.time(moment).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // Many events share a millisecond, so the text is reused.
        if since.as_millis() != self.shown {
            self.shown = since.as_millis();
            self.text = humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string();
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_times_before_and_after_it_was_set() {
        let (steady, day) =
            (Instant::now() + Duration::from_secs(10), UNIX_EPOCH + Duration::from_secs(1_795_392_000));
        let mut clock = WallClock::new(steady, day);
        for (moment, text) in [
            (steady, "2026-11-23T00:00:00.000Z"),
            (steady + Duration::from_millis(7), "2026-11-23T00:00:00.007Z"),
            (steady + Duration::from_micros(1_999_999), "2026-11-23T00:00:01.999Z"),
            (steady - Duration::from_millis(1), "2026-11-22T23:59:59.999Z"),
        ] {
            assert_eq!(clock.text(moment), text);
        }
    }
}
