//! [`Ring`]: entries as consecutive words, read without a lock while new entries overwrite the oldest.
//!
//! # Positions
//!
//! Entries are written at ever-increasing positions. The low bits of a position are the offset in the ring, the bits
//! above count laps, and no entry spans the end of a lap. One writer, the owner of the ring's [`Hands`], appends at the
//! head and frees entries at the tail.
//!
//! # Why a reader without a lock never sees half of another entry
//!
//! A reader copies an entry's words and then checks whether the tail has passed the entry's position; if so, it
//! discards the copy. That suffices, because for every copied word:
//!
//! - The word is not older than the entry: the reader got the position from the index with an Acquire load, which the
//!   writer stored with Release after it wrote the words.
//! - If the word is newer than the entry, the reader sees that the tail has passed: the writer moves the tail, issues a
//!   Release fence, and only then overwrites. A reader that loads a new word and then issues an
//!   Acquire fence synchronises with the writer's fence, so its later load of the tail sees that tail or a later one (the
//!   fences make it a seqlock, as in
//!   Boehm, "Can seqlocks get along with programming language memory models?", 2012).
//!
//! All words are atomics, so a race yields at worst a mix of old and new words. The word that says how long an entry is
//! held may change in place: either value is valid with the other words.

use super::entry::{CacheEntry, HEADER, MAX_WORDS};
use crate::util::sync::{AtomicU64, Ordering, fence, zeroed};

/// Mask of a position's bits. Positions are compared modulo 2^47, so overflow is harmless.
pub(super) const POSITION: u64 = (1 << 47) - 1;

/// Steps by which the used part grows from nothing to the whole ring.
const STEPS: usize = 16;

/// The part of a ring shared by readers and the writer.
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// The tail as readers see it.
    tail: AtomicU64,
    /// Positions per lap: a power of two, at least the number of words.
    lap: u64,
}

impl Ring {
    /// A ring of `words` words; `None` if there is not enough memory. Words never written use no memory.
    pub(super) fn new(words: usize) -> Option<Self> {
        let lap = words.next_power_of_two() as u64;
        Some(Self { words: zeroed(words)?, tail: AtomicU64::new(lap), lap })
    }

    /// Words of the largest entry accepted: [`MAX_WORDS`], but at most an eighth of the ring.
    pub(super) fn max_entry(&self) -> usize {
        (self.words.len() / 8).min(MAX_WORDS)
    }

    /// Copies the entry at `position` into `copy`; false if the entry is gone.
    pub(super) fn read(&self, position: u64, copy: &mut Vec<u64>) -> bool {
        let start = self.offset(position);
        let Some(header) = self.words.get(start..start + HEADER).filter(|_| self.has(position)) else {
            return false;
        };
        let header: [u64; HEADER] = std::array::from_fn(|index| header[index].load(Ordering::Relaxed));
        // The lengths in a torn header are meaningless, but must not cause an access out of bounds.
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

    /// Words of the entry at `position`, which the writer knows to exist.
    pub(super) fn len_at(&self, position: u64) -> usize {
        let start = self.offset(position);
        let header: [u64; HEADER] =
            std::array::from_fn(|index| self.words[start + index].load(Ordering::Relaxed));
        CacheEntry::len(&header)
    }

    /// Stores `word` in the entry at `position`, which the writer knows to exist.
    pub(super) fn put(&self, position: u64, index: usize, word: u64) {
        self.words[self.offset(position) + index].store(word, Ordering::Relaxed);
    }

    /// False if the tail has passed `position`.
    fn has(&self, position: u64) -> bool {
        position.wrapping_sub(self.tail.load(Ordering::Relaxed)) & POSITION < self.lap
    }

    fn offset(&self, position: u64) -> usize {
        (position & (self.lap - 1)) as usize
    }
}

/// The writer's part of a ring.
///
/// A lap uses only part of the ring while that is enough, so memory never written stays untouched.
pub(super) struct Hands {
    head: u64,
    tail: u64,
    /// The end of the lap before the head's.
    lap_end: u64,
    /// A lap ends with the first entry that reaches this offset.
    extent: usize,
    /// The largest extent. The rest of the ring is for the entry that crosses it.
    max_extent: usize,
    /// Words of entries in the index.
    live: usize,
}

impl Hands {
    pub(super) fn new(ring: &Ring) -> Self {
        let max_extent = ring.words.len() - ring.max_entry();
        let extent = max_extent.div_ceil(STEPS);
        Self { head: ring.lap, tail: ring.lap, lap_end: 0, extent, max_extent, live: 0 }
    }

    /// Words of entries in the index.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// True if, after adding `words`, at least an eighth of the ring would be free or hold entries no longer in the
    /// index: compacting frees room without evicting an entry.
    pub(super) fn is_loose(&self, words: usize) -> bool {
        self.live + words <= self.max_extent - self.max_extent / 8
    }

    /// True if `words` fit after the newest entry.
    pub(super) fn has_room(&self, ring: &Ring, words: usize) -> bool {
        self.head + words as u64 - ring.lap <= self.tail
    }

    /// Position of the oldest entry.
    pub(super) fn oldest(&self) -> Option<u64> {
        (self.tail != self.head).then_some(self.tail & POSITION)
    }

    /// Writes an entry, for which there must be room, and returns its position. The entry counts as live.
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

    /// Frees the oldest entry, of `words` words. From here on readers see that it is gone.
    pub(super) fn give_up_oldest(&mut self, ring: &Ring, words: usize) {
        self.tail += words as u64;
        if self.tail == self.lap_end {
            self.tail = self.next_lap(ring, self.lap_end);
        }
        self.publish_tail(ring);
    }

    /// Stops counting an entry of `words` words that is no longer in the index.
    pub(super) fn forget(&mut self, words: usize) {
        self.live -= words;
    }

    /// At the end of a lap: extends the lap if most of it is live, otherwise begins the next one.
    ///
    /// When the head reaches the end of its lap, the tail is already in the same lap: it is at most one lap behind, and in
    /// the previous lap no entry began at an offset as high as the head's.
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

    /// An entry of 8 words, identified by its type.
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
