//! Numbers formatted for people, in few columns.

use bytesize::ByteSize;

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole in percent; `-` if the whole is zero.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1}%", part as f64 / whole as f64 * 100.0),
    }
}

/// `64.0 MiB`.
pub(super) fn bytes(number: u64) -> String {
    ByteSize(number).to_string()
}

/// Seconds in the unit that fits: `0.35 ms`, `12 ms`, `1.4 s`, `25 s`, `5m 2s`, `1h`, `12d 4h`; `-` for
/// `None`.
pub(super) fn seconds(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) else {
        return "-".to_owned();
    };
    let whole = seconds as u64;
    let pair = |large: u64, unit, small: u64, part| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{part}"),
    };
    match seconds {
        ..0.01 => format!("{:.2} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..10.0 => format!("{seconds:.1} s"),
        ..60.0 => format!("{whole} s"),
        ..3600.0 => pair(whole / 60, "m", whole % 60, "s"),
        ..86400.0 => pair(whole / 3600, "h", whole / 60 % 60, "m"),
        _ => pair(whole / 86400, "d", whole / 3600 % 24, "h"),
    }
}

/// Queries a second over the last seconds of `counts`, which has one count for each second.
pub(super) fn rate(counts: &[u64]) -> String {
    /// Long enough to be steady, short enough to follow.
    const SECONDS: usize = 10;
    let last = &counts[counts.len().saturating_sub(SECONDS)..];
    match last.len() {
        0 => "-".to_owned(),
        length => format!("{:.1}", last.iter().map(|count| *count as f64).sum::<f64>() / length as f64),
    }
}

/// `text` in at most `width` columns, ending in `..` if it is cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.len() <= width || !text.is_ascii() {
        return text.to_owned();
    }
    let dots = &".."[..width.min(2)];
    format!("{}{dots}", &text[..width - dots.len()])
}

/// An RFC 3339 time to the minute, without its zone, which is UTC.
pub(super) fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// The time of day in an RFC 3339 time, to the second.
pub(super) fn time_of_day(time: &str) -> &str {
    let time = time.split_once('T').map_or(time, |(_, time)| time);
    time.get(..8).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!((percent(0, 0).as_str(), percent(1, 8).as_str()), ("-", "12.5%"));
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        let times = [0.000_35, 0.0123, 1.41, 25.0, 302.0, 3600.0, 11_520.0, 1_051_200.0];
        let texts = ["0.35 ms", "12 ms", "1.4 s", "25 s", "5m 2s", "1h", "3h 12m", "12d 4h"];
        assert_eq!(times.map(|time| seconds(Some(time))), texts);
        assert_eq!([None, Some(-1.0), Some(f64::NAN)].map(seconds), ["-", "-", "-"]);
        assert_eq!((rate(&[]).as_str(), rate(&[9, 1]).as_str()), ("-", "5.0"));
        assert_eq!(rate(&[u64::MAX; 20]), format!("{:.1}", u64::MAX as f64));
        assert_eq!(minute("2026-11-23T00:40:38.123Z"), "2026-11-23 00:40");
        assert_eq!(time_of_day("2026-11-23T00:40:38.123Z"), "00:40:38");
        assert_eq!(["", "T", "noon"].map(time_of_day), ["", "", "noon"]);
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in "[ -~]{0,40}", width in 0_usize..50) {
            let shown = cut(&text, width);
            prop_assert!(shown.len() <= width);
            prop_assert!(text.len() > width || shown == text);
        }
    }
}
