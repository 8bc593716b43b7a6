//! Suggests rules for blocked names (`namegate learn`).
//!
//! `read` reads names from a query log. `sort` separates names that should not get a rule. `fold` combines the rest into
//! as few safe rules as possible. `write` writes an allowlist with the evidence for each rule.

mod fold;
mod label;
mod read;
mod sort;
mod write;

#[cfg(test)]
mod tests;

use std::time::SystemTime;

pub use fold::{Instead, Opens, ProposedRule, RiskyFold};
pub use read::{Evidence, UnreadableLog};
pub use sort::{LeftOut, Why};
pub use write::{Heading, to_json, to_toml};

use crate::allowlist::Allowlist;
use crate::observe::blocked_names::BlockedNames;
use crate::policy::Policy;
use crate::policy::rule::Scope;
use crate::wire::name::Name;

/// Options of `namegate learn`.
#[derive(Clone, Copy, Debug)]
pub struct LearnOptions {
    /// Minimum siblings to fold into a wildcard; at least 2.
    pub fold: usize,
    /// Fold even if the wildcard allows names that anyone can create.
    pub fold_risky: bool,
    /// Ignore names looked up fewer times than this.
    pub min_count: u64,
    /// Ignore names whose last lookup was earlier.
    pub since: Option<SystemTime>,
}

/// Suggested rules for blocked names.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The rules, sorted by domain.
    pub rules: Vec<ProposedRule>,
    /// Wildcards not suggested because anyone can create names under them. `rules` has one rule per name instead.
    pub risky: Vec<RiskyFold>,
    /// Names without a suggested rule, by reason.
    pub left_out: Vec<LeftOut>,
}

/// The rules that already exist.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    /// The policy in force.
    pub policy: &'k Policy,
    /// The allowlists in use, for their inactive rules.
    pub zones: &'k [Allowlist],
    /// The shipped allowlists that are not in use, compiled.
    pub shipped: &'k [(&'static str, Policy)],
}

/// Suggests rules for `names`.
pub fn propose(names: &BlockedNames, known: Known<'_>, options: LearnOptions) -> Proposal {
    let sorted = sort::sort(names, known, options);
    let dangerous: Vec<&Name> = sorted
        .left_out
        .iter()
        .filter(|left_out| left_out.why.is_dangerous())
        .flat_map(|left_out| left_out.names.iter().map(|(name, _)| name))
        .collect();
    let mut folded = fold::fold(&sorted.candidates, &dangerous, options);
    for rule in folded.rules.iter_mut().filter(|rule| rule.pattern.scope() == Scope::Exact) {
        rule.instead = instead(rule.pattern.name(), known.zones);
    }
    Proposal { rules: folded.rules, risky: folded.risky, left_out: sorted.left_out }
}

/// An inactive rule that would allow the name if its parameters were set.
fn instead(name: &Name, zones: &[Allowlist]) -> Option<Instead> {
    let rules = zones.iter().flat_map(|zone| zone.rules.iter().map(move |rule| (zone, rule)));
    let (zone, rule, values) = rules
        .filter(|(_, rule)| !rule.missing.is_empty())
        .find_map(|(zone, rule)| Some((zone, rule, rule.values_for(name)?)))?;
    let missing = values.into_iter().filter(|(parameter, _)| rule.missing.iter().any(|one| one == parameter));
    let values = missing.map(|(parameter, value)| (parameter.to_owned(), value)).collect();
    Some(Instead { zone: zone.name.clone(), host: rule.host.clone(), values })
}
