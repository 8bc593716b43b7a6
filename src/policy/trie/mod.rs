//! [`Trie`]: a suffix trie over wire-format labels, in two flat arrays.
//!
//! A node is a suffix (`ms`, `azureml.ms`, …). Its key is a tag: a hash computed label by label from the right. A
//! lookup stops at the first suffix without a node, so an unlisted name costs one probe per label that it shares with
//! the rules, plus one. A tag only finds slots. A rule counts only after its name is compared byte by byte, so a
//! collision cannot allow a name. If two names share a tag, both are compared.
//!
//! ```text
//! table    [ tag × 8 | place × 8 ] …                               8 bytes a node, in buckets of one cache line
//! records  [ line | source | kind | length | name ] …     rule after rule, names in wire format
//! ```
//!
//! A place is a rule id and what the rule covers: the node's name, names below it, or both. Or it says only that there
//! are nodes further down, with the id of a rule that allows something there, if any.

mod builder;
mod ends;
mod place;
mod records;
mod suffixes;
mod table;

pub use builder::{TrieBuilder, TrieRule};
use ends::RuleEnds;
use place::NodePlace;
pub use place::RuleId;
use records::Records;
pub(super) use records::RuleRecord;
pub(super) use suffixes::SuffixHasher;
use table::TrieTable;

use std::time::SystemTime;

use crate::policy::rule::Action;
use crate::policy::until::Until;
use crate::wire::name::Name;

/// A compiled set of rules; see the module documentation.
pub struct Trie {
    table: TrieTable,
    records: Records,
    hasher: SuffixHasher,
    ends: RuleEnds,
    /// A rule without an end allows some name.
    allows_any: bool,
}

/// The result of [`Trie::search`].
pub(super) struct TrieMatch {
    /// The most specific rule that covers the name.
    pub(super) rule: Option<RuleId>,
    /// The name may be a node. If not, the rule that covers it covers all names below it too.
    pub(super) is_node: bool,
}

impl Trie {
    /// The most specific rule that covers `name`: exact over subtree, longer over shorter.
    pub fn find(&self, name: &Name) -> Option<RuleId> {
        self.search(name).rule
    }

    /// Like [`Self::find`], and whether other rules may cover names below `name`.
    #[inline]
    pub(super) fn search(&self, name: &Name) -> TrieMatch {
        let bytes = name.as_bytes();
        let mut best = None;
        for (start, tag) in self.hasher.suffixes(bytes) {
            let wanted = if start == 0 { NodePlace::ITSELF } else { NodePlace::BELOW };
            let is_node = self.table.places(tag, |place| {
                if place.covered() & wanted != 0
                    && let Some(ends) = self.records.named(place.rule(), &bytes[start..])
                    && !(ends && self.ends.is_over(place.rule()))
                {
                    best = Some(place.rule());
                }
            });
            if !is_node {
                return TrieMatch { rule: best, is_node: false };
            }
        }
        TrieMatch { rule: best, is_node: true }
    }

    /// True if a rule allows some name below `name`. Call it only for a name that no rule allows.
    pub(super) fn allows_below(&self, name: &Name) -> bool {
        if name.is_root() {
            return self.allows_any || self.allows_any_until_it_ends();
        }
        let bytes = name.as_bytes();
        // `covers`: the most specific rule for names below allows them. `leads`: a rule further down allows some.
        let (mut covers, mut leads) = (false, false);
        for (start, tag) in self.hasher.suffixes(bytes) {
            let suffix = &bytes[start..];
            let is_node = self.table.places(tag, |place| {
                let Some(rule) = self.records.get(place.rule()) else { return };
                if place.is_way() {
                    let is_over = rule.ends && self.ends.is_over(place.rule());
                    leads |= start == 0 && !is_over && lies_below(rule.name, suffix);
                } else if place.covered() & NodePlace::BELOW != 0
                    && rule.name == suffix
                    && !(rule.ends && self.ends.is_over(place.rule()))
                {
                    covers = rule.action == Action::Allow;
                }
            });
            if !is_node {
                break;
            }
        }
        covers || leads
    }

    /// True if a rule that has not ended yet allows some name.
    #[cold]
    fn allows_any_until_it_ends(&self) -> bool {
        let is_allow = |id| self.records.get(id).is_some_and(|rule| rule.action == Action::Allow);
        self.ends.lasting().any(is_allow)
    }

    /// The rule with this id; `None` if no rule of this trie can have it.
    pub(super) fn rule(&self, id: RuleId) -> Option<RuleRecord<'_>> {
        self.records.get(id)
    }

    /// When the rule ends; `None` if it does not.
    pub(super) fn until(&self, id: RuleId) -> Option<Until> {
        self.ends.until(id)
    }

    /// True if the rule has ended; [`Trie::find`] no longer finds it.
    pub(super) fn is_over(&self, id: RuleId) -> bool {
        self.ends.is_over(id)
    }

    /// Ends the rules whose time has come at `now`, and returns those that had not ended before.
    pub(super) fn end_rules(&self, now: SystemTime) -> Vec<RuleId> {
        self.ends.end(now)
    }

    /// All rules in insertion order, including those that another rule with the same pattern hides.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, RuleRecord<'_>)> {
        self.records.iter()
    }

    /// Number of rules, including those that another rule with the same pattern hides.
    pub fn rules(&self) -> usize {
        self.records.count()
    }

    /// All rule ids are below this index.
    pub(super) fn id_bound(&self) -> usize {
        self.records.id_bound()
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.table.heap_size() + self.records.heap_size() + self.ends.heap_size()
    }
}

/// True if `name` ends in `suffix` and has more labels; both in wire format.
fn lies_below(name: &[u8], suffix: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(suffix.len()).filter(|start| *start > 0) else { return false };
    // Bytes within a label may look like a label, so skip whole labels only.
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    at == start && name[start..] == *suffix
}
