//! [`TrieBuilder`]: rule by rule to a [`Trie`].

use super::Trie;
use super::records::{Records, Rule};
use super::suffixes::SuffixHasher;
use super::table::{Entry, Place, Table};
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern};

/// Collects rules and compiles them to a [`Trie`].
///
/// What the table is to hold is noted as it comes and sorted at the end: both go through memory in order, while a table
/// that grows with each rule is read and written all over, a cache miss for every label.
pub struct TrieBuilder {
    records: Records,
    entries: Vec<Entry>,
    hasher: SuffixHasher,
    overflowed: bool,
}

impl TrieBuilder {
    /// No rules.
    pub fn new() -> Self {
        Self {
            records: Records::default(),
            entries: Vec::new(),
            hasher: SuffixHasher::random(),
            overflowed: false,
        }
    }

    /// No rules, and one tag for all suffixes to come.
    #[cfg(test)]
    pub(in crate::policy) fn colliding() -> Self {
        Self { hasher: SuffixHasher::colliding(), ..Self::new() }
    }

    /// Adds a rule. Where one stands for the same names, deny beats allow and else the first stays.
    ///
    /// Rules of more than 4 GiB make a trie without any, which blocks every name: leaving out those that find no room
    /// would allow what they deny.
    pub fn insert(&mut self, action: Action, pattern: &Pattern, source: u16, line: u32, expect: Expect) {
        let (name, scope) = (pattern.name().as_bytes(), pattern.scope());
        let rule = Rule { name, line, source, action, scope, expect };
        let Some(id) = self.records.push(rule) else {
            self.overflowed = true;
            return;
        };
        for (start, tag) in self.hasher.suffixes(rule.name) {
            let place = if start == 0 { Place::new(id, rule.covered()) } else { Place::WAY };
            self.entries.push(Entry::new(tag, place));
        }
    }

    /// Finishes, with no more memory than needed.
    pub fn build(mut self) -> Trie {
        if self.overflowed {
            return Self::new().build();
        }
        self.entries.sort_unstable();
        for of_one_tag in self.entries.chunk_by_mut(|one, next| one.tag() == next.tag()) {
            let ways = of_one_tag.partition_point(|entry| entry.place().is_way());
            settle(&mut of_one_tag[ways..], &self.records);
        }
        self.entries.dedup_by(|entry, kept| entry.tag() == kept.tag() && absorbs(kept, *entry));
        self.records.shrink_to_fit();
        Trie { table: Table::new(&self.entries), records: self.records, hasher: self.hasher }
    }
}

impl Default for TrieBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Leaves each of the rules of one tag only what no other rule of the same name prevails in.
fn settle(entries: &mut [Entry], records: &Records) {
    if entries.len() < 2 {
        return;
    }
    let tag = entries[0].tag();
    entries.sort_unstable_by_key(|entry| entry.place().rule());
    let mut standing = 0;
    for index in 0..entries.len() {
        let mut place = entries[index].place();
        for other in &mut entries[..standing] {
            let contested = place.covered() & other.place().covered();
            if contested == 0 {
                continue;
            }
            let (Some(rule), Some(other_rule)) =
                (records.get(place.rule()), records.get(other.place().rule()))
            else {
                continue;
            };
            if rule.name != other_rule.name {
                continue;
            }
            if rule.prevails_over(other_rule) {
                *other = Entry::new(tag, other.place().without(contested));
            } else {
                place = place.without(contested);
            }
        }
        if !place.is_way() {
            entries[standing] = Entry::new(tag, place);
            standing += 1;
        }
    }
    entries[standing..].fill(Entry::new(tag, Place::WAY));
}

/// Makes `kept` stand for `entry` too, both of one tag, if one of them has no rule.
fn absorbs(kept: &mut Entry, entry: Entry) -> bool {
    if kept.place().is_way() {
        *kept = entry;
        return true;
    }
    entry.place().is_way()
}
