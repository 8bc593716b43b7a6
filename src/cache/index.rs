//! [`Index`]: from a key's hash to where its entry is.

use super::ring::POSITION;
use crate::util::sync::{AtomicU64, Ordering, zeroed};

/// Slots of a bucket; with the word of their marks they fill a cache line.
const SLOTS: usize = 7;

/// Words of a bucket.
const BUCKET: usize = 8;

/// Bytes of a cache line on every machine this is meant for.
const CACHE_LINE: usize = 64;

/// Which ring an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Where new entries are.
    Small = 0,
    /// Where entries are that were asked for again.
    Main = 1,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexPlace {
    pub(super) ring: Which,
    pub(super) position: u64,
}

/// A slot, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexSlot(usize);

/// How an entry has fared since it was put in its slot.
///
/// Readers write it without a lock, over what others may just have written: a visit may be lost, or be taken for one of
/// the entry that has the slot next. Nothing but what is kept for how long hangs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    const VISITS: u8 = 0b0011;
    const ASKED: u8 = 0b0100;
    const TOLD: u8 = 0b1000;

    /// Visits not yet paid for with a stay in the ring, 0 to 3.
    pub(super) fn visits(self) -> u8 {
        self.0 & Self::VISITS
    }

    /// After one more visit.
    pub(super) fn visited(self) -> Self {
        let visits = (self.visits() + 1).min(Self::VISITS);
        Self(self.0 & !Self::VISITS | visits | Self::ASKED)
    }

    /// After a stay in the ring.
    pub(super) fn stayed(self) -> Self {
        Self(self.0 & !Self::VISITS | self.visits().saturating_sub(1))
    }

    /// Without any visits.
    pub(super) fn unvisited(self) -> Self {
        Self(self.0 & !Self::VISITS)
    }

    /// True where somebody asked since the entry was stored, and nobody was told that it expires.
    pub(super) fn wants_refresh(self) -> bool {
        self.0 & (Self::ASKED | Self::TOLD) == Self::ASKED
    }

    /// After somebody was told that it expires.
    pub(super) fn told(self) -> Self {
        Self(self.0 | Self::TOLD)
    }
}

/// A hash table without keys: every key has two buckets, and a slot has 15 bits of its hash and a place.
///
/// A slot that holds zero is free. The writer changes a slot with one store, so that a reader finds an entry that moves
/// either where it was or where it is.
pub(super) struct Index {
    words: Box<[AtomicU64]>,
    /// The first word that begins a cache line.
    start: usize,
    buckets: usize,
}

impl Index {
    /// An index of at most `bytes`, and of one bucket at least; none where there is no memory for it.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let buckets = (bytes.saturating_sub(CACHE_LINE) / CACHE_LINE).max(1);
        let words = zeroed((buckets + 1) * BUCKET)?;
        let start = words.as_ptr().align_offset(CACHE_LINE).min(BUCKET);
        Some(Self { words, start, buckets })
    }

    /// Number of buckets.
    pub(super) fn buckets(&self) -> usize {
        self.buckets
    }

    /// The first slot that may lead to what has `hash` and of which `is_it` says that it does.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(IndexPlace) -> bool) -> Option<IndexSlot> {
        let tag = tag(hash);
        for bucket in self.buckets_of(hash) {
            let slots = self.words[self.start + bucket * BUCKET..].first_chunk::<SLOTS>()?;
            // All are compared before any is looked into: that takes no branch, and nearly always there is one at most.
            let mut same_tag = 0_u32;
            for (number, slot) in slots.iter().enumerate() {
                same_tag |= u32::from(slot.load(Ordering::Relaxed) >> 48 == tag) << number;
            }
            while same_tag != 0 {
                let number = same_tag.trailing_zeros() as usize;
                if is_it(place_in(slots[number].load(Ordering::Acquire))) {
                    return Some(IndexSlot(bucket * BUCKET + number));
                }
                same_tag &= same_tag - 1;
            }
        }
        None
    }

    /// The slot that leads to `place`, of what has `hash`.
    pub(super) fn slot_of(&self, hash: u64, place: IndexPlace) -> Option<IndexSlot> {
        let word = word_of(hash, place);
        self.slots_of(hash).find(|slot| self.slot(*slot).load(Ordering::Relaxed) == word)
    }

    /// A free slot for what has `hash`: of its two buckets the emptier one's, so that they fill up evenly.
    pub(super) fn free_slot(&self, hash: u64) -> Option<IndexSlot> {
        let is_free = |slot: &IndexSlot| self.place(*slot).is_none();
        let buckets = self.buckets_of(hash);
        let [first, second] = buckets.map(|bucket| self.bucket(bucket).filter(is_free).count());
        self.bucket(buckets[usize::from(second > first)]).find(is_free)
    }

    /// All slots in which what has `hash` can be.
    pub(super) fn slots_of(&self, hash: u64) -> impl Iterator<Item = IndexSlot> + use<'_> {
        self.buckets_of(hash).into_iter().flat_map(|bucket| self.bucket(bucket))
    }

    /// Where `slot` leads to.
    pub(super) fn place(&self, slot: IndexSlot) -> Option<IndexPlace> {
        let word = self.slot(slot).load(Ordering::Relaxed);
        (word != 0).then(|| place_in(word))
    }

    /// Lets `slot` lead to `place`, where an entry was just written whose key has `hash`.
    pub(super) fn set(&self, slot: IndexSlot, hash: u64, place: IndexPlace) {
        self.slot(slot).store(word_of(hash, place), Ordering::Release);
    }

    /// Frees `slot`.
    pub(super) fn clear(&self, slot: IndexSlot) {
        self.slot(slot).store(0, Ordering::Relaxed);
    }

    /// The marks of `slot`.
    pub(super) fn marks(&self, slot: IndexSlot) -> Marks {
        let (word, shift) = self.marks_word(slot);
        Marks((word.load(Ordering::Relaxed) >> shift) as u8)
    }

    /// Changes the marks of `slot`. Where they are as they should be nothing is written, so that the cache line of what is
    /// asked for often stays shared.
    pub(super) fn mark(&self, slot: IndexSlot, marks: Marks) {
        let (word, shift) = self.marks_word(slot);
        let before = word.load(Ordering::Relaxed);
        let after = before & !(0xff << shift) | u64::from(marks.0) << shift;
        if before != after {
            word.store(after, Ordering::Relaxed);
        }
    }

    /// The slots of one bucket.
    pub(super) fn bucket(&self, bucket: usize) -> impl Iterator<Item = IndexSlot> + use<> {
        (bucket * BUCKET..bucket * BUCKET + SLOTS).map(IndexSlot)
    }

    /// The upper half of the hash says the first bucket, the upper half of a multiple of it the second.
    fn buckets_of(&self, hash: u64) -> [usize; 2] {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        [hash, hash.wrapping_mul(ODD)].map(|hash| (((hash >> 32) * self.buckets as u64) >> 32) as usize)
    }

    fn slot(&self, slot: IndexSlot) -> &AtomicU64 {
        &self.words[self.start + slot.0]
    }

    fn marks_word(&self, slot: IndexSlot) -> (&AtomicU64, usize) {
        (&self.words[self.start + (slot.0 | SLOTS)], slot.0 % BUCKET * 8)
    }
}

/// The lowest bits of the hash; never zero.
fn tag(hash: u64) -> u64 {
    hash & 0xffff | 1
}

fn word_of(hash: u64, place: IndexPlace) -> u64 {
    tag(hash) << 48 | (place.ring as u64) << 47 | place.position
}

fn place_in(word: u64) -> IndexPlace {
    let ring = if word >> 47 & 1 == 0 { Which::Small } else { Which::Main };
    IndexPlace { ring, position: word & POSITION }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Whoever found names whose hashes are equal would have them push each other out, and make nobody look longer.
    #[test]
    fn equal_hashes_cost_no_more_than_two_buckets() {
        let (index, hash) = (Index::new(1 << 20).unwrap(), 0x0123_4567_89ab_cdef);
        for position in 1..=1000 {
            if let Some(slot) = index.free_slot(hash) {
                index.set(slot, hash, IndexPlace { ring: Which::Small, position });
            }
        }
        let mut looked_at = Vec::new();
        assert_eq!(
            index.find(hash, |place| {
                looked_at.push(place.position);
                false
            }),
            None
        );
        looked_at.sort_unstable();
        assert_eq!(looked_at, (1..=2 * SLOTS as u64).collect::<Vec<_>>());
    }
}
