//! `namegate rules`: the effective allowlist, with where each rule comes from.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::assemble::Assembly;
use crate::cli::output::{USAGE, print, warn};
use crate::policy::policies::Group;
use crate::policy::rule::Action;
use crate::policy::{Policy, RuleRef};

/// One rule in force.
struct Row {
    action: &'static str,
    pattern: String,
    place: String,
    zone: String,
    purpose: String,
    broad: bool,
}

/// Which rules to list, and the format.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Client group; `default` is for clients in no group
    #[arg(long, value_name = "NAME", default_value = Group::DEFAULT)]
    group: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists every rule in force for a client group.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    let groups = assembly.policies.groups();
    let Some(group) = groups.iter().find(|group| group.name == arguments.group) else {
        let known: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        warn(&format!(
            "error: no client group `{}`\n  help: use one of {}",
            arguments.group.escape_debug(),
            known.join(", ")
        ));
        return USAGE;
    };
    let rows = rows(&group.policy, assembly);
    if arguments.json {
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
    print(&text)
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

fn rows(policy: &Policy, assembly: &Assembly) -> Vec<Row> {
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
    policy.iter().map(row).collect()
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}
