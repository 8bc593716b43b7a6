//! Durations as text, which settings and options read back.

use std::time::Duration;

/// The units, longest first, in nanoseconds.
const UNITS: [(u128, &str); 6] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
];

/// `duration` in the longest unit of which it is a whole number: `1d`, `90m`, `4500ms`.
pub fn shown(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match UNITS.into_iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_one_number_and_read_back() {
        for (millis, text) in [
            (0, "0s"),
            (300, "300ms"),
            (4500, "4500ms"),
            (6000, "6s"),
            (90_000, "90s"),
            (5_400_000, "90m"),
            (86_400_000, "1d"),
            (90_000_000, "25h"),
            (30 * 86_400_000, "30d"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(shown(duration), text);
            assert_eq!(humantime::parse_duration(text), Ok(duration));
        }
        for nanos in [1, 1_500, 1_000_000_001] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(humantime::parse_duration(&shown(duration)), Ok(duration));
        }
    }
}
