//! Compares rules with the shipped allowlists.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::{self, Allowlist, AllowlistRule};
use crate::config::PolicySettings;
use crate::config::embedded::embedded_names;
use crate::diagnostics::Report;
use crate::hazard::placeholder;
use crate::policy::rule::{Pattern, Scope};
use crate::policy::{Compile, Mode, Policy, PolicyBuilder, RuleRef};
use crate::tools::advise::{Advice, AdviceFinding, AdviceKind, JudgedRules, allowing};

/// A shipped allowlist, with and without its compiled rules.
pub struct ShippedAllowlist {
    /// As written.
    pub zone: Allowlist,
    policy: Policy,
}

impl ShippedAllowlist {
    /// All of them, without parameters.
    ///
    /// Errors: none in a released program.
    pub fn all() -> Result<Vec<Self>, Report> {
        let read = |name: &'static str| {
            let settings = PolicySettings { zones: vec![name.to_owned()], ..PolicySettings::default() };
            let mut rules = PolicyBuilder::new();
            let mut routes = ServerLists::new(Vec::new());
            let read = allowlist::read(&settings, &BTreeMap::new(), &mut rules, &mut routes)?;
            let policy = rules.build(Compile::new(Mode::Enforce));
            Ok(read.list.into_iter().next().map(|zone| Self { zone, policy }))
        };
        embedded_names().filter_map(|name| read(name).transpose()).collect()
    }

    /// The rule as written that allows the whole pattern.
    fn rule(&self, pattern: &Pattern) -> Option<&AllowlistRule> {
        let line = allowing(&self.policy, pattern)?.line();
        let index = self.zone.rules.binary_search_by_key(&line, |rule| rule.line).ok()?;
        self.zone.rules.get(index)
    }

    /// A rule that would allow the name if its parameters were set.
    fn inactive(&self, pattern: &Pattern) -> Option<&AllowlistRule> {
        let mut rules = self.zone.rules.iter().filter(|rule| !rule.missing.is_empty());
        rules.find(|rule| pattern.scope() == Scope::Exact && rule.values_for(pattern.name()).is_some())
    }
}

/// Rules that shipped allowlists have, and those of them that are retired.
pub(super) fn compare(subject: &JudgedRules<'_>, shipped: &[ShippedAllowlist]) -> [Advice; 2] {
    let mut having: Vec<Vec<&str>> = Vec::new();
    let (mut known, mut legacy) = (Vec::new(), Vec::new());
    let is_name = |rule: &RuleRef<'_>| placeholder(rule.pattern().name()).is_none();
    for rule in subject.own_allowing().filter(is_name) {
        match standing(&rule.pattern(), shipped) {
            None => {}
            Some(Standing::Known(names)) => {
                known.push(finding(subject, rule, &format!("in {}", quoted(&names))));
                having.push(names);
            }
            Some(Standing::Parameter(name, host)) => {
                known.push(finding(subject, rule, &format!("in `{name}`, as `{host}`")));
                having.push(vec![name]);
            }
            Some(Standing::Legacy(name, purpose)) => {
                legacy.push(finding(
                    subject,
                    rule,
                    &format!("only for retired software, in `{name}`: {purpose}"),
                ));
            }
        }
    }
    let help = format!(
        "use the shipped allowlists, which are kept up to date: `policy.zones = [\"{}\"]` has all of them",
        fewest(having, shipped).join("\", \"")
    );
    [
        Advice::of(
            AdviceKind::Legacy,
            "rules are for names that only retired software queries",
            "remove them",
            legacy,
        ),
        Advice::of(AdviceKind::Shipped, "entries are in shipped allowlists", help, known),
    ]
}

/// Few allowlists that have all entries: those with most entries first, and of equal ones the shortest. `having` is by
/// entry.
fn fewest<'a>(mut having: Vec<Vec<&'a str>>, shipped: &[ShippedAllowlist]) -> Vec<&'a str> {
    let length =
        |name: &str| shipped.iter().find(|one| one.zone.name == name).map_or(0, |one| one.zone.count);
    let mut chosen = Vec::new();
    while !having.is_empty() {
        let names: BTreeSet<&str> = having.iter().flatten().copied().collect();
        let entries = |name: &str| having.iter().filter(|names| names.contains(&name)).count();
        let Some(best) = names.into_iter().max_by_key(|name| (entries(name), Reverse(length(name)))) else {
            break;
        };
        having.retain(|names| !names.contains(&best));
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen
}

fn finding(subject: &JudgedRules<'_>, rule: RuleRef<'_>, what: &str) -> AdviceFinding {
    AdviceFinding { place: subject.place(rule), text: format!("`{rule}`: {what}") }
}

enum Standing<'a> {
    /// In these allowlists.
    Known(Vec<&'a str>),
    /// In an allowlist, once a parameter is set: the host as written.
    Parameter(&'a str, &'a str),
    /// Only in rules that are retired: the allowlist, and the purpose.
    Legacy(&'a str, &'a str),
}

/// Broad rules do not count: `strict` leaves them out.
fn standing<'a>(pattern: &Pattern, shipped: &'a [ShippedAllowlist]) -> Option<Standing<'a>> {
    let found = shipped.iter().filter_map(|one| Some((one.zone.name.as_str(), one.rule(pattern)?)));
    let found: Vec<(&str, &AllowlistRule)> = found.filter(|(_, rule)| !rule.broad).collect();
    let current: Vec<&str> = found.iter().filter(|(_, rule)| !rule.legacy).map(|(name, _)| *name).collect();
    if !current.is_empty() {
        return Some(Standing::Known(current));
    }
    if let Some((name, rule)) = found.first() {
        return Some(Standing::Legacy(name, &rule.purpose));
    }
    let mut inactive =
        shipped.iter().filter_map(|one| Some((one.zone.name.as_str(), one.inactive(pattern)?)));
    inactive.next().map(|(name, rule)| Standing::Parameter(name, &rule.host))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
