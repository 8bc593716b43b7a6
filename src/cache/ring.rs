//! [`Ring`]: entries as words, one behind the other, read without a lock while the oldest make room for the newest.
//!
//! # Places
//!
//! Entries are written at positions that only grow. A position's low bits say where in the ring it is, the bits above count
//! laps, and an entry is never cut by the end of a lap. One writer appends at the head and gives up entries at the tail;
//! it is the owner of the ring's [`Hands`].
//!
//! # Why a reader without a lock never sees half of another entry
//!
//! A reader copies an entry's words and then looks whether the tail has passed the entry's position; if so it throws the
//! copy away. That is enough, because for every word it copied
//!
//! - the word is not older than the entry: the reader got the position from the index with an Acquire load, which the
//!   writer had put there with a Release store after it wrote the words;
//! - if the word is newer than the entry, the tail is seen to have passed: the writer moves the tail, issues a Release
//!   fence, and only then overwrites; a reader that saw an overwritten word and issues an Acquire fence is synchronised
//!   with that fence, and so its later load sees that tail, or one further on (the fences make it a seqlock, as in Boehm,
//!   "Can seqlocks get along with programming language memory models?", 2012).
//!
//! All words are atomics, so that a race is a mix of old and new words and nothing worse. The word that says how long an
//! entry is held may change in place: either value of it goes with all the others.

use super::entry::{CacheEntry, HEADER, MAX_WORDS};
use crate::util::sync::{AtomicU64, Ordering, fence, zeroed};

/// Bits of a position that are kept; positions are compared modulo this, so that it does not matter when they run over.
pub(super) const POSITION: u64 = (1 << 47) - 1;

/// Growth steps from nothing to the whole ring.
const STEPS: usize = 16;

/// The half of a ring that everybody shares.
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// The tail as readers see it.
    tail: AtomicU64,
    /// Positions per lap: a power of two, at least the number of words.
    lap: u64,
}

impl Ring {
    /// A ring of `words` words; none where there is no memory for them. Memory that was never written takes none.
    pub(super) fn new(words: usize) -> Option<Self> {
        let lap = words.next_power_of_two() as u64;
        Some(Self { words: zeroed(words)?, tail: AtomicU64::new(lap), lap })
    }

    /// Words of the largest entry it takes: any that there can be, but at most an eighth of the ring.
    pub(super) fn max_entry(&self) -> usize {
        (self.words.len() / 8).min(MAX_WORDS)
    }

    /// Copies the entry at `position` into `copy`; false where the entry is gone.
    pub(super) fn read(&self, position: u64, copy: &mut Vec<u64>) -> bool {
        let start = self.offset(position);
        let Some(header) = self.words.get(start..start + HEADER).filter(|_| self.has(position)) else {
            return false;
        };
        let header: [u64; HEADER] = std::array::from_fn(|index| header[index].load(Ordering::Relaxed));
        // Where the header is torn its lengths say nothing, but they must do no harm.
        let end = start + CacheEntry::len(&header);
        let Some(words) = self.words.get(start..end).filter(|words| words.len() <= self.max_entry()) else {
            return false;
        };
        copy.resize(words.len(), 0);
        let (fours, rest) = words.as_chunks::<4>();
        let (copied_fours, copied_rest) = copy.as_chunks_mut::<4>();
        for (copied, four) in copied_fours.iter_mut().zip(fours) {
            *copied = four.each_ref().map(|word| word.load(Ordering::Relaxed));
        }
        for (copied, word) in copied_rest.iter_mut().zip(rest) {
            *copied = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        self.has(position)
    }

    /// Words of the entry at `position`, which the writer knows to be there.
    pub(super) fn len_at(&self, position: u64) -> usize {
        let start = self.offset(position);
        let header: [u64; HEADER] =
            std::array::from_fn(|index| self.words[start + index].load(Ordering::Relaxed));
        CacheEntry::len(&header)
    }

    /// Puts `word` into the entry at `position`, which the writer knows to be there.
    pub(super) fn put(&self, position: u64, index: usize, word: u64) {
        self.words[self.offset(position) + index].store(word, Ordering::Relaxed);
    }

    /// False where the tail has passed `position`.
    fn has(&self, position: u64) -> bool {
        position.wrapping_sub(self.tail.load(Ordering::Relaxed)) & POSITION < self.lap
    }

    fn offset(&self, position: u64) -> usize {
        (position & (self.lap - 1)) as usize
    }
}

/// The writer's half of a ring.
///
/// A lap does not go round the whole ring while less of it will do: memory that was never written stays untouched.
pub(super) struct Hands {
    head: u64,
    tail: u64,
    /// Where the lap before the head's ended.
    lap_end: u64,
    /// A lap ends with the first entry that reaches this offset.
    extent: usize,
    /// The largest extent: the rest of the ring is for the entry that reaches beyond it.
    max_extent: usize,
    /// Words of entries that the index leads to.
    live: usize,
}

impl Hands {
    pub(super) fn new(ring: &Ring) -> Self {
        let max_extent = ring.words.len() - ring.max_entry();
        let extent = max_extent.div_ceil(STEPS);
        Self { head: ring.lap, tail: ring.lap, lap_end: 0, extent, max_extent, live: 0 }
    }

    /// Words of entries that the index leads to.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// True where at least an eighth of the ring is free or holds what the index does not lead to: room is to be had by
    /// moving entries together, and none needs to be put out for it.
    pub(super) fn is_loose(&self, words: usize) -> bool {
        self.live + words <= self.max_extent - self.max_extent / 8
    }

    /// True where `words` fit in behind the newest entry.
    pub(super) fn has_room(&self, ring: &Ring, words: usize) -> bool {
        self.head + words as u64 - ring.lap <= self.tail
    }

    /// Position of the oldest entry.
    pub(super) fn oldest(&self) -> Option<u64> {
        (self.tail != self.head).then_some(self.tail & POSITION)
    }

    /// Writes an entry, for which there is room, and tells where. It is live from now on.
    pub(super) fn append(&mut self, ring: &Ring, entry: &[u64]) -> u64 {
        let position = self.head;
        let start = ring.offset(position);
        for (word, value) in ring.words[start..start + entry.len()].iter().zip(entry) {
            word.store(*value, Ordering::Relaxed);
        }
        self.head += entry.len() as u64;
        self.live += entry.len();
        self.turn(ring);
        position & POSITION
    }

    /// Gives up the oldest entry, of `words` words: from here on readers know that it is gone.
    pub(super) fn give_up_oldest(&mut self, ring: &Ring, words: usize) {
        self.tail += words as u64;
        if self.tail == self.lap_end {
            self.tail = self.next_lap(ring, self.lap_end);
        }
        self.publish_tail(ring);
    }

    /// Notes that the index leads to an entry of `words` words no more.
    pub(super) fn forget(&mut self, words: usize) {
        self.live -= words;
    }

    /// At the end of a lap: lengthens it where most of it is live, else begins the next one.
    ///
    /// The tail is then in the head's lap: it is at most one lap behind, and in the lap before no entry began at an
    /// offset as high as the head's now.
    fn turn(&mut self, ring: &Ring) {
        let offset = ring.offset(self.head);
        while offset >= self.extent && self.extent < self.max_extent && self.live > self.extent / 4 * 3 {
            self.extent = (self.extent + self.max_extent.div_ceil(STEPS)).min(self.max_extent);
        }
        if offset < self.extent {
            return;
        }
        self.lap_end = self.head;
        self.head = self.next_lap(ring, self.head);
        if self.tail == self.lap_end {
            self.tail = self.head;
            self.publish_tail(ring);
        }
    }

    fn next_lap(&self, ring: &Ring, position: u64) -> u64 {
        (position | (ring.lap - 1)) + 1
    }

    fn publish_tail(&self, ring: &Ring) {
        ring.tail.store(self.tail & POSITION, Ordering::Relaxed);
        fence(Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cache::key::Key;
    use crate::policy::route::RouteId;
    use crate::wire::answer::{Answer, Lifetime};
    use crate::wire::code::{ErrorCode, Type};
    use crate::wire::request::AnswerFlags;

    /// An entry of 8 words that is told from others by its type.
    fn entry(number: u16) -> Vec<u64> {
        let answer = Answer::failure(ErrorCode(0), "0123456789012345", Lifetime::Failure);
        let key = Key {
            name: b"\x08a.b.c.d.\0",
            qtype: Type(number),
            flags: AnswerFlags::default(),
            route: RouteId(0),
        };
        let mut words = Vec::new();
        CacheEntry::write(&mut words, key, answer.as_ref(), 0);
        assert_eq!(words.len(), 8);
        words
    }

    #[test]
    fn entries_are_there_until_they_are_given_up() {
        let ring = Ring::new(200).unwrap();
        let mut hands = Hands::new(&ring);
        let mut kept = std::collections::VecDeque::new();
        let mut copy = Vec::new();
        let mut gone = Vec::new();
        for number in 0..10_000 {
            while !hands.has_room(&ring, 8) {
                let (position, _) = kept.pop_front().unwrap();
                assert_eq!(hands.oldest(), Some(position));
                hands.give_up_oldest(&ring, 8);
                hands.forget(8);
                gone.push(position);
            }
            kept.push_back((hands.append(&ring, &entry(number)), number));
            for (position, number) in &kept {
                assert!(ring.read(*position, &mut copy));
                assert_eq!(copy, entry(*number));
            }
            assert!(gone.iter().rev().take(20).all(|position| !ring.read(*position, &mut copy)));
        }
        assert!(kept.len() * 8 > 200 / 8 * 7 - 8, "{} entries", kept.len());
    }

    #[test]
    fn memory_is_touched_only_as_it_is_needed() {
        let ring = Ring::new(100_000).unwrap();
        let mut hands = Hands::new(&ring);
        for number in 0..60_000 {
            while !hands.has_room(&ring, 8) {
                hands.give_up_oldest(&ring, 8);
            }
            hands.append(&ring, &entry(number));
            // All but the newest 500 were replaced.
            if hands.live() > 4000 {
                hands.forget(8);
            }
        }
        let touched = ring.words.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count();
        assert!(touched < 12_000, "{touched} words");
    }
}
