//! [`Relay`]: the thread that turns cache misses into answers.
//!
//! Only this thread touches the pending queries, so they need no lock. Workers and tasks send queries through a queue,
//! and the relay delivers each answer to every client that waits for it. The relay queries the first server itself: many
//! queries per system call, through few sockets that are replaced often. Slower work (waiting for a slot, TCP, another
//! server) runs in a task that reports its result to the relay.

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
use crate::util::log_event::log;
use crate::wire::answer::Answer;
use asker::{Ask, RelayResult, Shared};
use doorbell::Doorbell;
use port::PortId;
use ports::Ports;

pub use crate::relay::pending::{Ended, PendingQueries, Taken};
pub use crate::relay::pending_table::{Ticket, Waiters};
pub use asker::{Deliver, RelayHandle};

/// Queries taken from the queue per loop iteration, before replies are read again.
const TURN: usize = 256;

/// Longest sleep: an idle relay must wake up to drop its reference to a replaced state.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);

/// The relay; see the module documentation.
pub struct Relay<D: Deliver> {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    shared: Arc<Shared<D::Waiter>>,
    poll: Poll,
    events: Events,
    ports: Ports,
    /// Ports with unread datagrams.
    unread: Vec<PortId>,
    pending: PendingQueries<D::Waiter>,
    /// Queries by the time when the next server is queried too.
    silent: VecDeque<(Instant, Ticket)>,
    /// Queries by the time when waiting clients get a stale answer, if the cache has one.
    stale_due: VecDeque<(Instant, Ticket)>,
    /// The time at the start of this loop iteration or after the last sleep: accurate enough for one iteration.
    now: Instant,
    delivery: D,
    runtime: Handle,
    heartbeat: Heartbeat,
}

impl<D: Deliver> Relay<D> {
    /// A relay that uses `state`, delivers answers through `delivery` and runs tasks on `runtime`. `heartbeat` shows
    /// that it makes progress.
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
            stale_due: VecDeque::new(),
            now: Instant::now(),
            delivery,
            runtime,
            heartbeat,
        })
    }

    /// A handle to it.
    pub fn asker(&self) -> RelayHandle<D::Waiter> {
        RelayHandle::new(&self.shared)
    }

    /// Runs until shutdown is requested and no client waits. Then drops the pending prefetches.
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
            [self.silent.front(), self.stale_due.front()].into_iter().flatten().map(|(due, _)| *due).min();
        let patience = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
        let shared = &self.shared;
        let is_quiet = || shared.asks.is_empty() && shared.found.is_empty();
        if let Err(error) = shared.doorbell.sleep(&mut self.poll, &mut self.events, patience, is_quiet) {
            log!(RelayPollFailed, "relay: cannot poll for upstream replies, retrying: {error}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn take_asks(&mut self) {
        for _ in 0..TURN {
            let Some(ask) = self.shared.asks.pop() else { return };
            self.take(ask);
        }
        // Take the remaining queries in the next iteration, after reading replies.
        self.shared.doorbell.note();
    }

    /// Answers from the cache, joins an identical pending query, starts an exchange, or drops the query over a limit.
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

    /// Processes the results of tasks.
    fn take_found(&mut self) {
        while let Some(RelayResult { ticket, answer, upstream }) = self.shared.found.pop() {
            self.end(ticket, answer, upstream);
        }
    }

    /// Completes the query of `ticket`: delivers `answer` to every client that waits for it.
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

    /// Sends the clients that wait for `ticket` a stale answer, if the cache has one. The exchange continues.
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

/// Removes the next ticket that is due.
fn pop_due(waiting: &mut VecDeque<(Instant, Ticket)>, now: Instant) -> Option<Ticket> {
    waiting.front().filter(|(due, _)| *due <= now)?;
    waiting.pop_front().map(|(_, ticket)| ticket)
}
