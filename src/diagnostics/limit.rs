//! [`Limit`]: the default and range of a number, and how it is read and written.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};

/// The range of a setting, both ends included, and its default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit<T> {
    /// Value if the setting is absent.
    pub default: T,
    /// Smallest allowed.
    pub min: T,
    /// Largest allowed.
    pub max: T,
    pub(crate) whole_seconds: bool,
}

impl<T: Copy> Limit<T> {
    pub(crate) const fn new(default: T, min: T, max: T) -> Self {
        Self { default, min, max, whole_seconds: false }
    }
}

impl Limit<Duration> {
    pub(crate) const fn whole_seconds(self) -> Self {
        Self { whole_seconds: true, ..self }
    }
}

/// A number in settings.
pub trait Quantity: Copy + PartialOrd {
    /// Its name in messages.
    const KIND: &'static str;

    /// From an integer, for kinds that are written as one.
    fn from_integer(_: i64) -> Option<Self> {
        None
    }

    /// From a string, for kinds that are written with a unit.
    fn from_text(_: &str) -> Option<Self> {
        None
    }

    /// False for a duration with a fraction of a second.
    fn is_whole_seconds(self) -> bool {
        true
    }

    /// The value as written in TOML.
    fn written(self) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Quantity for $number {
            const KIND: &'static str = "a whole number";

            fn from_integer(integer: i64) -> Option<Self> {
                Self::try_from(integer).ok()
            }

            fn written(self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, usize);

/// Written with units: `"6s"`, `"300ms"`, `"1h"`.
impl Quantity for Duration {
    const KIND: &'static str = "a duration";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn is_whole_seconds(self) -> bool {
        self.subsec_nanos() == 0
    }

    fn written(self) -> String {
        format!("\"{}\"", crate::util::duration::shown(self))
    }
}

/// Written with a unit: `"64MiB"`.
impl Quantity for ByteSize {
    const KIND: &'static str = "a size";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn written(self) -> String {
        let bytes = self.as_u64();
        let units = [(Self::gib(1), "GiB"), (Self::mib(1), "MiB"), (Self::kib(1), "KiB")];
        let exact = units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(unit.as_u64()));
        exact.map_or_else(
            || format!("\"{bytes}B\""),
            |(unit, name)| format!("\"{}{name}\"", bytes / unit.as_u64()),
        )
    }
}

/// Reads a value and checks it against the limit.
impl<'de, T: Quantity> DeserializeSeed<'de> for Limit<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(Within { limit: self, kind: PhantomData })
    }
}

struct Within<T> {
    limit: Limit<T>,
    kind: PhantomData<T>,
}

impl<T: Quantity> Within<T> {
    fn check<E: Error>(&self, value: Option<T>, written: Unexpected<'_>) -> Result<T, E> {
        let Limit { min, max, whole_seconds, .. } = self.limit;
        value
            .filter(|value| *value >= min && *value <= max && (!whole_seconds || value.is_whole_seconds()))
            .ok_or_else(|| E::invalid_value(written, self))
    }
}

impl<T: Quantity> Visitor<'_> for Within<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", T::KIND, self.limit.min.written(), self.limit.max.written())?;
        if self.limit.whole_seconds { f.write_str(" in whole seconds") } else { Ok(()) }
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<T, E> {
        self.check(T::from_integer(integer), Unexpected::Signed(integer))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<T, E> {
        self.check(i64::try_from(integer).ok().and_then(T::from_integer), Unexpected::Unsigned(integer))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.check(T::from_text(text), Unexpected::Str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_they_are_read() {
        for size in [0, 1, 1023, 1024, 1025, 64 << 20, 3 << 30, (64 << 30) - 1] {
            let size = ByteSize::b(size);
            assert_eq!(ByteSize::from_text(size.written().trim_matches('"')), Some(size));
        }
        assert_eq!(ByteSize::mib(64).written(), "\"64MiB\"");
        for millis in [0, 300, 1500, 6000, 3_600_000, 86_400_000, 5_400_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(Duration::from_text(duration.written().trim_matches('"')), Some(duration));
        }
    }
}
