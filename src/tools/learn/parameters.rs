//! Values of parameters that would allow a name.

use std::time::SystemTime;

use super::Known;
use super::label::{is_like_data, is_region};
use crate::allowlist::AllowlistRule;
use crate::policy::rule::Action;
use crate::wire::name::Name;

/// A parameter and a value to add to it.
pub type ParameterValue = (String, String);

/// The fewest values that would make a rule of the allowlists in use cover `name`; `None` if no values do.
pub(super) fn missing_values(name: &Name, known: Known<'_>) -> Option<Vec<ParameterValue>> {
    let rules = known.zones.iter().flat_map(|zone| &zone.rules);
    let now = SystemTime::now();
    let could_allow = |rule: &&AllowlistRule| {
        let is_over = rule.until.is_some_and(|until| until.is_over(now));
        rule.action == Action::Allow && !is_over && !(known.strict && rule.broad)
    };
    let values = rules.filter(could_allow).filter_map(|rule| missing_in(rule, name, known));
    values.min_by_key(Vec::len)
}

fn missing_in(rule: &AllowlistRule, name: &Name, known: Known<'_>) -> Option<Vec<ParameterValue>> {
    let values = rule.values_for(name)?;
    let is_set = |parameter: &str, value: &String| {
        known.parameters.get(parameter).is_some_and(|values| values.contains(value))
    };
    let mut missing: Vec<ParameterValue> = values
        .into_iter()
        .filter(|(parameter, value)| !is_set(parameter, value))
        .map(|(parameter, value)| (parameter.to_owned(), value))
        .collect();
    missing.sort();
    missing.dedup();
    (!missing.is_empty() && missing.iter().all(is_plausible)).then_some(missing)
}

/// True if the value may be a resource or a region of the user.
fn is_plausible((parameter, value): &ParameterValue) -> bool {
    let is_region_name = parameter == "region" || parameter.ends_with("_region");
    if is_region_name { is_region(value.as_bytes()) } else { !is_like_data(value.as_bytes()) }
}
