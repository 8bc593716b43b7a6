//! [`Trie`]: a suffix trie over wire-format labels, in three flat arrays.
//!
//! A node stands for a suffix (`ms`, `azureml.ms`, …); the edge to a child is found by hashing the child's whole
//! suffix, label by label from the right, into one open-addressed table. A lookup stops at the first suffix that is
//! no node, so that a name outside the list costs as many probes as labels it shares with it, plus one. Hashes only
//! find slots: the bytes of the longest suffix found are always compared, so that no collision can allow a name.
//!
//! ```text
//! slots   [ hash | name → | rule → ]    one per node, 12 bytes, in the order of hashes, at most 80 % full
//! names   …\x07azureml\x02ms\0…         wire format; a node's name may be the tail of a longer one
//! rules   [ name → | line | source | action, scope ]
//! ```

mod builder;

use std::hash::BuildHasher;

pub use builder::TrieBuilder;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline};

use super::rule::{Action, Scope};
use crate::wire::name::{MAX_LABELS, Name};

/// Most rules one trie holds: rule numbers share a word with two bits that say what they stand for.
pub const MAX_RULES: usize = 1 << 30;

/// Number of a rule within its trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u32);

/// A rule as the trie keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    name: u32,
    pub(super) line: u32,
    pub(super) source: u16,
    pub(super) action: Action,
    pub(super) scope: Scope,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    name: u32,
    place: Place,
}

impl Slot {
    /// No node: the offset can be no name's, since names are never empty.
    const FREE: Self = Self { hash: u32::MAX, name: u32::MAX, place: Place::NONE };

    fn is_free(self) -> bool {
        self.name == u32::MAX
    }
}

/// The rules of one node, packed: two bits say for what the other thirty stand.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const NONE: Self = Self(u32::MAX);
    const EXACT: u32 = 0 << 30;
    const BELOW: u32 = 1 << 30;
    const BOTH: u32 = 2 << 30;
    const PAIR: u32 = 3 << 30;
    const INDEX: u32 = (1 << 30) - 1;
}

/// The rule for a node's own name and the rule for names below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NodeRules {
    exact: Option<RuleId>,
    below: Option<RuleId>,
}

impl NodeRules {
    /// The rule for a name whose label number `index` the node stands for: its own for the first label, else the one
    /// for names below.
    fn for_label(self, index: usize) -> Option<RuleId> {
        if index == 0 { self.exact } else { self.below }
    }
}

/// What a hash leads to.
enum Probe {
    /// No node.
    Absent,
    /// The only node with this hash.
    Slot(Slot),
    /// Several nodes with this hash.
    Ambiguous,
}

/// A compiled set of rules; see the module's head.
pub struct Trie {
    /// In the order of their hashes, each at or behind its [`first_slot`]; at least one free slot at the end.
    slots: Box<[Slot]>,
    /// Number of slots that hashes are spread over; those behind take what runs over.
    spread: usize,
    names: Box<[u8]>,
    rules: Box<[Rule]>,
    /// Rules of nodes whose own name and subtree are ruled differently.
    pairs: Box<[NodeRules]>,
    hasher: SuffixHasher,
}

impl Trie {
    /// The most specific rule that covers `name`: exact over subtree, longer over shorter.
    pub fn find(&self, name: &Name) -> Option<RuleId> {
        let bytes = name.as_bytes();
        let (starts, count) = label_starts(bytes);
        let mut hash = self.hasher.seed;
        let mut end = bytes.len() - 1;
        let mut best = None;
        let mut deepest = None;
        for index in (0..count).rev() {
            let start = usize::from(starts[index]);
            hash = self.hasher.extend(hash, &bytes[start..end]);
            end = start;
            match self.probe(fold(hash)) {
                Probe::Absent => break,
                Probe::Ambiguous => return self.find_by_bytes(bytes, &starts[..count]),
                Probe::Slot(slot) => {
                    best = self.rules_at(slot).for_label(index).or(best);
                    deepest = Some((slot, start));
                }
            }
        }
        // A hash that one node has names that node or no node; and where a node's bytes are the name's, all nodes
        // above it are the name's suffixes too. So one comparison vouches for the whole walk.
        let (slot, start) = deepest?;
        match has_suffix(&self.names, slot.name, &bytes[start..]) {
            true => best,
            false => self.find_by_bytes(bytes, &starts[..count]),
        }
    }

    /// The same, comparing bytes at every step: for the rare names whose hashes do not tell nodes apart.
    #[cold]
    fn find_by_bytes(&self, bytes: &[u8], starts: &[u8]) -> Option<RuleId> {
        let mut hash = self.hasher.seed;
        let mut end = bytes.len() - 1;
        let mut best = None;
        for (index, start) in starts.iter().enumerate().rev() {
            let start = usize::from(*start);
            hash = self.hasher.extend(hash, &bytes[start..end]);
            end = start;
            let folded = fold(hash);
            let run =
                self.slots[first_slot(folded, self.spread)..].iter().take_while(|slot| slot.hash <= folded);
            let mut found = run.filter(|slot| slot.hash == folded);
            let Some(slot) = found.find(|slot| has_suffix(&self.names, slot.name, &bytes[start..])) else {
                break;
            };
            best = self.rules_at(*slot).for_label(index).or(best);
        }
        best
    }

    fn probe(&self, hash: u32) -> Probe {
        let mut index = first_slot(hash, self.spread);
        // Slots are in the order of their hashes, and the last one is free.
        while self.slots[index].hash < hash {
            index += 1;
        }
        let slot = self.slots[index];
        match slot.hash == hash && !slot.is_free() {
            false => Probe::Absent,
            true if self.slots[index + 1].hash == hash => Probe::Ambiguous,
            true => Probe::Slot(slot),
        }
    }

    fn rules_at(&self, slot: Slot) -> NodeRules {
        unpack(slot.place, &self.pairs)
    }

    pub(super) fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    pub(super) fn has(&self, id: RuleId) -> bool {
        (id.0 as usize) < self.rules.len()
    }

    /// Wire-format bytes that begin with the rule's name.
    pub(super) fn name(&self, rule: &Rule) -> &[u8] {
        &self.names[rule.name as usize..]
    }

    /// Rules held, those that another rule of the same pattern hides included.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        size_of_val(&*self.slots) + self.names.len() + size_of_val(&*self.rules) + size_of_val(&*self.pairs)
    }
}

/// Hashes a suffix label by label from the right. Seeded by the process, since clients choose the names.
#[derive(Clone)]
struct SuffixHasher {
    seed: u64,
    secrets: RapidSecrets,
}

impl SuffixHasher {
    fn random() -> Self {
        let seed = std::hash::RandomState::new().hash_one(0);
        Self { seed, secrets: RapidSecrets::seed(seed) }
    }

    /// The hash of `label` (with its length byte) put before the suffix hashed so far.
    fn extend(&self, suffix: u64, label: &[u8]) -> u64 {
        suffix.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ rapidhash_v3_nano_inline::<true, false>(label, &self.secrets)
    }
}

/// The 32 bits of a hash that a slot keeps and is found by.
fn fold(hash: u64) -> u32 {
    (hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

/// Where a hash belongs in a table of any size; keeps the order of hashes, so that rehashing runs straight through.
fn first_slot(hash: u32, slots: usize) -> usize {
    ((u64::from(hash) * slots as u64) >> 32) as usize
}

/// Where each label of a wire-format name starts, leftmost first, and how many there are.
fn label_starts(bytes: &[u8]) -> ([u8; MAX_LABELS], usize) {
    let mut starts = [0; MAX_LABELS];
    let mut count = 0;
    let mut at = 0;
    while bytes[at] != 0 {
        starts[count] = at as u8;
        count += 1;
        at += 1 + usize::from(bytes[at]);
    }
    (starts, count)
}

fn has_suffix(names: &[u8], name: u32, suffix: &[u8]) -> bool {
    names.get(name as usize..).is_some_and(|tail| tail.starts_with(suffix))
}

fn unpack(place: Place, pairs: &[NodeRules]) -> NodeRules {
    if place == Place::NONE {
        return NodeRules::default();
    }
    let index = place.0 & Place::INDEX;
    let rule = Some(RuleId(index));
    match place.0 & Place::PAIR {
        Place::EXACT => NodeRules { exact: rule, below: None },
        Place::BELOW => NodeRules { exact: None, below: rule },
        Place::BOTH => NodeRules { exact: rule, below: rule },
        _ => pairs[index as usize],
    }
}
