//! Compares allowlists with the vendor's list they are based on.

use toml::value::Date;

use super::{Advice, AdviceFinding, AdviceKind, JudgedRules, rule_below};
use crate::allowlist::{Allowlist, AllowlistRule};
use crate::assemble::Assembly;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Policy, RuleRef};

/// Names on the current list that are not allowed although their allowlist is in use.
pub(super) fn needed(assembly: &Assembly, policy: &Policy, most: usize) -> Vec<Advice> {
    let mut denied = Advice::new(
        AdviceKind::VendorDenied,
        "names on the vendor's current list are denied: software that needs them will fail",
        "narrow the deny rule, or allow these names with a more specific rule",
    );
    let mut strict = Advice::new(
        AdviceKind::VendorStrict,
        "names on the vendor's current list are excluded by `policy.strict`",
        "name your own resources in [parameters]. The vendor's own accounts have no published names: run with \
         `policy.mode = \"observe\"` and `namegate learn`, or compare the workspace's outbound dependencies with \
         `namegate diff`, and add those that it needs",
    );
    let is_read = |zone: &&Allowlist| policy.sources().any(|(source, _)| source.file == zone.file);
    for zone in assembly.zones.iter().filter(is_read) {
        let is_needed = |rule: &&AllowlistRule| {
            rule.action == Action::Allow && zone.is_current(rule) && !has_narrow_rule(zone, rule)
        };
        for rule in zone.rules.iter().filter(is_needed) {
            let Some((pattern, by)) =
                rule.patterns.iter().find_map(|one| Some((one, overruled(assembly, policy, one)?)))
            else {
                continue;
            };
            let place = format!("{}:{}", zone.file, rule.line);
            match by {
                Some(by) => {
                    let text = || format!("`{pattern}`: denied by `{by}` at {}", by.place());
                    denied.find(most, || AdviceFinding { place, text: text() });
                }
                None => {
                    strict.find(most, || AdviceFinding {
                        place,
                        text: format!("`{pattern}`: {}", rule.purpose),
                    });
                }
            }
        }
    }
    vec![denied, strict]
}

/// True if an active narrow rule stands for the same entry of the vendor's list as this broad rule.
fn has_narrow_rule(zone: &Allowlist, broad: &AllowlistRule) -> bool {
    let is_narrow =
        |rule: &AllowlistRule| !rule.broad && !rule.patterns.is_empty() && entry(rule) == entry(broad);
    broad.broad && zone.rules.iter().any(is_narrow)
}

/// The rule's entry in the vendor's list.
fn entry(rule: &AllowlistRule) -> &str {
    rule.as_listed.as_ref().unwrap_or(&rule.host)
}

/// Rules in force whose names only retired software queries.
pub(super) fn legacy(assembly: &Assembly, policy: &Policy, subject: &JudgedRules<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Legacy,
        "rules allow names that only retired software queries",
        "add them to `policy.deny` if nobody uses that software any more",
    );
    for rule in policy.iter().filter(|rule| rule.action() == Action::Allow) {
        let Some(written) = subject.written(rule).filter(|written| written.legacy) else { continue };
        if overruled(assembly, policy, &rule.pattern()).is_some() {
            continue;
        }
        let text = || match written.purpose.as_str() {
            "" => format!("`{rule}`"),
            purpose => format!("`{rule}`: {purpose}"),
        };
        advice.find(most, || AdviceFinding { place: rule.place(), text: text() });
    }
    advice
}

/// `Some` if names of `pattern` are not allowed, with the rule that denies them, if any.
fn overruled<'p>(assembly: &Assembly, policy: &'p Policy, pattern: &Pattern) -> Option<Option<RuleRef<'p>>> {
    let name = pattern.name();
    if assembly.local.origins().iter().any(|origin| name.is_within(origin)) {
        return None;
    }
    let itself = (pattern.scope() != Scope::Below).then(|| policy.rule_for(name));
    let below = (pattern.scope() != Scope::Exact).then(|| rule_below(policy, name));
    let is_blocked = |rule: &Option<RuleRef<'_>>| rule.is_none_or(|rule| rule.action() == Action::Deny);
    [itself, below].into_iter().flatten().find(is_blocked)
}

/// Allowlists revised more than a year before `today`.
pub(super) fn outdated(zones: &[Allowlist], today: Date, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Outdated,
        "allowlists were revised more than a year ago",
        "compare them with their source; a newer namegate may include newer ones",
    );
    for zone in zones {
        let Some(revised) = zone.revised else { continue };
        let a_year_on = Date { year: revised.year.saturating_add(1), ..revised };
        if a_year_on < today {
            let text = || format!("revised {revised}, from {}", zone.source);
            advice.find(most, || AdviceFinding { place: zone.file.clone(), text: text() });
        }
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_is_old_after_a_year() {
        let revised = Date { year: 2026, month: 3, day: 19 };
        let zone = Allowlist {
            name: "zone".to_owned(),
            title: String::new(),
            source: "a page".to_owned(),
            revised: Some(revised),
            editions: Vec::new(),
            aliases: Vec::new(),
            file: "zone.toml".to_owned(),
            shipped: true,
            cname: None,
            servers: Vec::new(),
            rules: Vec::new(),
            count: 0,
        };
        for (year, month, day, old) in [(2026, 3, 19, 0), (2027, 3, 19, 0), (2027, 3, 20, 1), (2028, 1, 1, 1)]
        {
            let today = Date { year, month, day };
            let advice = outdated(&[Allowlist { revised: None, ..zone.clone() }, zone.clone()], today, 5);
            assert_eq!(advice.count, old, "{today}");
        }
    }
}
