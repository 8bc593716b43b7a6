//! The judgement on rules: rules without effect, allowed names that are dangerous, and needed names that are not allowed.
//! `namegate check` shows it for the settings in force, `namegate audit` for lists of other programs too.
//!
//! Each rule costs a few policy lookups, so a list of a million rules takes about a second.

mod alias_target;
mod ended;
mod inactive;
mod no_effect;
mod open;
mod vendor;

use std::sync::Arc;

use clap::ValueEnum;
use toml::value::Date;

use crate::allowlist::{Allowlist, AllowlistRule, Port};
use crate::assemble::Assembly;
use crate::policy::policies::Group;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Policy, RuleRef};
use crate::wire::name::Name;

/// The kind of a warning, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdviceKind {
    /// Entries of other programs' lists that are no host names; only `audit` reports them.
    Invalid,
    /// Your rules for placeholders such as `your-acr.azurecr.io`.
    Placeholder,
    /// Allowed public resolvers.
    PublicResolver,
    /// Your rules that allow tunnels.
    Tunnel,
    /// Your rules that allow every domain below a public suffix.
    PublicSuffix,
    /// Rules that allow domains where any tenant can create names.
    Broad,
    /// Your rules that have no effect.
    #[value(alias = "undecisive")]
    NoEffect,
    /// Your rules that repeat another rule.
    Duplicate,
    /// Your rules that repeat a wider rule.
    Redundant,
    /// Your rules for names that only occur as targets of CNAME records.
    AliasTarget,
    /// Entries that a shipped allowlist has; only `audit` reports them.
    Shipped,
    /// Entries that no lookup in a query log needs; only `audit` reports them.
    Unseen,
    /// Inactive rules: their parameters are not set.
    #[value(alias = "asleep")]
    Inactive,
    /// Rules that have ended.
    Ended,
    /// Allowlists revised more than a year ago.
    Outdated,
    /// Rules for names that only retired software queries.
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
    /// No findings yet.
    pub fn new(kind: AdviceKind, message: &'static str, help: impl Into<String>) -> Self {
        Self { kind, group: None, message, count: 0, findings: Vec::new(), help: help.into() }
    }

    /// All findings at once.
    pub fn of(
        kind: AdviceKind,
        message: &'static str,
        help: impl Into<String>,
        findings: Vec<AdviceFinding>,
    ) -> Self {
        Self { count: findings.len(), findings, ..Self::new(kind, message, help) }
    }

    /// The same warning, for clients of `group`.
    pub fn for_group(self, group: &str) -> Self {
        Self { group: Some(group.to_owned()).filter(|group| group != Group::DEFAULT), ..self }
    }

    /// True if `other` has the same findings, whatever the client group.
    pub fn says(&self, other: &Self) -> bool {
        (self.kind, self.count, &self.findings) == (other.kind, other.count, &other.findings)
    }

    /// Number of findings not listed. `None` for inactive rules, whose parameters are all listed.
    pub fn hidden_count(&self) -> Option<usize> {
        (self.kind != AdviceKind::Inactive).then(|| self.count.saturating_sub(self.findings.len()))
    }

    /// Counts a finding, and lists it unless `most` are already listed.
    pub fn find(&mut self, most: usize, finding: impl FnOnce() -> AdviceFinding) {
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
    let subject = JudgedRules::of(assembly, policy);
    let legacy = vendor::legacy(assembly, policy, &subject, most);
    vendor::needed(assembly, policy, most).into_iter().chain(judge(&subject, most)).chain([legacy])
}

/// Judges rules by themselves. Each kind of warning lists at most `most` findings.
pub fn judge(subject: &JudgedRules<'_>, most: usize) -> Vec<Advice> {
    let advice = [
        open::advise(subject, most),
        no_effect::advise(subject, most),
        vec![alias_target::advise(subject, most), ended::advise(subject, most)],
    ];
    advice.into_iter().flatten().collect()
}

/// Rules that are inactive in these allowlists, because their parameters are not set.
pub fn inactive(zones: &[Allowlist]) -> Advice {
    inactive::advise(zones)
}

/// The rules to judge.
pub struct JudgedRules<'a> {
    policy: &'a Policy,
    /// Origins of local zones, which answer before any rule.
    local: &'a [Name],
    /// By source index.
    sources: Vec<JudgedSource<'a>>,
    /// Where CNAME chains lead: a host, and a name that its chain has.
    aliases: Vec<(&'a str, &'a Pattern)>,
}

/// What is known about a source of rules.
#[derive(Clone, Copy, Default)]
pub struct JudgedSource<'a> {
    /// The allowlist with that source.
    pub zone: Option<&'a Allowlist>,
    /// The places of its rules, if their line is an index (from 1) into this list.
    pub places: Option<&'a [String]>,
    /// The ports of its rules, by the same index.
    pub ports: Option<&'a [Vec<Port>]>,
    /// Reading the allowlist has warned of duplicates.
    pub is_warned: bool,
}

impl<'a> JudgedRules<'a> {
    /// Rules whose sources, by index, are `sources`. `known` has the aliases.
    pub fn new(
        policy: &'a Policy,
        sources: Vec<JudgedSource<'a>>,
        known: impl IntoIterator<Item = &'a Allowlist>,
    ) -> Self {
        Self { policy, local: &[], sources, aliases: aliases(known) }
    }

    /// The rules of one client group.
    pub fn of(assembly: &'a Assembly, policy: &'a Policy) -> Self {
        let zone = |file: &str| assembly.zones.iter().find(|zone| zone.file == file);
        let sources = policy.sources().map(|(source, _)| {
            let zone = zone(&source.file);
            let is_warned = zone.is_some_and(|zone| !zone.rules.is_empty());
            JudgedSource { zone, is_warned, ..JudgedSource::default() }
        });
        let aliases = aliases(&assembly.zones);
        Self { policy, local: assembly.local.origins(), sources: sources.collect(), aliases }
    }

    /// The compiled rules.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    fn source(&self, rule: RuleRef<'_>) -> JudgedSource<'a> {
        self.sources.get(rule.source_index()).copied().unwrap_or_default()
    }

    /// The place of a rule in its file.
    pub fn place(&self, rule: RuleRef<'_>) -> String {
        let index = rule.line() as usize;
        let listed = self.source(rule).places.and_then(|places| places.get(index.checked_sub(1)?));
        listed.cloned().unwrap_or_else(|| rule.place())
    }

    /// True for a rule that the operator wrote, in a file or in the settings. Shipped allowlists copy their vendor's
    /// list, duplicates included.
    pub fn is_own(&self, rule: RuleRef<'_>) -> bool {
        self.source(rule).zone.is_none_or(|zone| !zone.shipped)
    }

    /// The rules that the operator wrote and that allow names.
    pub fn own_allowing(&self) -> impl Iterator<Item = RuleRef<'a>> {
        self.policy.iter().filter(|rule| rule.action() == Action::Allow && self.is_own(*rule))
    }

    /// True if reading the allowlist warned of `rule`, because `other` in the same file has the same effect.
    fn warned_of(&self, rule: RuleRef<'_>, other: RuleRef<'_>) -> bool {
        let is_same = rule.source_index() == other.source_index() && rule.action() == other.action();
        is_same && self.source(rule).is_warned
    }

    /// The ports that are written for a rule.
    fn ports(&self, rule: RuleRef<'_>) -> &'a [Port] {
        let index = (rule.line() as usize).checked_sub(1);
        let of_list = self.source(rule).ports.and_then(|ports| ports.get(index?)).map(Vec::as_slice);
        of_list.or_else(|| self.written(rule).map(|written| written.ports.as_slice())).unwrap_or_default()
    }

    /// True if the allowlists of both rules have the same servers of their own, or none.
    fn has_same_servers(&self, rule: RuleRef<'_>, other: RuleRef<'_>) -> bool {
        let servers = |rule| self.source(rule).zone.map(|zone| &zone.servers).filter(|all| !all.is_empty());
        servers(rule) == servers(other)
    }

    /// The rule as written in its allowlist.
    fn written(&self, rule: RuleRef<'_>) -> Option<&'a AllowlistRule> {
        let rules = self.source(rule).zone.map_or(&[][..], |zone| &zone.rules);
        rules.binary_search_by_key(&rule.line(), |written| written.line).ok().map(|at| &rules[at])
    }
}

fn aliases<'a>(zones: impl IntoIterator<Item = &'a Allowlist>) -> Vec<(&'a str, &'a Pattern)> {
    let known = zones.into_iter().flat_map(|zone| &zone.aliases);
    known.flat_map(|alias| alias.to.iter().map(|to| (alias.host.as_str(), to))).collect()
}

/// The rule that allows all names of `pattern`, if one or two rules of `policy` do.
pub fn allowing<'p>(policy: &'p Policy, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let itself = (pattern.scope() != Scope::Below).then(|| policy.rule_for(name));
    let below = (pattern.scope() != Scope::Exact).then(|| rule_below(policy, name));
    let mut deciding = [below, itself].into_iter().flatten();
    let is_allowed = |rule: &Option<RuleRef<'_>>| rule.is_some_and(|rule| rule.action() == Action::Allow);
    deciding.clone().all(|rule| is_allowed(&rule)).then(|| deciding.next().flatten()).flatten()
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
