//! [`Relay`]: misses in, answers out, on a thread of its own.
//!
//! The relay alone knows what is in flight, so that nothing of it needs a lock: workers and tasks put what they ask into a
//! queue and the relay gives the answer to all who wait for it. It asks the first server itself, many queries with one
//! system call through few sockets that are often replaced. What needs patience (a place among those in flight, TCP,
//! another server) becomes a task that tells the relay its result.

mod asker;
mod attempt;
mod doorbell;
mod in_flight;
mod ports;
mod stale;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache as SwapCache;
use mio::{Events, Poll};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{ExchangeError, Fetched};
use crate::cache::Kept;
use crate::gate::State;
use crate::policy::{AllowedQuery, Verdict};
use crate::telemetry::counters::Dropped;
use crate::watchdog::Heartbeat;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;
use asker::{Ask, Found, Shared};
use doorbell::Doorbell;
use in_flight::{Asked, InFlight, Ticket};
use ports::{Port, Ports};

pub use asker::{Asker, Deliver};

/// Questions taken before replies are looked at again.
const TURN: usize = 256;

/// Queries that may wait for one exchange; more are refused. A name that nobody answers must not take every place that
/// misses have.
const MAX_SHARING: usize = 1000;

/// How long the relay sleeps at most: a policy that is no more in force is let go of meanwhile.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);

/// See the module's head.
pub struct Relay<D: Deliver> {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    shared: Arc<Shared<D::Waiter>>,
    poll: Poll,
    events: Events,
    ports: Ports,
    /// Ports that have more than was read.
    unread: Vec<Port>,
    in_flight: InFlight<D::Waiter>,
    /// First attempts in the order they were begun, each with the time when others are to be asked as well.
    silent: VecDeque<(Instant, Ticket)>,
    /// Clients' patience with a question that has a stale answer.
    impatient: VecDeque<(Instant, Ticket)>,
    kept: Kept,
    /// The time as of the last turn or sleep: close enough for all that is done in one.
    now: Instant,
    delivery: D,
    runtime: Handle,
    heartbeat: Heartbeat,
}

impl<D: Deliver> Relay<D> {
    /// A relay that judges and asks by `state`, delivers by `delivery` and gives patient work to `runtime`;
    /// `heartbeat` shows that it works.
    pub fn new(
        state: &Arc<ArcSwap<State>>,
        delivery: D,
        runtime: Handle,
        heartbeat: Heartbeat,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let shared = Arc::new(Shared::new(Doorbell::new(&poll)?));
        Ok(Self {
            state: SwapCache::new(Arc::clone(state)),
            shared,
            poll,
            events: Events::with_capacity(256),
            ports: Ports::new(),
            unread: Vec::new(),
            in_flight: InFlight::new(),
            silent: VecDeque::new(),
            impatient: VecDeque::new(),
            kept: Kept::new(),
            now: Instant::now(),
            delivery,
            runtime,
            heartbeat,
        })
    }

    /// A way to ask it.
    pub fn asker(&self) -> Asker<D::Waiter> {
        Asker::new(&self.shared)
    }

    /// Works until told to finish and nothing is in flight.
    pub fn run(mut self) {
        loop {
            self.heartbeat.beat();
            self.now = Instant::now();
            self.state.load();
            self.take_asks();
            self.take_found();
            self.send();
            self.time_out();
            self.delivery.flush();
            if self.shared.finishing.load(Ordering::Acquire) && self.is_idle() {
                return self.heartbeat.rest();
            }
            self.wait();
            self.now = Instant::now();
            self.receive();
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.shared.asks.is_empty()
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        let next =
            [self.silent.front(), self.impatient.front()].into_iter().flatten().map(|(due, _)| *due).min();
        let patience = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
        let shared = &self.shared;
        let is_quiet = || shared.asks.is_empty() && shared.found.is_empty();
        if let Err(error) = shared.doorbell.sleep(&mut self.poll, &mut self.events, patience, is_quiet) {
            tracing::error!("waiting for upstreams failed: {error}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn take_asks(&mut self) {
        for _ in 0..TURN {
            let Some(ask) = self.shared.asks.pop() else { return };
            self.take(ask);
        }
        // The rest is due after the replies that are there.
        self.shared.doorbell.note();
    }

    /// Answers at once what can be, adds to what is in flight, or begins an exchange.
    fn take(&mut self, ask: Ask<D::Waiter>) {
        let Ask { query, received, waiter } = ask;
        let now = self.now.into_std();
        let state = self.state.load();
        let Some(query) = renewed(state, query, now) else {
            // The reply will be made from the new verdict; nothing is sent for it.
            if let Some(waiter) = waiter {
                self.delivery.deliver(waiter, &failure("the policy has changed"), now);
            }
            return;
        };
        let found = self.in_flight.find(&query);
        let Some(waiter) = waiter else {
            return if found.is_none() {
                self.begin(query, received, None)
            };
        };
        let (waiting, client) = (self.in_flight.waiting(), query.client());
        if waiting.of(client) >= state.limits.in_flight_per_client {
            return self.delivery.refuse(waiter, Dropped::ClientOverload);
        }
        if waiting.total() >= state.limits.in_flight {
            return self.delivery.refuse(waiter, Dropped::Overload);
        }
        if let Some(ticket) = found {
            if let Err(waiter) = self.in_flight.join(ticket, client, waiter, MAX_SHARING) {
                self.delivery.deliver(waiter, &failure("too many queries wait for this name"), now);
            }
            return;
        }
        // The exchange this query would have shared may have ended between its cache miss and now.
        if let Some(hit) = state.cache.get(&query, now, &mut self.kept) {
            let fetched = stale::fetched(&hit, now);
            return self.delivery.deliver(waiter, &fetched, now);
        }
        self.begin(query, received, Some(waiter));
    }

    /// Takes what tasks found out.
    fn take_found(&mut self) {
        while let Some(Found { ticket, answer, upstream }) = self.shared.found.pop() {
            self.end(ticket, answer, upstream);
        }
    }

    /// Everyone who waits for `ticket` gets `answer`.
    fn end(&mut self, ticket: Ticket, answer: Answer, upstream: Option<Arc<str>>) {
        let now = self.now.into_std();
        let Some((mut asked, waiters)) = self.in_flight.end(ticket) else { return };
        if let Some(attempt) = asked.attempt.take() {
            self.ports.release(attempt.port, attempt.id, &self.poll);
            if asked.deadline <= self.now {
                let _ = attempt.ending.note(Err(ExchangeError::Timeout), self.now);
            }
        }
        let state = self.state.load();
        let mut fetched = Fetched { answer: Arc::new(answer), received: now, upstream, is_stale: false };
        // A reload that came meanwhile has emptied the cache of what it blocks, and of what other servers are asked for now.
        if is_still_good(state, &asked, now) {
            match stale::instead_of(&fetched, state, &asked.query, now, &mut self.kept) {
                Some(stale) => fetched = stale,
                None => state.cache.insert(&asked.query, fetched.answer.as_ref().as_ref(), now),
            }
        }
        for waiter in waiters {
            self.delivery.deliver(waiter, &fetched, now);
        }
    }

    /// Gives those who wait for `ticket` what is stale, where there is any; the exchange goes on.
    fn answer_stale(&mut self, ticket: Ticket) {
        let now = self.now.into_std();
        let Some(asked) = self.in_flight.get(ticket) else { return };
        let state = self.state.load();
        let hit = state.cache.get_stale(&asked.query, now, &mut self.kept);
        let Some(fetched) = hit.map(|hit| stale::fetched(&hit, now)) else { return };
        for waiter in self.in_flight.take_waiters(ticket) {
            self.delivery.deliver(waiter, &fetched, now);
        }
    }
}

/// The next ticket whose time has come.
fn pop_due(waiting: &mut VecDeque<(Instant, Ticket)>, now: Instant) -> Option<Ticket> {
    waiting.front().filter(|(due, _)| *due <= now)?;
    waiting.pop_front().map(|(_, ticket)| ticket)
}

fn failure(text: &str) -> Fetched {
    Fetched::now(Answer::failure(ErrorCode::NOT_READY, text, Lifetime::Unknown))
}

/// The leave to ask as it is in force: another one, or none, where the policy has changed since the verdict.
fn renewed(
    state: &State,
    query: AllowedQuery<'static>,
    now: std::time::Instant,
) -> Option<AllowedQuery<'static>> {
    if query.generation() == state.policies.generation() {
        return Some(query);
    }
    let group = state.policies.group(query.client())?;
    match state.policies.decide((query.client(), group), query.question(), query.flags(), now) {
        Verdict::Allowed(query, _) | Verdict::Observed(query, _) => Some(query.into_owned()),
        _ => None,
    }
}

/// True where the name may still be asked, and of the same servers.
fn is_still_good(state: &State, asked: &Asked, now: std::time::Instant) -> bool {
    if asked.query.generation() == state.policies.generation() {
        return true;
    }
    renewed(state, asked.query.clone(), now).is_some_and(|query| {
        query.route() == asked.query.route() && state.upstreams.route(query.route()).is_same(&asked.upstream)
    })
}
