//! [`Relay`]: misses in, answers out, on a thread of its own.
//!
//! The relay alone knows what is in flight, so that nothing of it needs a lock: workers and tasks put what they ask into a
//! queue and the relay gives the answer to all who wait for it. It asks the first server itself, many queries with one
//! system call through few sockets that are often replaced. What needs patience (a place among those in flight, TCP,
//! another server) becomes a task that tells the relay its result.

mod asker;
mod attempt;
mod doorbell;
mod pending;
mod pending_table;
mod port;
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

use crate::engine::State;
use crate::upstream::ExchangeError;
use crate::util::heartbeat::Heartbeat;
use crate::wire::answer::Answer;
use asker::{Ask, RelayResult, Shared};
use doorbell::Doorbell;
use port::PortId;
use ports::Ports;

pub use crate::relay::pending::{Ended, PendingQueries, Taken};
pub use crate::relay::pending_table::{Ticket, Waiters};
pub use asker::{Deliver, RelayHandle};

/// Questions taken before replies are looked at again.
const TURN: usize = 256;

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
    unread: Vec<PortId>,
    pending: PendingQueries<D::Waiter>,
    /// First attempts in the order they were begun, each with the time when others are to be asked as well.
    silent: VecDeque<(Instant, Ticket)>,
    /// Clients' patience with a question that has a stale answer.
    impatient: VecDeque<(Instant, Ticket)>,
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
            pending: PendingQueries::new(),
            silent: VecDeque::new(),
            impatient: VecDeque::new(),
            now: Instant::now(),
            delivery,
            runtime,
            heartbeat,
        })
    }

    /// A way to ask it.
    pub fn asker(&self) -> RelayHandle<D::Waiter> {
        RelayHandle::new(&self.shared)
    }

    /// Works until told to finish and nobody waits for an answer: what was asked for the cache alone is given up.
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
        self.pending.in_flight.waiting().total() == 0 && self.shared.asks.is_empty()
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
        match self.pending.take(self.state.load(), query, waiter, now) {
            Taken::Answered(waiter, fetched) => self.delivery.deliver(waiter, &fetched, now),
            Taken::Refused(waiter, reason) => self.delivery.refuse(waiter, reason),
            Taken::Shared => {}
            Taken::Ask(query, waiter) => self.begin(query, received, waiter),
        }
    }

    /// Takes what tasks found out.
    fn take_found(&mut self) {
        while let Some(RelayResult { ticket, answer, upstream }) = self.shared.found.pop() {
            self.end(ticket, answer, upstream);
        }
    }

    /// Everyone who waits for `ticket` gets `answer`.
    fn end(&mut self, ticket: Ticket, answer: Answer, upstream: Option<Arc<str>>) {
        let now = self.now.into_std();
        let ended = self.pending.end(self.state.load(), ticket, answer, upstream, now);
        let Some(Ended { mut asked, fetched, waiters }) = ended else { return };
        if let Some(attempt) = asked.attempt.take() {
            self.ports.release(attempt.port, attempt.id, &self.poll);
            if asked.deadline <= self.now {
                let _ = attempt.ending.note(Err(ExchangeError::Timeout), self.now);
            }
        }
        for (_, waiter) in waiters {
            self.delivery.deliver(waiter, &fetched, now);
        }
    }

    /// Gives those who wait for `ticket` what is stale, where there is any; the exchange goes on.
    fn answer_stale(&mut self, ticket: Ticket) {
        let now = self.now.into_std();
        let Some((fetched, waiters)) = self.pending.give_up_waiting(self.state.load(), ticket, now) else {
            return;
        };
        for (_, waiter) in waiters {
            self.delivery.deliver(waiter, &fetched, now);
        }
    }
}

/// The next ticket whose time has come.
fn pop_due(waiting: &mut VecDeque<(Instant, Ticket)>, now: Instant) -> Option<Ticket> {
    waiting.front().filter(|(due, _)| *due <= now)?;
    waiting.pop_front().map(|(_, ticket)| ticket)
}
