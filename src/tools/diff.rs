//! Compares the names that a workspace needs with those that the policy allows.

use std::collections::BTreeMap;

use crate::allowlist::{Dependency, Port};
use crate::assemble::Assembly;
use crate::assemble::effective::{Effective, Said};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{RuleRef, verdict};

/// Differences between a workspace and a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Hosts that the workspace needs and the policy blocks, sorted by name.
    pub needed: Vec<Needed>,
    /// Rules that the workspace needs in part: they also allow names that it does not list. In rule order.
    pub wider: Vec<WiderRule>,
    /// Rules that allow hosts the workspace does not list, in rule order.
    pub unlisted: Vec<Unlisted>,
}

/// Hosts that the workspace needs and the policy blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The hosts.
    pub pattern: Pattern,
    /// Azure's categories for these hosts.
    pub categories: Vec<String>,
    /// The ports that the workspace needs.
    pub ports: Vec<Port>,
    /// Why they are blocked, as text.
    pub reason: String,
    /// True if only some of the names are blocked. Rules that allow longer names within a blocked pattern do not count.
    pub in_part: bool,
}

/// A rule that allows some needed hosts, and names beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WiderRule {
    /// The rule's pattern.
    pub pattern: Pattern,
    /// `file:line` of the rule.
    pub place: String,
    /// The needed hosts that it allows, sorted by name, without duplicates.
    pub needed: Vec<Pattern>,
}

/// A rule that no entry of the workspace's list needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The rule's pattern.
    pub pattern: Pattern,
    /// `file:line` of the rule.
    pub place: String,
}

/// Compares the two. Names in local zones count as allowed. A needed pattern is allowed if the rules cover all of it.
pub fn compare(dependencies: &[Dependency], assembly: &Assembly) -> Difference {
    let effective = Effective::of(assembly.policy());
    let mut needed: BTreeMap<String, Needed> = BTreeMap::new();
    for Dependency { category, pattern, ports, .. } in dependencies {
        let Some((reason, in_part)) = blocked(pattern, &effective, assembly) else { continue };
        let entry = needed.entry(pattern.to_string()).or_insert_with(|| Needed {
            pattern: pattern.clone(),
            categories: Vec::new(),
            ports: Vec::new(),
            reason,
            in_part,
        });
        entry.categories.push(category.clone());
        entry.categories.sort();
        entry.categories.dedup();
        entry.ports.extend(ports);
        entry.ports.sort_unstable();
        entry.ports.dedup();
    }
    let (mut wider, mut unlisted) = (Vec::new(), Vec::new());
    for rule in assembly.policy().iter().filter(|rule| rule.action() == Action::Allow) {
        let (pattern, place) = (rule.pattern(), rule.place());
        let met = || dependencies.iter().map(|dependency| &dependency.pattern);
        let mut met: Vec<Pattern> = met().filter(|needed| meet(&pattern, needed)).cloned().collect();
        if met.is_empty() {
            unlisted.push(Unlisted { pattern, place });
        } else if !met.iter().any(|needed| covers_below(needed, &pattern)) {
            met.sort_by_cached_key(Pattern::to_string);
            met.dedup();
            wider.push(WiderRule { pattern, place, needed: met });
        }
    }
    Difference { needed: needed.into_values().collect(), wider, unlisted }
}

/// True if `needed` has every name below that of `allowed`. The name itself does not count: nobody can create another.
fn covers_below(needed: &Pattern, allowed: &Pattern) -> bool {
    allowed.scope() == Scope::Exact
        || (needed.scope() != Scope::Exact && allowed.name().is_within(needed.name()))
}

/// The reason why not all names of the pattern are allowed, and whether some are. `None` if all are allowed.
fn blocked(pattern: &Pattern, effective: &Effective<'_>, assembly: &Assembly) -> Option<(String, bool)> {
    let name = pattern.name();
    if assembly.local.origins().iter().any(|origin| name.is_within(origin)) {
        return None;
    }
    let own = (pattern.scope() != Scope::Below).then(|| effective.own(name));
    let below = (pattern.scope() != Scope::Exact).then(|| effective.below(name));
    let said: Vec<Said<'_>> = [own, below].into_iter().flatten().collect();
    if let Some(denied) = said.iter().find(|said| said.action == Action::Deny) {
        let in_part = said.iter().any(|said| said.action == Action::Allow);
        return Some((denied.rule.map_or_else(|| verdict::NOT_LISTED.to_owned(), denied_by), in_part));
    }
    below?;
    let exceptions = effective.nodes_below(name).flat_map(|node| [node.own, node.below]).flatten();
    let exception = exceptions.into_iter().find(|rule| rule.action() == Action::Deny)?;
    Some((denied_by(exception), true))
}

fn denied_by(rule: RuleRef<'_>) -> String {
    format!("denied by rule {rule} at {}", rule.place())
}

/// True if some name matches both patterns.
fn meet(one: &Pattern, other: &Pattern) -> bool {
    match (one.scope(), other.scope()) {
        (Scope::Exact, _) => other.matches(one.name()),
        (_, Scope::Exact) => one.matches(other.name()),
        _ => one.name().is_within(other.name()) || other.name().is_within(one.name()),
    }
}
