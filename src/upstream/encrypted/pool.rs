//! [`Pool`]: chooses the connection for a query.
//!
//! Some servers work on one query per connection at a time, by default dnsdist among them: one slow name delays every
//! query behind it. So queries use idle connections until a reply overtakes that to an earlier query that was answered
//! as well. Such a server works on many queries at once, and two connections are enough.

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

/// Connections to a server that works on many queries at once. The second one opens when the first is full.
const USUAL_CONNECTIONS: usize = 2;

/// After this many connections in a row that end after one reply, each query gets its own: some servers allow no more.
const SINGLE: u32 = 3;

/// Queries after which sharing is tried again.
const AGAIN: u32 = 1000;

/// A connection that ends this long after its last reply may have ended because it was idle.
const IDLE: Duration = Duration::from_secs(1);

/// How long a query may wait before later queries open another connection.
const LATE: Duration = Duration::from_millis(20);

/// The connections to one server; see the module documentation.
#[derive(Debug)]
pub(super) struct Pool {
    slots: [Arc<ConnectionSlot>; MAX_CONNECTIONS],
    /// A reply has overtaken the reply to an earlier query.
    works_on_many: AtomicBool,
    /// Queries have waited behind another one.
    holds_up: AtomicBool,
    /// Connections in a row that ended after one reply.
    single: AtomicU32,
}

impl Pool {
    /// No connections yet.
    pub(super) fn new() -> Self {
        let slots = std::array::from_fn(|_| Arc::new(ConnectionSlot::new()));
        let (works_on_many, holds_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { slots, works_on_many, holds_up, single: AtomicU32::new(0) }
    }

    /// Records what the order of a reply shows about the server.
    pub(super) fn note(&self, turn: ReplyOrder) {
        if turn == ReplyOrder::Overtaken {
            self.works_on_many.store(true, Ordering::Relaxed);
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

    /// A query sent at `then` has had no reply for long. If the path is lost, it is lost for the idle connections as
    /// well, so this closes them.
    pub(super) fn note_silence(&self, then: Instant) {
        self.slots.iter().for_each(|slot| slot.forget_unheard(then));
    }

    /// A connection for a query, with a permit to use it.
    pub(super) async fn choose(&self) -> Result<(&Arc<ConnectionSlot>, SemaphorePermit<'_>), String> {
        let (slots, chosen) = match self.works_on_many.load(Ordering::Relaxed) {
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

    /// A new connection for one query only, once a slot is free: a second query on it would lose its reply.
    pub(super) async fn whole(&self) -> Result<(&Arc<ConnectionSlot>, SemaphorePermit<'_>), String> {
        let (permit, place, _) = select_all(self.slots.iter().map(|slot| Box::pin(slot.whole()))).await;
        let slot = &self.slots[place];
        slot.forget_used();
        Ok((slot, permit.map_err(|closed| closed.to_string())?))
    }

    /// An idle connection. Otherwise an unopened one, if queries are or were late on the open ones. Otherwise the one
    /// with the fewest waiting queries.
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
