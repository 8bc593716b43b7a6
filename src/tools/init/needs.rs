//! Which rules of the shipped allowlists cover what a workspace needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::allowlist::{self, Allowlist, AllowlistRule};
use crate::config::embedded::{embedded, embedded_names};
use crate::diagnostics::Source;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::wire::name::Name;

/// A label that stands for any name below a pattern. No host has it.
const ANY: &[u8] = b"any-name";

/// The shipped allowlists, without values of parameters.
pub(super) fn shipped() -> Vec<Allowlist> {
    let read = |name: &str| {
        let source = Source::new(format!("zones/{name}.toml"), embedded(name)?);
        let (list, _) = allowlist::zone(name, &source, &BTreeMap::new(), &mut BTreeSet::new());
        Some(list)
    };
    embedded_names().filter_map(read).collect()
}

/// True if the rule allows all needed names for everybody: it is not broad and has no parameter.
pub(super) fn is_plain_cover(rule: &AllowlistRule, needed: &Pattern) -> bool {
    is_usable(rule) && !rule.broad && rule.patterns.iter().any(|pattern| covers(pattern, needed))
}

/// The values of parameters with which the rule covers all needed names.
pub(super) fn values(rule: &AllowlistRule, needed: &Pattern) -> Option<Vec<(String, String)>> {
    (is_usable(rule) && !rule.broad && !rule.missing.is_empty()).then_some(())?;
    let name = match needed.scope() {
        Scope::Exact => needed.name().clone(),
        // `*.{region}.batch.azure.com` covers all of `*.eastus.batch.azure.com`; `{storage}.blob…` covers one name.
        _ if rule.host.starts_with(['*', '.']) => below(needed)?,
        _ => return None,
    };
    let values = rule.values_for(&name)?;
    let is_value = |(_, value): &(&str, String)| value.as_bytes() != ANY;
    let owned = |(parameter, value): (&str, String)| (parameter.to_owned(), value);
    values.iter().all(is_value).then(|| values.into_iter().map(owned).collect())
}

/// True if the rule covers some of the needed names, with any values of its parameters.
pub(super) fn touches(rule: &AllowlistRule, needed: &Pattern) -> bool {
    let name = || if needed.scope() == Scope::Exact { Some(needed.name().clone()) } else { below(needed) };
    is_usable(rule)
        && (rule.patterns.iter().any(|pattern| covers(pattern, needed))
            || name().is_some_and(|name| !rule.missing.is_empty() && rule.values_for(&name).is_some()))
}

/// A name below the needed pattern.
pub(super) fn below(needed: &Pattern) -> Option<Name> {
    Name::from_labels([ANY].into_iter().chain(needed.name().labels())).ok()
}

fn is_usable(rule: &AllowlistRule) -> bool {
    rule.action == Action::Allow && rule.until.is_none()
}

/// True if every name of `needed` matches `pattern`.
pub(super) fn covers(pattern: &Pattern, needed: &Pattern) -> bool {
    match needed.scope() {
        Scope::Exact => pattern.matches(needed.name()),
        _ if pattern.scope() == Scope::Exact => false,
        Scope::Subtree => pattern.matches(needed.name()),
        Scope::Below => needed.name().is_within(pattern.name()),
    }
}
