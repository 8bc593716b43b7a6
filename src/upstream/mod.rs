//! Upstream exchanges: send an allowed query, return a complete answer.
//!
//! Client names reach upstreams only through the [`relay`](crate::relay), which requires an [`AllowedQuery`]. Identical
//! pending queries share one exchange. The relay queries the first server itself, over UDP. A separate task does slower
//! work: waiting for a slot, TCP, [`encrypted`] connections, other servers. Only configured servers are ever queried.
//! Servers that are up come first, then those with a free slot, then the shortest wait queue, then configured order.
//!
//! [`AllowedQuery`]: crate::policy::AllowedQuery

pub mod accept;
pub mod budget;
pub mod encrypted;
mod failure;
pub mod loop_watch;
pub mod loops;
pub mod probe;
mod schedule;
pub mod server;
pub mod server_stats;
pub mod system;
mod tcp;
mod transport;
mod udp;
pub mod upstreams;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use crate::address::upstream::UpstreamAddress;
use crate::policy::clients::ShareHolder;
use crate::upstream::schedule::ServerSchedule;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::letter_case::LetterCase;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;
use budget::{Attempt, Permit};
use encrypted::encryption::Encryption;
use failure::{AttemptError, Failure};
use server::Server;

/// How long to wait for a server before the next one is queried too. Longer than a healthy round trip, and not longer
/// than the first client retry (Windows 1 s, Linux 1 to 5 s).
pub(crate) const ASK_NEXT_AFTER: Duration = Duration::from_secs(1);

/// Delay before the next attempt if no slot was free or the query could not be sent.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Extra time after the deadline, so that exchanges can report their timeout.
const GRACE: Duration = Duration::from_millis(20);

/// A query to send to a server.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamQuery {
    pub(crate) question: Question,
    pub(crate) flags: AnswerFlags,
    /// The client whose share of the budget the query uses.
    pub(crate) client: ShareHolder,
    /// Over UDP, send the name in random letter case.
    pub(crate) randomize_case: bool,
}

/// How one exchange over UDP ended.
#[derive(Debug)]
enum Exchange {
    Answer(Answer),
    RetryOverTcp,
}

/// The attempt that the relay has already started over UDP.
pub(crate) struct FirstAttempt {
    /// Index of the server.
    pub(crate) server: usize,
    pub(crate) started: Instant,
    /// When other servers are queried as well.
    pub(crate) ask_next_at: Instant,
    pub(crate) outcome: BoxFuture<'static, Result<Answer, ExchangeError>>,
}

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("cannot send queries from this host: {0}")]
    Local(std::io::Error),
    #[error("no reply in time")]
    Timeout,
    #[error(transparent)]
    Network(std::io::Error),
    #[error("the reply is unusable")]
    Unusable,
    /// DNS over HTTPS: the server replied with an HTTP error status.
    #[error("{0}")]
    Unwilling(String),
    #[error("the server rejects EDNS")]
    EdnsRefused,
}

impl From<std::io::Error> for ExchangeError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AddrInUse, AddrNotAvailable, NetworkDown, NetworkUnreachable, OutOfMemory, PermissionDenied,
        };
        // A full connection table, a firewall rule, no route, no ports, no memory: the query did not reach the server.
        let is_local = match error.kind() {
            AddrInUse | AddrNotAvailable | NetworkDown | NetworkUnreachable | OutOfMemory
            | PermissionDenied => true,
            // Errors without a named kind: EMFILE, ENFILE, ENOBUFS.
            _ => error.raw_os_error().is_some_and(is_shortage),
        };
        if is_local { Self::Local(error) } else { Self::Network(error) }
    }
}

#[cfg(target_os = "linux")]
fn is_shortage(error: i32) -> bool {
    matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOBUFS)
}

#[cfg(not(target_os = "linux"))]
fn is_shortage(_: i32) -> bool {
    false
}

/// The servers of one route, in configured order.
#[derive(Debug)]
pub struct Upstream {
    config: UpstreamConfig,
    /// In configured order.
    servers: Vec<Arc<Server>>,
}

/// Settings common to all servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Longest time for one query, over all servers.
    pub deadline: Duration,
    /// Concurrent exchanges per server.
    pub max_in_flight: usize,
    /// Exchanges per second and server; 0 means no limit.
    pub max_qps: u32,
    /// Over UDP, send names in random letter case, which replies must repeat.
    pub randomize_case: bool,
    /// Servers found in the system's resolver configuration, if `system` is used.
    pub system: Vec<UpstreamAddress>,
    /// TLS settings for encrypted servers. Without them such servers are not used.
    pub encryption: Option<Arc<Encryption>>,
}

impl UpstreamConfig {
    /// Plain servers with `max_in_flight` concurrent exchanges, no other limits, and no options. To set more:
    /// `UpstreamConfig { field, ..UpstreamConfig::new(…) }`.
    pub fn new(deadline: Duration, max_in_flight: usize) -> Self {
        Self {
            deadline,
            max_in_flight,
            max_qps: 0,
            randomize_case: false,
            system: Vec::new(),
            encryption: None,
        }
    }
}

/// An answer and when it arrived.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The answer.
    pub answer: Arc<Answer>,
    /// When it was received; it may have been cached since.
    pub received: std::time::Instant,
    /// The server that sent it; `None` if it came from the cache or no server answered.
    pub upstream: Option<Arc<str>>,
    /// True for an expired answer, served because no newer one is available.
    pub is_stale: bool,
}

impl Fetched {
    /// An answer made now, not received from a server.
    pub fn now(answer: Answer) -> Self {
        Self {
            answer: Arc::new(answer),
            received: std::time::Instant::now(),
            upstream: None,
            is_stale: false,
        }
    }
}

impl Upstream {
    /// Settings common to all servers.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// The servers, in configured order.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// True if both have the same servers in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        let names = |upstream: &Self| {
            upstream.servers.iter().map(|server| Arc::clone(server.name())).collect::<Vec<_>>()
        };
        names(self) == names(other)
    }

    /// The first server with a free slot for `client`, with its permit. `None` if that server does not use UDP, or if no
    /// server has a free slot.
    pub(crate) fn ready(
        &self,
        client: ShareHolder,
        now: Instant,
        deadline: Instant,
    ) -> Option<(usize, Permit)> {
        for (index, server) in self.servers.iter().enumerate().filter(|(_, server)| server.is_up()) {
            if !server.is_over_udp() {
                if server.budget.has_room(client, now) {
                    return None;
                }
            } else if let Some(permit) = server.budget.try_acquire(client, Attempt::First, now, deadline) {
                return Some((index, permit));
            }
        }
        None
    }

    /// Tries servers in turn until one answers or the time is up, and returns which one answered. There is always an
    /// answer: if no server answers, it is SERVFAIL with the reason as Extended DNS Error.
    pub(crate) async fn ask(
        &self,
        query: &UpstreamQuery,
        deadline: Instant,
        first: Option<FirstAttempt>,
    ) -> (Answer, Option<Arc<str>>) {
        let order = self.order(query.client);
        let mut turn = match &first {
            Some(first) => ServerSchedule::begun(first.server, order),
            None => ServerSchedule::new(order),
        };
        let mut failure = Failure::default();
        let mut attempts = FuturesUnordered::new();
        let mut started: Vec<(usize, Instant)> = Vec::new();
        // At most one attempt waits for a slot at a time. Meanwhile no other attempt requests one.
        let mut permit = pin!(Fuse::terminated());
        let mut next_at = Instant::now();
        if let Some(FirstAttempt { server, started: at, ask_next_at, outcome }) = first {
            started.push((server, at));
            attempts.push(async move { (server, outcome.await) }.boxed());
            next_at = ask_next_at;
        }
        while !turn.all_said_no() {
            let waiting = !permit.is_terminated();
            if !waiting && attempts.is_empty() && !turn.has_next() {
                break;
            }
            // Checked here because the timer below fires up to a millisecond late even for a past time.
            let now = Instant::now();
            if !waiting
                && next_at <= now
                && let Some(index) = turn.upcoming()
            {
                let server = &self.servers[index];
                if attempts.is_empty() {
                    turn.take();
                    permit.set(async move { (index, server.permit(query.client, deadline).await) }.fuse());
                } else if let Some(permit) =
                    server.budget.try_acquire(query.client, Attempt::Further, now, deadline)
                {
                    turn.take();
                    started.push((index, now));
                    attempts
                        .push(async move { (index, server.exchange(query, deadline, permit).await) }.boxed());
                    next_at = now + ASK_NEXT_AFTER;
                } else {
                    // Further attempts do not wait for a slot while one is in progress. Retry sooner if some server
                    // has not been tried.
                    next_at = now + if turn.has_unasked() { TRY_AGAIN_AFTER } else { ASK_NEXT_AFTER };
                }
            }
            let waiting = !permit.is_terminated();
            let (index, outcome) = tokio::select! {
                biased;
                Some((index, outcome)) = attempts.next() => match outcome {
                    Ok(answer) if !is_failure(&answer) => {
                        self.note_silent(&started, Some(index));
                        return (answer, Some(Arc::clone(self.servers[index].name())));
                    }
                    outcome => (index, outcome.map_err(AttemptError::Exchange)),
                },
                () = sleep_until(next_at), if !waiting && turn.has_next() => continue,
                (index, permitted) = &mut permit => match permitted {
                    Some(permit) => {
                        let server = &self.servers[index];
                        started.push((index, Instant::now()));
                        attempts.push(
                            async move { (index, server.exchange(query, deadline, permit).await) }.boxed(),
                        );
                        next_at = Instant::now() + ASK_NEXT_AFTER;
                        continue;
                    }
                    None => (index, Err(AttemptError::Shed)),
                },
                () = sleep_until(deadline + GRACE) => break,
            };
            let was_sent = !matches!(outcome, Err(AttemptError::Exchange(ExchangeError::Local(_))));
            failure.note(outcome);
            if was_sent {
                turn.said_no(index);
            } else {
                // The query was not sent, so the server may be tried again, unless it is down.
                if let Some(place) = started.iter().rposition(|(server, _)| *server == index) {
                    started.remove(place);
                }
                turn.was_not_asked(index, self.servers[index].is_up());
                next_at = Instant::now() + TRY_AGAIN_AFTER;
            }
            if turn.has_unasked() {
                next_at = Instant::now();
            }
        }
        self.note_silent(&started, None);
        (failure.into_answer(), None)
    }

    /// Records a failure for each server that did not reply within [`ASK_NEXT_AFTER`], except `winner`.
    fn note_silent(&self, started: &[(usize, Instant)], winner: Option<usize>) {
        for (place, (index, start)) in started.iter().enumerate() {
            let first = started[..place].iter().all(|(earlier, _)| earlier != index);
            if first && Some(*index) != winner && start.elapsed() >= ASK_NEXT_AFTER {
                self.servers[*index].note_silence(*start);
            }
        }
    }

    /// Server indices in the order to query for `client`: servers that are up first, then those with room, then those
    /// with the shortest wait queue, then configured order.
    fn order(&self, client: ShareHolder) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        let now = Instant::now();
        order.sort_by_key(|&index| {
            let server = &self.servers[index];
            (!server.is_up(), !server.budget.has_room(client, now), server.budget.waiting())
        });
        order
    }
}

/// Random letter case for one question, if `randomize` is set.
pub(crate) fn letter_case(randomize: bool) -> Option<LetterCase> {
    randomize.then(|| LetterCase::new(rand::random()))
}

/// True for a reply that only reports a server failure: another server may do better.
pub(crate) fn is_failure(answer: &Answer) -> bool {
    answer.as_ref().lifetime() == Lifetime::Failure
}
