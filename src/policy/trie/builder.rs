//! [`TrieBuilder`]: rule by rule to a [`Trie`].

use super::{
    MAX_RULES, NodeRules, Place, Rule, RuleId, Slot, SuffixHasher, Trie, first_slot, fold, has_suffix, unpack,
};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::wire::name::Name;

/// Slots in use out of 10, at most; beyond, runs of used slots grow long.
const MAX_LOAD: usize = 8;

/// Grows a [`Trie`] rule by rule.
pub struct TrieBuilder {
    slots: Vec<Slot>,
    nodes: usize,
    names: Vec<u8>,
    rules: Vec<Rule>,
    pairs: Vec<NodeRules>,
    hasher: SuffixHasher,
}

impl TrieBuilder {
    /// No rules.
    pub fn new() -> Self {
        Self {
            slots: vec![Slot::FREE; 16],
            nodes: 0,
            names: Vec::new(),
            rules: Vec::new(),
            pairs: Vec::new(),
            hasher: SuffixHasher::random(),
        }
    }

    /// Adds a rule. Where one stands for the same names, deny beats allow and else the first stays.
    ///
    /// Rules beyond [`MAX_RULES`] or 4 GiB of names are left out, which blocks their names.
    pub fn insert(&mut self, action: Action, pattern: &Pattern, source: u16, line: u32) {
        if self.rules.len() == MAX_RULES || self.names.len() > u32::MAX as usize - 512 {
            return;
        }
        let (slot, name) = self.node(pattern.name());
        let id = RuleId(self.rules.len() as u32);
        let scope = pattern.scope();
        self.rules.push(Rule { name, line, source, action, scope });
        let mut rules = unpack(self.slots[slot].place, &self.pairs);
        if scope.covers_itself() && self.prevails(id, rules.exact) {
            rules.exact = Some(id);
        }
        if scope.covers_below() && self.prevails(id, rules.below) {
            rules.below = Some(id);
        }
        self.slots[slot].place = self.pack(rules, self.slots[slot].place);
    }

    /// True where a new rule takes the place of the one that stands for the same names.
    fn prevails(&self, new: RuleId, standing: Option<RuleId>) -> bool {
        let Some(standing) = standing else { return true };
        let (new, standing) = (&self.rules[new.0 as usize], &self.rules[standing.0 as usize]);
        match (new.scope == Scope::Exact, standing.scope == Scope::Exact) {
            (true, false) => true,
            (false, true) => false,
            _ => new.action == Action::Deny && standing.action == Action::Allow,
        }
    }

    /// The slot of `name`'s node, made with all its ancestors where missing, and the offset of its name.
    fn node(&mut self, name: &Name) -> (usize, u32) {
        let bytes = name.as_bytes();
        let starts: Vec<usize> =
            name.labels().scan(0, |at, label| Some(std::mem::replace(at, *at + 1 + label.len()))).collect();
        self.reserve(starts.len());
        let mut appended = None;
        let mut hash = self.hasher.seed;
        let mut end = bytes.len() - 1;
        let mut found = (0, 0);
        for &start in starts.iter().rev() {
            hash = self.hasher.extend(hash, &bytes[start..end]);
            end = start;
            let index = self.probe(fold(hash), &bytes[start..]);
            if self.slots[index].is_free() {
                let base = *appended.get_or_insert_with(|| {
                    let base = self.names.len();
                    self.names.extend_from_slice(bytes);
                    base
                });
                self.slots[index] =
                    Slot { hash: fold(hash), name: (base + start) as u32, place: Place::NONE };
                self.nodes += 1;
            }
            found = (index, self.slots[index].name);
        }
        found
    }

    /// The slot that holds `suffix`, or the free one where it belongs.
    fn probe(&self, hash: u32, suffix: &[u8]) -> usize {
        let mut index = first_slot(hash, self.slots.len());
        loop {
            let slot = self.slots[index];
            if slot.is_free() || slot.hash == hash && has_suffix(&self.names, slot.name, suffix) {
                return index;
            }
            index = next_slot(index, self.slots.len());
        }
    }

    /// Makes room for `more` nodes.
    fn reserve(&mut self, more: usize) {
        while (self.nodes + more) * 10 > self.slots.len() * MAX_LOAD {
            self.slots = rehash(&self.slots, self.slots.len() * 2);
        }
    }

    fn pack(&mut self, rules: NodeRules, before: Place) -> Place {
        match (rules.exact, rules.below) {
            (None, None) => Place::NONE,
            (Some(exact), None) => Place(Place::EXACT | exact.0),
            (None, Some(below)) => Place(Place::BELOW | below.0),
            (Some(exact), Some(below)) if exact == below => Place(Place::BOTH | exact.0),
            _ if before != Place::NONE && before.0 & Place::PAIR == Place::PAIR => {
                self.pairs[(before.0 & Place::INDEX) as usize] = rules;
                before
            }
            _ => {
                self.pairs.push(rules);
                Place(Place::PAIR | (self.pairs.len() - 1) as u32)
            }
        }
    }

    /// Finishes: slots in the order of their hashes, with no more memory than needed.
    pub fn build(self) -> Trie {
        let spread = (self.nodes * 10 / MAX_LOAD).max(1);
        let mut nodes: Vec<Slot> = self.slots;
        nodes.retain(|slot| !slot.is_free());
        nodes.sort_unstable_by_key(|slot| slot.hash);
        let mut slots = Vec::with_capacity(spread + 16);
        for node in nodes {
            slots.resize(slots.len().max(first_slot(node.hash, spread)), Slot::FREE);
            slots.push(node);
        }
        // A free slot ends every walk, and one more may be looked at behind a match.
        slots.resize(slots.len().max(spread) + 2, Slot::FREE);
        Trie {
            slots: slots.into(),
            spread,
            names: self.names.into(),
            rules: self.rules.into(),
            pairs: self.pairs.into(),
            hasher: self.hasher,
        }
    }
}

impl Default for TrieBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn rehash(slots: &[Slot], size: usize) -> Vec<Slot> {
    let mut larger = vec![Slot::FREE; size];
    for slot in slots.iter().filter(|slot| !slot.is_free()) {
        let mut index = first_slot(slot.hash, size);
        while !larger[index].is_free() {
            index = next_slot(index, size);
        }
        larger[index] = *slot;
    }
    larger
}

fn next_slot(index: usize, slots: usize) -> usize {
    if index + 1 == slots { 0 } else { index + 1 }
}
