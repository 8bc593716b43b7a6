//! Warnings of `namegate check` about valid but suspicious settings: rules without effect, allowed names that are
//! dangerous, and needed names that are not allowed.
//!
//! Each rule costs a few policy lookups, so a list of a million rules takes about a second.

mod inactive;
mod no_effect;
mod open;
mod vendor;

use std::sync::Arc;

use clap::ValueEnum;
use toml::value::Date;

use crate::allowlist::{Allowlist, AllowlistRule};
use crate::assemble::Assembly;
use crate::policy::policies::Group;
use crate::policy::{Policy, RuleRef};
use crate::wire::name::Name;

/// The kind of a warning, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdviceKind {
    /// Your rules that have no effect.
    #[value(alias = "undecisive")]
    NoEffect,
    /// Your rules that repeat a wider rule.
    Redundant,
    /// Allowed public resolvers.
    PublicResolver,
    /// Rules that allow domains where anyone can create names.
    Broad,
    /// Inactive rules: their parameters are not set.
    #[value(alias = "asleep")]
    Inactive,
    /// Allowlists revised more than a year ago.
    Outdated,
    /// Rules that only retired software needs.
    Legacy,
    /// Names that the vendor lists as needed, but your policy denies.
    VendorDenied,
    /// Names that the vendor lists as needed, but `policy.strict` excludes.
    VendorStrict,
}

impl AdviceKind {
    /// Its name on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A warning: all findings of one kind.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The kind.
    pub kind: AdviceKind,
    /// The client group whose rules it is about. `None` for all groups, and for clients in no group.
    pub group: Option<String>,
    /// One line of text, without the count.
    pub message: &'static str,
    /// Number of findings.
    pub count: usize,
    /// The first findings, up to the limit.
    pub findings: Vec<AdviceFinding>,
    /// The help text.
    pub help: String,
}

/// One occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdviceFinding {
    /// `file:line`, or only a file.
    pub place: String,
    /// The rule there, and why it is reported.
    pub text: String,
}

impl Advice {
    fn new(kind: AdviceKind, message: &'static str, help: impl Into<String>) -> Self {
        Self { kind, group: None, message, count: 0, findings: Vec::new(), help: help.into() }
    }

    /// The same warning, for clients of `group`.
    fn for_group(self, group: &str) -> Self {
        Self { group: Some(group.to_owned()).filter(|group| group != Group::DEFAULT), ..self }
    }

    /// True if `other` has the same findings, whatever the client group.
    fn says(&self, other: &Self) -> bool {
        (self.kind, self.count, &self.findings) == (other.kind, other.count, &other.findings)
    }

    /// Number of findings not listed. `None` for inactive rules, whose parameters are all listed.
    pub fn hidden_count(&self) -> Option<usize> {
        (self.kind != AdviceKind::Inactive).then(|| self.count.saturating_sub(self.findings.len()))
    }

    /// Counts a finding, and lists it unless `most` are already listed.
    fn find(&mut self, most: usize, finding: impl FnOnce() -> AdviceFinding) {
        self.count += 1;
        if self.findings.len() < most {
            self.findings.push(finding());
        }
    }
}

/// Returns all warnings about `assembly`. `today` decides which allowlists are outdated. Each warning lists at most
/// `most` findings.
pub fn advise(assembly: &Assembly, today: Date, most: usize) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut known: Vec<&Arc<Policy>> = Vec::new();
    for Group { name, policy } in assembly.policies.groups() {
        if known.iter().any(|known| Arc::ptr_eq(known, policy)) {
            continue;
        }
        known.push(policy);
        let of_group = of_group(assembly, policy, most).map(|advice| advice.for_group(name));
        // Groups may share rules: do not repeat a warning for another group.
        let new: Vec<Advice> =
            of_group.filter(|one| advice.iter().all(|known: &Advice| !known.says(one))).collect();
        advice.extend(new);
    }
    advice.extend([inactive::advise(&assembly.zones), vendor::outdated(&assembly.zones, today, most)]);
    advice.retain(|advice| advice.count > 0);
    advice
}

/// Warnings about the rules of one client group.
fn of_group(assembly: &Assembly, policy: &Policy, most: usize) -> impl Iterator<Item = Advice> {
    let sources = Sources::of(assembly, policy);
    let advice = [
        vendor::needed(assembly, policy, most),
        no_effect::advise(assembly, policy, &sources, most),
        open::advise(policy, &sources, most),
        vec![vendor::legacy(assembly, policy, &sources, most)],
    ];
    advice.into_iter().flatten()
}

/// The allowlists that rules come from, by source index.
struct Sources<'a> {
    zones: Vec<Option<&'a Allowlist>>,
}

impl<'a> Sources<'a> {
    fn of(assembly: &'a Assembly, policy: &Policy) -> Self {
        let zone = |file: &str| assembly.zones.iter().find(|zone| zone.file == file);
        Self { zones: policy.sources().map(|(source, _)| zone(&source.file)).collect() }
    }

    fn zone(&self, rule: RuleRef<'_>) -> Option<&'a Allowlist> {
        self.zones.get(rule.source_index()).copied().flatten()
    }

    /// True for a rule that the operator wrote, in a file or in the settings. Shipped allowlists copy their vendor's
    /// list, duplicates included.
    fn is_own(&self, rule: RuleRef<'_>) -> bool {
        self.zone(rule).is_none_or(|zone| !zone.shipped)
    }

    /// True if reading the allowlist warned of `rule`, because `other` in the same file has the same effect.
    fn warned_of(&self, rule: RuleRef<'_>, other: RuleRef<'_>) -> bool {
        let is_same = rule.source_index() == other.source_index() && rule.action() == other.action();
        is_same && self.zone(rule).is_some_and(|zone| !zone.rules.is_empty())
    }

    /// The rule as written in its allowlist.
    fn written(&self, rule: RuleRef<'_>) -> Option<&'a AllowlistRule> {
        let rules = self.zone(rule).map_or(&[][..], |zone| &zone.rules);
        rules.binary_search_by_key(&rule.line(), |written| written.line).ok().map(|at| &rules[at])
    }
}

/// A name below `name` that no rule names, because no rule has the label `*`. `None` if it would be too long.
fn any_below(name: &Name) -> Option<Name> {
    Name::from_labels(std::iter::once(&b"*"[..]).chain(name.labels())).ok()
}

/// A sibling of `name` that no rule names.
fn any_beside(name: &Name) -> Option<Name> {
    Name::from_labels(std::iter::once(&b"*"[..]).chain(name.labels().skip(1))).ok()
}

/// The rule for the names below `name` that have no more specific rule.
fn rule_below<'p>(policy: &'p Policy, name: &Name) -> Option<RuleRef<'p>> {
    policy.rule_for(&any_below(name)?)
}
