//! [`Pool`]: chooses the connection for a query.
//!
//! Some servers, such as dnsdist by default, process one query per connection at a time: one slow name delays every
//! query behind it. So each query uses an idle connection. Once a server replies out of order, it is known to process
//! queries concurrently, and two connections are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::reply::ReplyOrder;
use super::slot::ConnectionSlot;

/// Most connections to one server.
const MAX_CONNECTIONS: usize = 8;

/// Connections to a server that processes queries concurrently. The second one opens when the first is full.
const USUAL_CONNECTIONS: usize = 2;

/// After this many connections in a row that ended after one reply, open one connection per query: some servers answer
/// only one query on each.
const SINGLE: u32 = 3;

/// Queries after which connections are reused again, as a test.
const AGAIN: u32 = 1000;

/// A connection that ends this long after its last reply may have ended because it was idle.
const IDLE: Duration = Duration::from_secs(1);

/// How long a query may wait before later queries open another connection.
const LATE: Duration = Duration::from_millis(20);

/// The connections to one server; see the module documentation.
#[derive(Debug)]
pub(super) struct Pool {
    slots: [Arc<ConnectionSlot>; MAX_CONNECTIONS],
    /// The server has replied out of order.
    is_concurrent: AtomicBool,
    /// Replies were late: queries may wait behind another one.
    holds_up: AtomicBool,
    /// Connections in a row that ended after one reply.
    single: AtomicU32,
}

impl Pool {
    /// No connections yet.
    pub(super) fn new() -> Self {
        let slots = std::array::from_fn(|_| Arc::new(ConnectionSlot::new()));
        let (is_concurrent, holds_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { slots, is_concurrent, holds_up, single: AtomicU32::new(0) }
    }

    /// Records whether a reply came out of order.
    pub(super) fn note(&self, turn: ReplyOrder) {
        if turn == ReplyOrder::Overtaken {
            self.is_concurrent.store(true, Ordering::Relaxed);
        }
    }

    /// Records that a connection has ended after `replies` replies, the last one `idle` ago.
    pub(super) fn note_end(&self, replies: u64, idle: Duration) {
        match replies {
            // Most servers close a connection that is idle for seconds.
            1 if idle < IDLE => drop(self.single.fetch_add(1, Ordering::Relaxed)),
            0 | 1 => {}
            _ => self.single.store(0, Ordering::Relaxed),
        }
    }

    /// Closes the idle connections that have received nothing since `then`: a query sent at `then` has no reply, so the
    /// network path may be broken.
    pub(super) fn note_silence(&self, then: Instant) {
        self.slots.iter().for_each(|slot| slot.forget_unheard(then));
    }

    /// A connection for a query, with a permit to use it.
    pub(super) async fn choose(&self) -> Result<(&Arc<ConnectionSlot>, SemaphorePermit<'_>), String> {
        let (slots, chosen) = match self.is_concurrent.load(Ordering::Relaxed) {
            true => (&self.slots[..USUAL_CONNECTIONS], None),
            false if self.gives_one_reply() => return self.whole().await,
            false => (&self.slots[..], self.free()),
        };
        for slot in chosen.into_iter().chain(slots) {
            if let Ok(permit) = slot.permits.try_acquire() {
                return Ok((slot, permit));
            }
        }
        let slot = &slots[rand::random_range(..slots.len())];
        let permit = slot.permits.acquire().await.map_err(|closed| closed.to_string())?;
        Ok((slot, permit))
    }

    /// True if connections ended after one reply each. Rechecked every [`AGAIN`] queries.
    fn gives_one_reply(&self) -> bool {
        let gives_one = self.single.load(Ordering::Relaxed) >= SINGLE;
        if gives_one && self.single.fetch_add(1, Ordering::Relaxed) >= AGAIN {
            self.single.store(0, Ordering::Relaxed);
        }
        gives_one
    }

    /// Waits for an unused slot, for a server that answers one query per connection.
    pub(super) async fn whole(&self) -> Result<(&Arc<ConnectionSlot>, SemaphorePermit<'_>), String> {
        let (permit, place, _) = select_all(self.slots.iter().map(|slot| Box::pin(slot.whole()))).await;
        let slot = &self.slots[place];
        slot.forget_used();
        Ok((slot, permit.map_err(|closed| closed.to_string())?))
    }

    /// An open connection without pending queries; otherwise a closed slot, if replies were late; otherwise the least
    /// loaded connection.
    fn free(&self) -> Option<&Arc<ConnectionSlot>> {
        let is_in_use = |slot: &&Arc<ConnectionSlot>| slot.is_open() || slot.in_flight() > 0;
        let least = self.slots.iter().filter(is_in_use).min_by_key(|slot| slot.load());
        let Some(least) = least else { return self.slots.first() };
        if least.load() == 0 {
            return Some(least);
        }
        if least.is_late(LATE) {
            self.holds_up.store(true, Ordering::Relaxed);
        }
        if !self.holds_up.load(Ordering::Relaxed) {
            return Some(least);
        }
        self.slots.iter().find(|slot| !is_in_use(slot) && !slot.has_failed()).or(Some(least))
    }
}
