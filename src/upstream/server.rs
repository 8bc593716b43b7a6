//! [`Server`]: one upstream, how it fares, and what it may be asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Permit};
use super::encrypted::encryption::Encryption;
use super::server_stats::{ExchangeResult, Rejection, ServerStats};
use super::transport::ServerTransport;
use super::{ExchangeError, Prompt, is_failure};
use crate::address::upstream::UpstreamAddress;
use crate::policy::clients::ShareHolder;
use crate::wire::answer::{Answer, Lifetime};

/// Failures in a row after which an upstream counts as down and others are asked first.
const FAILURES_UNTIL_DOWN: u32 = 3;

/// An upstream that replied within this time needs no probe, and counts as answering.
pub const LATELY: Duration = Duration::from_secs(15);

/// How long a server is asked without EDNS that answered only so: as long as Unbound remembers it (`infra-host-ttl`).
const WITHOUT_EDNS: Duration = Duration::from_secs(900);

/// One upstream server.
#[derive(Debug)]
pub struct Server {
    name: Arc<str>,
    transport: ServerTransport,
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
        let transport = ServerTransport::new(address, encryption)?;
        Some(Self { name: address.to_string().into(), transport, budget, stats })
    }

    /// The server as written in the settings; the label `upstream`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it is asked over UDP; none where it is not.
    pub(crate) fn udp_socket(&self) -> Option<SocketAddr> {
        match self.transport {
            ServerTransport::Udp(socket) => Some(socket),
            ServerTransport::Tcp(_) | ServerTransport::Encrypted(_) => None,
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
        let ending = ExchangeGuard::new(self, Instant::now(), permit);
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
        ending: ExchangeGuard,
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

/// Counts an exchange when it ends, also where it is dropped because another server answered first.
#[derive(Debug)]
pub(crate) struct ExchangeGuard {
    server: Arc<Server>,
    started: Instant,
    result: ExchangeResult,
    _permit: Permit,
}

impl ExchangeGuard {
    /// An exchange with `server` begins at `started`, by leave of `permit`.
    pub(crate) fn new(server: &Arc<Server>, started: Instant, permit: Permit) -> Self {
        Self { server: Arc::clone(server), started, result: ExchangeResult::Overtaken, _permit: permit }
    }

    /// The server that is asked.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// When it was asked.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The exchange ends at `now` with `outcome`, which is passed on.
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
            // One name that nobody answers says little about the server; the query tells it once.
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
