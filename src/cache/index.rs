//! [`Index`]: maps a key's hash to the place of its entry.

use super::ring::POSITION;
use crate::util::sync::{AtomicU64, Ordering, zeroed};

/// Slots per bucket. With the word for their marks they fill a cache line.
const SLOTS: usize = 7;

/// Words per bucket.
const BUCKET: usize = 8;

/// Bytes of a cache line on all supported machines.
const CACHE_LINE: usize = 64;

/// The ring of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// For new entries.
    Small = 0,
    /// For entries that were requested again.
    Main = 1,
}

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexPlace {
    pub(super) ring: Which,
    pub(super) position: u64,
}

/// A slot, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexSlot(usize);

/// The use of an entry since it got its slot.
///
/// Readers write marks without a lock, possibly over the marks of other readers. A visit may be lost, or be counted for
/// the next entry in the slot. Marks only affect how long entries stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    const VISITS: u8 = 0b0011;
    const ASKED: u8 = 0b0100;
    const TOLD: u8 = 0b1000;

    /// Visits that can still save the entry from eviction, 0 to 3.
    pub(super) fn visits(self) -> u8 {
        self.0 & Self::VISITS
    }

    /// The marks after one more visit.
    pub(super) fn visited(self) -> Self {
        let visits = (self.visits() + 1).min(Self::VISITS);
        Self(self.0 & !Self::VISITS | visits | Self::ASKED)
    }

    /// The marks after one visit has saved the entry from eviction.
    pub(super) fn stayed(self) -> Self {
        Self(self.0 & !Self::VISITS | self.visits().saturating_sub(1))
    }

    /// The marks without visits.
    pub(super) fn unvisited(self) -> Self {
        Self(self.0 & !Self::VISITS)
    }

    /// True if the entry was requested since it was stored, and was not reported as expiring yet.
    pub(super) fn wants_refresh(self) -> bool {
        self.0 & (Self::ASKED | Self::TOLD) == Self::ASKED
    }

    /// The marks after reporting that the entry expires.
    pub(super) fn told(self) -> Self {
        Self(self.0 | Self::TOLD)
    }
}

/// A hash table without keys. Every key has two buckets; a slot holds 15 bits of its hash, and a place.
///
/// A zero slot is free. The writer changes a slot with a single store, so a reader finds an entry that moves either at
/// its old place or at its new one.
pub(super) struct Index {
    words: Box<[AtomicU64]>,
    /// The first word at a cache line boundary.
    start: usize,
    buckets: usize,
}

impl Index {
    /// An index of at most `bytes`, but at least one bucket; `None` if there is not enough memory.
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

    /// The first slot for `hash` whose place `is_it` accepts.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(IndexPlace) -> bool) -> Option<IndexSlot> {
        let tag = tag(hash);
        for bucket in self.buckets_of(hash) {
            let slots = self.words[self.start + bucket * BUCKET..].first_chunk::<SLOTS>()?;
            // Compares all tags before reading any entry: this needs no branch, and there is nearly always one match at
            // most.
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

    /// The slot of `hash` that points to `place`.
    pub(super) fn slot_of(&self, hash: u64, place: IndexPlace) -> Option<IndexSlot> {
        let word = word_of(hash, place);
        self.slots_of(hash).find(|slot| self.slot(*slot).load(Ordering::Relaxed) == word)
    }

    /// A free slot for `hash`, from the emptier of its two buckets, so that buckets fill evenly.
    pub(super) fn free_slot(&self, hash: u64) -> Option<IndexSlot> {
        let is_free = |slot: &IndexSlot| self.place(*slot).is_none();
        let buckets = self.buckets_of(hash);
        let [first, second] = buckets.map(|bucket| self.bucket(bucket).filter(is_free).count());
        self.bucket(buckets[usize::from(second > first)]).find(is_free)
    }

    /// All slots that may hold `hash`.
    pub(super) fn slots_of(&self, hash: u64) -> impl Iterator<Item = IndexSlot> + use<'_> {
        self.buckets_of(hash).into_iter().flat_map(|bucket| self.bucket(bucket))
    }

    /// The place that `slot` points to.
    pub(super) fn place(&self, slot: IndexSlot) -> Option<IndexPlace> {
        let word = self.slot(slot).load(Ordering::Relaxed);
        (word != 0).then(|| place_in(word))
    }

    /// Points `slot` to `place`, where an entry whose key has `hash` was just written.
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

    /// Changes the marks of `slot`. Writes nothing if they are unchanged, so that the cache line of a popular entry
    /// stays shared.
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

    /// The upper half of the hash selects the first bucket, the upper half of a multiple of it the second.
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

/// The lowest 16 bits of the hash with bit 0 set, so the tag is never zero.
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

    /// Names with equal hashes evict each other, but make no lookup slower.
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
