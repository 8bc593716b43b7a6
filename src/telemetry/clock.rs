//! [`Clock`]: moments of the packet path as times of day.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Turns what a steady clock showed into the time of day, and that into text.
#[derive(Debug)]
pub struct Clock {
    steady: Instant,
    day: SystemTime,
    /// The second that `text` begins with, since 1970.
    second: u64,
    text: String,
}

impl Clock {
    /// `day` is the time of day at `steady`.
    pub fn new(steady: Instant, day: SystemTime) -> Self {
        Self { steady, day, second: u64::MAX, text: String::new() }
    }

    /// The same clock, set anew.
    pub fn set(&mut self, steady: Instant, day: SystemTime) {
        (self.steady, self.day) = (steady, day);
    }

    /// The time of day at `moment`.
    pub fn time(&self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.steady) {
            Some(after) => self.day + after,
            None => self.day - self.steady.saturating_duration_since(moment),
        }
    }

    /// The time of day at `moment` to the millisecond (RFC 3339).
    pub fn text(&mut self, moment: Instant) -> &str {
        let since = self.time(moment).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            let second = UNIX_EPOCH + Duration::from_secs(self.second);
            self.text = humantime::format_rfc3339_millis(second).to_string();
        }
        // Only the three digits before the `Z` differ within a second.
        let digits = self.text.len() - 4;
        let millis = since.subsec_millis();
        self.text.replace_range(digits.., &format!("{millis:03}Z"));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_times_before_and_after_it_was_set() {
        let (steady, day) =
            (Instant::now() + Duration::from_secs(10), UNIX_EPOCH + Duration::from_secs(1_795_392_000));
        let mut clock = Clock::new(steady, day);
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
