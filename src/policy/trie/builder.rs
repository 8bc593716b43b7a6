//! [`TrieBuilder`]: collects rules and compiles a [`Trie`].

use std::cmp::Reverse;

use hashbrown::HashSet;
use rapidhash::fast::RandomState;
use smallvec::SmallVec;

use super::ends::RuleEnds;
use super::place::{NodePlace, RuleId};
use super::records::{Records, RuleRecord};
use super::suffixes::SuffixHasher;
use super::table::{TableEntry, TrieTable};
use super::{Trie, lies_below};
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern};
use crate::policy::until::Until;

/// Collects rules and compiles them to a [`Trie`].
///
/// Table entries are appended and sorted at the end. Both access memory in order; inserting into a table would cost a
/// CPU cache miss per label.
pub struct TrieBuilder {
    records: Records,
    entries: Vec<TableEntry>,
    /// Recently added ways (entries of inner nodes), by tag. Most rules share a few suffixes, which are then added
    /// once.
    recent: Box<[TableEntry; RECENT]>,
    hasher: SuffixHasher,
    /// The rules that end, by id.
    ends: Vec<(RuleId, Until)>,
    overflowed: bool,
}

/// What a [`TrieBuilder`] needs to know of a rule.
#[derive(Clone, Copy, Debug)]
pub struct TrieRule<'a> {
    /// Allow or deny.
    pub action: Action,
    /// The names it covers.
    pub pattern: &'a Pattern,
    /// Index of its source.
    pub source: u16,
    /// Its line there.
    pub line: u32,
    /// The kind of address that answers should have.
    pub expect: Expect,
    /// When it ends.
    pub until: Option<Until>,
}

impl<'a> TrieRule<'a> {
    /// A rule without a source.
    pub fn new(action: Action, pattern: &'a Pattern) -> Self {
        Self { action, pattern, source: 0, line: 0, expect: Expect::Any, until: None }
    }
}

/// Number of recent ways.
const RECENT: usize = 4096;

impl TrieBuilder {
    /// No rules.
    pub fn new() -> Self {
        Self {
            records: Records::default(),
            entries: Vec::new(),
            recent: Box::new([TableEntry::NONE; RECENT]),
            hasher: SuffixHasher::random(),
            ends: Vec::new(),
            overflowed: false,
        }
    }

    /// No rules, and the same tag for all suffixes.
    #[cfg(test)]
    pub(in crate::policy) fn colliding() -> Self {
        Self { hasher: SuffixHasher::colliding(), ..Self::new() }
    }

    /// Adds a rule and returns its id. Of two rules for the same names deny beats allow; otherwise the first wins. A
    /// rule that another one overrides applies when the other ends.
    ///
    /// More than 4 GiB of rules make an empty trie, which blocks every name: dropping only the excess rules would allow
    /// what they deny.
    pub fn insert(&mut self, rule: TrieRule<'_>) -> Option<RuleId> {
        let TrieRule { action, pattern, source, line, expect, until } = rule;
        let (name, scope) = (pattern.name().as_bytes(), pattern.scope());
        let rule = RuleRecord { name, line, source, action, scope, expect, ends: until.is_some() };
        let Some(id) = self.records.push(rule) else {
            self.overflowed = true;
            return None;
        };
        self.ends.extend(until.map(|until| (id, until)));
        let way = if action == Action::Allow { NodePlace::way_to(id) } else { NodePlace::WAY };
        for (start, tag) in self.hasher.suffixes(rule.name) {
            if start == 0 {
                self.entries.push(TableEntry::new(tag, NodePlace::new(id, rule.covered())));
                continue;
            }
            let recent = &mut self.recent[tag as usize % RECENT];
            // One that ends may not lead there for as long as this rule.
            let leads_there =
                |known: RuleRecord<'_>| !known.ends && lies_below(known.name, &rule.name[start..]);
            let is_noted = recent.tag() == tag
                && (way == NodePlace::WAY
                    || self.records.get(recent.place().rule()).is_some_and(leads_there));
            if !is_noted {
                *recent = TableEntry::new(tag, way);
                self.entries.push(*recent);
            }
        }
        Some(id)
    }

    /// Adds a rule that [`Trie::find`] does not find; `None` if there is no room.
    pub(in crate::policy) fn list(
        &mut self,
        action: Action,
        pattern: &Pattern,
        source: u16,
        line: u32,
    ) -> Option<RuleId> {
        let (name, scope) = (pattern.name().as_bytes(), pattern.scope());
        self.records.push(RuleRecord { name, line, source, action, scope, expect: Expect::Any, ends: false })
    }

    /// Compiles the trie and frees spare memory.
    pub fn build(mut self) -> Trie {
        if self.overflowed {
            return Self::new().build();
        }
        let Self { records, entries, hasher, .. } = &mut self;
        entries.sort_unstable();
        let is_of_one_tag = |one: &TableEntry, next: &TableEntry| one.tag() == next.tag();
        // Rules that other rules override completely.
        let mut idle = Vec::new();
        for of_one_tag in entries.chunk_by_mut(is_of_one_tag) {
            let ways = of_one_tag.partition_point(|entry| entry.place().is_way());
            settle(&mut of_one_tag[ways..], records, &mut idle);
        }
        idle.sort_unstable();
        let is_idle = |id: RuleId| idle.binary_search(&id).is_ok();
        let idle_ways =
            entries.iter().filter(|entry| entry.place().is_way() && is_idle(entry.place().rule()));
        let orphaned: HashSet<u32, RandomState> = idle_ways.map(|entry| entry.tag()).collect();
        if !orphaned.is_empty() {
            // Such a way also stood for other rules, which are not idle: add their ways.
            let allowing =
                |(id, rule): &(RuleId, RuleRecord<'_>)| rule.action == Action::Allow && !is_idle(*id);
            for (id, rule) in records.iter().filter(allowing) {
                let ways =
                    hasher.suffixes(rule.name).filter(|(start, tag)| *start > 0 && orphaned.contains(tag));
                entries.extend(ways.map(|(_, tag)| TableEntry::new(tag, NodePlace::way_to(id))));
            }
            entries.sort_unstable();
        }
        for of_one_tag in entries.chunk_by_mut(is_of_one_tag) {
            let ways = of_one_tag.partition_point(|entry| entry.place().is_way());
            let (ways, rules) = of_one_tag.split_at_mut(ways);
            thin(ways, rules, records, hasher, is_idle);
            order(rules, records);
        }
        entries.retain(|entry| *entry != TableEntry::NONE);
        records.shrink_to_fit();
        let allows_any =
            records.iter().any(|(id, rule)| rule.action == Action::Allow && !rule.ends && !is_idle(id));
        Trie {
            table: TrieTable::new(entries),
            allows_any,
            records: self.records,
            hasher: self.hasher,
            ends: RuleEnds::new(self.ends),
        }
    }
}

impl Default for TrieBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Reduces each rule of one tag to what no other rule of the same name overrides. Adds rules that cover nothing any
/// longer to `idle`.
fn settle(entries: &mut [TableEntry], records: &Records, idle: &mut Vec<RuleId>) {
    if entries.len() < 2 {
        return;
    }
    entries.sort_unstable_by_key(|entry| entry.place().rule());
    let mut standing = 0;
    for index in 0..entries.len() {
        let mut entry = entries[index];
        for other in &mut entries[..standing] {
            let place = entry.place();
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
            let prevails = rule.prevails_over(other_rule);
            // The loser applies when the winner ends.
            if if prevails { rule.ends } else { other_rule.ends } {
                continue;
            }
            let loser = if prevails { other } else { &mut entry };
            let left = loser.place().without(contested);
            if left.is_way() {
                idle.push(loser.place().rule());
            }
            *loser = TableEntry::new(loser.tag(), left);
        }
        if !entry.place().is_way() {
            entries[standing] = entry;
            standing += 1;
        }
    }
    let mut kept = 0;
    for index in 0..standing {
        if !entries[index].place().is_way() {
            entries[kept] = entries[index];
            kept += 1;
        }
    }
    entries[kept..].fill(TableEntry::NONE);
}

/// Puts the rule that decides last, where several rules of one tag have the same name: lookups use the last one that
/// has not ended.
fn order(rules: &mut [TableEntry], records: &Records) {
    if rules.len() > 1 && rules.iter().any(|entry| ends(entry, records)) {
        rules.sort_by_key(|entry| {
            let id = entry.place().rule();
            (records.get(id).map(RuleRecord::strength), Reverse(id))
        });
    }
}

fn ends(entry: &TableEntry, records: &Records) -> bool {
    records.get(entry.place().rule()).is_some_and(|rule| rule.ends)
}

/// Reduces the `ways` of one tag to one per suffix, and at least one if there are no `rules`. A suffix with an allow
/// rule needs none: [`Trie::allows_below`] is not called for its name, or finds that rule.
fn thin(
    ways: &mut [TableEntry],
    rules: &[TableEntry],
    records: &Records,
    hasher: &SuffixHasher,
    is_idle: impl Fn(RuleId) -> bool,
) {
    // Most tags have only one rule or one way. Skip their records, which are spread over memory.
    if let [way] = ways
        && rules.is_empty()
    {
        if is_idle(way.place().rule()) {
            *way = TableEntry::new(way.tag(), NodePlace::WAY);
        }
        return;
    }
    if ways.is_empty() {
        return;
    }
    // What an allow rule shows may change when a rule beside it ends.
    let is_lasting = !rules.iter().any(|entry| ends(entry, records));
    let allowing = |entry: &TableEntry| {
        records.get(entry.place().rule()).filter(|rule| rule.action == Action::Allow).map(|rule| rule.name)
    };
    let mut known: SmallVec<[&[u8]; 4]> = rules.iter().filter(|_| is_lasting).filter_map(allowing).collect();
    let (mut before, mut kept) = (None, 0);
    for index in 0..ways.len() {
        let way = ways[index];
        let id = way.place().rule();
        let is_repeated = before.replace(id) == Some(id);
        let is_single = !is_repeated && ways.get(index + 1) != Some(&way);
        let adds = match records.get(id).filter(|_| !is_repeated && !is_idle(id)) {
            None => false,
            // Nearly always all ways of a tag belong to the same suffix.
            Some(rule) if is_single && known.len() == 1 && lies_below(rule.name, known[0]) => false,
            Some(rule) => {
                let before = known.len();
                for (start, tag) in hasher.suffixes(rule.name) {
                    let suffix = &rule.name[start..];
                    if start > 0 && tag == way.tag() && !known.contains(&suffix) {
                        known.push(suffix);
                    }
                }
                let adds = known.len() > before;
                // A rule that ends leads there only until then: keep the ways of others too.
                if rule.ends {
                    known.truncate(before);
                }
                adds
            }
        };
        if adds {
            ways[kept] = way;
            kept += 1;
        }
    }
    if kept == 0
        && rules.is_empty()
        && let Some(way) = ways.first_mut()
    {
        *way = TableEntry::new(way.tag(), NodePlace::WAY);
        kept = 1;
    }
    ways[kept..].fill(TableEntry::NONE);
}
