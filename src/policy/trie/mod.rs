//! [`Trie`]: a suffix trie over wire-format labels, in two flat arrays.
//!
//! A node stands for a suffix (`ms`, `azureml.ms`, …) and is found by the suffix's tag, a hash made label by label from the
//! right. A lookup stops at the first suffix that is no node, so that a name outside the list costs as many probes as
//! labels it shares with it, plus one. Tags only find slots: a rule counts once its own name is compared byte by byte, so
//! that no collision can allow a name, and where two names share a tag both are looked at.
//!
//! ```text
//! table    [ tag × 8 | place × 8 ] …                               8 bytes a node, in buckets of one cache line
//! records  [ line | source | kind | length | name ] …     rule after rule, names in wire format
//! ```
//!
//! A place is the number of a rule and what the rule is for: the node's name, names below it, or both; or else it says
//! that there are nodes further down, with the number of a rule that allows something there, where one does.

mod builder;
mod place;
mod records;
mod suffixes;
mod table;

pub use builder::TrieBuilder;
use place::NodePlace;
pub use place::RuleId;
use records::Records;
pub(super) use records::RuleRecord;
pub(super) use suffixes::SuffixHasher;
use table::TrieTable;

use crate::policy::rule::Action;
use crate::wire::name::Name;

/// A compiled set of rules; see the module's head.
pub struct Trie {
    table: TrieTable,
    records: Records,
    hasher: SuffixHasher,
    allows_any: bool,
}

/// What [`Trie::search`] finds.
pub(super) struct TrieMatch {
    /// The most specific rule that covers the name.
    pub(super) rule: Option<RuleId>,
    /// The name may be a node itself. Where it is none, what covers it covers all names below it too.
    pub(super) is_node: bool,
}

impl Trie {
    /// The most specific rule that covers `name`: exact over subtree, longer over shorter.
    pub fn find(&self, name: &Name) -> Option<RuleId> {
        self.search(name).rule
    }

    /// The same, and whether rules may decide otherwise on names below it.
    #[inline]
    pub(super) fn search(&self, name: &Name) -> TrieMatch {
        let bytes = name.as_bytes();
        let mut best = None;
        for (start, tag) in self.hasher.suffixes(bytes) {
            let wanted = if start == 0 { NodePlace::ITSELF } else { NodePlace::BELOW };
            let is_node = self.table.places(tag, |place| {
                if place.covered() & wanted != 0 && self.records.is_named(place.rule(), &bytes[start..]) {
                    best = Some(place.rule());
                }
            });
            if !is_node {
                return TrieMatch { rule: best, is_node: false };
            }
        }
        TrieMatch { rule: best, is_node: true }
    }

    /// True where a rule allows some name below `name`, which no rule allows itself.
    pub(super) fn allows_below(&self, name: &Name) -> bool {
        if name.is_root() {
            return self.allows_any;
        }
        let bytes = name.as_bytes();
        // What the most specific rule for names below says; and whether another, further down, allows some of them.
        let (mut covers, mut leads) = (false, false);
        for (start, tag) in self.hasher.suffixes(bytes) {
            let suffix = &bytes[start..];
            let is_node = self.table.places(tag, |place| {
                let Some(rule) = self.records.get(place.rule()) else { return };
                if place.is_way() {
                    leads |= start == 0 && lies_below(rule.name, suffix);
                } else if place.covered() & NodePlace::BELOW != 0 && rule.name == suffix {
                    covers = rule.action == Action::Allow;
                }
            });
            if !is_node {
                break;
            }
        }
        covers || leads
    }

    /// A rule by its number; none where no rule of this trie can have it.
    pub(super) fn rule(&self, id: RuleId) -> Option<RuleRecord<'_>> {
        self.records.get(id)
    }

    /// All rules in the order they came, those that another rule of the same pattern hides included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, RuleRecord<'_>)> {
        self.records.iter()
    }

    /// Rules held, those that another rule of the same pattern hides included.
    pub fn rules(&self) -> usize {
        self.records.count()
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.table.heap_size() + self.records.heap_size()
    }
}

/// True where `name` ends in `suffix` and has more labels; both are in wire format.
fn lies_below(name: &[u8], suffix: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(suffix.len()).filter(|start| *start > 0) else { return false };
    // Bytes within a label may look like a label: only whole ones are left out.
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    at == start && name[start..] == *suffix
}
