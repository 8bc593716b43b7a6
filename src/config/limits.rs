//! Every number the settings hold, with its default, its range and the reason for both.

use std::time::Duration;

use bytesize::ByteSize;

use crate::diagnostics::limit::Limit;

/// Threads that answer UDP. Default 0: one per core. At most 256: more threads than cores only wait for each other.
pub const WORKERS: Limit<usize> = Limit::new(0, 0, 256);

/// Largest UDP payload sent or asked for, in bytes. Default 1232: fits IPv6's smallest packet unfragmented (DNS flag
/// day 2020). At least 512, which every client takes (RFC 1035 section 2.3.4); at most 4096, the size that RFC 6891
/// section 6.2.5 begins with.
pub const UDP_PAYLOAD: Limit<u16> = Limit::new(1232, 512, 4096);

/// TCP connections open at once, over all clients. Default 6000: twice what 20 nodes with AKS LocalDNS open, 150 each, so that
/// each of 40 clients has 150 for certain. At most 65535: file descriptors.
pub const TCP_CONNECTIONS: Limit<usize> = Limit::new(6000, 1, 65535);

/// TCP connections of one client open at once. Default 500: three times what AKS LocalDNS on one node opens, and a twelfth
/// of all. At most 65535, as for all.
pub const TCP_CONNECTIONS_PER_CLIENT: Limit<usize> = Limit::new(500, 1, 65535);

/// Queries of one TCP connection worked on at once (RFC 7766 section 6.2.1.1 asks for pipelining). Default 64: more
/// than stub resolvers send, little enough that one client cannot take the upstream's whole allowance.
pub const TCP_QUERIES_PER_CONNECTION: Limit<usize> = Limit::new(64, 1, 1024);

/// How long a TCP connection without a query in work stays open. Default 10 s: "on the order of a few seconds"
/// (RFC 7766 section 6.2.3), with room for a slow client. 1 s to 5 min.
pub const TCP_IDLE_TIMEOUT: Limit<Duration> =
    Limit::new(SECOND.saturating_mul(10), SECOND, MINUTE.saturating_mul(5));

/// Queries that may wait for upstreams in all; more are dropped. Default 10,000: with up to 6 KiB each 60 MiB at most, and ten
/// times what the default budget of an upstream answers within a second. 100 to 1,000,000.
pub const IN_FLIGHT: Limit<usize> = Limit::new(10_000, 100, 1_000_000);

/// Queries of one client that may wait for upstreams. Default 1,000, as Unbound's `wait-limit`: a resolver in between stays below it, and it takes ten clients to fill all places. 1 to 1,000,000.
pub const IN_FLIGHT_PER_CLIENT: Limit<usize> = Limit::new(1_000, 1, 1_000_000);

/// Bits of an IPv6 address that stand for one client. Default 64: a host has every address of its network's /64. 128 where hosts
/// share a /64, as in Azure, whose subnets are exactly that (its documentation of IPv6 for virtual networks, 2026-11). At least
/// 32, what a provider has.
pub const IPV6_PREFIX_LENGTH: Limit<u8> = Limit::new(64, 32, 128);

/// Replies over UDP that one client may have in a second, 0 for no limit. Default 0: a limit that is too low stops a cluster, and within a virtual network nobody can forge addresses. At most 1,000,000.
pub const RESPONSES_PER_SECOND: Limit<u32> = Limit::new(0, 0, 1_000_000);

/// Of the replies beyond that limit, one in this many goes out truncated, so that a true client asks over TCP. Default 2, as
/// other servers have it; 1 is each, 0 none. At most 10.
pub const SLIP: Limit<u32> = Limit::new(2, 0, 10);

/// The whole time an upstream query may take, retries included. Default 4.5 s: Azure's documentation asks forwarders to
/// wait longer than 4 s, or private names may turn into public addresses, and musl gives up after 5 s, before which it is to
/// see SERVFAIL and its reason. 1 s to 30 s: no client waits longer.
pub const DEADLINE: Limit<Duration> =
    Limit::new(Duration::from_millis(4500), SECOND, SECOND.saturating_mul(30));

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::limit::Quantity;

    fn holds<T: Quantity>(limit: Limit<T>) -> bool {
        let is_whole = !limit.whole_seconds || limit.default.is_whole_seconds();
        limit.min <= limit.default && limit.default <= limit.max && is_whole
    }

    /// Holds each of these to its range, and that there are no others in this file.
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
            PROVE_INTERVAL,
        ];
    }
}
