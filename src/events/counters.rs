//! [`Counters`]: what one thread, or the tasks of the runtime together, did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strum::VariantArray;

use super::histogram::{Histogram, HistogramSnapshot};
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use crate::policy::expect::Expect;
use crate::policy::shadow::ShadowChange;
use crate::policy::verdict::BlockReason;
use crate::wire::code::{Rcode, Type};
use crate::wire::reply::Transport;

/// Why a message was not answered; the label of `dropped_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Dropped {
    /// Under twelve bytes.
    Short,
    /// A datagram longer than any client sends.
    Long,
    /// A response.
    Response,
    /// Too many misses were waiting.
    Overload,
    /// Too many misses of one client were waiting.
    ClientOverload,
    /// The client had all the replies it may have for now.
    RateLimit,
    /// The client may not ask, and such clients get no reply.
    NotAllowed,
}

/// What became of a datagram whose client had all the replies it may have for now; the label of `rate_limited_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Limited {
    /// There was no reply.
    Dropped,
    /// The reply was truncated.
    Truncated,
    /// The reply asked for a cookie.
    #[strum(serialize = "badcookie")]
    BadCookie,
}

/// Types counted by name; all others are `other`, so that no client can add a series.
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

/// Response codes counted by name; all others are `other`.
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

/// Zones counted by name; the last place is `other`.
pub const ZONES: usize = 64;

/// Counts that only grow.
///
/// A set that one thread writes is written without read-modify-write; a set shared by tasks is written with it.
#[derive(Debug, Default)]
pub struct Counters {
    shared: bool,
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
    /// Counters that one thread alone writes.
    pub fn of_one_thread() -> Self {
        Self::default()
    }

    /// Counters that tasks on several threads write.
    pub fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    fn add(&self, cell: &AtomicU64) {
        if self.shared {
            cell.fetch_add(1, Ordering::Relaxed);
        } else {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// A message was received; its type is none where it could not be read.
    pub fn query(&self, transport: Transport, qtype: Option<Type>) {
        let place =
            qtype.and_then(|qtype| TYPES.iter().position(|known| *known == qtype)).unwrap_or(TYPES.len());
        self.add(&self.queries[transport as usize][place]);
    }

    /// A reply was made `elapsed` after its query came.
    pub fn response(&self, record: &QueryOutcome, elapsed: Duration) {
        let place = RCODES.iter().position(|known| *known == record.rcode).unwrap_or(RCODES.len());
        self.add(&self.responses[record.decision as usize][place]);
        let durations = &self.durations[record.decision as usize][record.source as usize];
        match self.shared {
            true => durations.observe(elapsed),
            false => durations.observe_alone(elapsed),
        }
    }

    /// A message was not answered.
    pub fn dropped(&self, reason: Dropped) {
        self.add(&self.dropped[reason as usize]);
    }

    /// A name was found not to be allowed.
    pub fn blocked(&self, reason: BlockReason) {
        self.add(&self.blocked[reason as usize]);
    }

    /// A name was allowed by a rule of the zone at `place`.
    pub fn allowed(&self, place: usize) {
        self.add(&self.allowed.0[place.min(ZONES - 1)]);
    }

    /// An answer had an address of another kind than expected.
    pub fn unexpected(&self, expect: Expect) {
        self.add(&self.unexpected[expect as usize]);
    }

    /// A client was beyond its rate.
    pub fn rate_limited(&self, limited: Limited) {
        self.add(&self.rate_limited[limited as usize]);
    }

    /// The candidate policy decides otherwise.
    pub fn shadow_difference(&self, change: ShadowChange) {
        self.add(&self.shadow_differences[change as usize]);
    }

    /// A client asked for a name beyond its tunnel budget.
    pub fn tunnel_exceeded(&self) {
        self.add(&self.tunnel_exceeded);
    }

    /// The cache was asked.
    pub fn cache(&self, hit: bool) {
        self.add(if hit { &self.cache_hits } else { &self.cache_misses });
    }

    /// A miss was handed on.
    pub fn miss_begun(&self) {
        self.add(&self.misses_begun);
    }

    /// A miss was answered or given up.
    pub fn miss_ended(&self) {
        self.add(&self.misses_ended);
    }
}

/// Sums over several [`Counters`] at one time.
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages by transport and place among [`TYPES`].
    pub queries: [[u64; TYPES.len() + 1]; Transport::VARIANTS.len()],
    /// Replies by decision and place among [`RCODES`].
    pub responses: [[u64; RCODES.len() + 1]; Decision::VARIANTS.len()],
    /// Messages not answered, by reason.
    pub dropped: [u64; Dropped::VARIANTS.len()],
    /// Names not allowed, by reason.
    pub blocked: [u64; BlockReason::VARIANTS.len()],
    /// Names allowed, by the zone's place.
    pub allowed: Vec<u64>,
    /// Answers with addresses of another kind than expected, by what was.
    pub unexpected: [u64; Expect::VARIANTS.len()],
    /// Datagrams of clients beyond their rate, by what became of them.
    pub rate_limited: [u64; Limited::VARIANTS.len()],
    /// Queries that the candidate policy decides otherwise, by [`ShadowChange`].
    pub shadow_differences: [u64; ShadowChange::VARIANTS.len()],
    /// Names beyond a client's tunnel budget.
    pub tunnel_exceeded: u64,
    /// Answers found in the cache.
    pub cache_hits: u64,
    /// Answers not found in the cache.
    pub cache_misses: u64,
    /// Misses not yet answered.
    pub in_flight: u64,
    /// Times from query to reply, by decision and source.
    pub durations: [[HistogramSnapshot; AnswerSource::VARIANTS.len()]; Decision::VARIANTS.len()],
}

impl Totals {
    /// Adds up all of `counters`.
    pub fn of<'a>(counters: impl Iterator<Item = &'a Counters>) -> Self {
        let mut totals = Self { allowed: vec![0; ZONES], ..Self::default() };
        let (mut begun, mut ended) = (0_u64, 0_u64);
        for set in counters {
            // What ends is read before what begins, so that nothing ends that has not begun.
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
