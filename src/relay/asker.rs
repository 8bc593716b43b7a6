//! [`RelayHandle`]: a way to ask the relay, and what it shares with those who do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::{ArrayQueue, SegQueue};

use super::doorbell::Doorbell;
use crate::events::counters::Dropped;
use crate::policy::AllowedQuery;
use crate::relay::pending_table::Ticket;
use crate::upstream::Fetched;
use crate::wire::answer::Answer;

/// Questions that may wait to be taken by the relay; beyond, they are refused.
const QUEUE: usize = 4096;

/// How answers reach those who wait for them.
pub trait Deliver: Send + 'static {
    /// Who waits.
    type Waiter: Send + 'static;

    /// Hands `fetched` to `waiter` at `now`, or with the next [`Deliver::flush`].
    fn deliver(&mut self, waiter: Self::Waiter, fetched: &Fetched, now: std::time::Instant);

    /// There is no place for `waiter`, as `reason` says; no answer will come.
    fn refuse(&mut self, waiter: Self::Waiter, reason: Dropped);

    /// Sends what was put off.
    fn flush(&mut self);
}

/// A question for the relay.
pub(super) struct Ask<W> {
    pub(super) query: AllowedQuery<'static>,
    pub(super) received: std::time::Instant,
    /// None wants the answer for the cache alone.
    pub(super) waiter: Option<W>,
}

/// What a task found out for a question.
pub(super) struct RelayResult {
    pub(super) ticket: Ticket,
    pub(super) answer: Answer,
    pub(super) upstream: Option<Arc<str>>,
}

/// What the relay shares with those who ask it.
pub(super) struct Shared<W> {
    pub(super) asks: ArrayQueue<Ask<W>>,
    pub(super) found: SegQueue<RelayResult>,
    pub(super) doorbell: Doorbell,
    pub(super) finishing: AtomicBool,
}

impl<W> Shared<W> {
    /// Nothing asked yet.
    pub(super) fn new(doorbell: Doorbell) -> Self {
        let (asks, found) = (ArrayQueue::new(QUEUE), SegQueue::new());
        Self { asks, found, doorbell, finishing: AtomicBool::new(false) }
    }
}

/// A way to ask the relay.
pub struct RelayHandle<W>(Arc<Shared<W>>);

impl<W> Clone for RelayHandle<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> RelayHandle<W> {
    pub(super) fn new(shared: &Arc<Shared<W>>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Asks for the answer to a query received at `received`; [`RelayHandle::ring`] is due. Gives `waiter` back where the queue
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

    /// Asks for a newer answer to be kept, where there is room; [`RelayHandle::ring`] is due.
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
