//! Compares rules with the lookups of a query log.

use std::collections::HashSet;

use crate::policy::Policy;
use crate::policy::trie::RuleId;
use crate::tools::advise::{Advice, AdviceFinding, AdviceKind, JudgedRules};
use crate::wire::name::Name;

/// The rules that lookups need.
#[derive(Debug, Default)]
pub struct SeenRules {
    rules: HashSet<RuleId>,
    /// Lookups, whatever their names.
    pub lookups: u64,
}

impl SeenRules {
    /// Adds a lookup: the rule that decides its name is needed.
    pub fn see(&mut self, policy: &Policy, name: &Name) {
        self.lookups += 1;
        self.rules.extend(policy.rule_for(name).map(|rule| rule.id()));
    }
}

/// Rules that allow names and that no lookup needs. Rules at the places `idle` never decide, and are reported as such.
pub(super) fn advise(subject: &JudgedRules<'_>, seen: &SeenRules, idle: &[String]) -> Advice {
    let unseen = subject.own_allowing().filter(|rule| !seen.rules.contains(&rule.id()));
    let findings = unseen.map(|rule| AdviceFinding { place: subject.place(rule), text: format!("`{rule}`") });
    Advice::of(
        AdviceKind::Unseen,
        "entries are not needed by any lookup in the query log",
        "remove them if the log has every lookup (`log.queries = \"all\"`) and covers everything that clients do, such as \
             monthly jobs",
        findings.filter(|finding| !idle.contains(&finding.place)).collect(),
    )
}
