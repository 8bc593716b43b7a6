//! [`RelayHandle`]: sends queries to the relay, and the state shared with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::{ArrayQueue, SegQueue};

use super::doorbell::Doorbell;
use crate::events::counters::Dropped;
use crate::policy::AllowedQuery;
use crate::relay::pending_table::Ticket;
use crate::upstream::Fetched;
use crate::wire::answer::Answer;

/// Queries that may wait for the relay; more are dropped.
const QUEUE: usize = 4096;

/// Delivers answers to waiting queries.
pub trait Deliver: Send + 'static {
    /// One waiting query.
    type Waiter: Send + 'static;

    /// Delivers `fetched` to `waiter` at `now`, or with the next [`Deliver::flush`].
    fn deliver(&mut self, waiter: Self::Waiter, fetched: &Fetched, now: std::time::Instant);

    /// Drops `waiter` because of `reason`; no answer will come.
    fn refuse(&mut self, waiter: Self::Waiter, reason: Dropped);

    /// Sends what was queued.
    fn flush(&mut self);
}

/// A query for the relay.
pub(super) struct Ask<W> {
    pub(super) query: AllowedQuery<'static>,
    pub(super) received: std::time::Instant,
    /// `None` to fetch the answer for the cache only.
    pub(super) waiter: Option<W>,
}

/// The result that a task found for a pending query.
pub(super) struct RelayResult {
    pub(super) ticket: Ticket,
    pub(super) answer: Answer,
    pub(super) upstream: Option<Arc<str>>,
}

/// State shared between the relay and its handles.
pub(super) struct Shared<W> {
    pub(super) asks: ArrayQueue<Ask<W>>,
    pub(super) found: SegQueue<RelayResult>,
    pub(super) doorbell: Doorbell,
    pub(super) finishing: AtomicBool,
}

impl<W> Shared<W> {
    /// State with an empty queue.
    pub(super) fn new(doorbell: Doorbell) -> Self {
        let (asks, found) = (ArrayQueue::new(QUEUE), SegQueue::new());
        Self { asks, found, doorbell, finishing: AtomicBool::new(false) }
    }
}

/// A handle to the relay.
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

    /// Requests the answer to a query received at `received`; call [`RelayHandle::ring`] afterwards. Returns `waiter`
    /// if the queue is full.
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

    /// Requests a newer answer for the cache, if the queue has room; call [`RelayHandle::ring`] afterwards.
    pub fn refresh(&self, query: AllowedQuery<'static>, received: std::time::Instant) {
        // If the queue is full, the answer is fetched again after it has expired.
        let _ = self.0.asks.push(Ask { query, received, waiter: None });
    }

    /// Wakes the relay to read its queue.
    pub fn ring(&self) {
        self.0.doorbell.ring();
    }

    /// Lets the relay end once no client waits.
    pub fn finish(&self) {
        self.0.finishing.store(true, Ordering::Release);
        self.0.doorbell.ring();
    }
}
