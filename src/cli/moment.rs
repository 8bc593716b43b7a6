//! Times on the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

/// Reads `02:00` (the last such time, UTC), `2h` (so long ago), `2026-11-23` (UTC) or `2026-11-23T07:00:00Z`.
pub(super) fn moment(text: &str) -> Result<SystemTime, String> {
    moment_at(text, SystemTime::now()).ok_or_else(|| {
        "use a time such as `02:00` (UTC), a duration such as `36h`, or a date such as `2026-11-23`"
            .to_owned()
    })
}

fn moment_at(text: &str, now: SystemTime) -> Option<SystemTime> {
    let time = humantime::parse_rfc3339(text).ok();
    let midnight = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let ago = || now.checked_sub(humantime::parse_duration(text).ok()?);
    time.or_else(midnight).or_else(|| time_of_day(text, now)).or_else(ago)
}

/// The last such time of day before `now`.
fn time_of_day(text: &str, now: SystemTime) -> Option<SystemTime> {
    let numbers: Vec<u64> = text.split(':').map(two_digits).collect::<Option<_>>()?;
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    let of_day = (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let today = now - now % DAY + of_day;
    let last = if today <= now { today } else { today.checked_sub(DAY)? };
    Some(UNIX_EPOCH + Duration::from_secs(last))
}

fn two_digits(text: &str) -> Option<u64> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let now = humantime::parse_rfc3339("2026-11-23T09:30:00Z").unwrap();
        for (text, time) in [
            ("02:00", Some("2026-11-23T02:00:00Z")),
            ("9:30", Some("2026-11-23T09:30:00Z")),
            ("23:50", Some("2026-11-22T23:50:00Z")),
            ("02:00:07", Some("2026-11-23T02:00:07Z")),
            ("2h", Some("2026-11-23T07:30:00Z")),
            ("2026-11-20", Some("2026-11-20T00:00:00Z")),
            ("2026-11-20T07:00:00Z", Some("2026-11-20T07:00:00Z")),
            ("24:00", None),
            ("2:60", None),
            ("-1:00", None),
            ("soon", None),
        ] {
            let wanted = time.map(|time| humantime::parse_rfc3339(time).unwrap());
            assert_eq!(moment_at(text, now), wanted, "{text}");
        }
    }
}
