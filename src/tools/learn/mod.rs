//! Suggests rules for blocked names (`namegate learn`).
//!
//! `read` reads names from a query log. `sort` separates names that should not get a rule, with `parameters`, `probes` and
//! `single_use`. `fold` combines the rest into
//! as few safe rules as possible. `write` writes an allowlist with the evidence for each rule.

mod fold;
mod label;
mod parameters;
mod probes;
mod read;
mod single_use;
mod sort;
mod write;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

pub use fold::{Opens, ProposedRule, RiskyFold};
pub use parameters::ParameterValue;
pub use probes::OwnProbes;
pub use read::{Evidence, LookupFilter};
pub use sort::{LeftOut, Why};
pub use write::{Heading, to_json, to_toml};

use crate::allowlist::Allowlist;
use crate::observe::blocked_names::BlockedNames;
use crate::policy::Policy;
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
    /// The rules, those with most lookups first.
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
    /// The allowlists in use, for their rules with parameters.
    pub zones: &'k [Allowlist],
    /// The values of parameters.
    pub parameters: &'k BTreeMap<String, Vec<String>>,
    /// Broad rules are left out.
    pub strict: bool,
    /// Names that namegate queries itself.
    pub probes: &'k OwnProbes,
    /// The shipped allowlists that are not in use, compiled.
    pub shipped: &'k [(&'static str, Policy)],
}

/// Suggests rules for `names`.
pub fn propose(names: &BlockedNames, known: Known<'_>, options: LearnOptions) -> Proposal {
    let sorted = sort::sort(names, known, options);
    let dangerous = sorted.left_out.iter().filter(|left_out| left_out.why.is_dangerous());
    let dangerous = dangerous.flat_map(|left_out| left_out.names.iter().map(|(name, _)| name));
    let apart: Vec<&Name> = dangerous.chain(&sorted.apart).collect();
    let mut folded = fold::fold(&sorted.candidates, &apart, options);
    // Stable: rules with as many lookups stay in the order of their domains.
    folded.rules.sort_by_key(|rule| Reverse(rule.seen.count));
    Proposal { rules: folded.rules, risky: folded.risky, left_out: sorted.left_out }
}
