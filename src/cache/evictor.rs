//! [`Evictor`]: decides which entries stay, with S3-FIFO (Yang et al., SOSP 2023) on two rings used as logs.
//!
//! A new entry goes to the small ring. When it reaches the end of the small ring, it moves to the main ring if it was
//! requested or the main ring has room; otherwise it is evicted. An answer that is inserted again while still cached,
//! or soon after its eviction, goes to the main ring at once. There, each visit (three at most) saves the entry from
//! eviction once. A name requested once does not displace names requested repeatedly.
//!
//! Replacing an entry appends a new copy, so most of a full ring can be replaced or expired copies. Useful entries stay
//! while compacting can free an eighth of the main ring, except when one insertion has moved [`MAX_MOVES`] entries or
//! no index slot is free.

use super::entry::{CacheEntry, HELD};
use super::ghosts::Ghosts;
use super::index::{IndexPlace, IndexSlot, Marks, Which};
use super::key::Key;
use super::lifetimes::Limits;
use super::ring::Hands;
use super::table::CacheTable;
use crate::policy::route::RouteId;
use crate::wire::answer::{AnswerRef, Lifetime};

/// Maximum entries that one call of `make_room_in_main` moves; bounds its time (about 50 µs).
const MAX_MOVES: usize = 256;

/// The writer of the cache; there is only one.
pub(super) struct Evictor {
    small: Hands,
    main: Hands,
    ghosts: Ghosts,
    entries: usize,
    /// Entries evicted for lack of room since the last [`Evictor::take_evicted`].
    evicted: u64,
    /// Copies of the entry being inserted, and of the entry leaving each ring.
    incoming: Vec<u64>,
    leaving: [Vec<u64>; 2],
}

/// The table, the TTL limits, and the time that one operation uses.
#[derive(Clone, Copy)]
pub(super) struct Context<'t> {
    pub(super) table: &'t CacheTable,
    pub(super) limits: Limits,
    pub(super) now: u64,
}

impl Context<'_> {
    /// True if `entry` can no longer be served.
    fn is_over(&self, entry: &CacheEntry<'_>) -> bool {
        entry.age(self.now) >= self.limits.stale(entry.answer.lifetime())
    }
}

/// The oldest entry of a ring.
struct Oldest {
    place: IndexPlace,
    words: usize,
    /// `None` if the index no longer points to it.
    slot: Option<IndexSlot>,
    hash: u64,
    is_over: bool,
}

impl Evictor {
    pub(super) fn new([small, main]: [Hands; 2], ghosts: Ghosts) -> Self {
        Self {
            small,
            main,
            ghosts,
            entries: 0,
            evicted: 0,
            incoming: Vec::new(),
            leaving: [Vec::new(), Vec::new()],
        }
    }

    /// Entries in the index.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Words of the entries in the index.
    pub(super) fn words(&self) -> usize {
        self.small.live() + self.main.live()
    }

    /// Entries evicted for lack of room since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Stores `answer` under `key`. A failure does not replace an answer that can still be served.
    pub(super) fn insert(&mut self, context: Context<'_>, key: Key<'_>, answer: AnswerRef<'_>) {
        let table = context.table;
        let hash = table.hash(key);
        let before = table.find(key, hash, &mut self.incoming);
        let is_answer =
            |entry: CacheEntry<'_>| entry.answer.lifetime() != Lifetime::Failure && !context.is_over(&entry);
        if answer.lifetime() == Lifetime::Failure
            && before.is_some()
            && CacheEntry::read(&self.incoming).is_some_and(is_answer)
        {
            return;
        }
        let mut entry = std::mem::take(&mut self.incoming);
        CacheEntry::write(&mut entry, key, answer, context.now);
        let is_known = before.is_some() || self.ghosts.take(hash);
        let fits = |which| entry.len() <= table.ring(which).max_entry();
        let which = if is_known || !fits(Which::Small) { Which::Main } else { Which::Small };
        if fits(which) {
            match which {
                Which::Small => self.make_room_in_small(context, entry.len()),
                Which::Main => self.make_room_in_main(context, entry.len()),
            }
            // Making room may have moved or evicted the previous entry, but nothing else has taken its slot.
            let Some(slot) = before.or_else(|| self.free_slot(context, hash)) else { return };
            self.vacate(table, slot);
            table.index.mark(slot, Marks::default());
            self.append(table, which, slot, hash, &entry);
            self.entries += 1;
        }
        self.incoming = entry;
    }

    /// Holds the stale entry under `key` for `held` milliseconds.
    pub(super) fn hold(&mut self, context: Context<'_>, key: Key<'_>, held: u64) {
        let Context { table, limits, now } = context;
        let hash = table.hash(key);
        let slot = table.find(key, hash, &mut self.incoming);
        let Some(place) = slot.and_then(|slot| table.index.place(slot)) else { return };
        let Some(entry) = CacheEntry::read(&self.incoming) else { return };
        let lifetime = entry.answer.lifetime();
        let until = entry.age(now).saturating_add(held).min(limits.stale(lifetime));
        if until > limits.fresh(lifetime) {
            let word = CacheEntry::held_until(&self.incoming, until);
            table.ring(place.ring).put(place.position, HELD, word);
        }
    }

    /// Removes the entries of one bucket for which `keep` returns false.
    pub(super) fn retain(
        &mut self,
        table: &CacheTable,
        bucket: usize,
        keep: impl Fn(&[u8], RouteId) -> bool,
    ) {
        for slot in table.index.bucket(bucket) {
            let Some(place) = table.index.place(slot) else { continue };
            let is_kept = table.read(place, &mut self.incoming)
                && CacheEntry::read(&self.incoming)
                    .is_some_and(|entry| keep(entry.key.name, entry.key.route));
            if !is_kept && self.vacate(table, slot) {
                table.index.clear(slot);
            }
        }
    }

    /// A slot for `hash`. If both buckets are full, reuses the slot of an expired entry, or else of the least visited
    /// one.
    fn free_slot(&mut self, context: Context<'_>, hash: u64) -> Option<IndexSlot> {
        let table = context.table;
        if let Some(slot) = table.index.free_slot(hash) {
            return Some(slot);
        }
        let copy = &mut self.leaving[Which::Small as usize];
        let mut is_of_use = |slot| {
            table.index.place(slot).is_some_and(|place| table.read(place, copy))
                && CacheEntry::read(copy).is_some_and(|entry| !context.is_over(&entry))
        };
        let slots =
            table.index.slots_of(hash).map(|slot| (is_of_use(slot), table.index.marks(slot).visits(), slot));
        let (is_of_use, _, slot) = slots.min_by_key(|(is_of_use, visits, _)| (*is_of_use, *visits))?;
        self.evicted += u64::from(is_of_use);
        Some(slot)
    }

    /// Removes the entry of `slot` from the counts; false if the slot was free. The caller must clear or overwrite the
    /// slot.
    fn vacate(&mut self, table: &CacheTable, slot: IndexSlot) -> bool {
        let Some(place) = table.index.place(slot) else { return false };
        let words = table.ring(place.ring).len_at(place.position);
        self.hands(place.ring).forget(words);
        self.entries -= 1;
        true
    }

    fn make_room_in_small(&mut self, context: Context<'_>, words: usize) {
        let table = context.table;
        while !self.small.has_room(table.ring(Which::Small), words) {
            let Some(oldest) = self.oldest(context, Which::Small) else { return };
            let Some(slot) = self.give_up(table, &oldest) else { continue };
            let marks = table.index.marks(slot);
            if marks.visits() == 0 && !self.main_is_loose(context, oldest.words) {
                self.ghosts.put(oldest.hash);
                self.evict(table, slot);
                continue;
            }
            let entry = std::mem::take(&mut self.leaving[Which::Small as usize]);
            self.make_room_in_main(context, entry.len());
            table.index.mark(slot, marks.unvisited());
            self.append(table, Which::Main, slot, oldest.hash, &entry);
            self.leaving[Which::Small as usize] = entry;
        }
    }

    fn make_room_in_main(&mut self, context: Context<'_>, words: usize) {
        let table = context.table;
        let mut moves = 0;
        while !self.main.has_room(table.ring(Which::Main), words) {
            let Some(oldest) = self.oldest(context, Which::Main) else { return };
            let Some(slot) = self.give_up(table, &oldest) else { continue };
            let marks = table.index.marks(slot);
            let stays = marks.visits() > 0 || self.main.is_loose(oldest.words);
            if !stays || moves == MAX_MOVES {
                self.evict(table, slot);
                continue;
            }
            moves += 1;
            table.index.mark(slot, marks.stayed());
            let entry = std::mem::take(&mut self.leaving[Which::Main as usize]);
            self.append(table, Which::Main, slot, oldest.hash, &entry);
            self.leaving[Which::Main as usize] = entry;
        }
    }

    /// True if the main ring can take an entry of `words` without evicting a useful one.
    fn main_is_loose(&mut self, context: Context<'_>, words: usize) -> bool {
        for _ in 0..MAX_MOVES {
            if self.main.is_loose(words) {
                return true;
            }
            match self.oldest(context, Which::Main) {
                Some(oldest) if oldest.slot.is_none() || oldest.is_over => {
                    self.give_up(context.table, &oldest)
                }
                _ => return false,
            };
        }
        false
    }

    /// The oldest entry of a ring, copied to `leaving`.
    fn oldest(&mut self, context: Context<'_>, ring: Which) -> Option<Oldest> {
        let table = context.table;
        let position = self.hands(ring).oldest()?;
        let place = IndexPlace { ring, position };
        let words = &mut self.leaving[ring as usize];
        if !table.read(place, words) {
            return None;
        }
        let entry = CacheEntry::read(words)?;
        let hash = table.hash(entry.key);
        let slot = table.index.slot_of(hash, place);
        Some(Oldest { place, words: words.len(), slot, hash, is_over: context.is_over(&entry) })
    }

    /// Frees the oldest entry's space in its ring. Clears the slot of an expired entry; otherwise returns the slot,
    /// which the caller must point to a new position or clear.
    fn give_up(&mut self, table: &CacheTable, oldest: &Oldest) -> Option<IndexSlot> {
        let ring = oldest.place.ring;
        self.hands(ring).give_up_oldest(table.ring(ring), oldest.words);
        let slot = oldest.slot?;
        self.hands(ring).forget(oldest.words);
        if oldest.is_over {
            table.index.clear(slot);
            self.entries -= 1;
            return None;
        }
        Some(slot)
    }

    /// Evicts a useful entry: frees its slot. Its ring space is already free.
    fn evict(&mut self, table: &CacheTable, slot: IndexSlot) {
        table.index.clear(slot);
        self.entries -= 1;
        self.evicted += 1;
    }

    /// Appends an entry to a ring that has room, and points `slot` to it.
    fn append(&mut self, table: &CacheTable, ring: Which, slot: IndexSlot, hash: u64, entry: &[u64]) {
        let position = self.hands(ring).append(table.ring(ring), entry);
        table.index.set(slot, hash, IndexPlace { ring, position });
    }

    fn hands(&mut self, ring: Which) -> &mut Hands {
        match ring {
            Which::Small => &mut self.small,
            Which::Main => &mut self.main,
        }
    }
}
