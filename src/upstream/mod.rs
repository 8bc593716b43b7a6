//! Asking: an allowed query goes out, a whole answer comes back.
//!
//! [`Upstream::resolve`] is the only door, and it takes an [`AllowedQuery`]. Identical questions in flight share one
//! exchange; servers are tried in the order written, those that fare badly last; no server is ever asked that was not
//! configured.

pub mod accept;
pub mod address;
pub mod budget;
pub mod loops;
pub mod probe;
pub mod server;
pub mod system;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Fuse, FusedFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

use crate::cache::Cache;
use crate::cache::key::Key;
use crate::policy::AllowedQuery;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;
use address::UpstreamAddress;
use budget::Budget;
use server::{Server, ServerStats};

/// How long one server may be silent before the next is asked as well: above any healthy round trip, below the
/// second try of every common client (Windows 1 s, Linux 1 to 5 s).
const ASK_NEXT_AFTER: Duration = Duration::from_secs(1);

/// Exchanges one query may cause: bounds what a silent or failing upstream multiplies.
const MAX_ATTEMPTS: usize = 3;

/// What is asked of a server.
#[derive(Clone, Debug)]
struct Prompt {
    question: Question,
    flags: AnswerFlags,
}

/// How one exchange over UDP ended.
#[derive(Debug)]
enum Exchange {
    Answer(Answer),
    AskOverTcp,
}

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("no reply in time")]
    Timeout,
    #[error(transparent)]
    Network(#[from] std::io::Error),
    #[error("the reply cannot be used")]
    Unusable,
}

/// The configured servers and everything in flight to them.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<Arc<Server>>,
    deadline: Duration,
    in_flight: Mutex<HashMap<Key, Arc<OnceCell<Arc<Answer>>>>>,
}

/// What an [`Upstream`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Servers in the order they are preferred; [`UpstreamAddress::System`] is left out here.
    pub servers: Vec<UpstreamAddress>,
    /// Longest time for one query over all servers.
    pub deadline: Duration,
    /// Exchanges at once per server.
    pub max_in_flight: usize,
    /// Exchanges per second and server; zero is no limit.
    pub max_qps: u32,
}

impl Upstream {
    /// The upstream for `config`; servers that `before` knows keep their counts and health.
    pub fn new(config: &UpstreamConfig, before: Option<&Self>) -> Self {
        let known: HashMap<&str, &Arc<ServerStats>> = before
            .iter()
            .flat_map(|upstream| &upstream.servers)
            .map(|server| (server.name(), &server.stats))
            .collect();
        let servers = config.servers.iter().filter_map(|address| {
            let stats =
                known.get(address.to_string().as_str()).map(|stats| Arc::clone(stats)).unwrap_or_default();
            Server::new(*address, Budget::new(config.max_in_flight, config.max_qps), stats).map(Arc::new)
        });
        Self { servers: servers.collect(), deadline: config.deadline, in_flight: Mutex::default() }
    }

    /// The servers, in the order they were written.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Fetches the answer to an allowed query and keeps it in `cache`, if `may_keep` says so once it is there.
    ///
    /// There is always an answer: where no server gave one it is SERVFAIL with the reason as Extended DNS Error.
    pub async fn resolve(
        &self,
        query: &AllowedQuery,
        cache: &Cache,
        may_keep: impl Fn() -> bool,
    ) -> Arc<Answer> {
        let key = Key::from(query);
        let shared = Arc::clone(self.in_flight().entry(key.clone()).or_default());
        let answer = shared.get_or_init(|| async {
            // The exchange this query would have shared may have ended between its cache miss and now.
            let answer = match cache.get(query, std::time::Instant::now()) {
                Some(entry) => entry.answer(),
                None => {
                    let prompt = Prompt { question: query.question().clone(), flags: query.flags() };
                    let answer = Arc::new(self.ask(&prompt).await);
                    if may_keep() {
                        cache.insert(query, &answer, std::time::Instant::now());
                    }
                    answer
                }
            };
            self.in_flight().remove(&key);
            answer
        });
        Arc::clone(answer.await)
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Arc<Answer>>>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks servers in turn until one answers or the time is up.
    async fn ask(&self, prompt: &Prompt) -> Answer {
        let deadline = Instant::now() + self.deadline;
        let order = self.order();
        let mut begun = 0;
        let mut started: Vec<(usize, Instant)> = Vec::with_capacity(MAX_ATTEMPTS);
        let mut failure = Failure::default();
        let mut attempts = FuturesUnordered::new();
        // At most one attempt waits for its place at a time; while it does, nobody else is asked for it.
        let mut permit = pin!(Fuse::terminated());
        let mut next_at = Instant::now();
        loop {
            let may_begin = permit.is_terminated() && begun < MAX_ATTEMPTS && !order.is_empty();
            let outcome = tokio::select! {
                biased;
                Some((attempt, outcome)) = attempts.next() => match outcome {
                    Ok(answer) if !is_failure(&answer) => {
                        self.note_overtaken(&order, &started, attempt);
                        return answer;
                    }
                    outcome => outcome.map_err(AttemptError::Exchange),
                },
                permitted = &mut permit => match permitted {
                    Some((server, permit)) => {
                        let server: &Server = server;
                        let attempt = begun - 1;
                        started.push((attempt, Instant::now()));
                        attempts.push(async move { (attempt, server.exchange(prompt, deadline, permit).await) });
                        next_at = Instant::now() + ASK_NEXT_AFTER;
                        continue;
                    }
                    None => Err(AttemptError::Shed),
                },
                () = sleep_until(next_at), if may_begin => {
                    permit.set(self.servers[order[begun % order.len()]].permit(deadline).fuse());
                    begun += 1;
                    continue;
                }
                () = sleep_until(deadline + GRACE) => return failure.into_answer(&prompt.question),
            };
            // A server that said no is not asked again; the next one is, at once.
            failure.note(outcome);
            if begun < order.len().min(MAX_ATTEMPTS) {
                next_at = Instant::now();
            } else if attempts.is_empty() && permit.is_terminated() {
                return failure.into_answer(&prompt.question);
            }
        }
    }

    /// Servers that answered while this one was silent say something about it.
    fn note_overtaken(&self, order: &[usize], started: &[(usize, Instant)], winner: usize) {
        for (attempt, start) in started {
            let (loser, victor) = (order[attempt % order.len()], order[winner % order.len()]);
            if *attempt != winner && loser != victor && start.elapsed() >= ASK_NEXT_AFTER {
                self.servers[loser].note_failure("another upstream answered first");
            }
        }
    }

    /// Indices of servers in the order to ask: those that are up and have room first, else as written.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        order.sort_by_key(|&index| {
            let server = &self.servers[index];
            (!server.is_up(), !server.budget.has_room())
        });
        order
    }
}

/// Time beyond the deadline in which exchanges report their own timeout before the query gives up on them.
const GRACE: Duration = Duration::from_millis(20);

/// Why an attempt brought no answer.
#[derive(Debug)]
enum AttemptError {
    Shed,
    Exchange(ExchangeError),
}

/// A reply that only says the server could not answer: others may do better.
fn is_failure(answer: &Answer) -> bool {
    answer.lifetime() == Lifetime::Failure
}

/// The best of what went wrong so far.
#[derive(Debug, Default)]
struct Failure {
    reply: Option<Answer>,
    shed: bool,
    network: bool,
    other: bool,
}

impl Failure {
    fn note(&mut self, outcome: Result<Answer, AttemptError>) {
        match outcome {
            Ok(reply) => self.reply = Some(reply),
            Err(AttemptError::Shed) => self.shed = true,
            Err(AttemptError::Exchange(ExchangeError::Network(_))) => self.network = true,
            Err(AttemptError::Exchange(ExchangeError::Timeout | ExchangeError::Unusable)) => {
                self.other = true;
            }
        }
    }

    /// An upstream's own failure reply is relayed; else the client is told which kind of failure it was.
    fn into_answer(self, question: &Question) -> Answer {
        if let Some(reply) = self.reply {
            return reply;
        }
        if self.shed && !self.network && !self.other {
            return Answer::failure(
                question,
                ErrorCode::NO_REACHABLE_AUTHORITY,
                "the budget for asking upstreams is spent",
                Lifetime::Unknown,
            );
        }
        let (code, text) = match self.network && !self.other {
            true => (ErrorCode::NETWORK_ERROR, "no upstream could be reached"),
            false => (ErrorCode::NO_REACHABLE_AUTHORITY, "no upstream answered in time"),
        };
        Answer::failure(question, code, text, Lifetime::Failure)
    }
}
