//! [`CacheTable`]: what readers and the writer share.

use rapidhash::quality::RandomState;

use super::entry::CacheEntry;
use super::ghosts::Ghosts;
use super::index::{Index, IndexPlace, IndexSlot, Which};
use super::key::Key;
use super::ring::{Hands, Ring};

/// Bytes of the whole for each slot of the index: what an entry takes whose answer is small. Where entries are smaller
/// still, the index is full before the rings are.
const BYTES_PER_SLOT: usize = 136;

/// Bytes of the index for each slot.
const SLOT: usize = 64 / 7 + 1;

/// The small ring's part of both: one in ten (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
const SMALL: usize = 10;

/// Entries, and the index that leads to them.
pub(super) struct CacheTable {
    small: Ring,
    main: Ring,
    pub(super) index: Index,
    /// Names are chosen by clients, so that hashes must not be foreseeable: seeded by the process and by the table.
    hasher: RandomState,
}

impl CacheTable {
    /// A table of `bytes` with all that belongs to it; none where there is no memory for it.
    pub(super) fn new(bytes: usize) -> Option<(Self, Ghosts, [Hands; 2])> {
        let slots = bytes / BYTES_PER_SLOT;
        let words = (bytes - slots * (SLOT + size_of::<u16>())) / size_of::<u64>();
        let small = Ring::new(words / SMALL)?;
        let main = Ring::new(words - words / SMALL)?;
        let index = Index::new(slots * SLOT)?;
        let ghosts = Ghosts::new(slots)?;
        let hands = [Hands::new(&small), Hands::new(&main)];
        Some((Self { small, main, index, hasher: RandomState::new() }, ghosts, hands))
    }

    /// The hash of `key` in this table.
    pub(super) fn hash(&self, key: Key<'_>) -> u64 {
        key.hash(&self.hasher)
    }

    /// One of the rings.
    pub(super) fn ring(&self, which: Which) -> &Ring {
        match which {
            Which::Small => &self.small,
            Which::Main => &self.main,
        }
    }

    /// Copies the entry at `place` into `words`; false where it is gone.
    pub(super) fn read(&self, place: IndexPlace, words: &mut Vec<u64>) -> bool {
        self.ring(place.ring).read(place.position, words)
    }

    /// Finds the entry kept under `key`, whose hash is `hash`, and leaves a copy of it in `words`.
    pub(super) fn find(&self, key: Key<'_>, hash: u64, words: &mut Vec<u64>) -> Option<IndexSlot> {
        self.index.find(hash, |place| self.read(place, words) && CacheEntry::has_key(words, key))
    }
}
