//! Inactive rules: rules whose parameters are not set.

use std::collections::BTreeMap;

use super::{Advice, AdviceFinding, AdviceKind};
use crate::allowlist::{Allowlist, AllowlistRule};

/// Inactive rules, grouped by parameter.
pub(super) fn advise(zones: &[Allowlist]) -> Advice {
    let mut parameters = BTreeMap::<&str, Vec<(&Allowlist, &AllowlistRule)>>::new();
    let mut count = 0;
    for (zone, rule) in zones.iter().flat_map(|zone| zone.rules.iter().map(move |rule| (zone, rule))) {
        count += usize::from(!rule.missing.is_empty());
        for parameter in &rule.missing {
            parameters.entry(parameter).or_default().push((zone, rule));
        }
    }
    let values: Vec<String> = parameters.keys().map(|parameter| format!("{parameter} = [\"…\"]")).collect();
    let help = format!(
        "set in [parameters]: {}; or remove unused allowlists from `policy.zones`",
        values.join(", ")
    );
    let mut advice =
        Advice::new(AdviceKind::Inactive, "rules are inactive: their parameters are not set", help);
    for (parameter, rules) in parameters {
        let Some((zone, first)) = rules.first() else { continue };
        advice.find(usize::MAX, || AdviceFinding {
            place: format!("{}:{}", zone.file, first.line),
            text: format!("`{{{parameter}}}`, used by `{}` (rules: {})", first.host, rules.len()),
        });
    }
    Advice { count, ..advice }
}
