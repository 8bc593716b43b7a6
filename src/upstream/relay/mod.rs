//! [`Relay`]: misses in, answers out, on a thread of its own.
//!
//! The relay alone knows what is in flight, so that nothing of it needs a lock: workers and tasks put what they ask into a
//! queue and the relay gives the answer to all who wait for it. It asks the first server itself, many queries with one
//! system call through few sockets that are often replaced. What needs patience (a place among those in flight, TCP,
//! another server) becomes a task that tells the relay its result.

mod doorbell;
mod in_flight;
mod ports;
mod stale;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache as SwapCache;
use crossbeam_queue::{ArrayQueue, SegQueue};
use futures_util::future::{FutureExt, ready};
use mio::{Events, Poll};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::accept::{Channel, Judgement, Rejection, judge};
use super::server::Ending;
use super::{ASK_NEXT_AFTER, ExchangeError, Fetched, FirstAttempt, Prompt, is_failure};
use crate::cache::Kept;
use crate::gate::State;
use crate::policy::{AllowedQuery, Verdict};
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;
use crate::wire::header::{Flags, Header};
use crate::wire::request;
use doorbell::{DOORBELL, Doorbell};
use in_flight::{Asked, Attempt, InFlight, Ticket};
use ports::{Port, Ports};
use stale::CLIENT_PATIENCE;

/// Questions that may wait to be taken by the relay; beyond, they are refused.
const QUEUE: usize = 4096;

/// Questions taken before replies are looked at again.
const TURN: usize = 256;

/// Queries that may wait for one exchange; more are refused. A name that nobody answers must not take every place that
/// misses have.
const MAX_SHARING: usize = 1000;

/// Queries that may wait for answers over all exchanges, with up to 6 KiB each 60 MiB at most; beyond, they are refused.
const MAX_WAITING: usize = 10_000;

/// How long the relay sleeps at most: a policy that is no more in force is let go of meanwhile.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);

/// How answers reach those who wait for them.
pub trait Deliver: Send + 'static {
    /// Who waits.
    type Waiter: Send + 'static;

    /// Hands `fetched` to `waiter` at `now`, or with the next [`Deliver::flush`].
    fn deliver(&mut self, waiter: Self::Waiter, fetched: &Fetched, now: std::time::Instant);

    /// There is no place for `waiter`; no answer will come.
    fn refuse(&mut self, waiter: Self::Waiter);

    /// Sends what was put off.
    fn flush(&mut self);
}

/// A question for the relay.
struct Ask<W> {
    query: AllowedQuery<'static>,
    received: std::time::Instant,
    /// None wants the answer for the cache alone.
    waiter: Option<W>,
}

/// What a task found out for a question.
struct Found {
    ticket: Ticket,
    answer: Answer,
    upstream: Option<Arc<str>>,
}

/// What the relay shares with those who ask it.
struct Shared<W> {
    asks: ArrayQueue<Ask<W>>,
    found: SegQueue<Found>,
    doorbell: Doorbell,
    finishing: AtomicBool,
}

/// A way to ask the relay.
pub struct Asker<W>(Arc<Shared<W>>);

impl<W> Clone for Asker<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Asker<W> {
    /// Asks for the answer to a query received at `received`; [`Asker::ring`] is due. Gives `waiter` back where the queue
    /// is full.
    pub fn ask(
        &self,
        query: AllowedQuery<'static>,
        received: std::time::Instant,
        waiter: W,
    ) -> Result<(), W> {
        let ask = Ask { query, received, waiter: Some(waiter) };
        match self.0.asks.push(ask) {
            Ok(()) => Ok(()),
            Err(Ask { waiter: Some(waiter), .. }) => Err(waiter),
            Err(_) => Ok(()),
        }
    }

    /// Asks for a newer answer to be kept, where there is room; [`Asker::ring`] is due.
    pub fn refresh(&self, query: AllowedQuery<'static>, received: std::time::Instant) {
        // What finds no room is asked for again when it has expired.
        let _ = self.0.asks.push(Ask { query, received, waiter: None });
    }

    /// Makes sure that the relay looks at what was asked.
    pub fn ring(&self) {
        self.0.doorbell.ring();
    }

    /// Lets the relay end when nothing is in flight any more.
    pub fn finish(&self) {
        self.0.finishing.store(true, Ordering::Release);
        self.0.doorbell.ring();
    }
}

/// See the module's head.
pub struct Relay<D: Deliver> {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    shared: Arc<Shared<D::Waiter>>,
    poll: Poll,
    events: Events,
    ports: Ports,
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
}

impl<D: Deliver> Relay<D> {
    /// A relay that judges and asks by `state`, delivers by `delivery` and gives patient work to `runtime`.
    pub fn new(state: &Arc<ArcSwap<State>>, delivery: D, runtime: Handle) -> io::Result<Self> {
        let poll = Poll::new()?;
        let doorbell = Doorbell::new(&poll)?;
        let shared = Arc::new(Shared {
            asks: ArrayQueue::new(QUEUE),
            found: SegQueue::new(),
            doorbell,
            finishing: AtomicBool::new(false),
        });
        Ok(Self {
            state: SwapCache::new(Arc::clone(state)),
            shared,
            poll,
            events: Events::with_capacity(256),
            ports: Ports::new(),
            in_flight: InFlight::new(),
            silent: VecDeque::new(),
            impatient: VecDeque::new(),
            kept: Kept::new(),
            now: Instant::now(),
            delivery,
            runtime,
        })
    }

    /// A way to ask it.
    pub fn asker(&self) -> Asker<D::Waiter> {
        Asker(Arc::clone(&self.shared))
    }

    /// Works until told to finish and nothing is in flight.
    pub fn run(mut self) {
        loop {
            self.now = Instant::now();
            self.state.load();
            self.take_asks();
            self.take_found();
            self.send();
            self.time_out();
            self.delivery.flush();
            if self.shared.finishing.load(Ordering::Acquire) && self.is_idle() {
                return;
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
        if !is_still_allowed(state, &query) {
            // The reply will be made from the new verdict; nothing is sent for it.
            if let Some(waiter) = waiter {
                self.delivery.deliver(waiter, &failure("the policy has changed"), now);
            }
            return;
        }
        if let Some(ticket) = self.in_flight.find(&query) {
            let Some(waiter) = waiter else { return };
            return match self.in_flight.join(ticket, waiter, MAX_SHARING) {
                Ok(()) => {}
                Err(waiter) => {
                    self.delivery.deliver(waiter, &failure("too many queries wait for this name"), now);
                }
            };
        }
        let Some(waiter) = waiter else { return self.begin(query, received, None) };
        if self.in_flight.waiting() >= MAX_WAITING {
            return self.delivery.refuse(waiter);
        }
        // The exchange this query would have shared may have ended between its cache miss and now.
        if let Some(hit) = state.cache.get(&query, now, &mut self.kept) {
            let fetched = stale::fetched(&hit, now);
            return self.delivery.deliver(waiter, &fetched, now);
        }
        self.begin(query, received, Some(waiter));
    }

    fn begin(
        &mut self,
        query: AllowedQuery<'static>,
        received: std::time::Instant,
        waiter: Option<D::Waiter>,
    ) {
        let now = self.now;
        let upstream = Arc::clone(&self.state.load().upstream);
        let deadline = Instant::from_std(received + upstream.config.deadline);
        let ready = upstream.ready(now, deadline);
        if ready.is_none() && waiter.is_none() {
            // A refresh is not worth waiting for.
            return;
        }
        let port =
            ready.as_ref().and_then(|(index, _)| self.ports.pick(&upstream.servers[*index], &self.poll, now));
        let ticket = self.in_flight.begin(Asked { query, upstream, deadline, attempt: None }, waiter);
        if !self.state.load().cache.lifetimes().max_stale.is_zero() {
            self.impatient.push_back((now + CLIENT_PATIENCE, ticket));
        }
        let (Some((index, permit)), Some(port)) = (ready, port) else {
            return self.hand_over(ticket, None);
        };
        let Some(asked) = self.in_flight.get_mut(ticket) else { return };
        let id = self.ports.write(port, ticket, |message, id| {
            request::write(message, id, asked.query.question(), asked.query.flags());
        });
        let ending = Ending::new(&asked.upstream.servers[index], now, permit);
        asked.attempt = id.map(|id| Attempt { index, port, id, ending, report: None });
        self.silent.push_back(((now + ASK_NEXT_AFTER).min(deadline), ticket));
    }

    /// Sends the queries that were written.
    fn send(&mut self) {
        for (ticket, error) in self.ports.flush() {
            self.first_ended(ticket, Err(ExchangeError::Network(error)));
        }
    }

    /// Takes what tasks found out.
    fn take_found(&mut self) {
        while let Some(Found { ticket, answer, upstream }) = self.shared.found.pop() {
            self.end(ticket, answer, upstream);
        }
    }

    /// Reads every socket that has something.
    fn receive(&mut self) {
        let ready: Vec<Port> = self
            .events
            .iter()
            .filter(|event| event.token() != DOORBELL)
            .map(|event| event.token().into())
            .collect();
        for port in ready {
            while let Some(received) = self.ports.receive(port) {
                match received {
                    Ok(count) => (0..count).for_each(|index| self.read(port, index)),
                    Err(error) => self.refused(port, &error),
                }
            }
        }
    }

    /// Judges one datagram that came to `port`.
    fn read(&mut self, port: Port, index: usize) {
        let Some((server, bytes)) = self.ports.received(port, index) else { return };
        let Some((ticket, id, asked)) = Header::parse(bytes)
            .filter(|header| header.flags.has(Flags::QR))
            .and_then(|header| Some((header.id, self.ports.find(port, header.id)?)))
            .and_then(|(id, ticket)| Some((ticket, id, self.in_flight.get(ticket)?)))
        else {
            return server.stats.rejected(strange(bytes));
        };
        match judge(bytes, id, asked.query.question(), Channel::Datagram) {
            Judgement::Answer(answer) => self.first_ended(ticket, Ok(answer)),
            Judgement::Unusable => self.first_ended(ticket, Err(ExchangeError::Unusable)),
            Judgement::Reject(reason) => server.stats.rejected(reason),
            Judgement::AskOverTcp => {
                if let Some(attempt) = self.in_flight.end_attempt(ticket) {
                    self.ports.release(port, id, &self.poll);
                    self.go_on_over_tcp(ticket, attempt);
                }
            }
        }
    }

    /// The network says that `port`'s server does not take datagrams: whatever waits there waits in vain.
    fn refused(&mut self, port: Port, error: &io::Error) {
        for ticket in self.ports.asked_through(port) {
            self.first_ended(
                ticket,
                Err(ExchangeError::Network(io::Error::new(error.kind(), error.to_string()))),
            );
        }
    }

    /// The first attempt for `ticket` has come to its end.
    fn first_ended(&mut self, ticket: Ticket, outcome: Result<Answer, ExchangeError>) {
        let Some(attempt) = self.in_flight.end_attempt(ticket) else { return };
        self.ports.release(attempt.port, attempt.id, &self.poll);
        let (index, started, name) =
            (attempt.index, attempt.ending.started(), Arc::clone(attempt.ending.server().name()));
        let outcome = attempt.ending.note(outcome, self.now);
        if let Some(report) = attempt.report {
            // The task may have ended by another answer.
            let _ = report.send(outcome);
            return;
        }
        match outcome {
            Ok(answer) if !is_failure(&answer) => self.end(ticket, answer, Some(name)),
            outcome => {
                let outcome = ready(outcome).boxed();
                self.hand_over(ticket, Some(FirstAttempt { server: index, started, outcome }));
            }
        }
    }

    fn go_on_over_tcp(&mut self, ticket: Ticket, attempt: Attempt) {
        let Some(asked) = self.in_flight.get(ticket) else { return };
        let (prompt, deadline) = (prompt(&asked.query), asked.deadline);
        let (index, started, report) = (attempt.index, attempt.ending.started(), attempt.report);
        let server = Arc::clone(attempt.ending.server());
        let exchange = async move { server.go_on_over_tcp(&prompt, deadline, attempt.ending).await };
        match report {
            Some(report) => {
                self.runtime.spawn(async move { report.send(exchange.await) });
            }
            None => {
                let first = FirstAttempt { server: index, started, outcome: exchange.boxed() };
                self.hand_over(ticket, Some(first));
            }
        }
    }

    /// Gives `ticket` to a task, which goes on from `first`.
    fn hand_over(&mut self, ticket: Ticket, first: Option<FirstAttempt>) {
        let Some(asked) = self.in_flight.get(ticket) else { return };
        let (upstream, deadline, prompt) =
            (Arc::clone(&asked.upstream), asked.deadline, prompt(&asked.query));
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let (answer, upstream) = upstream.ask(&prompt, deadline, first).await;
            shared.found.push(Found { ticket, answer, upstream });
            shared.doorbell.ring();
        });
    }

    /// Has others asked where a first attempt has been silent for too long, and spares clients' patience.
    fn time_out(&mut self) {
        let now = self.now;
        while let Some(ticket) = pop_due(&mut self.silent, now) {
            let Some(asked) = self.in_flight.get_mut(ticket) else { continue };
            let deadline = asked.deadline;
            let Some(attempt) = asked.attempt.as_mut() else { continue };
            let (report, reported) = oneshot::channel();
            attempt.report = Some(report);
            let (server, started) = (attempt.index, attempt.ending.started());
            let outcome = async move {
                match timeout_at(deadline, reported).await {
                    Ok(Ok(outcome)) => outcome,
                    _ => Err(ExchangeError::Timeout),
                }
            };
            self.hand_over(ticket, Some(FirstAttempt { server, started, outcome: outcome.boxed() }));
        }
        while let Some(ticket) = pop_due(&mut self.impatient, now) {
            self.answer_stale(ticket);
        }
    }

    /// Everyone who waits for `ticket` gets `answer`.
    fn end(&mut self, ticket: Ticket, answer: Answer, upstream: Option<Arc<str>>) {
        let now = self.now.into_std();
        let Some((asked, waiters)) = self.in_flight.end(ticket) else { return };
        if let Some(attempt) = asked.attempt {
            self.ports.release(attempt.port, attempt.id, &self.poll);
            if asked.deadline <= self.now {
                let _ = attempt.ending.note(Err(ExchangeError::Timeout), self.now);
            }
        }
        let state = self.state.load();
        let mut fetched = Fetched { answer: Arc::new(answer), received: now, upstream, is_stale: false };
        // A reload that came meanwhile has emptied the cache of what it blocks.
        if is_still_allowed(state, &asked.query) {
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

/// Why a datagram that answers nothing in flight is rejected.
fn strange(bytes: &[u8]) -> Rejection {
    match Header::parse(bytes) {
        None => Rejection::Short,
        Some(header) if !header.flags.has(Flags::QR) => Rejection::NotResponse,
        Some(_) => Rejection::Id,
    }
}

fn prompt(query: &AllowedQuery<'_>) -> Prompt {
    Prompt { question: query.question().clone(), flags: query.flags() }
}

fn failure(text: &str) -> Fetched {
    Fetched::now(Answer::failure(ErrorCode::NOT_READY, text, Lifetime::Unknown))
}

/// False where a reload since the verdict blocks the name.
fn is_still_allowed(state: &State, query: &AllowedQuery<'_>) -> bool {
    query.generation() == state.policy.generation()
        || matches!(
            state.policy.decide(query.question(), query.flags()),
            Verdict::Allowed(_) | Verdict::Observed(..)
        )
}
