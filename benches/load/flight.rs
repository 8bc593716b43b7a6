//! [`Flight`]: the queries of one socket that wait for their replies.

use std::time::{Duration, Instant};

use super::reply;
use super::tally::Tally;
use super::workload::{Expected, Workload};

/// How long a query is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most queries of one flight; the low bits of an id tell which it is.
const LARGEST: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 6;

/// The queries of one socket that wait for their replies.
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
        // Each turn of a slot has another id, so that what comes too late is not taken for the answer.
        slot.id = slot.id.wrapping_add(LARGEST as u16);
        slot.sent = Some(now);
        (_, slot.expected) = workload.write_next(&mut slot.message);
        slot.message[..2].copy_from_slice(&slot.id.to_be_bytes());
        Some(&slot.message)
    }

    /// Takes a reply in. One that belongs to no waiting query is stray: it came twice, or too late, and was counted as lost.
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

    /// Gives up the queries that waited too long.
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
