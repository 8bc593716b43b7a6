//! [`minimal`]: the fewest rules, of those that the tree of names allows, that decide the same names.

use std::collections::HashMap;

use serde::Serialize;

use crate::allowlist::Allowlist;
use crate::assemble::Assembly;
use crate::assemble::effective::Effective;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Mode, Policy, RuleRef};
use crate::wire::name::Name;

/// A rule of the smaller list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinimalRule {
    /// Allow or deny.
    pub action: Action,
    /// The names it covers.
    pub pattern: Pattern,
    /// The purpose of the rule that it comes from; may be empty.
    pub purpose: String,
}

/// Rules that decide every name as `policy` does.
///
/// Errors: a rule has a condition that a list of names would lose, so that it would decide otherwise.
pub fn minimal(policy: &Policy) -> Result<Vec<MinimalRule>, String> {
    if let Some((rule, what)) = policy.iter().find_map(|rule| Some((rule, condition(rule)?))) {
        return Err(format!("`{rule}` at {} has {what}, which the smaller list would lose", rule.place()));
    }
    let effective = Effective::of(policy);
    let built_in: Vec<Pattern> = policy.built_in().map(|rule| rule.pattern()).collect();
    let mut below: HashMap<Name, Action> = HashMap::new();
    let mut rules = Vec::new();
    for node in effective.nodes() {
        let written =
            |rule: Option<RuleRef<'_>>| rule.filter(|rule| rule.bypass().is_none()).map(|rule| rule.action());
        let inherited =
            ancestors(&node.name).find_map(|above| below.get(&above).copied()).unwrap_or(Action::Deny);
        let mut add = |action, scope, rule: Option<RuleRef<'_>>| {
            let pattern = Pattern::new(scope, node.name.clone());
            let purpose = rule.map_or_else(String::new, |rule| rule.text().purpose.to_owned());
            rules.push(MinimalRule { action, pattern, purpose });
        };
        if built_in.iter().any(|own| node.name.is_within(own.name())) {
            // Only an exact rule overrides a built-in one, so it stays even if a wider rule covers it.
            if written(node.own) == Some(Action::Allow) {
                add(Action::Allow, Scope::Exact, node.own);
            }
            continue;
        }
        if let Some(action) = written(node.below) {
            below.insert(node.name.clone(), action);
        }
        let changed = |rule| written(rule).filter(|action| *action != inherited);
        match (changed(node.own), changed(node.below)) {
            (None, None) => {}
            (Some(action), None) => add(action, Scope::Exact, node.own),
            (None, Some(action)) => add(action, Scope::Below, node.below),
            (Some(action), Some(_)) => add(action, Scope::Subtree, node.own),
        }
    }
    Ok(rules)
}

/// What a rule demands besides names.
fn condition(rule: RuleRef<'_>) -> Option<&'static str> {
    if rule.until().is_some() {
        Some("an end (`until`)")
    } else if rule.action() == Action::Deny {
        None
    } else if rule.expect() != Expect::Any {
        Some("a condition on addresses (`expect`)")
    } else {
        (rule.cname() != CnamePolicy::Trust).then_some("a condition on CNAME targets (`cname`)")
    }
}

/// What the smaller list of these allowlists would lose besides conditions of rules.
pub fn lost_of_lists<'a>(zones: impl IntoIterator<Item = &'a Allowlist>) -> Option<String> {
    let mut having = zones.into_iter().filter(|zone| !zone.servers.is_empty());
    having.next().map(|zone| format!("{} has `servers`, which the smaller list would lose", zone.file))
}

/// What the smaller list of these settings would lose.
pub fn lost_of_settings(assembly: &Assembly) -> Option<String> {
    let settings = &assembly.settings;
    let lost = if !settings.client.is_empty() {
        "rules of client groups (`[[client]]`)"
    } else if !settings.route.is_empty() {
        "routes (`[[route]]`)"
    } else if !settings.local.is_empty() {
        "local zones (`[[local]]`)"
    } else if assembly.policies.groups().iter().any(|group| group.policy.mode() == Mode::Observe) {
        "`mode = \"observe\"`, which blocks nothing"
    } else {
        return lost_of_lists(&assembly.zones);
    };
    Some(format!("{} has {lost}: a list has only names", assembly.origin))
}

/// The parents of a name, nearest first.
fn ancestors(name: &Name) -> impl Iterator<Item = Name> {
    let parent = |name: &Name| Name::from_labels(name.labels().skip(1)).ok();
    std::iter::successors(parent(name), move |name| parent(name)).take_while(|name| !name.is_root())
}

#[derive(Serialize)]
struct Written {
    title: &'static str,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<WrittenRule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<WrittenRule>,
}

#[derive(Serialize)]
struct WrittenRule {
    host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    purpose: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// The rules as an allowlist of namegate.
///
/// Errors: they cannot be written as TOML.
pub fn to_toml(rules: &[MinimalRule], files: &str) -> Result<String, String> {
    let of = |action| {
        let rules = rules.iter().filter(|rule| rule.action == action);
        let written = rules.map(|rule| {
            let (purpose, reason) = match action {
                Action::Allow => (rule.purpose.clone(), String::new()),
                Action::Deny => (String::new(), rule.purpose.clone()),
            };
            WrittenRule { host: rule.pattern.to_string(), purpose, reason }
        });
        written.collect()
    };
    let source = format!("the rules of {files}, without those that change nothing");
    let written = Written { title: "Smaller list", source, allow: of(Action::Allow), deny: of(Action::Deny) };
    toml::to_string(&written).map_err(|error| error.to_string())
}
