//! Reports on lists of any program (`namegate audit`): the judgement of [`crate::tools::advise`], and what only a look from
//! outside shows.
//!
//! `read` makes rules of files. `shipped` compares them with the shipped allowlists, `unseen` with a query log. `minimal`
//! finds fewer rules that decide the same names.

mod minimal;
mod read;
mod shipped;
mod unseen;

#[cfg(test)]
mod tests;

pub use minimal::{MinimalRule, lost_of_lists, lost_of_settings, minimal, to_toml};
pub use read::{AuditFormat, AuditedList, CompiledLists, is_settings, read};
pub use shipped::ShippedAllowlist;
pub use unseen::SeenRules;

use crate::allowlist::Allowlist;
use crate::tools::advise::{Advice, AdviceFinding, AdviceKind, JudgedRules, inactive, judge};

/// The findings on rules, most dangerous first. `invalid` are the entries that are no rules, and `seen` the rules that the
/// lookups of a log need.
pub fn audit(
    subject: &JudgedRules<'_>,
    zones: &[Allowlist],
    invalid: Vec<AdviceFinding>,
    shipped: &[ShippedAllowlist],
    seen: Option<&SeenRules>,
) -> Vec<Advice> {
    let mut advice = vec![Advice::of(
        AdviceKind::Invalid,
        "entries are no host names, so that no query matches them",
        "correct or remove them",
        invalid,
    )];
    advice.extend(judge(subject, usize::MAX));
    let no_effect = |kind: AdviceKind| matches!(kind, AdviceKind::NoEffect | AdviceKind::Duplicate);
    let idle: Vec<String> = advice
        .iter()
        .filter(|one| no_effect(one.kind))
        .flat_map(|one| one.findings.iter().map(|finding| finding.place.clone()))
        .collect();
    advice.extend(shipped::compare(subject, shipped));
    advice.push(inactive(zones));
    advice.extend(seen.map(|seen| unseen::advise(subject, seen, &idle)));
    advice.retain(|one| one.count > 0);
    advice
}
