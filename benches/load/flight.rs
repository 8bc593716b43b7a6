//! [`Flight`]: the outstanding queries of one socket.

use std::time::{Duration, Instant};

use super::reply;
use super::tally::Tally;
use super::workload::{Expected, Workload};

/// Timeout of a query.
const PATIENCE: Duration = Duration::from_secs(1);
/// Maximum number of queries; the low bits of an id are the query's index.
const LARGEST: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 6;

/// The outstanding queries of one socket.
pub(crate) struct Flight {
    slots: Vec<Slot>,
    idle: Vec<usize>,
}

struct Slot {
    message: Vec<u8>,
    id: u16,
    expected: Expected,
    sent: Option<Instant>,
}

impl Flight {
    /// Room for `size` queries at once, at most 64.
    pub(crate) fn new(size: usize) -> Self {
        let size = size.min(LARGEST);
        let slot = |index| Slot {
            message: Vec::with_capacity(128),
            id: index as u16,
            expected: Expected::Blocked,
            sent: None,
        };
        Self { slots: (0..size).map(slot).collect(), idle: (0..size).collect() }
    }

    /// The next query to send, if there is room for one more.
    pub(crate) fn launch(&mut self, workload: &mut Workload, now: Instant) -> Option<&[u8]> {
        let slot = &mut self.slots[self.idle.pop()?];
        // Each reuse of a slot gets a new id, so that a late reply does not match.
        slot.id = slot.id.wrapping_add(LARGEST as u16);
        slot.sent = Some(now);
        (_, slot.expected) = workload.write_next(&mut slot.message);
        slot.message[..2].copy_from_slice(&slot.id.to_be_bytes());
        Some(&slot.message)
    }

    /// Matches a reply to its query. A reply that matches none is stray: it is a duplicate, or came after its query was
    /// counted as lost.
    pub(crate) fn land(&mut self, reply: &[u8], now: Instant, tally: &mut Tally) {
        let Some(&[high, low]) = reply.first_chunk() else { return };
        let id = u16::from_be_bytes([high, low]);
        let index = usize::from(id) % LARGEST;
        let slot = self.slots.get_mut(index).filter(|slot| slot.id == id);
        let Some((slot, sent)) = slot.and_then(|slot| slot.sent.take().map(|sent| (slot, sent))) else {
            tally.stray += 1;
            return;
        };
        self.idle.push(index);
        match reply::judge(reply, &slot.message, slot.expected) {
            Ok(()) => tally.answer(now - sent),
            Err(complaint) => tally.complain(complaint),
        }
    }

    /// Gives up queries past their timeout.
    pub(crate) fn expire(&mut self, now: Instant, tally: &mut Tally) {
        self.give_up(tally, |sent| now - sent > PATIENCE);
    }

    /// Gives up all queries.
    pub(crate) fn abort(&mut self, tally: &mut Tally) {
        self.give_up(tally, |_| true);
    }

    fn give_up(&mut self, tally: &mut Tally, is_over: impl Fn(Instant) -> bool) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.sent.take_if(|sent| is_over(*sent)).is_some() {
                self.idle.push(index);
                tally.lost += 1;
            }
        }
    }
}
