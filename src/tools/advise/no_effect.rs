//! Rules written by the operator that have no effect.

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
    let mut undecisive = Advice::new(
        AdviceKind::NoEffect,
        "rules have no effect",
        "remove these rules, or the rule or local zone that overrides them",
    );
    let mut redundant = Advice::new(
        AdviceKind::Redundant,
        "rules repeat a wider rule",
        "remove them, or keep them if you plan to remove the wider rule",
    );
    for rule in policy.iter().filter(|rule| sources.is_own(*rule)) {
        let pattern = rule.pattern();
        if let Some(origin) = assembly.local.origins().iter().find(|origin| pattern.name().is_within(origin))
        {
            undecisive.find(most, || finding(rule, &format!("local zone `{origin}` answers instead")));
        } else if let Some(by) = hides(policy, rule, &pattern) {
            if !sources.warned_of(rule, by) {
                undecisive.find(most, || finding(rule, &hidden_by(rule, by)));
            }
        } else if let Some(wider) =
            wider(policy, &pattern).filter(|wider| says_the_same(rule, *wider, sources))
        {
            redundant.find(most, || finding(rule, &format!("covered by `{wider}` at {}", wider.place())));
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
    let place = match by.bypass() {
        Some(_) => "(built in)".to_owned(),
        None => format!("at {}", by.place()),
    };
    match by.action() == rule.action() {
        true => format!("already covered by `{by}` {place}"),
        false => format!("overridden by `{by}` {place}"),
    }
}

/// The rule that decides names of `pattern`, if `rule` itself decides none.
fn hides<'p>(policy: &'p Policy, rule: RuleRef<'_>, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let itself = if pattern.scope() == Scope::Below { None } else { policy.rule_for(name) };
    let below = if pattern.scope() == Scope::Exact { None } else { rule_below(policy, name) };
    let decides = |found: Option<RuleRef<'_>>| found.is_some_and(|found| found.id() == rule.id());
    below.or(itself).filter(|_| !decides(itself) && !decides(below))
}

/// The rule that would decide the names of `pattern` if the pattern's own rule were removed.
fn wider<'p>(policy: &'p Policy, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let own = if pattern.scope() == Scope::Exact { rule_below(policy, name) } else { None };
    own.filter(|rule| rule.pattern().matches(name)).or_else(|| policy.rule_for(&any_beside(name)?))
}

/// True if both rules have the same effect. A `broad` rule does not count: `strict` excludes it, and then the narrower
/// rule matters.
fn says_the_same(rule: RuleRef<'_>, wider: RuleRef<'_>, sources: &Sources<'_>) -> bool {
    wider.id() != rule.id()
        && wider.action() == rule.action()
        && sources.written(wider).is_none_or(|written| !written.broad)
}
