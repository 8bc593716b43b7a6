//! [`Pool`]: which of the connections to a server a query goes through.
//!
//! Some servers work on one query of a connection at a time, dnsdist by default among them: a name that takes its time holds up all
//! that are asked after it. So queries go through connections on which nobody waits, as long as no reply has ever come before that
//! to an earlier query that was answered as well. A server of which that was seen works on many at once, and two connections are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::reply::ReplyOrder;
use super::slot::ConnectionSlot;

/// Connections to one server at most.
const MAX_CONNECTIONS: usize = 8;

/// Connections to a server that works on many queries at once: the second one is opened when the first has all it may carry.
const USUAL_CONNECTIONS: usize = 2;

/// Connections in a row that end after one reply, from which on each query has one of its own: some servers give no more.
const SINGLE: u32 = 3;

/// Queries after which that is tried again.
const AGAIN: u32 = 1000;

/// A connection that ends so long after its last reply may have ended for want of queries.
const IDLE: Duration = Duration::from_secs(1);

/// How long a query waits before those after it go through another connection that has to be opened for them.
const LATE: Duration = Duration::from_millis(20);

/// See the module's head.
#[derive(Debug)]
pub(super) struct Pool {
    slots: [Arc<ConnectionSlot>; MAX_CONNECTIONS],
    /// A reply came before that to an earlier query, which came later.
    works_on_many: AtomicBool,
    /// Queries have waited for one before them.
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

    /// What a reply tells of the server.
    pub(super) fn note(&self, turn: ReplyOrder) {
        if turn == ReplyOrder::Overtaken {
            self.works_on_many.store(true, Ordering::Relaxed);
        }
    }

    /// A connection has ended that had given so many replies, the last one so long ago.
    pub(super) fn note_end(&self, replies: u64, idle: Duration) {
        match replies {
            // Most servers close a connection through which nothing is asked for seconds.
            1 if idle < IDLE => drop(self.single.fetch_add(1, Ordering::Relaxed)),
            0 | 1 => {}
            _ => self.single.store(0, Ordering::Relaxed),
        }
    }

    /// A query that was sent at `then` has had no reply for long: where the path is lost, it is so for the connections that nobody
    /// waits on as well.
    pub(super) fn note_silence(&self, then: Instant) {
        self.slots.iter().for_each(|slot| slot.forget_unheard(then));
    }

    /// A connection to ask through, and leave to do so.
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

    /// True where connections ended after one reply each; now and then it is looked at again.
    fn gives_one_reply(&self) -> bool {
        let gives_one = self.single.load(Ordering::Relaxed) >= SINGLE;
        if gives_one && self.single.fetch_add(1, Ordering::Relaxed) >= AGAIN {
            self.single.store(0, Ordering::Relaxed);
        }
        gives_one
    }

    /// A new connection for one query alone, as soon as there is room for it: who shared it would lose the reply.
    pub(super) async fn whole(&self) -> Result<(&Arc<ConnectionSlot>, SemaphorePermit<'_>), String> {
        let (permit, place, _) = select_all(self.slots.iter().map(|slot| Box::pin(slot.whole()))).await;
        let slot = &self.slots[place];
        slot.forget_used();
        Ok((slot, permit.map_err(|closed| closed.to_string())?))
    }

    /// A connection on which nobody waits; else one to be opened, where somebody has waited for long on all of them, now or before;
    /// else the one with the fewest who wait.
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
