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

/// The end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeriodEnd {
    /// This time.
    At(SystemTime),
    /// This time of day (UTC), in seconds.
    OfDay(u64),
}

/// Reads the end of a period, as [`moment`] does; a time of day waits for the beginning.
pub(super) fn period_end(text: &str) -> Result<PeriodEnd, String> {
    match of_day(text) {
        Some(of_day) => Ok(PeriodEnd::OfDay(of_day)),
        None => moment(text).map(PeriodEnd::At),
    }
}

impl PeriodEnd {
    /// The first such time after `since`; without it, a time of day is today's.
    pub(super) fn after(self, since: Option<SystemTime>) -> SystemTime {
        self.at(since, SystemTime::now())
    }

    fn at(self, since: Option<SystemTime>, now: SystemTime) -> SystemTime {
        let of_day = match self {
            Self::At(time) => return time,
            Self::OfDay(of_day) => of_day,
        };
        let day = since.unwrap_or(now).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
        let time = UNIX_EPOCH + Duration::from_secs(day * DAY + of_day);
        match since {
            Some(since) if time <= since => time + Duration::from_secs(DAY),
            _ => time,
        }
    }
}

fn moment_at(text: &str, now: SystemTime) -> Option<SystemTime> {
    let whole = text.replacen(' ', "T", 1);
    let forms = [whole.clone(), format!("{whole}Z"), format!("{whole}:00Z"), format!("{whole}T00:00:00Z")];
    let time = forms.iter().find_map(|form| humantime::parse_rfc3339(form).ok());
    let ago = || now.checked_sub(humantime::parse_duration(text).ok()?);
    time.or_else(|| time_of_day(text, now)).or_else(ago)
}

/// The last such time of day before `now`.
fn time_of_day(text: &str, now: SystemTime) -> Option<SystemTime> {
    let of_day = of_day(text)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let today = now - now % DAY + of_day;
    let last = if today <= now { today } else { today.checked_sub(DAY)? };
    Some(UNIX_EPOCH + Duration::from_secs(last))
}

/// The seconds of `02:00` or `02:00:00`.
fn of_day(text: &str) -> Option<u64> {
    let numbers: Vec<u64> = text.split(':').map(two_digits).collect::<Option<_>>()?;
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
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
    fn a_period_ends_after_it_begins() {
        let at = |text: &str| humantime::parse_rfc3339(text).unwrap();
        let now = at("2026-11-30T02:05:00Z");
        for (since, until, wanted) in [
            (Some("2026-11-30T01:50:00Z"), "02:10", "2026-11-30T02:10:00Z"),
            (Some("2026-11-29T23:00:00Z"), "01:00", "2026-11-30T01:00:00Z"),
            (Some("2026-11-29T20:00:00Z"), "20:32", "2026-11-29T20:32:00Z"),
            (None, "02:10", "2026-11-30T02:10:00Z"),
            (None, "01:00", "2026-11-30T01:00:00Z"),
            (Some("2026-11-30T01:50:00Z"), "2026-11-30T01:00", "2026-11-30T01:00:00Z"),
            (None, "2026-11-30 01:00", "2026-11-30T01:00:00Z"),
        ] {
            assert_eq!(period_end(until).unwrap().at(since.map(at), now), at(wanted), "{since:?} {until}");
        }
    }

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
