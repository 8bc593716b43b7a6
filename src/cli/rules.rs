//! `namegate rules`: the effective allowlist, with where each rule comes from.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{OK, print};
use crate::assemble::Assembly;
use crate::policy::rule::Action;

/// One rule in force.
struct Row {
    action: &'static str,
    pattern: String,
    place: String,
    zone: String,
    purpose: String,
    broad: bool,
}

/// Lists every rule in force.
pub(super) fn run(assembly: &Assembly, json: bool) -> u8 {
    let rows = rows(assembly);
    if json {
        let rows: Vec<Value> = rows.iter().map(as_json).collect();
        return print(&Value::from(rows).to_string());
    }
    let pattern = rows.iter().map(|row| row.pattern.len()).max().unwrap_or(0).min(60);
    let place = rows.iter().map(|row| row.place.len()).max().unwrap_or(0).min(60);
    let text = rows.iter().fold(String::new(), |mut text, row| {
        let broad = if row.broad { " (broad)" } else { "" };
        let _ = writeln!(
            text,
            "{:<5}  {:<pattern$}  {:<place$}  {}{broad}",
            row.action, row.pattern, row.place, row.purpose
        );
        text
    });
    print(&text);
    OK
}

fn as_json(row: &Row) -> Value {
    json!({
        "action": row.action,
        "pattern": row.pattern,
        "zone": row.zone,
        "place": row.place,
        "purpose": row.purpose,
        "broad": row.broad,
    })
}

fn rows(assembly: &Assembly) -> Vec<Row> {
    let policy = &assembly.settings.policy;
    let mut rows = Vec::new();
    for zone in &assembly.zones {
        for rule in zone.rules.iter().filter(|rule| !(policy.strict && rule.broad)) {
            rows.extend(rule.patterns.iter().map(|pattern| Row {
                action: name(rule.action),
                pattern: pattern.to_string(),
                place: format!("{}:{}", zone.file, rule.line),
                zone: zone.name.clone(),
                purpose: rule.reason.clone().unwrap_or_else(|| rule.purpose.clone()),
                broad: rule.broad,
            }));
        }
    }
    for (action, rules) in [(Action::Allow, &policy.allow), (Action::Deny, &policy.deny)] {
        rows.extend(rules.iter().map(|rule| Row {
            action: name(action),
            pattern: rule.pattern.to_string(),
            place: format!("{}:{}", assembly.origin, rule.line),
            zone: "settings".to_owned(),
            purpose: String::new(),
            broad: false,
        }));
    }
    rows
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}
