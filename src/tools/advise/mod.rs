//! What is probably not meant though every file is right: rules that decide nothing, names that should not be open, and
//! names that should be and are not. `namegate check` says it.
//!
//! Rules are looked at one by one and found in the policy like any name, so that a list of a million costs a second.

mod asleep;
mod decisive;
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

/// What an advice is about. The words name it on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdviceKind {
    /// A rule of yours that decides no name.
    Undecisive,
    /// A rule of yours whose names another rule treats the same.
    Redundant,
    /// A public resolver is allowed.
    PublicResolver,
    /// A rule opens names that anyone can take.
    Broad,
    /// Rules without a value for their parameters.
    Asleep,
    /// A zone of an old edition.
    Outdated,
    /// A name of the vendor's current list is denied.
    VendorDenied,
    /// A name of the vendor's current list is left out by `strict`.
    VendorStrict,
}

impl AdviceKind {
    /// Its word on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Everything found of one kind.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The kind.
    pub kind: AdviceKind,
    /// The client group whose rules it is about; none for all, or for clients without a group.
    pub group: Option<String>,
    /// What is found, in one line without the number.
    pub message: &'static str,
    /// How often.
    pub count: usize,
    /// The first of them.
    pub findings: Vec<AdviceFinding>,
    /// What to do about it.
    pub help: String,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdviceFinding {
    /// `file:line`, or a file.
    pub place: String,
    /// What stands there and why it is told.
    pub text: String,
}

impl Advice {
    fn new(kind: AdviceKind, message: &'static str, help: impl Into<String>) -> Self {
        Self { kind, group: None, message, count: 0, findings: Vec::new(), help: help.into() }
    }

    /// The same, for clients of `group`.
    fn for_group(self, group: &str) -> Self {
        Self { group: Some(group.to_owned()).filter(|group| group != Group::DEFAULT), ..self }
    }

    /// True where `other` says the same, of whomever.
    fn says(&self, other: &Self) -> bool {
        (self.kind, self.count, &self.findings) == (other.kind, other.count, &other.findings)
    }

    /// How many were not written down. The parameters of rules that sleep all are.
    pub fn untold(&self) -> Option<usize> {
        (self.kind != AdviceKind::Asleep).then(|| self.count.saturating_sub(self.findings.len()))
    }

    /// Counts one more; it is written down where no more than `most` are.
    fn find(&mut self, most: usize, finding: impl FnOnce() -> AdviceFinding) {
        self.count += 1;
        if self.findings.len() < most {
            self.findings.push(finding());
        }
    }
}

/// Advises on what was assembled. `today` tells how old editions are; of each kind at most `most` places are written down.
pub fn advise(assembly: &Assembly, today: Date, most: usize) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut known: Vec<&Arc<Policy>> = Vec::new();
    for Group { name, policy } in assembly.policies.groups() {
        if known.iter().any(|known| Arc::ptr_eq(known, policy)) {
            continue;
        }
        known.push(policy);
        let of_group = of_group(assembly, policy, most).map(|advice| advice.for_group(name));
        // What was said of one group's rules is not said again of the same rules elsewhere.
        let new: Vec<Advice> =
            of_group.filter(|one| advice.iter().all(|known: &Advice| !known.says(one))).collect();
        advice.extend(new);
    }
    advice.extend([asleep::advise(&assembly.zones), vendor::outdated(&assembly.zones, today, most)]);
    advice.retain(|advice| advice.count > 0);
    advice
}

/// Advises on the rules of one client group.
fn of_group(assembly: &Assembly, policy: &Policy, most: usize) -> impl Iterator<Item = Advice> {
    let sources = Sources::of(assembly, policy);
    let advice = [
        vendor::needed(assembly, policy, most),
        decisive::advise(assembly, policy, &sources, most),
        open::advise(policy, &sources, most),
    ];
    advice.into_iter().flatten()
}

/// Where rules come from, by the number of their source.
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

    /// True for a rule that the operator wrote, in a file of his own or in the settings. Shipped zones follow their
    /// vendor's list, with what is written twice in it.
    fn is_own(&self, rule: RuleRef<'_>) -> bool {
        self.zone(rule).is_none_or(|zone| !zone.shipped)
    }

    /// True where reading the zone's file warned of `rule`: it says what `other` in the same file says.
    fn warned_of(&self, rule: RuleRef<'_>, other: RuleRef<'_>) -> bool {
        let is_same = rule.source_index() == other.source_index() && rule.action() == other.action();
        is_same && self.zone(rule).is_some_and(|zone| !zone.rules.is_empty())
    }

    /// The rule as a zone file marks it `broad`, if it does.
    fn broad(&self, rule: RuleRef<'_>) -> Option<&'a AllowlistRule> {
        let rules = self.zone(rule).map_or(&[][..], |zone| &zone.rules);
        let written = rules.binary_search_by_key(&rule.line(), |written| written.line).ok()?;
        Some(&rules[written]).filter(|written| written.broad)
    }
}

/// A name below `name` that no rule names: `*` is no label of a rule. None where there is no room for one.
fn any_below(name: &Name) -> Option<Name> {
    Name::from_labels(std::iter::once(&b"*"[..]).chain(name.labels())).ok()
}

/// A name next to `name` that no rule names.
fn any_beside(name: &Name) -> Option<Name> {
    Name::from_labels(std::iter::once(&b"*"[..]).chain(name.labels().skip(1))).ok()
}

/// The rule that decides the names below `name`, but for those that have a rule of their own.
fn rule_below<'p>(policy: &'p Policy, name: &Name) -> Option<RuleRef<'p>> {
    policy.rule_for(&any_below(name)?)
}
