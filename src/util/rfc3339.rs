//! Times as text (RFC 3339). Times before 1970 are shown as 1970-01-01, because humantime cannot format them.

use std::time::{SystemTime, UNIX_EPOCH};

use humantime::Rfc3339Timestamp;

/// In whole seconds.
pub(crate) fn seconds(time: SystemTime) -> Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH))
}

/// In milliseconds.
pub(crate) fn millis(time: SystemTime) -> Rfc3339Timestamp {
    humantime::format_rfc3339_millis(time.max(UNIX_EPOCH))
}

/// Serde's form of a time: whole seconds as text.
pub(crate) mod as_seconds {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&super::seconds(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The same for a time that may be absent.
pub(crate) mod as_optional_seconds {
    use std::time::SystemTime;

    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::as_seconds::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        super::as_seconds::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_are_its_beginning() {
        let before = UNIX_EPOCH - Duration::from_secs(7);
        assert_eq!(seconds(before).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(millis(before).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(millis(UNIX_EPOCH + Duration::from_millis(1500)).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
