//! Limits of all numeric settings: default, range, and the reason for both.

use std::time::Duration;

use bytesize::ByteSize;

use crate::diagnostics::limit::Limit;

/// UDP worker threads. Default 0: one per core. At most 256: more threads than cores only wait for each other.
pub const WORKERS: Limit<usize> = Limit::new(0, 0, 256);

/// Largest UDP payload sent or advertised, in bytes. Default 1232: fits into IPv6's minimum MTU unfragmented (DNS flag
/// day 2020). At least 512, which every client accepts (RFC 1035 section 2.3.4); at most 4096, the starting size that
/// RFC 6891 section 6.2.5 suggests.
pub const UDP_PAYLOAD: Limit<u16> = Limit::new(1232, 512, 4096);

/// Open TCP connections of all clients. Default 6000: enough for 40 clients with 150 connections each, which is what
/// AKS LocalDNS opens per node. At most 65535: file descriptors.
pub const TCP_CONNECTIONS: Limit<usize> = Limit::new(6000, 1, 65535);

/// Open TCP connections per client. Default 500: more than three times what AKS LocalDNS opens on one node (150), and a
/// twelfth of the total. At most 65535, as for the total.
pub const TCP_CONNECTIONS_PER_CLIENT: Limit<usize> = Limit::new(500, 1, 65535);

/// Queries in progress per TCP connection (RFC 7766 section 6.2.1.1 recommends pipelining). Default 64: more than stub
/// resolvers send, and too few for one connection to use up an upstream's slots.
pub const TCP_QUERIES_PER_CONNECTION: Limit<usize> = Limit::new(64, 1, 1024);

/// Time after which a TCP connection with no query in progress is closed. Default 10 s: "on the order of a few seconds"
/// (RFC 7766 section 6.2.3), with room for a slow client. 1 s to 5 min.
pub const TCP_IDLE_TIMEOUT: Limit<Duration> =
    Limit::new(SECOND.saturating_mul(10), SECOND, MINUTE.saturating_mul(5));

/// Pending queries in total; queries beyond are dropped. Default 10,000: at up to 6 KiB each at most 60 MiB, and
/// eleven times the default query rate to one upstream. 100 to 1,000,000.
pub const IN_FLIGHT: Limit<usize> = Limit::new(10_000, 100, 1_000_000);

/// Pending queries per client. Default 1,000, as Unbound's `wait-limit`: a forwarder stays below it, and no client
/// reaches the total alone. 1 to 1,000,000.
pub const IN_FLIGHT_PER_CLIENT: Limit<usize> = Limit::new(1_000, 1, 1_000_000);

/// Prefix length of IPv6 addresses that count as one client. Default 64: a host can use every address of its /64. Set
/// 128 where hosts share a /64, as in Azure, whose subnets are always /64 (Azure's documentation of IPv6 for virtual
/// networks, 2026-11). At least 32, the size of a provider's allocation.
pub const IPV6_PREFIX_LENGTH: Limit<u8> = Limit::new(64, 32, 128);

/// UDP replies per second to one client, 0 for no limit. Default 0: too low a limit stops a cluster, and within a
/// virtual network addresses cannot be forged. At most 1,000,000.
pub const RESPONSES_PER_SECOND: Limit<u32> = Limit::new(0, 0, 1_000_000);

/// Reply to one in this many queries above that limit, truncated or with BADCOOKIE, so that a real client can prove its
/// address; drop the others. Default 2, as in other servers; 1 replies to all, 0 to none. At most 10.
pub const SLIP: Limit<u32> = Limit::new(2, 0, 10);

/// Time limit for one upstream query, retries included. Default 4.5 s: Azure's documentation asks forwarders to wait
/// longer than 4 s, or private names may resolve to public addresses; musl gives up after 5 s and must get SERVFAIL
/// before that. 1 s to 30 s: no client waits longer.
pub const DEADLINE: Limit<Duration> =
    Limit::new(Duration::from_millis(4500), SECOND, SECOND.saturating_mul(30));

/// Queries in flight to one upstream. Default 180: Azure's resolver drops queries above 200 per machine. At most 65535:
/// query IDs have 16 bits (RFC 1035 section 4.1.1).
pub const MAX_IN_FLIGHT: Limit<usize> = Limit::new(180, 1, 65535);

/// Queries per second to one upstream, 0 for no limit. Default 900: Azure's resolver drops queries above 1000 per
/// machine. At most 1,000,000: a sanity limit.
pub const MAX_QPS: Limit<u32> = Limit::new(900, 0, 1_000_000);

/// TTL of a blocked answer. Default 30 s: a name that is allowed later works within half a minute. At most 1 h. Whole
/// seconds, as in DNS.
pub const BLOCK_TTL: Limit<Duration> =
    Limit::new(SECOND.saturating_mul(30), Duration::ZERO, HOUR).whole_seconds();

/// Memory for cache entries; 0 turns the cache off. Default 64 MiB: a few hundred thousand answers. At most 64 GiB.
pub const CACHE_BYTES: Limit<ByteSize> = Limit::new(ByteSize::mib(64), ByteSize::b(0), ByteSize::gib(64));

/// Longest time an answer is cached, whatever its TTL. Default 1 h: a changed private endpoint is visible after an hour
/// at most, without a flush. At most 24 h: far below the week that RFC 8767 section 4 caps at, since cloud resources
/// move more often than that. Whole seconds.
pub const CACHE_MAX_TTL: Limit<Duration> =
    Limit::new(HOUR, Duration::ZERO, HOUR.saturating_mul(24)).whole_seconds();

/// Longest time a negative answer is cached. Default 300 s; at most 3 h, the upper end of what RFC 2308 section 5 found
/// to work well. Whole seconds.
pub const CACHE_MAX_NEGATIVE_TTL: Limit<Duration> =
    Limit::new(MINUTE.saturating_mul(5), Duration::ZERO, HOUR.saturating_mul(3)).whole_seconds();

/// Longest time an expired answer is served while no upstream answers. Default 24 h; at most 3 days, as RFC 8767
/// section 5 suggests. Whole seconds.
pub const CACHE_MAX_STALE: Limit<Duration> =
    Limit::new(HOUR.saturating_mul(24), SECOND, HOUR.saturating_mul(72)).whole_seconds();

/// Log one in this many queries that are not blocked. Default 1: all of them. At most 1,000,000.
pub const SAMPLE: Limit<u32> = Limit::new(1, 1, 1_000_000);

/// Size at which a query log file is rotated. Default 100 MiB: about half a million lines. 4 KiB to 64 GiB.
pub const FILE_BYTES: Limit<ByteSize> = Limit::new(ByteSize::mib(100), ByteSize::kib(4), ByteSize::gib(64));

/// Rotated query log files to keep, besides the current one. Default 5; at most 1000.
pub const FILE_KEEP: Limit<usize> = Limit::new(5, 0, 1000);

/// Entries in the lists of most blocked names and of their clients; each is a series in the metrics. Default 20; 0:
/// none; at most 100, so that clients cannot create more series than that.
pub const TOP: Limit<usize> = Limit::new(20, 0, 100);

/// New names per client, rule and window. Default 1000: a cluster queries some tens of storage accounts and registries,
/// a tunnel several names a second. 10 to 1,000,000.
pub const GUARD_NAMES: Limit<u32> = Limit::new(1000, 10, 1_000_000);

/// Bytes in those names, without the rule's own labels. Default 32 KiB: 1000 names of 32 bytes. 1 KiB to 1 GiB.
pub const GUARD_BYTES: Limit<ByteSize> = Limit::new(ByteSize::kib(32), ByteSize::kib(1), ByteSize::gib(1));

/// Window in which new names are counted. Default 10 min: long enough to catch a slow tunnel, short enough that a false
/// positive clears soon. 1 s to 24 h.
pub const GUARD_WINDOW: Limit<Duration> =
    Limit::new(MINUTE.saturating_mul(10), SECOND, HOUR.saturating_mul(24)).whole_seconds();

/// Longest duration of a grant. Default 24 h: a working day and its night; names needed for longer belong in an
/// allowlist. 1 min to 30 days. Whole seconds.
pub const MAX_TEMPORARY: Limit<Duration> =
    Limit::new(HOUR.saturating_mul(24), MINUTE, HOUR.saturating_mul(24 * 30)).whole_seconds();

/// Time for which past lookups can be searched; 0 turns the history off. Default 24 h: last night's failure is found the
/// next morning. At most 30 days. Whole seconds.
pub const HISTORY_AGE: Limit<Duration> =
    Limit::new(HOUR.saturating_mul(24), Duration::ZERO, HOUR.saturating_mul(24 * 30)).whole_seconds();

/// Size of the database of past lookups, with its journal. Default 256 MiB: about four million entries. 4 MiB to 64 GiB.
pub const HISTORY_BYTES: Limit<ByteSize> =
    Limit::new(ByteSize::mib(256), ByteSize::mib(4), ByteSize::gib(64));

/// Interval of the canary queries that namegate sends to itself; 0 turns them off. Default 60 s: about one query a
/// second with the default names. At most 24 h. Whole seconds.
pub const PROVE_INTERVAL: Limit<Duration> =
    Limit::new(MINUTE, Duration::ZERO, HOUR.saturating_mul(24)).whole_seconds();

/// Maximum names in `must_resolve`, and in `must_not_resolve`: each is a series in the metrics and costs a few queries
/// per round.
pub const CANARIES: usize = 32;

/// Longest server identity in bytes: one character-string of a TXT record (RFC 1035 section 3.3).
pub const IDENTITY_BYTES: usize = 255;

/// Default port of the HTTP server: the usual port for CoreDNS metrics.
pub const ADMIN_PORT: u16 = 9153;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::limit::Quantity;

    fn holds<T: Quantity>(limit: Limit<T>) -> bool {
        let is_whole = !limit.whole_seconds || limit.default.is_whole_seconds();
        limit.min <= limit.default && limit.default <= limit.max && is_whole
    }

    /// Checks that each limit is consistent, and that this list has every limit in the file.
    macro_rules! hold {
        ($($limit:ident),* $(,)?) => {
            $(assert!(holds($limit), "{}: {:?}", stringify!($limit), $limit);)*
            let declared = include_str!("limits.rs").lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": Limit<"));
            let declared: Vec<&str> = declared.map(|(name, _)| name).collect();
            assert_eq!(declared, [$(stringify!($limit)),*]);
        };
    }

    #[test]
    fn every_default_is_within_its_range() {
        hold![
            WORKERS,
            UDP_PAYLOAD,
            TCP_CONNECTIONS,
            TCP_CONNECTIONS_PER_CLIENT,
            TCP_QUERIES_PER_CONNECTION,
            TCP_IDLE_TIMEOUT,
            IN_FLIGHT,
            IN_FLIGHT_PER_CLIENT,
            IPV6_PREFIX_LENGTH,
            RESPONSES_PER_SECOND,
            SLIP,
            DEADLINE,
            MAX_IN_FLIGHT,
            MAX_QPS,
            BLOCK_TTL,
            CACHE_BYTES,
            CACHE_MAX_TTL,
            CACHE_MAX_NEGATIVE_TTL,
            CACHE_MAX_STALE,
            SAMPLE,
            FILE_BYTES,
            FILE_KEEP,
            TOP,
            GUARD_NAMES,
            GUARD_BYTES,
            GUARD_WINDOW,
            MAX_TEMPORARY,
            HISTORY_AGE,
            HISTORY_BYTES,
            PROVE_INTERVAL,
        ];
    }
}
