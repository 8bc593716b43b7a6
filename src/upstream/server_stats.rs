//! [`ServerStats`]: counts of one upstream, and the labels they have.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use strum::VariantArray;
use tokio::time::Instant;

use super::budget::Shed;
use super::loop_watch::LoopWatch;
use crate::events::histogram::Histogram;
use crate::util::sync::lock;

/// How often it is told at most that this host has no means to ask: where descriptors run out, every query would tell it.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How an exchange ended; the label `result` of `upstream_queries_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum ExchangeResult {
    /// An answer: NOERROR or NXDOMAIN.
    Answered,
    /// A reply that says the server could not or would not (SERVFAIL, REFUSED, …).
    Failed,
    /// Nothing in time.
    Timeout,
    /// The network said no.
    #[strum(serialize = "network_error")]
    Network,
    /// A reply that is of no use even over TCP.
    Unusable,
    /// Another exchange for the same query was answered first.
    Overtaken,
}

/// Why a message is not the answer; the label of `upstream_replies_rejected_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Rejection {
    /// Shorter than a header.
    Short,
    /// QR=0.
    NotResponse,
    /// Another id.
    Id,
    /// Another opcode.
    Opcode,
    /// Another question, more than one, or none.
    Question,
    /// The question, in other letters than it was sent in.
    Case,
}

/// Counts of one upstream; they outlive reloads that keep its address.
#[derive(Debug, Default)]
pub struct ServerStats {
    results: [AtomicU64; ExchangeResult::VARIANTS.len()],
    shed: [AtomicU64; Shed::VARIANTS.len()],
    rejections: [AtomicU64; Rejection::VARIANTS.len()],
    /// Time from the first packet to the answer.
    pub durations: Histogram,
    /// Whether it forwards what it is asked back to this resolver.
    pub loops: LoopWatch,
    probes: AtomicU64,
    pub(super) down: AtomicBool,
    pub(super) told_of_case: AtomicBool,
    pub(super) failures: AtomicU32,
    /// Milliseconds from [`ServerStats::epoch`] to the last reply, plus one; zero is never.
    pub(super) last_reply: AtomicU64,
    /// The same to the last answer to a query with EDNS.
    pub(super) last_edns: AtomicU64,
    /// The same to when queries have EDNS again.
    pub(super) edns_again: AtomicU64,
    /// When it was last told that this host has no means to ask.
    told: Mutex<Option<Instant>>,
    epoch: std::sync::OnceLock<Instant>,
}

impl ServerStats {
    /// Counts a message that was ignored.
    pub fn rejected(&self, reason: Rejection) {
        self.rejections[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query that got no place.
    pub fn shed(&self, reason: Shed) {
        self.shed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, result: ExchangeResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a health probe; it is among the results too.
    pub(super) fn probed(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// Health probes that ended.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// Exchanges by how they ended.
    pub fn results(&self) -> impl Iterator<Item = (ExchangeResult, u64)> {
        ExchangeResult::VARIANTS
            .iter()
            .copied()
            .zip(&self.results)
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }

    /// Queries that got no place, by reason.
    pub fn sheds(&self) -> impl Iterator<Item = (Shed, u64)> {
        Shed::VARIANTS
            .iter()
            .copied()
            .zip(&self.shed)
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// Ignored messages, by reason.
    pub fn rejections(&self) -> impl Iterator<Item = (Rejection, u64)> {
        Rejection::VARIANTS
            .iter()
            .copied()
            .zip(&self.rejections)
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// True where what keeps this host from asking is to be told at `now`.
    pub(super) fn is_to_be_told(&self, now: Instant) -> bool {
        let mut told = lock(&self.told);
        let due = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }

    fn epoch(&self) -> Instant {
        *self.epoch.get_or_init(Instant::now)
    }

    /// `now` as the times above are kept.
    pub(super) fn stamp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch());
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Time since the last reply of any kind; none where there was none yet.
    pub fn since_last_reply(&self) -> Option<Duration> {
        let at = self.last_reply.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.epoch().elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// False while the server is asked without EDNS, because it answered only so.
    pub fn has_edns(&self, now: Instant) -> bool {
        let again = self.edns_again.load(Ordering::Relaxed);
        again == 0 || self.stamp(now) >= again
    }
}
