//! Rules written by the operator that have no effect.

use super::{Advice, AdviceFinding, AdviceKind, JudgedRules, any_beside, rule_below};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Policy, RuleRef};

pub(super) fn advise(subject: &JudgedRules<'_>, most: usize) -> Vec<Advice> {
    let policy = subject.policy;
    let mut undecisive = Advice::new(
        AdviceKind::NoEffect,
        "rules have no effect",
        "remove these rules, or the rule or local zone that overrides them",
    );
    let mut duplicate = Advice::new(AdviceKind::Duplicate, "rules repeat another rule", "remove them");
    let mut redundant = Advice::new(
        AdviceKind::Redundant,
        "rules repeat a wider rule",
        "remove them, or keep them if you plan to remove the wider rule",
    );
    let finding = |rule: RuleRef<'_>, why: &str| finding(subject, rule, why);
    for rule in policy.iter().filter(|rule| subject.is_own(*rule)) {
        let pattern = rule.pattern();
        if let Some(origin) = subject.local.iter().find(|origin| pattern.name().is_within(origin)) {
            undecisive.find(most, || finding(rule, &format!("local zone `{origin}` answers instead")));
        } else if let Some(deciding) = deciding_instead(policy, rule, &pattern) {
            // Once a rule that decides has ended, this rule decides.
            if deciding.iter().flatten().any(|by| ends_before(*by, rule)) {
                continue;
            }
            let Some(by) = deciding.into_iter().flatten().next() else { continue };
            if by.action() == rule.action() && by.bypass().is_none() {
                let is_repeated = deciding.iter().flatten().all(|by| says_the_same(rule, *by, subject));
                if is_repeated && !subject.warned_of(rule, by) {
                    let text = || format!("already covered by `{by}` at {}", subject.place(by));
                    duplicate.find(most, || finding(rule, &text()));
                }
            } else {
                undecisive.find(most, || finding(rule, &hidden_by(subject, by)));
            }
        } else if let Some(wider) = wider(policy, &pattern).filter(|wider| repeats(rule, *wider, subject)) {
            let text = || format!("covered by `{wider}` at {}", subject.place(wider));
            redundant.find(most, || finding(rule, &text()));
        }
    }
    vec![undecisive, duplicate, redundant]
}

fn finding(subject: &JudgedRules<'_>, rule: RuleRef<'_>, why: &str) -> AdviceFinding {
    let action = match rule.action() {
        Action::Allow => "",
        Action::Deny => "deny ",
    };
    AdviceFinding { place: subject.place(rule), text: format!("{action}`{rule}`: {why}") }
}

fn hidden_by(subject: &JudgedRules<'_>, by: RuleRef<'_>) -> String {
    match by.bypass() {
        Some(_) => format!("overridden by `{by}` (built in)"),
        None => format!("overridden by `{by}` at {}", subject.place(by)),
    }
}

/// The rules that decide names of `pattern`, at least one, if `rule` itself decides none.
fn deciding_instead<'p>(
    policy: &'p Policy,
    rule: RuleRef<'_>,
    pattern: &Pattern,
) -> Option<[Option<RuleRef<'p>>; 2]> {
    let name = pattern.name();
    let itself = if pattern.scope() == Scope::Below { None } else { policy.rule_for(name) };
    let below = if pattern.scope() == Scope::Exact { None } else { rule_below(policy, name) };
    let found = [below, itself];
    let decides = found.iter().flatten().any(|found| found.id() == rule.id());
    (!decides && found.iter().any(Option::is_some)).then_some(found)
}

/// The rule that would decide the names of `pattern` if the pattern's own rule were removed.
fn wider<'p>(policy: &'p Policy, pattern: &Pattern) -> Option<RuleRef<'p>> {
    let name = pattern.name();
    let own = if pattern.scope() == Scope::Exact { rule_below(policy, name) } else { None };
    own.filter(|rule| rule.pattern().matches(name)).or_else(|| policy.rule_for(&any_beside(name)?))
}

/// True if `rule` repeats a wider rule. A `broad` rule does not count: `strict` excludes it, and then the narrower rule
/// matters.
fn repeats(rule: RuleRef<'_>, wider: RuleRef<'_>, subject: &JudgedRules<'_>) -> bool {
    wider.id() != rule.id()
        && says_the_same(rule, wider, subject)
        && subject.written(wider).is_none_or(|written| !written.broad)
}

/// True if `other` says of the names of `rule` all that `rule` says, for as long as it does.
fn says_the_same(rule: RuleRef<'_>, other: RuleRef<'_>, subject: &JudgedRules<'_>) -> bool {
    if other.action() != rule.action() || ends_before(other, rule) {
        return false;
    }
    if rule.action() == Action::Deny {
        return true;
    }
    let (name, ports) = (rule.pattern().name().clone(), subject.ports(other));
    (rule.expect(), rule.cname()) == (other.expect(), other.cname())
        && subject.has_same_servers(rule, other)
        && subject.policy.route(&name, Some(rule)) == subject.policy.route(&name, Some(other))
        && subject.ports(rule).iter().all(|port| ports.contains(port))
}

/// True if `other` ends while `rule` still applies.
fn ends_before(other: RuleRef<'_>, rule: RuleRef<'_>) -> bool {
    other.until().is_some_and(|end| rule.until().is_none_or(|own| end < own))
}
