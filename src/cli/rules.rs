//! `namegate rules`: the effective allowlist, with where each rule comes from.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{OK, print};
use crate::assemble::Assembly;
use crate::policy::RuleRef;
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
    let row = |rule: RuleRef<'_>| {
        let written = assembly.written(rule);
        let purpose = written.map(|written| written.reason.as_ref().unwrap_or(&written.purpose));
        Row {
            action: name(rule.action()),
            pattern: rule.to_string(),
            place: rule.place(),
            zone: rule.source().zone.clone(),
            purpose: purpose.cloned().unwrap_or_default(),
            broad: written.is_some_and(|written| written.broad),
        }
    };
    assembly.policy.iter().map(row).collect()
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}
