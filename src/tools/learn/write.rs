//! Writes a [`Proposal`] as an allowlist, with the evidence for each rule, or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{LeftOut, Proposal, ProposedRule, Why};
use crate::hazard::shared_suffix;
use crate::observe::blocked_names::Sighting;
use crate::observe::few::Few;
use crate::policy::rule::Pattern;
use crate::wire::name::Name;

/// Names listed for each reason not to suggest them; the rest are only counted.
const LISTED: usize = 20;

/// The header above the rules.
#[derive(Clone, Debug)]
pub struct Heading {
    /// Where the names come from, as text: a file, or a running namegate.
    pub origin: String,
    /// When the rules were suggested.
    pub time: SystemTime,
}

/// The proposal as an allowlist. Of outside text it only contains host names.
pub fn to_toml(proposal: &Proposal, heading: &Heading) -> String {
    let date = date(heading.time);
    let names: usize = proposal.rules.iter().map(|rule| rule.names).sum();
    let mut text = format!(
        "# Suggested by `namegate learn`: {} for {} from {}.\n\
         # A query only shows that a client wants the name, not that it should have it.\n\
         # Delete the rules that you do not want, then add this file to `policy.zones`.\n\n\
         title   = \"Suggested by namegate learn\"\nsource  = {}\nrevised = {date}\n",
        count(proposal.rules.len(), "rule"),
        count(names, "name"),
        heading.origin.escape_debug(),
        toml::Value::from(format!("namegate learn, from {}", heading.origin)),
    );
    proposal.rules.iter().for_each(|rule| write_rule(&mut text, rule));
    if !proposal.risky.is_empty() {
        text.push_str("\n## Not folded, because anyone can create such names (`--fold-risky` folds them)\n");
    }
    for fold in &proposal.risky {
        let (names, opens) = (count(fold.names, "name"), fold.opens.what);
        let _ = writeln!(text, "# {} for {names}: it would allow {opens}", fold.pattern);
    }
    proposal.left_out.iter().for_each(|left_out| write_left_out(&mut text, left_out));
    text
}

fn write_rule(text: &mut String, rule: &ProposedRule) {
    let _ =
        write!(text, "\n[[allow]]\nhost    = {}\npurpose = \"{}\"\n", written(&rule.pattern), purpose(rule));
    if rule.opens.is_some() {
        text.push_str("broad   = true\n");
    }
    let _ = writeln!(text, "# {}", evidence(&rule.seen));
    if !rule.examples.is_empty() {
        let _ = writeln!(text, "# for example {}", list(&rule.examples));
    }
    if let Some(opens) = rule.opens {
        let _ = writeln!(text, "# It allows {}: anyone can create such names.", opens.what);
    } else if let Some((suffix, what)) = shared_suffix(rule.pattern.name()) {
        let _ = writeln!(text, "# Anyone can create names below {suffix} ({what}): is this one yours?");
    }
}

/// A pattern as a TOML string: it may hold backslashes.
fn written(pattern: &Pattern) -> toml::Value {
    toml::Value::from(pattern.to_string())
}

/// `5 names queried 12 times by 2 clients`.
fn purpose(rule: &ProposedRule) -> String {
    let names = if rule.names > 1 { format!("{} ", count(rule.names, "name")) } else { String::new() };
    let times = rule.seen.count;
    let clients = rule.seen.clients.kept().len();
    let who = match (clients, rule.seen.clients.more()) {
        (0, _) => String::new(),
        (clients, true) => format!(" by more than {clients} clients"),
        (clients, false) => format!(" by {}", count(clients, "client")),
    };
    format!("{names}queried {}{who}", count(usize::try_from(times).unwrap_or(usize::MAX), "time"))
}

/// First and last lookup, clients and types.
fn evidence(seen: &Sighting) -> String {
    let mut text = format!("{} to {}", seconds(seen.first), seconds(seen.last));
    for (head, few) in [("by", shown(&seen.clients, 3)), ("for", shown(&seen.types, 8))] {
        if !few.is_empty() {
            let _ = write!(text, ", {head} {few}");
        }
    }
    text
}

fn shown<T: Copy + PartialEq + ToString>(few: &Few<T>, most: usize) -> String {
    let mut texts: Vec<String> = few.kept().iter().take(most).map(ToString::to_string).collect();
    if few.more() || few.kept().len() > most {
        texts.push("others".to_owned());
    }
    texts.join(", ")
}

fn write_left_out(text: &mut String, left_out: &LeftOut) {
    let _ = writeln!(text, "\n## {}", heading(&left_out.why));
    if let (Why::Parameters(_), Some((name, _))) = (&left_out.why, left_out.names.first())
        && let Some((suffix, what)) = shared_suffix(name)
    {
        let _ = writeln!(text, "# Anyone can create names below {suffix} ({what}): are these yours?");
    }
    for (name, times) in left_out.names.iter().take(LISTED) {
        let _ = writeln!(text, "# {name} ({times})");
    }
    if let Some(more @ 1..) = left_out.names.len().checked_sub(LISTED) {
        let _ = writeln!(text, "# … and {more} more");
    }
}

/// The heading of a list of names that got no rule.
fn heading(why: &Why) -> String {
    match why {
        Why::Parameters(values) => {
            let values: Vec<String> = values
                .iter()
                .map(|(parameter, value)| format!("add {value} to [parameters] {parameter}"))
                .collect();
            format!("Allowed by your allowlists once you {}", values.join(", and "))
        }
        Why::Shipped(zones) => {
            format!("In shipped allowlists: add one of \"{}\" to `policy.zones`", zones.join("\", \""))
        }
        Why::PublicResolver(operator) => {
            format!("Not suggested: public resolvers, which bypass namegate ({operator})")
        }
        Why::Tunnel(domain) => {
            format!("Not suggested: they look like encoded data; find out which clients send it to {domain}")
        }
        Why::Denied(Some(rule)) => {
            format!("Not suggested: denied by rule {}", rule.escape_debug())
        }
        Why::Denied(None) => "Not suggested: denied by rule".to_owned(),
        Why::Registry => "Not suggested: public suffixes and single labels".to_owned(),
        Why::Allowed => "Already allowed by the current settings".to_owned(),
        Why::Probe => "Not suggested: in `prove.must_not_resolve`, or queried by `namegate prove`".to_owned(),
        Why::Seldom => "Not suggested: queried fewer times than `--min-count`".to_owned(),
        Why::Before => "Not suggested: not queried since `--since`".to_owned(),
    }
}

/// The proposal as JSON, with complete lists.
pub fn to_json(proposal: &Proposal, heading: &Heading) -> Value {
    let rules: Vec<Value> = proposal.rules.iter().map(rule_json).collect();
    let risky = proposal.risky.iter().map(
        |fold| json!({ "host": fold.pattern.to_string(), "names": fold.names, "opens": fold.opens.what }),
    );
    let left_out = proposal.left_out.iter().map(|left_out| {
        let names =
            left_out.names.iter().map(|(name, count)| json!({ "name": name.to_string(), "count": count }));
        let mut value = why_json(&left_out.why);
        value["names"] = names.collect();
        value
    });
    json!({
        "origin": heading.origin,
        "time": seconds(heading.time),
        "rules": rules,
        "not_folded": risky.collect::<Value>(),
        "left_out": left_out.collect::<Value>(),
    })
}

fn rule_json(rule: &ProposedRule) -> Value {
    let seen = &rule.seen;
    json!({
        "host": rule.pattern.to_string(),
        "names": rule.names,
        "examples": rule.examples.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "count": seen.count,
        "first": seconds(seen.first),
        "last": seconds(seen.last),
        "clients": seen.clients.kept().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "more_clients": seen.clients.more(),
        "types": seen.types.kept().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "opens": rule.opens.map(|opens| opens.what),
    })
}

fn why_json(why: &Why) -> Value {
    match why {
        Why::Parameters(values) => {
            json!({ "why": "parameters", "add": values.iter().cloned().collect::<BTreeMap<_, _>>() })
        }
        Why::Shipped(zones) => json!({ "why": "shipped", "zones": zones }),
        Why::PublicResolver(operator) => json!({ "why": "public_resolver", "operator": operator }),
        Why::Tunnel(domain) => json!({ "why": "tunnel", "domain": domain }),
        Why::Denied(rule) => json!({ "why": "denied", "rule": rule }),
        Why::Registry => json!({ "why": "registry" }),
        Why::Allowed => json!({ "why": "allowed" }),
        Why::Probe => json!({ "why": "probe" }),
        Why::Seldom => json!({ "why": "seldom" }),
        Why::Before => json!({ "why": "before" }),
    }
}

fn list(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `1 rule`, `2 rules`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn seconds(time: SystemTime) -> String {
    crate::util::rfc3339::seconds(time).to_string()
}

fn date(time: SystemTime) -> String {
    seconds(time).chars().take("2026-11-23".len()).collect()
}
