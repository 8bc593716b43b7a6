//! Proposing rules for names that were asked for and are not allowed: what `namegate learn` does.
//!
//! `read` takes names from a query log, `sort` leaves out what no rule should be proposed for, `fold` makes as few rules of
//! the rest as is safe, `write` writes them as a zone file with the evidence for each.

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

/// What is proposed, and of what.
#[derive(Clone, Copy, Debug)]
pub struct LearnOptions {
    /// Siblings from which on they become one wildcard, at least 2.
    pub fold: usize,
    /// Fold also where a wildcard opens names that anyone can take.
    pub fold_risky: bool,
    /// Lookups from which on a name is worth a rule.
    pub min_count: u64,
    /// Names whose last lookup was earlier are left out.
    pub since: Option<SystemTime>,
}

/// Rules that would allow what was blocked.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The rules, by domain.
    pub rules: Vec<ProposedRule>,
    /// Wildcards that would open names which anyone can take; their names have rules of their own.
    pub risky: Vec<RiskyFold>,
    /// Names that no rule is proposed for, by why.
    pub left_out: Vec<LeftOut>,
}

/// What there is already.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    /// The policy in force.
    pub policy: &'k Policy,
    /// The zones it is made of, for those of their rules that sleep.
    pub zones: &'k [Allowlist],
    /// The shipped zones that are not among them, each with its rules.
    pub shipped: &'k [(&'static str, Policy)],
}

/// Proposes rules for `names`.
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

/// A rule that would have the name if it did not sleep.
fn instead(name: &Name, zones: &[Allowlist]) -> Option<Instead> {
    let rules = zones.iter().flat_map(|zone| zone.rules.iter().map(move |rule| (zone, rule)));
    let (zone, rule, values) = rules
        .filter(|(_, rule)| !rule.missing.is_empty())
        .find_map(|(zone, rule)| Some((zone, rule, rule.values_for(name)?)))?;
    let missing = values.into_iter().filter(|(parameter, _)| rule.missing.iter().any(|one| one == parameter));
    let values = missing.map(|(parameter, value)| (parameter.to_owned(), value)).collect();
    Some(Instead { zone: zone.name.clone(), host: rule.host.clone(), values })
}
