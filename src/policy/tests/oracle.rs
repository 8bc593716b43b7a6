//! The oracle: finds the deciding rule by checking every rule. Property tests and fuzz targets compare the trie with
//! it.
//!
//! The fuzz targets include this file unchanged, so it may use only names that its parent module has.

use super::{Action, Name, Pattern, Scope};

/// Rules as a plain list; the index is the rule's number.
pub(super) type Rules = Vec<(Action, Pattern)>;

/// True if some name below `name` is allowed; `None` if names below would be too long.
pub(super) fn oracle_allows_below(rules: &Rules, name: &Name) -> Option<bool> {
    let is_allowed = |name: &Name| oracle(rules, name).is_some_and(|rule| rules[rule].0 == Action::Allow);
    let own = is_allowed(&fresh_below(rules, name)?);
    let further = |further: &Name| {
        further != name
            && further.is_within(name)
            && (is_allowed(further) || fresh_below(rules, further).is_some_and(|below| is_allowed(&below)))
    };
    let is_further =
        |(action, pattern): &(Action, Pattern)| *action == Action::Allow && further(pattern.name());
    Some(own || rules.iter().any(is_further))
}

/// A name below `name` such that no rule has this name or a name below it.
fn fresh_below(rules: &Rules, name: &Name) -> Option<Name> {
    let labels = |label: u8| Name::from_labels(std::iter::once(&[label][..]).chain(name.labels())).ok();
    let is_fresh = |below: &Name| rules.iter().all(|(_, pattern)| !pattern.name().is_within(below));
    (0..=u8::MAX).rev().filter_map(labels).find(is_fresh)
}

/// The most specific rule, by definition: exact over wildcard at the same name, longer over shorter, deny over allow,
/// earlier over later.
pub(super) fn oracle(rules: &Rules, name: &Name) -> Option<usize> {
    let rank = |index: usize| {
        let (action, pattern) = &rules[index];
        let is_exact = pattern.scope() == Scope::Exact;
        // `.x` covers `x` itself by its length: more specific than any wildcard above it.
        let own = *pattern.name() == *name;
        (pattern.name().wire_len(), own && is_exact, *action == Action::Deny, std::cmp::Reverse(index))
    };
    (0..rules.len()).filter(|index| rules[*index].1.matches(name)).max_by_key(|index| rank(*index))
}
