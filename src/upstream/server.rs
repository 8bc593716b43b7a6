//! [`Server`]: one upstream server, its health and its budget.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Permit};
use super::encrypted::encryption::Encryption;
use super::server_stats::{ExchangeResult, Rejection, ServerStats};
use super::transport::ServerTransport;
use super::{ExchangeError, UpstreamQuery, is_failure};
use crate::address::upstream::UpstreamAddress;
use crate::policy::clients::ShareHolder;
use crate::util::log_event::log;
use crate::wire::answer::{Answer, Lifetime};

/// Failures in a row after which an upstream counts as down and is tried last.
const FAILURES_UNTIL_DOWN: u32 = 3;

/// An upstream that replied within this time needs no probe and counts as answering.
pub const LATELY: Duration = Duration::from_secs(15);

/// How long to query a server without EDNS after it has answered only without EDNS: Unbound's default
/// (`infra-host-ttl`).
const WITHOUT_EDNS: Duration = Duration::from_secs(900);

/// One upstream server.
#[derive(Debug)]
pub struct Server {
    name: Arc<str>,
    transport: ServerTransport,
    /// Limits on queries to it.
    pub budget: Budget,
    /// Its counters and health.
    pub stats: Arc<ServerStats>,
}

impl Server {
    /// The server at `address`. `None` for [`UpstreamAddress::System`], which stands for other servers, and for an
    /// encrypted server without `encryption`.
    pub fn new(
        address: &UpstreamAddress,
        encryption: Option<&Arc<Encryption>>,
        budget: Budget,
        stats: Arc<ServerStats>,
    ) -> Option<Self> {
        let transport = ServerTransport::new(address, encryption)?;
        Some(Self { name: address.to_string().into(), transport, budget, stats })
    }

    /// The server as written in the settings; value of the label `upstream`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its address for queries over UDP; `None` if it is not queried over UDP.
    pub(crate) fn udp_socket(&self) -> Option<SocketAddr> {
        match self.transport {
            ServerTransport::Udp(socket) => Some(socket),
            ServerTransport::Tcp(_) | ServerTransport::Encrypted(_) => None,
        }
    }

    /// True if it is queried over UDP first.
    pub(super) fn is_over_udp(&self) -> bool {
        self.udp_socket().is_some()
    }

    /// False after too many failures in a row, until the next reply, and while the server forwards to this resolver.
    pub fn is_up(&self) -> bool {
        !self.stats.down.load(Ordering::Relaxed) && !self.stats.loops.is_looping()
    }

    /// Waits for a slot for `client`, at most until `deadline`. Counts the query as shed if there is none.
    pub(super) async fn permit(&self, client: ShareHolder, deadline: Instant) -> Option<Permit> {
        self.budget.acquire(client, deadline).await.map_err(|reason| self.stats.shed(reason)).ok()
    }

    /// Makes one exchange, including any TCP fallback, until `deadline`.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        prompt: &UpstreamQuery,
        deadline: Instant,
        permit: Permit,
    ) -> Result<Answer, ExchangeError> {
        let ending = ExchangeGuard::new(self, Instant::now(), permit);
        let exchange = |edns| self.transport.exchange(prompt, edns, &self.stats);
        let outcome = self.with_or_without_edns(deadline, exchange).await;
        ending.note(outcome, Instant::now())
    }

    /// Runs `exchange`, and once more without EDNS if the server rejects EDNS (RFC 6891 section 7).
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

    /// Like [`Self::exchange`], but neither records the outcome nor retries without EDNS.
    pub(super) async fn exchange_unnoted(
        &self,
        prompt: &UpstreamQuery,
        deadline: Instant,
        _permit: Permit,
    ) -> Result<Answer, ExchangeError> {
        let edns = self.stats.has_edns(Instant::now());
        within(deadline, self.transport.exchange(prompt, edns, &self.stats)).await
    }

    /// Continues over TCP the exchange that `ending` started over UDP.
    pub(crate) async fn go_on_over_tcp(
        self: &Arc<Self>,
        prompt: &UpstreamQuery,
        deadline: Instant,
        ending: ExchangeGuard,
    ) -> Result<Answer, ExchangeError> {
        let exchange = |edns| self.transport.go_on_over_tcp(prompt, edns, &self.stats);
        let outcome = self.with_or_without_edns(deadline, exchange).await;
        ending.note(outcome, Instant::now())
    }

    /// Records an ignored message.
    pub(crate) fn note_rejected(&self, reason: Rejection) {
        self.stats.rejected(reason);
        if reason == Rejection::Case && !self.stats.told_of_case.swap(true, Ordering::Relaxed) {
            log!(
                UpstreamChangesCase,
                "upstream {} sent a reply with different letter case, which is ignored as possibly forged; \
                 if it never preserves case, set `upstream.randomize_case = false`",
                self.name
            );
        }
    }

    pub(crate) fn note_reply(&self, now: Instant) {
        self.stats.last_reply.store(self.stats.stamp(now), Ordering::Relaxed);
        self.stats.failures.store(0, Ordering::Relaxed);
        if !self.is_up() && self.stats.down.swap(false, Ordering::Relaxed) {
            log!(UpstreamUp, upstream = %self.name, "upstream {} is up again", self.name);
        }
    }

    /// Records whether `answer` came to a query with EDNS. A server that answers only without EDNS is queried that way
    /// for a limited time. If it answered with EDNS recently, it supports EDNS: its refusal was about this query, or
    /// forged.
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
            log!(
                UpstreamRejectsEdns,
                "upstream {} rejects EDNS: sending queries without it for {WITHOUT_EDNS:?}",
                self.name
            );
        }
    }

    /// The server was queried at `since` and is silent. Counts as a failure only if it replied to no other query since.
    pub(crate) fn note_silence(&self, since: Instant) {
        if self.stats.since_last_reply().is_none_or(|ago| ago > since.elapsed()) {
            self.note_failure("no reply in time");
        }
    }

    /// A query could not be sent from this host at `now`.
    pub(crate) fn note_unsent(&self, error: &std::io::Error, now: Instant) {
        if self.stats.is_to_be_told(now) {
            log!(UpstreamUnreachable, upstream = %self.name, "cannot query upstream {}: {error}", self.name);
        }
        // A recent reply shows that the server is reachable: only this query could not be sent.
        if self.stats.since_last_reply().is_none_or(|since| since >= LATELY) {
            self.note_failure(&error.to_string());
        }
    }

    pub(crate) fn note_failure(&self, why: &str) {
        let failures = self.stats.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES_UNTIL_DOWN && !self.stats.down.swap(true, Ordering::Relaxed) {
            log!(
                UpstreamDown,
                upstream = %self.name,
                "upstream {} is down: {why}; it is tried last until it answers",
                self.name
            );
        }
    }
}

async fn within(
    deadline: Instant,
    exchange: impl Future<Output = Result<Answer, ExchangeError>>,
) -> Result<Answer, ExchangeError> {
    timeout_at(deadline, exchange).await.unwrap_or(Err(ExchangeError::Timeout))
}

/// Counts an exchange when it ends, also if it is dropped because another server answered first.
#[derive(Debug)]
pub(crate) struct ExchangeGuard {
    server: Arc<Server>,
    started: Instant,
    result: ExchangeResult,
    _permit: Permit,
}

impl ExchangeGuard {
    /// Guards an exchange with `server` that starts at `started` under `permit`.
    pub(crate) fn new(server: &Arc<Server>, started: Instant, permit: Permit) -> Self {
        Self { server: Arc::clone(server), started, result: ExchangeResult::Overtaken, _permit: permit }
    }

    /// The queried server.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// When the exchange started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Records that the exchange ended at `now` with `outcome`, and returns `outcome`.
    pub(crate) fn note(
        mut self,
        outcome: Result<Answer, ExchangeError>,
        now: Instant,
    ) -> Result<Answer, ExchangeError> {
        self.result = match &outcome {
            Ok(answer) if answer.as_ref().lifetime() == Lifetime::Failure => ExchangeResult::Failed,
            Ok(_) => ExchangeResult::Answered,
            Err(ExchangeError::Timeout) => ExchangeResult::Timeout,
            Err(ExchangeError::Network(_) | ExchangeError::Local(_)) => ExchangeResult::Network,
            Err(ExchangeError::Unusable | ExchangeError::Unwilling(_) | ExchangeError::EdnsRefused) => {
                ExchangeResult::Unusable
            }
        };
        let server = &self.server;
        match &outcome {
            Ok(_) | Err(ExchangeError::Unusable | ExchangeError::EdnsRefused) => {
                server.stats.durations.observe(now.saturating_duration_since(self.started));
                server.note_reply(now);
            }
            Err(ExchangeError::Network(error)) => server.note_failure(&error.to_string()),
            Err(ExchangeError::Unwilling(why)) => server.note_failure(why),
            Err(ExchangeError::Local(error)) => server.note_unsent(error, now),
            // One unanswered name says little about the server. `note_silence` records it once per query.
            Err(ExchangeError::Timeout) => {}
        }
        outcome
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        self.server.stats.ended(self.result);
    }
}
