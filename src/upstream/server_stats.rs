//! [`ServerStats`]: counters and health of one upstream, and their label values.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use strum::VariantArray;
use tokio::time::Instant;

use super::budget::Shed;
use super::loop_watch::LoopWatch;
use crate::events::histogram::Histogram;
use crate::util::sync::lock;

/// Shortest time between two log lines about failing sends: without file descriptors, every query would log one.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How an exchange ended; the label `result` of `upstream_queries_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum ExchangeResult {
    /// An answer: NOERROR or NXDOMAIN.
    Answered,
    /// A reply with an error of the server (SERVFAIL, REFUSED, …).
    Failed,
    /// No reply in time.
    Timeout,
    /// A network error.
    #[strum(serialize = "network_error")]
    Network,
    /// A reply that is unusable even over TCP.
    Unusable,
    /// Another exchange for the same query was answered first.
    Overtaken,
}

/// Why a message was rejected; the label of `upstream_replies_rejected_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Rejection {
    /// Shorter than a header.
    Short,
    /// QR=0.
    NotResponse,
    /// The wrong id.
    Id,
    /// The wrong opcode.
    Opcode,
    /// The wrong question, more than one, or none.
    Question,
    /// The right question in the wrong letter case.
    Case,
}

/// Counters of one upstream; they survive reloads that keep its address.
#[derive(Debug, Default)]
pub struct ServerStats {
    results: [AtomicU64; ExchangeResult::VARIANTS.len()],
    shed: [AtomicU64; Shed::VARIANTS.len()],
    rejections: [AtomicU64; Rejection::VARIANTS.len()],
    /// Time from the first packet to the answer.
    pub durations: Histogram,
    /// Detects whether it forwards queries back to this resolver.
    pub loops: LoopWatch,
    probes: AtomicU64,
    pub(super) down: AtomicBool,
    pub(super) told_of_case: AtomicBool,
    pub(super) failures: AtomicU32,
    /// Milliseconds from [`ServerStats::epoch`] to the last reply, plus one; zero means never.
    pub(super) last_reply: AtomicU64,
    /// The same for the last answer to a query with EDNS.
    pub(super) last_edns: AtomicU64,
    /// The same for the time from which queries have EDNS again.
    pub(super) edns_again: AtomicU64,
    /// When a failing send was last logged.
    told: Mutex<Option<Instant>>,
    epoch: std::sync::OnceLock<Instant>,
}

impl ServerStats {
    /// Counts an ignored message.
    pub fn rejected(&self, reason: Rejection) {
        self.rejections[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query that got no slot.
    pub fn shed(&self, reason: Shed) {
        self.shed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, result: ExchangeResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a health probe, which is also counted by its result.
    pub(super) fn probed(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// Completed health probes.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// Exchanges by result.
    pub fn results(&self) -> impl Iterator<Item = (ExchangeResult, u64)> {
        ExchangeResult::VARIANTS
            .iter()
            .copied()
            .zip(&self.results)
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }

    /// Queries that got no slot, by reason.
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

    /// True if a failing send should be logged at `now`.
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

    /// `now` in the unit of the timestamps above.
    pub(super) fn stamp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch());
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Time since the last reply of any kind; `None` if there was none yet.
    pub fn since_last_reply(&self) -> Option<Duration> {
        let at = self.last_reply.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.epoch().elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// False while queries go without EDNS because the server answered only those.
    pub fn has_edns(&self, now: Instant) -> bool {
        let again = self.edns_again.load(Ordering::Relaxed);
        again == 0 || self.stamp(now) >= again
    }
}
