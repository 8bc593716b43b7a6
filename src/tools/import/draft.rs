//! [`Draft`]: an allowlist under construction.

use std::collections::BTreeSet;

use rapidhash::RapidHashMap;
use serde::Serialize;
use toml::value::Datetime;

use super::suffix::{is_shared, refusal};
use super::{File, ImportOptions, Imported};
use crate::allowlist::Port;
use crate::diagnostics::{Diagnostic, Report};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::util::escape::on_one_line;

/// A pattern that the input allows or denies.
pub(super) struct Candidate {
    pub(super) action: Action,
    pub(super) pattern: Pattern,
    /// Its place: a line or a JSON path.
    pub(super) place: String,
    /// Its purpose; may be empty.
    pub(super) purpose: String,
    pub(super) ports: Vec<Port>,
}

/// An allowlist, and what was not imported.
pub(super) struct Draft {
    options: ImportOptions,
    rules: Vec<Rule>,
    places: RapidHashMap<(Action, Pattern), usize>,
    remarks: Vec<String>,
    complete: bool,
}

struct Rule {
    action: Action,
    pattern: Pattern,
    purposes: BTreeSet<String>,
    ports: BTreeSet<Port>,
}

impl Draft {
    pub(super) fn new(options: ImportOptions) -> Self {
        Self {
            options,
            rules: Vec::new(),
            places: RapidHashMap::default(),
            remarks: Vec::new(),
            complete: true,
        }
    }

    /// Adds a candidate, or notes why it is not imported. Duplicate patterns become one rule.
    pub(super) fn add(&mut self, candidate: Candidate) {
        let Candidate { action, pattern, place, purpose, ports } = candidate;
        if action == Action::Allow {
            let is_wide = pattern.scope() != Scope::Exact;
            if let Some(reason) = refusal(&pattern) {
                return self.leave_out(&place, format!("`{pattern}` is not imported: {reason}"));
            }
            if is_wide && !self.options.wildcards {
                let message = format!("`{pattern}` is not imported: use --wildcards to import it");
                return self.leave_out(&place, message);
            }
        }
        let next = self.rules.len();
        let index = *self.places.entry((action, pattern.clone())).or_insert(next);
        if index == next {
            self.rules.push(Rule { action, pattern, purposes: BTreeSet::new(), ports: BTreeSet::new() });
        }
        let rule = &mut self.rules[index];
        rule.purposes.extend(Some(on_one_line(purpose.trim())).filter(|purpose| !purpose.is_empty()));
        rule.ports.extend(ports);
    }

    /// Notes that something at `place` is not imported.
    pub(super) fn leave_out(&mut self, place: &str, message: impl Into<String>) {
        self.complete = false;
        self.remark(place, message);
    }

    /// Adds a remark about the allowlist.
    pub(super) fn remark(&mut self, place: &str, message: impl Into<String>) {
        self.remarks.push(on_one_line(&format!("{place}: {}", message.into())));
    }

    /// Writes the allowlist.
    ///
    /// Errors: it has no rules although nothing was skipped.
    pub(super) fn finish(self, title: &str, source: &str, file: &str) -> Result<Imported, Report> {
        if self.rules.is_empty() && self.complete {
            let help = "check the format, and that the file holds the whole output of the command".to_owned();
            return Err(Diagnostic::error(file, "no host names in this file").with_help(help).into());
        }
        let of = |action| self.rules.iter().filter(|rule| rule.action == action).map(Rule::written).collect();
        let zone = Zone {
            title,
            source: &on_one_line(source),
            revised: self.options.today.into(),
            allow: of(Action::Allow),
            deny: of(Action::Deny),
        };
        let text = toml::to_string(&zone)
            .map_err(|error| Diagnostic::error(file, format!("cannot write the allowlist: {error}")))?;
        let files = vec![File { name: "imported.toml".to_owned(), text }];
        Ok(Imported { files, remarks: self.remarks, complete: self.complete })
    }
}

/// The file format that [`crate::allowlist`] reads.
#[derive(Serialize)]
struct Zone<'a> {
    title: &'a str,
    source: &'a str,
    revised: Datetime,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<Written>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<Written>,
}

#[derive(Serialize)]
struct Written {
    host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    purpose: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broad: bool,
}

impl Rule {
    fn written(&self) -> Written {
        Written {
            host: self.pattern.to_string(),
            purpose: self.purposes.iter().map(String::as_str).collect::<Vec<_>>().join("; "),
            ports: self.ports.iter().map(ToString::to_string).collect(),
            broad: self.action == Action::Allow && is_shared(&self.pattern),
        }
    }
}
