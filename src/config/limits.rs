//! [`Limit`]: every number the settings hold, with its default, its range and the reason for both.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};

/// Threads that answer UDP. Default 0: one per core. At most 256: more threads than cores only wait for each other.
pub const WORKERS: Limit<usize> = Limit::new(0, 0, 256);

/// Largest UDP payload sent or asked for, in bytes. Default 1232: fits IPv6's smallest packet unfragmented (DNS flag
/// day 2020). At least 512, which every client takes (RFC 1035 section 2.3.4); at most 4096, the size that RFC 6891
/// section 6.2.5 begins with.
pub const UDP_PAYLOAD: Limit<u16> = Limit::new(1232, 512, 4096);

/// TCP connections open at once, over all clients. Default 1000: about the size of a large subnet, at some kilobytes
/// each. At most 65535: file descriptors.
pub const TCP_CONNECTIONS: Limit<usize> = Limit::new(1000, 1, 65535);

/// Queries of one TCP connection worked on at once (RFC 7766 section 6.2.1.1 asks for pipelining). Default 64: more
/// than stub resolvers send, little enough that one client cannot take the upstream's whole allowance.
pub const TCP_QUERIES_PER_CONNECTION: Limit<usize> = Limit::new(64, 1, 1024);

/// How long a TCP connection without a query in work stays open. Default 10 s: "on the order of a few seconds"
/// (RFC 7766 section 6.2.3), with room for a slow client. 1 s to 5 min.
pub const TCP_IDLE_TIMEOUT: Limit<Duration> =
    Limit::new(SECOND.saturating_mul(10), SECOND, MINUTE.saturating_mul(5));

/// The whole time an upstream query may take, retries included. Default 6 s: Azure's documentation asks forwarders to
/// wait longer than 4 s, or private names may turn into public addresses. 1 s to 30 s: no client waits longer.
pub const DEADLINE: Limit<Duration> = Limit::new(SECOND.saturating_mul(6), SECOND, SECOND.saturating_mul(30));

/// Queries waiting at one upstream at once. Default 180: Azure's resolver drops beyond 200 per machine. At most 65535:
/// there are no more query ids (RFC 1035 section 4.1.1).
pub const MAX_IN_FLIGHT: Limit<usize> = Limit::new(180, 1, 65535);

/// Queries per second to one upstream, 0 for no limit. Default 900: Azure's resolver drops beyond 1000 per machine. At
/// most 1 000 000: more than a network card's worth of packets is no limit.
pub const MAX_QPS: Limit<u32> = Limit::new(900, 0, 1_000_000);

/// Time to live of a blocked answer. Default 30 s: a name allowed a moment later works within half a minute. At most
/// 1 h. Whole seconds, as DNS counts.
pub const BLOCK_TTL: Limit<Duration> =
    Limit::new(SECOND.saturating_mul(30), Duration::ZERO, HOUR).whole_seconds();

/// Memory for cached answers; 0 turns the cache off. Default 64 MiB: some hundred thousand answers. At most 64 GiB.
pub const CACHE_BYTES: Limit<ByteSize> = Limit::new(ByteSize::mib(64), ByteSize::b(0), ByteSize::gib(64));

/// Longest that an answer is cached, whatever its own time to live. Default 1 h: a changed private endpoint shows the
/// same day without a flush. At most 24 h: far below the week that RFC 8767 section 4 caps at, since resources in a
/// cloud move more often than that. Whole seconds.
pub const CACHE_MAX_TTL: Limit<Duration> =
    Limit::new(HOUR, Duration::ZERO, HOUR.saturating_mul(24)).whole_seconds();

/// Longest that a negative answer is cached. Default 300 s; at most 3 h, the upper end RFC 2308 section 5 found to work
/// well. Whole seconds.
pub const CACHE_MAX_NEGATIVE_TTL: Limit<Duration> =
    Limit::new(MINUTE.saturating_mul(5), Duration::ZERO, HOUR.saturating_mul(3)).whole_seconds();

/// Longest that an expired answer is given where nobody has a newer one. Default 24 h; at most 3 days, as RFC 8767
/// section 5 suggests. Whole seconds.
pub const CACHE_MAX_STALE: Limit<Duration> =
    Limit::new(HOUR.saturating_mul(24), SECOND, HOUR.saturating_mul(72)).whole_seconds();

/// Queries that are not blocked for one line in the query log. Default 1: each. At most 1 000 000.
pub const SAMPLE: Limit<u32> = Limit::new(1, 1, 1_000_000);

/// Size of a query log file at which a new one is begun. Default 100 MiB: about half a million lines. At least 4 KiB, at
/// most 64 GiB.
pub const FILE_BYTES: Limit<ByteSize> = Limit::new(ByteSize::mib(100), ByteSize::kib(4), ByteSize::gib(64));

/// Query log files kept beside the one being written. Default 5; at most 1000.
pub const FILE_KEEP: Limit<usize> = Limit::new(5, 0, 1000);

/// Names, and clients, shown as the most blocked; each is a series in the metrics. Default 20; 0: none; at most 100, so
/// that no client can make more series than that.
pub const TOP: Limit<usize> = Limit::new(20, 0, 100);

/// New names that one client may ask for below one rule within a window. Default 1000: a cluster asks for some tens of
/// storage accounts and registries, a tunnel for several names a second. At least 10; at most 1 000 000.
pub const GUARD_NAMES: Limit<u32> = Limit::new(1000, 10, 1_000_000);

/// Bytes of those names, the rule's own labels left out. Default 32 KiB: 1000 names of 32 bytes. At least 1 KiB; at most
/// 1 GiB.
pub const GUARD_BYTES: Limit<ByteSize> = Limit::new(ByteSize::kib(32), ByteSize::kib(1), ByteSize::gib(1));

/// The window over which new names are counted. Default 10 min: long enough to catch a slow tunnel, short enough that a
/// wrong count is soon forgotten. 1 s to 24 h.
pub const GUARD_WINDOW: Limit<Duration> =
    Limit::new(MINUTE.saturating_mul(10), SECOND, HOUR.saturating_mul(24)).whole_seconds();

/// Longest that a name may be allowed for a while. Default 24 h: a working day and its night; what is needed longer belongs
/// in a file. 1 min to 30 days. Whole seconds.
pub const MAX_TEMPORARY: Limit<Duration> =
    Limit::new(HOUR.saturating_mul(24), MINUTE, HOUR.saturating_mul(24 * 30)).whole_seconds();

/// Time between two rounds in which a running gate asks itself for names that must resolve and names that must not; 0 turns
/// them off. Default 60 s: about one query a second with the default names. At most 24 h. Whole seconds.
pub const PROVE_INTERVAL: Limit<Duration> =
    Limit::new(MINUTE, Duration::ZERO, HOUR.saturating_mul(24)).whole_seconds();

/// Most names that must resolve, and most that must not: each is a series in the metrics, and some queries a round.
pub const CANARIES: usize = 32;

/// Longest server identity in bytes: one character-string of a TXT record (RFC 1035 section 3.3).
pub const IDENTITY_BYTES: usize = 255;

/// Port of the HTTP side where an address alone is written: the one CoreDNS made usual for DNS metrics.
pub const ADMIN_PORT: u16 = 9153;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The values a setting may have, both ends included, and the one it has unless it is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit<T> {
    /// Where the setting is not written.
    pub default: T,
    /// Smallest allowed.
    pub min: T,
    /// Largest allowed.
    pub max: T,
    whole_seconds: bool,
}

impl<T: Copy> Limit<T> {
    const fn new(default: T, min: T, max: T) -> Self {
        Self { default, min, max, whole_seconds: false }
    }
}

impl Limit<Duration> {
    const fn whole_seconds(self) -> Self {
        Self { whole_seconds: true, ..self }
    }
}

/// A number as settings write it.
pub trait Quantity: Copy + PartialOrd {
    /// What it is called in messages.
    const KIND: &'static str;

    /// From an integer, for the kinds that are written as one.
    fn from_integer(_: i64) -> Option<Self> {
        None
    }

    /// From a string, for the kinds that are written with a unit.
    fn from_text(_: &str) -> Option<Self> {
        None
    }

    /// False for a duration that has a part below the second.
    fn is_whole_seconds(self) -> bool {
        true
    }

    /// The value as it is written, without quotes.
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

whole_numbers!(u16, u32, usize);

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
        format!("\"{}\"", humantime::format_duration(self))
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

/// Reads a value and holds it against the limit.
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

    fn holds<T: Quantity>(limit: Limit<T>) -> bool {
        limit.min <= limit.default && limit.default <= limit.max && limit.default.is_whole_seconds()
    }

    #[test]
    fn every_default_is_within_its_range() {
        assert!(
            holds(WORKERS)
                && holds(UDP_PAYLOAD)
                && holds(TCP_CONNECTIONS)
                && holds(TCP_QUERIES_PER_CONNECTION)
        );
        assert!(holds(TCP_IDLE_TIMEOUT) && holds(DEADLINE) && holds(MAX_IN_FLIGHT) && holds(MAX_QPS));
        assert!(holds(SAMPLE) && holds(FILE_BYTES) && holds(FILE_KEEP) && holds(TOP));
        assert!(holds(MAX_TEMPORARY) && holds(PROVE_INTERVAL));
        assert!(
            holds(BLOCK_TTL) && holds(CACHE_BYTES) && holds(CACHE_MAX_TTL) && holds(CACHE_MAX_NEGATIVE_TTL)
        );
    }

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
