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

pub use fold::{Opens, RiskyFold, Rule};
pub use read::{Evidence, Unreadable};
pub use sort::{LeftOut, Why};
pub use write::{Heading, to_json, to_toml};

use crate::policy::Policy;
use crate::telemetry::blocked_names::BlockedNames;

/// What is proposed, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Options {
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
    pub rules: Vec<Rule>,
    /// Wildcards that would open names which anyone can take; their names have rules of their own.
    pub risky: Vec<RiskyFold>,
    /// Names that no rule is proposed for, by why.
    pub left_out: Vec<LeftOut>,
}

/// Proposes rules for `names`. `policy` is the one in force; `shipped` has the rules of the zones it could use besides.
pub fn propose(names: &BlockedNames, policy: &Policy, shipped: &Policy, options: Options) -> Proposal {
    let sorted = sort::sort(names, policy, shipped, options);
    let folded = fold::fold(&sorted.candidates, options);
    Proposal { rules: folded.rules, risky: folded.risky, left_out: sorted.left_out }
}
