//! [`Counters`]: counts of one thread, or of all tasks of the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strum::VariantArray;

use super::histogram::{Histogram, HistogramSnapshot};
use crate::address::client::Client;
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use crate::events::rule_hits::HitWriter;
use crate::policy::expect::Expect;
use crate::policy::shadow::ShadowChange;
use crate::policy::verdict::BlockReason;
use crate::wire::code::{Rcode, Type};
use crate::wire::reply::Transport;

/// Why a message got no reply; label `reason` of `dropped_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Dropped {
    /// Shorter than a DNS header (12 bytes).
    Short,
    /// A datagram longer than any query.
    Long,
    /// A response, not a query.
    Response,
    /// Too many queries were pending.
    Overload,
    /// Too many queries of one client were pending.
    ClientOverload,
    /// The client is over its rate limit.
    RateLimit,
    /// The client is not permitted, and `other_clients` is `drop`.
    NotAllowed,
}

/// Action for a datagram from a client over its rate limit; label `action` of `rate_limited_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Limited {
    /// No reply.
    Dropped,
    /// A truncated reply.
    Truncated,
    /// A BADCOOKIE reply, which asks for a valid cookie.
    #[strum(serialize = "badcookie")]
    BadCookie,
}

/// Query types counted by name; all others count as `other`, so that clients cannot create series.
pub const TYPES: [Type; 14] = [
    Type(1),
    Type(28),
    Type(5),
    Type(65),
    Type(64),
    Type(16),
    Type(33),
    Type(15),
    Type(2),
    Type(6),
    Type(12),
    Type(43),
    Type(48),
    Type(255),
];

/// Response codes counted by name; all others count as `other`.
pub const RCODES: [Rcode; 8] = [
    Rcode::NOERROR,
    Rcode::FORMERR,
    Rcode::SERVFAIL,
    Rcode::NXDOMAIN,
    Rcode::NOTIMP,
    Rcode::REFUSED,
    Rcode::BADVERS,
    Rcode::BADCOOKIE,
];

/// Allowlists counted by name; the last index is `other`.
pub const ZONES: usize = 64;

/// Monotonic counters.
///
/// A set with a single writer uses plain loads and stores; a set shared by tasks uses atomic read-modify-write.
#[derive(Debug, Default)]
pub struct Counters {
    shared: bool,
    /// Number of the set among all of the process.
    number: usize,
    /// Counts namegate's own queries.
    own: Option<Arc<Self>>,
    queries: [[AtomicU64; TYPES.len() + 1]; Transport::VARIANTS.len()],
    responses: [[AtomicU64; RCODES.len() + 1]; Decision::VARIANTS.len()],
    dropped: [AtomicU64; Dropped::VARIANTS.len()],
    blocked: [AtomicU64; BlockReason::VARIANTS.len()],
    allowed: Zones,
    unexpected: [AtomicU64; Expect::VARIANTS.len()],
    rate_limited: [AtomicU64; Limited::VARIANTS.len()],
    shadow_differences: [AtomicU64; ShadowChange::VARIANTS.len()],
    tunnel_exceeded: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    misses_begun: AtomicU64,
    misses_ended: AtomicU64,
    durations: [[Histogram; AnswerSource::VARIANTS.len()]; Decision::VARIANTS.len()],
}

#[derive(Debug)]
struct Zones([AtomicU64; ZONES]);

impl Default for Zones {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    /// Counters that only one thread writes.
    pub fn of_one_thread() -> Self {
        Self::default()
    }

    /// Counters that tasks on several threads write.
    pub fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    /// The same, as the `number`th set of the process.
    #[must_use]
    pub fn numbered(self, number: usize) -> Self {
        Self { number, ..self }
    }

    /// The same; `own` counts namegate's own queries.
    #[must_use]
    pub fn beside(self, own: &Arc<Self>) -> Self {
        Self { own: Some(Arc::clone(own)), ..self }
    }

    /// The counters for queries of `client`.
    #[inline]
    pub fn of(&self, client: Client) -> &Self {
        match &self.own {
            Some(own) if client.is_own => own,
            _ => self,
        }
    }

    /// Who counts hits of rules.
    pub fn hit_writer(&self) -> HitWriter {
        HitWriter::new(self.number, self.shared)
    }

    fn add(&self, cell: &AtomicU64) {
        if self.shared {
            cell.fetch_add(1, Ordering::Relaxed);
        } else {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Counts a received message; `qtype` is none if the message could not be parsed.
    pub fn query(&self, transport: Transport, qtype: Option<Type>) {
        let place =
            qtype.and_then(|qtype| TYPES.iter().position(|known| *known == qtype)).unwrap_or(TYPES.len());
        self.add(&self.queries[transport as usize][place]);
    }

    /// Counts a reply that was made `elapsed` after its query arrived.
    pub fn response(&self, record: &QueryOutcome, elapsed: Duration) {
        let place = RCODES.iter().position(|known| *known == record.rcode).unwrap_or(RCODES.len());
        self.add(&self.responses[record.decision as usize][place]);
        let durations = &self.durations[record.decision as usize][record.source as usize];
        match self.shared {
            true => durations.observe(elapsed),
            false => durations.observe_alone(elapsed),
        }
    }

    /// Counts a message without a reply.
    pub fn dropped(&self, reason: Dropped) {
        self.add(&self.dropped[reason as usize]);
    }

    /// Counts a name that is not allowed.
    pub fn blocked(&self, reason: BlockReason) {
        self.add(&self.blocked[reason as usize]);
    }

    /// Counts a name allowed by a rule of the allowlist with index `place`.
    pub fn allowed(&self, place: usize) {
        self.add(&self.allowed.0[place.min(ZONES - 1)]);
    }

    /// Counts an answer with an address that the rule does not expect.
    pub fn unexpected(&self, expect: Expect) {
        self.add(&self.unexpected[expect as usize]);
    }

    /// Counts a datagram from a client over its rate limit.
    pub fn rate_limited(&self, limited: Limited) {
        self.add(&self.rate_limited[limited as usize]);
    }

    /// Counts a query that the candidate policy decides differently.
    pub fn shadow_difference(&self, change: ShadowChange) {
        self.add(&self.shadow_differences[change as usize]);
    }

    /// Counts a name over a client's tunnel budget.
    pub fn tunnel_exceeded(&self) {
        self.add(&self.tunnel_exceeded);
    }

    /// Counts a cache lookup.
    pub fn cache(&self, hit: bool) {
        self.add(if hit { &self.cache_hits } else { &self.cache_misses });
    }

    /// Counts a query that starts to wait for an upstream or a local zone.
    pub fn miss_begun(&self) {
        self.add(&self.misses_begun);
    }

    /// Counts such a query that was answered or given up.
    pub fn miss_ended(&self) {
        self.add(&self.misses_ended);
    }
}

/// Sums over several [`Counters`].
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages by transport and index in [`TYPES`].
    pub queries: [[u64; TYPES.len() + 1]; Transport::VARIANTS.len()],
    /// Replies by decision and index in [`RCODES`].
    pub responses: [[u64; RCODES.len() + 1]; Decision::VARIANTS.len()],
    /// Messages without a reply, by reason.
    pub dropped: [u64; Dropped::VARIANTS.len()],
    /// Names not allowed, by reason.
    pub blocked: [u64; BlockReason::VARIANTS.len()],
    /// Names allowed, by index of the allowlist.
    pub allowed: Vec<u64>,
    /// Answers with an address that the rule does not expect, by the expected kind.
    pub unexpected: [u64; Expect::VARIANTS.len()],
    /// Datagrams from clients over their rate limit, by action.
    pub rate_limited: [u64; Limited::VARIANTS.len()],
    /// Queries that the candidate policy decides differently, by [`ShadowChange`].
    pub shadow_differences: [u64; ShadowChange::VARIANTS.len()],
    /// Names over a client's tunnel budget.
    pub tunnel_exceeded: u64,
    /// Cache hits.
    pub cache_hits: u64,
    /// Cache misses.
    pub cache_misses: u64,
    /// Queries waiting for an upstream or a local zone.
    pub in_flight: u64,
    /// Times from query to reply, by decision and source.
    pub durations: [[HistogramSnapshot; AnswerSource::VARIANTS.len()]; Decision::VARIANTS.len()],
}

/// Queries by result, as people see them. Each query has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultCounts {
    /// Allowed, or answered from a local zone.
    pub allowed: u64,
    /// Blocked, even with SERVFAIL (`tunnel_guard`, `expect`).
    pub blocked: u64,
    /// Not allowed but forwarded by observe mode.
    pub observed: u64,
    /// Refused because of client, class or type.
    pub refused: u64,
    /// Not resolved (SERVFAIL), malformed or not supported.
    pub errors: u64,
    /// The part of `errors` that is SERVFAIL.
    pub servfail: u64,
    /// Dropped without a reply.
    pub dropped: u64,
}

impl ResultCounts {
    /// Lookups that namegate tried to resolve.
    pub fn resolved(&self) -> u64 {
        self.allowed + self.observed + self.servfail
    }

    /// Combines each count with that of `other`.
    #[must_use]
    pub fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            allowed: combine(self.allowed, other.allowed),
            blocked: combine(self.blocked, other.blocked),
            observed: combine(self.observed, other.observed),
            refused: combine(self.refused, other.refused),
            errors: combine(self.errors, other.errors),
            servfail: combine(self.servfail, other.servfail),
            dropped: combine(self.dropped, other.dropped),
        }
    }
}

impl Totals {
    /// The queries that have ended, by result.
    pub fn results(&self) -> ResultCounts {
        let row = |decision: Decision| &self.responses[decision as usize];
        let servfail = |decision: Decision| {
            RCODES
                .iter()
                .zip(row(decision))
                .filter(|(rcode, _)| **rcode == Rcode::SERVFAIL)
                .map(|(_, count)| count)
        };
        let others = |decision: Decision| row(decision).iter().sum::<u64>() - servfail(decision).sum::<u64>();
        let resolving = [Decision::Allowed, Decision::Observed, Decision::Local, Decision::Refused];
        let failed = resolving.into_iter().flat_map(servfail).sum();
        ResultCounts {
            allowed: others(Decision::Allowed) + others(Decision::Local),
            blocked: row(Decision::Blocked).iter().sum(),
            observed: others(Decision::Observed),
            refused: others(Decision::Refused),
            errors: row(Decision::Error).iter().sum::<u64>() + failed,
            servfail: failed,
            dropped: self.dropped.iter().sum(),
        }
    }

    /// Adds up all of `counters`.
    pub fn of<'a>(counters: impl Iterator<Item = &'a Counters>) -> Self {
        let mut totals = Self { allowed: vec![0; ZONES], ..Self::default() };
        let (mut begun, mut ended) = (0_u64, 0_u64);
        for set in counters {
            // Read ends before begins, so that the sum never has more ends than begins.
            ended += set.misses_ended.load(Ordering::Acquire);
            add_rows(&mut totals.responses, &set.responses);
            add_row(&mut totals.dropped, &set.dropped);
            add_row(&mut totals.blocked, &set.blocked);
            add_row(&mut totals.allowed, &set.allowed.0);
            add_row(&mut totals.unexpected, &set.unexpected);
            add_row(&mut totals.rate_limited, &set.rate_limited);
            add_row(&mut totals.shadow_differences, &set.shadow_differences);
            totals.tunnel_exceeded += set.tunnel_exceeded.load(Ordering::Relaxed);
            add_rows(&mut totals.queries, &set.queries);
            begun += set.misses_begun.load(Ordering::Relaxed);
            totals.cache_hits += set.cache_hits.load(Ordering::Relaxed);
            totals.cache_misses += set.cache_misses.load(Ordering::Relaxed);
            for (sums, histograms) in totals.durations.iter_mut().zip(&set.durations) {
                for (sum, histogram) in sums.iter_mut().zip(histograms) {
                    sum.add(&histogram.snapshot());
                }
            }
        }
        totals.in_flight = begun.saturating_sub(ended);
        totals
    }
}

fn add_row(sums: &mut [u64], cells: &[AtomicU64]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += cell.load(Ordering::Relaxed);
    }
}

fn add_rows<const N: usize>(sums: &mut [[u64; N]], cells: &[[AtomicU64; N]]) {
    for (sums, cells) in sums.iter_mut().zip(cells) {
        add_row(sums, cells);
    }
}
