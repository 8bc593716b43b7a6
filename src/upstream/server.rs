//! [`Server`]: one upstream, how it fares, and what it may be asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::accept::Rejection;
use super::budget::{Budget, Permit, Shed};
use super::encrypted::encryption::Encryption;
use super::ending::Ending;
use super::loop_watch::LoopWatch;
use super::probe::LATELY;
use super::transport::Transport;
use super::{ExchangeError, Prompt, is_failure};
use crate::address::upstream::UpstreamAddress;
use crate::events::histogram::Histogram;
use crate::policy::clients::ShareHolder;
use crate::wire::answer::Answer;

/// Failures in a row after which an upstream counts as down and others are asked first.
const FAILURES_UNTIL_DOWN: u32 = 3;

/// How long a server is asked without EDNS that answered only so: as long as Unbound remembers it (`infra-host-ttl`).
const WITHOUT_EDNS: Duration = Duration::from_secs(900);

/// How often it is told at most that this host has no means to ask: where descriptors run out, every query would tell it.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How an exchange ended; the label `result` of `upstream_queries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeResult {
    /// An answer: NOERROR or NXDOMAIN.
    Answered,
    /// A reply that says the server could not or would not (SERVFAIL, REFUSED, …).
    Failed,
    /// Nothing in time.
    Timeout,
    /// The network said no.
    Network,
    /// A reply that is of no use even over TCP.
    Unusable,
    /// Another exchange for the same query was answered first.
    Overtaken,
}

impl ExchangeResult {
    /// All results, in the order of their counters.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Failed, Self::Timeout, Self::Network, Self::Unusable, Self::Overtaken];

    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Network => "network_error",
            Self::Unusable => "unusable",
            Self::Overtaken => "overtaken",
        }
    }
}

/// Counts of one upstream; they outlive reloads that keep its address.
#[derive(Debug, Default)]
pub struct ServerStats {
    results: [AtomicU64; ExchangeResult::ALL.len()],
    shed: [AtomicU64; Shed::ALL.len()],
    rejections: [AtomicU64; Rejection::ALL.len()],
    /// Time from the first packet to the answer.
    pub durations: Histogram,
    /// Whether it forwards what it is asked back to this resolver.
    pub loops: LoopWatch,
    probes: AtomicU64,
    down: AtomicBool,
    told_of_case: AtomicBool,
    failures: AtomicU32,
    /// Milliseconds from [`ServerStats::epoch`] to the last reply, plus one; zero is never.
    last_reply: AtomicU64,
    /// The same to the last answer to a query with EDNS.
    last_edns: AtomicU64,
    /// The same to when queries have EDNS again.
    edns_again: AtomicU64,
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
        ExchangeResult::ALL
            .into_iter()
            .zip(&self.results)
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }

    /// Queries that got no place, by reason.
    pub fn sheds(&self) -> impl Iterator<Item = (Shed, u64)> {
        Shed::ALL.into_iter().zip(&self.shed).map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// Ignored messages, by reason.
    pub fn rejections(&self) -> impl Iterator<Item = (Rejection, u64)> {
        Rejection::ALL
            .into_iter()
            .zip(&self.rejections)
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// True where what keeps this host from asking is to be told at `now`.
    pub(super) fn is_to_be_told(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn stamp(&self, now: Instant) -> u64 {
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

/// One upstream server.
#[derive(Debug)]
pub struct Server {
    name: Arc<str>,
    transport: Transport,
    /// What it may be asked.
    pub budget: Budget,
    /// How it fares.
    pub stats: Arc<ServerStats>,
}

impl Server {
    /// The server at `address`; none for [`UpstreamAddress::System`], which stands for others, and for an encrypted one
    /// without `encryption`.
    pub fn new(
        address: &UpstreamAddress,
        encryption: Option<&Arc<Encryption>>,
        budget: Budget,
        stats: Arc<ServerStats>,
    ) -> Option<Self> {
        let transport = Transport::new(address, encryption)?;
        Some(Self { name: address.to_string().into(), transport, budget, stats })
    }

    /// The server as written in the settings; the label `upstream`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it is asked over UDP; none where it is not.
    pub(crate) fn udp_socket(&self) -> Option<SocketAddr> {
        match self.transport {
            Transport::Udp(socket) => Some(socket),
            Transport::Tcp(_) | Transport::Encrypted(_) => None,
        }
    }

    /// True where it is asked over UDP first.
    pub(super) fn is_over_udp(&self) -> bool {
        self.udp_socket().is_some()
    }

    /// True until too many exchanges in a row failed, and again after the next reply; false while it forwards to us.
    pub fn is_up(&self) -> bool {
        !self.stats.down.load(Ordering::Relaxed) && !self.stats.loops.is_looping()
    }

    /// Waits for leave to ask for `client`, at most until `deadline`; where there is none, that is counted.
    pub(super) async fn permit(&self, client: ShareHolder, deadline: Instant) -> Option<Permit> {
        self.budget.acquire(client, deadline).await.map_err(|reason| self.stats.shed(reason)).ok()
    }

    /// Asks once, over all it takes to get a whole answer; all until `deadline`.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        prompt: &Prompt,
        deadline: Instant,
        permit: Permit,
    ) -> Result<Answer, ExchangeError> {
        let ending = Ending::new(self, Instant::now(), permit);
        let exchange = |edns| self.transport.exchange(prompt, edns, &self.stats);
        let outcome = self.with_or_without_edns(deadline, exchange).await;
        ending.note(outcome, Instant::now())
    }

    /// Asks by `exchange`, and once more without EDNS where the server takes none (RFC 6891 section 7).
    async fn with_or_without_edns<E>(
        &self,
        deadline: Instant,
        exchange: impl Fn(bool) -> E,
    ) -> Result<Answer, ExchangeError>
    where
        E: Future<Output = Result<Answer, ExchangeError>>,
    {
        let edns = self.stats.has_edns(Instant::now());
        let mut outcome = within(deadline, exchange(edns)).await;
        let is_refused = matches!(outcome, Err(ExchangeError::EdnsRefused));
        if is_refused {
            outcome = within(deadline, exchange(false)).await;
        }
        if let Ok(answer) = &outcome {
            self.note_edns(edns && !is_refused, answer, Instant::now());
        }
        outcome
    }

    /// Asks once as [`Self::exchange`] does, and makes nothing of how it ends.
    pub(super) async fn exchange_unnoted(
        &self,
        prompt: &Prompt,
        deadline: Instant,
        _permit: Permit,
    ) -> Result<Answer, ExchangeError> {
        let edns = self.stats.has_edns(Instant::now());
        within(deadline, self.transport.exchange(prompt, edns, &self.stats)).await
    }

    /// Asks over TCP what `ending` has begun to ask over UDP.
    pub(crate) async fn go_on_over_tcp(
        self: &Arc<Self>,
        prompt: &Prompt,
        deadline: Instant,
        ending: Ending,
    ) -> Result<Answer, ExchangeError> {
        let exchange = |edns| self.transport.go_on_over_tcp(prompt, edns, &self.stats);
        let outcome = self.with_or_without_edns(deadline, exchange).await;
        ending.note(outcome, Instant::now())
    }

    /// A message was ignored.
    pub(crate) fn note_rejected(&self, reason: Rejection) {
        self.stats.rejected(reason);
        if reason == Rejection::Case && !self.stats.told_of_case.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "upstream {} sent a reply in other letters than it was asked in, which is ignored as forged; where it never \
                 keeps them, set `randomize_case = false` in [upstream]",
                self.name
            );
        }
    }

    pub(crate) fn note_reply(&self, now: Instant) {
        self.stats.last_reply.store(self.stats.stamp(now), Ordering::Relaxed);
        self.stats.failures.store(0, Ordering::Relaxed);
        if !self.is_up() && self.stats.down.swap(false, Ordering::Relaxed) {
            tracing::info!("upstream {} answers again", self.name);
        }
    }

    /// `answer` came to a query with EDNS, or without. A server that answers only without is asked so for a while; one that
    /// has answered with EDNS lately knows it, and means the query, or somebody has forged its refusal.
    pub(crate) fn note_edns(&self, edns: bool, answer: &Answer, now: Instant) {
        if is_failure(answer) {
            return;
        }
        let stamp = self.stats.stamp(now);
        if edns {
            return self.stats.last_edns.store(stamp, Ordering::Relaxed);
        }
        let last = self.stats.last_edns.load(Ordering::Relaxed);
        let memory = u64::try_from(WITHOUT_EDNS.as_millis()).unwrap_or(u64::MAX);
        if (last == 0 || stamp - last > memory) && self.stats.has_edns(now) {
            self.stats.edns_again.store(stamp + memory, Ordering::Relaxed);
            tracing::info!("upstream {} takes no EDNS: asking it without for {WITHOUT_EDNS:?}", self.name);
        }
    }

    /// The server was asked at `since` and is silent. That counts only where it is silent to everyone.
    pub(crate) fn note_silence(&self, since: Instant) {
        if self.stats.since_last_reply().is_none_or(|ago| ago > since.elapsed()) {
            self.note_failure("no reply in time");
        }
    }

    /// This host did not let a query out at `now`.
    pub(crate) fn note_unsent(&self, error: &std::io::Error, now: Instant) {
        if self.stats.is_to_be_told(now) {
            tracing::warn!("upstream {} was not asked: {error}", self.name);
        }
        // Where something comes from it meanwhile it can be reached, and only this query could not be sent.
        if self.stats.since_last_reply().is_none_or(|since| since >= LATELY) {
            self.note_failure(&error.to_string());
        }
    }

    pub(crate) fn note_failure(&self, why: &str) {
        let failures = self.stats.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES_UNTIL_DOWN && !self.stats.down.swap(true, Ordering::Relaxed) {
            tracing::warn!("upstream {} is down: {why}; asking it last until it answers", self.name);
        }
    }
}

async fn within(
    deadline: Instant,
    exchange: impl Future<Output = Result<Answer, ExchangeError>>,
) -> Result<Answer, ExchangeError> {
    timeout_at(deadline, exchange).await.unwrap_or(Err(ExchangeError::Timeout))
}
