//! [`HostPattern`]: a host from an allowlist, with its parameters filled in.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::is_parameter_name;
use crate::diagnostics::ValueError;
use crate::policy::rule::Pattern;

/// Maximum patterns that one rule may expand to. The product of long lists is nearly always a mistake, and costs
/// memory.
pub const MAX_PATTERNS: usize = 10_000;

/// A host as written and the patterns it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostPattern {
    /// As written.
    pub(super) text: String,
    /// One for each combination of parameter values; empty if a parameter has no value.
    pub(super) patterns: Vec<Pattern>,
    /// Its parameters.
    pub(super) parameters: Vec<String>,
    /// Parameters without a value.
    pub(super) missing: Vec<String>,
}

impl HostPattern {
    /// Reads a host and fills in its parameters. Checks the syntax even if a value is missing.
    pub(super) fn parse(text: &str, values: &BTreeMap<String, Vec<String>>) -> Result<Self, ValueError> {
        let places = placeholders(text)?;
        if places.is_empty() {
            let patterns = vec![Pattern::parse(text)?];
            return Ok(Self { text: text.to_owned(), patterns, parameters: Vec::new(), missing: Vec::new() });
        }
        let mut parameters: Vec<String> =
            places.iter().map(|place| text[place.start + 1..place.end - 1].to_owned()).collect();
        parameters.sort_unstable();
        parameters.dedup();
        let has_no_value = |name: &&String| values.get(*name).is_none_or(Vec::is_empty);
        let missing: Vec<String> = parameters.iter().filter(has_no_value).cloned().collect();
        let patterns = if missing.is_empty() {
            fill(text, &places, &parameters, values)?
        } else {
            Pattern::parse(&stand_in(text, &places))?;
            Vec::new()
        };
        Ok(Self { text: text.to_owned(), patterns, parameters, missing })
    }
}

/// The locations of `{name}` in a host, braces included.
fn placeholders(text: &str) -> Result<Vec<Range<usize>>, ValueError> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find('{').map(|at| from + at) {
        let at =
            |span, message, help: &str| ValueError { span: Some(span), ..ValueError::new(message, help) };
        let Some(end) = text[start..].find('}').map(|length| start + length + 1) else {
            return Err(at(start..start + 1, "`{` without `}`".to_owned(), "write parameters as `{name}`"));
        };
        let name = &text[start + 1..end - 1];
        if !is_parameter_name(name) {
            let message = format!("invalid parameter name `{}`", name.escape_debug());
            return Err(at(start..end, message, "use only `a` to `z` and `_`, such as `{key_vault}`"));
        }
        places.push(start..end);
        from = end;
    }
    Ok(places)
}

/// Every combination of the parameters' values; a parameter used twice has the same value in both places.
fn fill(
    text: &str,
    places: &[Range<usize>],
    parameters: &[String],
    values: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Pattern>, ValueError> {
    let lists = parameters.iter().map(|name| (name, values.get(name).map(Vec::as_slice).unwrap_or_default()));
    let count = lists.clone().fold(1_usize, |count, (_, list)| count.saturating_mul(list.len()));
    if count > MAX_PATTERNS {
        let message = format!("the values in [parameters] expand this rule to {count} patterns");
        return Err(ValueError::new(message, format!("use fewer values; the limit is {MAX_PATTERNS}")));
    }
    let mut texts = vec![text.to_owned()];
    for (name, list) in lists {
        let placeholder = format!("{{{name}}}");
        texts = texts
            .iter()
            .flat_map(|text| list.iter().map(|value| text.replace(&placeholder, value)))
            .collect();
    }
    let parse = |filled: &String| {
        Pattern::parse(filled).map_err(|error| {
            // An error in the host itself has a location; an error that the values cause has none.
            match Pattern::parse(&stand_in(text, places)) {
                Err(error) => error.into(),
                Ok(_) => ValueError {
                    span: None,
                    message: format!(
                        "the values in [parameters] expand this to `{filled}`: {}",
                        error.message
                    ),
                    help: error.help,
                },
            }
        })
    };
    texts.iter().map(parse).collect()
}

/// The host with letters in place of its parameters, of the same length so that locations in it stay valid.
fn stand_in(text: &str, places: &[Range<usize>]) -> String {
    let mut text = text.to_owned();
    for place in places {
        text.replace_range(place.clone(), &"x".repeat(place.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn values() -> BTreeMap<String, Vec<String>> {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        BTreeMap::from([
            ("region".to_owned(), list(&["westeurope", "eastus"])),
            ("acr".to_owned(), list(&["one", "two"])),
            ("long".to_owned(), vec!["a".repeat(60)]),
            ("many".to_owned(), (0..200).map(|value| value.to_string()).collect()),
            ("more".to_owned(), (0..200).map(|value| value.to_string()).collect()),
            ("empty".to_owned(), Vec::new()),
        ])
    }

    #[test]
    fn fills_in_every_combination() {
        for (text, patterns, missing) in [
            ("*.azureml.ms", "*.azureml.ms", ""),
            ("{acr}.azurecr.io", "one.azurecr.io two.azurecr.io", ""),
            (".{region}.a.example", ".westeurope.a.example .eastus.a.example", ""),
            ("{acr}-{acr}.example", "one-one.example two-two.example", ""),
            (
                "{acr}.{region}.example",
                "one.westeurope.example one.eastus.example two.westeurope.example two.eastus.example",
                "",
            ),
            ("{storage}.example", "", "storage"),
            ("{acr}.{storage}.{empty}.example", "", "empty storage"),
        ] {
            let host = HostPattern::parse(text, &values()).unwrap();
            let shown: Vec<String> = host.patterns.iter().map(Pattern::to_string).collect();
            assert_eq!(
                (shown.join(" ").as_str(), host.missing.join(" ").as_str()),
                (patterns, missing),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_and_points() {
        for (text, span, message) in [
            ("{acr.azurecr.io", Some(0..1), "`{` without `}`"),
            ("a.{Acr}.io", Some(2..7), "invalid parameter name `Acr`"),
            ("a.{}.io", Some(2..4), "invalid parameter name ``"),
            ("acr}.azurecr.io", Some(3..4), "invalid character `}`"),
            ("{storage}..io", Some(9..11), "two dots"),
            ("{acr}..io", Some(5..7), "two dots"),
            ("*{acr}.io", Some(0..6), "whole first label"),
            ("{long}-abc.io", None, "at most 63"),
            ("{many}.{more}.io", None, "40000 patterns"),
        ] {
            let error = HostPattern::parse(text, &values()).unwrap_err();
            assert_eq!(error.span, span, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
