//! [`CacheTable`]: the index and rings shared by readers and the writer.

use rapidhash::quality::RandomState;

use super::entry::CacheEntry;
use super::ghosts::Ghosts;
use super::index::{Index, IndexPlace, IndexSlot, Which};
use super::key::Key;
use super::ring::{Hands, Ring};

/// Total bytes per index slot: the size of an entry with a small answer. With smaller entries the index fills before
/// the rings do.
const BYTES_PER_SLOT: usize = 136;

/// Bytes of the index per slot.
const SLOT: usize = 64 / 7 + 1;

/// The small ring gets one part in ten (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
const SMALL: usize = 10;

/// The entries and their index.
pub(super) struct CacheTable {
    small: Ring,
    main: Ring,
    pub(super) index: Index,
    /// Clients choose names, so hashes must be unpredictable: seeded per process and per table.
    hasher: RandomState,
}

impl CacheTable {
    /// A table of `bytes` in total, with its writer's parts; `None` if there is not enough memory.
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

    /// Copies the entry at `place` into `words`; false if it is gone.
    pub(super) fn read(&self, place: IndexPlace, words: &mut Vec<u64>) -> bool {
        self.ring(place.ring).read(place.position, words)
    }

    /// Finds the entry under `key`, whose hash is `hash`, and copies it into `words`.
    pub(super) fn find(&self, key: Key<'_>, hash: u64, words: &mut Vec<u64>) -> Option<IndexSlot> {
        self.index.find(hash, |place| self.read(place, words) && CacheEntry::has_key(words, key))
    }
}
