//! [`Until`]: the last moment at which a rule applies.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::util::rfc3339;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of a rule's life. A date includes that day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Until(SystemTime);

/// The text is no date and no time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a date such as `2027-01-31`, or a time such as `2027-01-31T18:00:00Z`")]
pub struct UntilError;

impl Until {
    /// True if the rule no longer applies at `now`.
    pub fn is_over(self, now: SystemTime) -> bool {
        now >= self.0
    }

    /// Whole seconds since 1970; a time before that is 0.
    pub(crate) fn unix_seconds(self) -> u64 {
        self.0.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// Reads `2027-01-31`, which includes that day, or `2027-01-31T18:00:00Z`.
impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_date = text.len() == "2027-01-31".len();
        let time = match is_date {
            true => humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).map(|start| start + DAY),
            false => humantime::parse_rfc3339(text),
        };
        time.map(Self).map_err(|_| UntilError)
    }
}

/// As written: the date if the end is midnight, else the time in UTC.
impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unix_seconds() % DAY.as_secs() {
            0 => f.write_str(&rfc3339::seconds(self.0 - Duration::from_secs(1)).to_string()[..10]),
            _ => rfc3339::seconds(self.0).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_date_includes_its_day() {
        for (text, last, first_after) in [
            ("2027-01-31", "2027-01-31T23:59:59Z", "2027-02-01T00:00:00Z"),
            ("2028-02-29", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
            ("2027-01-31T18:00:00Z", "2027-01-31T17:59:59Z", "2027-01-31T18:00:00Z"),
        ] {
            let until: Until = text.parse().unwrap();
            let at = |text: &str| humantime::parse_rfc3339(text).unwrap();
            assert!(!until.is_over(at(last)) && until.is_over(at(first_after)), "{text}");
            assert_eq!(until.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "tomorrow",
            "2027-13-01",
            "2027-02-30",
            "31.01.2027",
            "2027-01-31T18:00:00+02:00",
            "2027-1-31",
        ] {
            assert_eq!(text.parse::<Until>(), Err(UntilError), "{text}");
        }
    }
}
