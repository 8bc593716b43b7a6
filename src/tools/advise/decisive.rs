//! Rules of the operator's own that decide nothing.

use super::{Advice, AdviceFinding, AdviceKind, Sources, any_beside, rule_below};
use crate::assemble::Assembly;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Policy, RuleRef};

pub(super) fn advise(
    assembly: &Assembly,
    policy: &Policy,
    sources: &Sources<'_>,
    most: usize,
) -> Vec<Advice> {
    let mut undecisive =
        Advice::new(AdviceKind::Undecisive, "rules decide no name", "remove them, or what hides them");
    let mut redundant = Advice::new(
        AdviceKind::Redundant,
        "rules say what a wider one says too",
        "remove them, or keep them if the wider one is to go",
    );
    for rule in policy.iter().filter(|rule| sources.is_own(*rule)) {
        let pattern = rule.pattern();
        if let Some(origin) = assembly.local.origins().iter().find(|origin| pattern.name().is_within(origin))
        {
            undecisive.find(most, || finding(rule, &format!("the local zone `{origin}` answers its names")));
        } else if let Some(by) = hides(policy, rule, &pattern) {
            if !sources.warned_of(rule, by) {
                undecisive.find(most, || finding(rule, &hidden_by(rule, by)));
            }
        } else if let Some(wider) =
            wider(policy, &pattern).filter(|wider| says_the_same(rule, *wider, sources))
        {
            redundant.find(most, || finding(rule, &format!("`{wider}` at {}", wider.place())));
        }
    }
    vec![undecisive, redundant]
}

fn finding(rule: RuleRef<'_>, why: &str) -> AdviceFinding {
    let action = match rule.action() {
        Action::Allow => "",
        Action::Deny => "deny ",
    };
    AdviceFinding { place: rule.place(), text: format!("{action}`{rule}`: {why}") }
}

fn hidden_by(rule: RuleRef<'_>, by: RuleRef<'_>) -> String {
    match by.action() == rule.action() {
        true => format!("it is already at {}", by.place()),
        false => format!("`{by}` at {} says the contrary and wins", by.place()),
    }
}

/// A rule that decides names of `rule`'s, where `rule` decides none.
fn hides<'p>(policy: &'p Policy, rule: RuleRef<'_>, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let itself = if pattern.scope() == Scope::Below { None } else { policy.rule_for(name) };
    let below = if pattern.scope() == Scope::Exact { None } else { rule_below(policy, name) };
    let decides = |found: Option<RuleRef<'_>>| found.is_some_and(|found| found.id() == rule.id());
    below.or(itself).filter(|_| !decides(itself) && !decides(below))
}

/// The rule that would decide the names of `pattern` without it.
fn wider<'p>(policy: &'p Policy, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let own = if pattern.scope() == Scope::Exact { rule_below(policy, name) } else { None };
    own.filter(|rule| rule.pattern().matches(name)).or_else(|| policy.rule_for(&any_beside(name)?))
}

/// A broad rule is left out by `strict`, so that a rule below it is more than it says.
fn says_the_same(rule: RuleRef<'_>, wider: RuleRef<'_>, sources: &Sources<'_>) -> bool {
    wider.id() != rule.id() && wider.action() == rule.action() && sources.broad(wider).is_none()
}
