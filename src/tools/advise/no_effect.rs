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
        } else if let Some(by) = hides(policy, rule, &pattern) {
            if by.action() == rule.action() && by.bypass().is_none() {
                if !subject.warned_of(rule, by) {
                    let text = || format!("already covered by `{by}` at {}", subject.place(by));
                    duplicate.find(most, || finding(rule, &text()));
                }
            } else {
                undecisive.find(most, || finding(rule, &hidden_by(subject, by)));
            }
        } else if let Some(wider) =
            wider(policy, &pattern).filter(|wider| says_the_same(rule, *wider, subject))
        {
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
fn says_the_same(rule: RuleRef<'_>, wider: RuleRef<'_>, subject: &JudgedRules<'_>) -> bool {
    wider.id() != rule.id()
        && wider.action() == rule.action()
        && subject.written(wider).is_none_or(|written| !written.broad)
}
