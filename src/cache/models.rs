//! The cache's readers and its writer in every order that the memory model allows; checks the claims of `ring`.

#![allow(clippy::unwrap_used)]

use loom::sync::Arc;
use loom::thread;

use super::entry::{CacheEntry, HELD};
use super::index::{Index, IndexPlace, IndexSlot, Which};
use super::key::Key;
use super::ring::{Hands, Ring};
use crate::policy::route::RouteId;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::{ErrorCode, Type};
use crate::wire::request::AnswerFlags;

/// Words of a ring whose first laps hold two of the entries below: every third entry overwrites the first.
const RING: usize = 48;

/// Words per entry: a header, a name, an answer.
const ENTRY: usize = 6;

/// Thread switches explored in every combination, besides those where a thread waits.
const PREEMPTIONS: usize = 2;

/// Both names have the same hash, so only comparing the keys tells them apart.
const HASH: u64 = 0x1234_5678_9abc_def0;

/// An entry for `name` whose answer is unique.
fn entry(name: &[u8; 3], text: &str) -> Vec<u64> {
    let answer = Answer::failure(ErrorCode(0), text, Lifetime::Failure);
    let mut words = Vec::new();
    CacheEntry::write(&mut words, key(name), answer.as_ref(), 0);
    assert_eq!(words.len(), ENTRY);
    words
}

fn key(name: &[u8; 3]) -> Key<'_> {
    Key { name, qtype: Type(1), flags: AnswerFlags::default(), route: RouteId(0) }
}

/// State shared by readers and the writer.
struct Shared {
    index: Index,
    ring: Ring,
}

impl Shared {
    /// State with one entry.
    fn with(words: &[u64]) -> (Arc<Self>, Hands, IndexSlot) {
        let shared = Self { index: Index::new(0).unwrap(), ring: Ring::new(RING).unwrap() };
        let mut hands = Hands::new(&shared.ring);
        let slot = shared.index.free_slot(HASH).unwrap();
        let position = hands.append(&shared.ring, words);
        shared.index.set(slot, HASH, IndexPlace { ring: Which::Small, position });
        (Arc::new(shared), hands, slot)
    }

    /// Replaces an entry as the evictor does: frees its space, overwrites it, then updates the index.
    fn replace(&self, hands: &mut Hands, slot: IndexSlot, words: &[u64]) {
        hands.give_up_oldest(&self.ring, ENTRY);
        hands.forget(ENTRY);
        assert!(hands.has_room(&self.ring, ENTRY));
        let position = hands.append(&self.ring, words);
        self.index.set(slot, HASH, IndexPlace { ring: Which::Small, position });
    }

    /// Finds an entry as the table does.
    fn find(&self, name: &[u8; 3]) -> Option<Vec<u64>> {
        let mut words = Vec::new();
        let is_it = |place: IndexPlace| {
            self.ring.read(place.position, &mut words) && CacheEntry::has_key(&words, key(name))
        };
        self.index.find(HASH, is_it)?;
        Some(words)
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

#[test]
fn an_entry_is_found_whole_or_not_while_another_takes_its_words() {
    explore(|| {
        let [first, second] = [entry(b"\x01a\0", "0123"), entry(b"\x01b\0", "4567")];
        let (shared, mut hands, slot) = Shared::with(&first);
        let reader = {
            let (shared, first, second) = (Arc::clone(&shared), first.clone(), second.clone());
            thread::spawn(move || {
                assert!(shared.find(b"\x01a\0").is_none_or(|found| found == first));
                assert!(shared.find(b"\x01b\0").is_none_or(|found| found == second));
            })
        };
        shared.replace(&mut hands, slot, &first);
        shared.replace(&mut hands, slot, &second);
        reader.join().unwrap();
        assert_eq!(shared.find(b"\x01b\0"), Some(second));
    });
}

#[test]
fn a_newer_answer_never_gives_way_to_the_older() {
    explore(|| {
        let [oldest, older, newer] = ["0123", "4567", "89ab"].map(|text| entry(b"\x01a\0", text));
        let (shared, mut hands, slot) = Shared::with(&oldest);
        let reader = {
            let (shared, versions) = (Arc::clone(&shared), [oldest, older.clone(), newer.clone()]);
            thread::spawn(move || {
                let version = |found| versions.iter().position(|version| *version == found).unwrap();
                let [first, second] = [(); 2].map(|()| shared.find(b"\x01a\0").map(version));
                assert!(second.is_none() || first <= second, "an older answer came back");
            })
        };
        shared.replace(&mut hands, slot, &older);
        shared.replace(&mut hands, slot, &newer);
        reader.join().unwrap();
    });
}

#[test]
fn the_word_that_changes_in_place_goes_with_all_the_others() {
    explore(|| {
        let words = entry(b"\x01a\0", "0123");
        let (shared, _, _) = Shared::with(&words);
        let position = shared.index.place(shared.index.slots_of(HASH).next().unwrap()).unwrap().position;
        let mut held = words.clone();
        held[HELD] = CacheEntry::held_until(&words, 30_000);
        let reader = {
            let (shared, held) = (Arc::clone(&shared), held.clone());
            thread::spawn(move || {
                let found = shared.find(b"\x01a\0").unwrap();
                assert!(found == words || found == held);
            })
        };
        shared.ring.put(position, HELD, held[HELD]);
        reader.join().unwrap();
        assert_eq!(shared.find(b"\x01a\0"), Some(held));
    });
}
