//! `namegate rules`: the effective allowlist, with where each rule comes from.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::AdminToken;
use super::http::{AdminClient, printable};
use crate::api::pages::{RuleTextJson, RulesJson};
use crate::assemble::{Assembly, Sources};
use crate::cli::output::{OK, USAGE, fail, print, warn};
use crate::policy::policies::Group;
use crate::policy::{Policy, RuleRef, RuleText};
use crate::util::duration::shown;
use crate::util::escape::on_one_line;
use crate::util::label::Label;

/// One rule in force.
struct Row {
    action: &'static str,
    pattern: String,
    place: String,
    zone: String,
    purpose: String,
    owner: String,
    ticket: String,
    until: Option<String>,
    ended: bool,
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
    /// List rules that decided nothing for this long, such as `90d`, from the running resolver
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "group")]
    unused: Option<Duration>,
    #[command(flatten)]
    token: AdminToken,
}

impl Arguments {
    /// The token for the running resolver.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.token.token_file.clone()
    }

    /// How long the rules to list have been unused; `None` for all rules.
    pub(super) fn unused(&self) -> Option<Duration> {
        self.unused
    }
}

/// Lists the rules that decided nothing for `period`, as the running resolver has counted.
pub(super) fn run_unused(arguments: &Arguments, period: Duration, sources: &Sources) -> u8 {
    let path = format!("/api/v1/rules?unused={}s", period.as_secs());
    let listener = match AdminClient::of(sources) {
        Ok(listener) => listener,
        Err(error) => {
            warn(&error);
            return USAGE;
        }
    };
    let RulesJson { rules, more } = match listener.read(&path) {
        Ok(page) => page,
        Err(error) => return fail(&*error),
    };
    if arguments.json {
        return print(&serde_json::to_string(&rules).unwrap_or_default());
    }
    if more > 0 {
        warn(&format!("warning: {more} further rules are not listed"));
    }
    if rules.is_empty() {
        warn(&format!("no rule has been in force and unused for {}", shown(period)));
        return OK;
    }
    let rule = rules.iter().map(|row| row.rule.len()).max().unwrap_or(0).min(60);
    let place = rules.iter().map(|row| row.place.len()).max().unwrap_or(0).min(60);
    let text = rules.iter().fold(String::new(), |mut text, row| {
        let last = match (&row.last_used, &row.counted_since) {
            (Some(last), _) => format!("last used {last}"),
            (None, Some(since)) => format!("never used since {since}"),
            (None, None) => String::new(),
        };
        let RuleTextJson { purpose, owner, ticket, .. } = &row.text;
        let about: Vec<&str> = [purpose, owner, ticket]
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        let about = printable(&about.join(", "));
        let (shown, shown_place) = (printable(&row.rule), printable(&row.place));
        let _ = writeln!(text, "{:<5}  {shown:<rule$}  {shown_place:<place$}  {last}  {about}", row.action);
        text
    });
    print(&text)
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
        let until = match &row.until {
            Some(until) if row.ended => format!(" (ended: {until})"),
            Some(until) => format!(" (until {until})"),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "{:<5}  {:<pattern$}  {:<place$}  {}{broad}{until}",
            row.action,
            row.pattern,
            on_one_line(&row.place),
            on_one_line(&row.purpose)
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
        "owner": row.owner,
        "ticket": row.ticket,
        "until": row.until,
        "ended": row.ended,
        "broad": row.broad,
    })
}

fn rows(policy: &Policy, assembly: &Assembly) -> Vec<Row> {
    let row = |rule: RuleRef<'_>| {
        let RuleText { purpose, owner, ticket } = rule.text();
        Row {
            action: rule.action().label(),
            pattern: rule.to_string(),
            place: rule.place(),
            zone: rule.source().zone.clone(),
            purpose: purpose.to_owned(),
            owner: owner.to_owned(),
            ticket: ticket.to_owned(),
            until: rule.until().map(|until| until.to_string()),
            ended: rule.is_over(),
            broad: assembly.written(rule).is_some_and(|written| written.broad),
        }
    };
    policy.iter_with_ended().map(row).collect()
}
