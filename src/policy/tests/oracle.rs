//! The rule that decides, found by looking at every rule: what property tests and fuzz targets hold the trie to.
//!
//! The fuzz targets take this file as it is, so that what it names is what the module above has.

use super::{Action, Name, Pattern, Scope};

/// Rules as a plain list; the index is the rule's number.
pub(super) type Rules = Vec<(Action, Pattern)>;

/// The most specific rule, by the definition: exact over wildcard at the same name, longer over shorter, deny over
/// allow, earlier over later.
pub(super) fn oracle(rules: &Rules, name: &Name) -> Option<usize> {
    let rank = |index: usize| {
        let (action, pattern) = &rules[index];
        let is_exact = pattern.scope() == Scope::Exact;
        // `.x` covers `x` itself as closely as its length says: closer than any wildcard above it.
        let own = *pattern.name() == *name;
        (pattern.name().wire_len(), own && is_exact, *action == Action::Deny, std::cmp::Reverse(index))
    };
    (0..rules.len()).filter(|index| rules[*index].1.matches(name)).max_by_key(|index| rank(*index))
}
