//! [`Draft`]: an allowlist under construction.

use std::collections::BTreeSet;

use rapidhash::RapidHashMap;
use serde::Serialize;
use toml::value::Datetime;

use super::suffix::{is_shared, refusal};
use super::{File, ImportOptions, Imported};
use crate::allowlist::Port;
use crate::diagnostics::{Diagnostic, Report};
use crate::foreign::{EntryFault, ListEntry, ListRemark, Listing};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::util::escape::on_one_line;

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

    /// Adds the entries of a list that was read from `file`.
    pub(super) fn add_all(&mut self, listing: Listing, file: &str) {
        for entry in listing.entries {
            let place = entry.place.within(file);
            match entry.pattern {
                Ok(ref pattern) if entry.action == Action::Allow => self.allow(&entry, pattern, &place),
                Ok(ref pattern) => self.push(&entry, pattern.clone()),
                Err(EntryFault::Everything) if entry.action == Action::Allow => {
                    self.leave_out(
                        &place,
                        format!("`{}` is not imported: it would allow every name", entry.text),
                    );
                }
                // What no rule allows is denied anyway. Invalid entries were refused before.
                Err(EntryFault::Everything | EntryFault::Invalid(_)) => {}
            }
        }
        for ListRemark { place, message } in listing.skipped {
            self.leave_out(&place.within(file), format!("not imported: {message}"));
        }
        for note in listing.notes {
            self.remark(file, note);
        }
    }

    fn allow(&mut self, entry: &ListEntry, pattern: &Pattern, place: &str) {
        if let Some(reason) = refusal(pattern) {
            return self.leave_out(place, format!("`{pattern}` is not imported: {reason}"));
        }
        if pattern.scope() == Scope::Exact || self.options.wildcards {
            return self.push(entry, pattern.clone());
        }
        if entry.is_domain {
            let name = pattern.name();
            let message =
                format!("`{name}` is imported without the names below it: use --wildcards to add them");
            self.leave_out(place, message);
            return self.push(entry, Pattern::new(Scope::Exact, name.clone()));
        }
        self.leave_out(place, format!("`{pattern}` is not imported: use --wildcards to import it"));
    }

    /// Adds a rule. Duplicate patterns become one.
    fn push(&mut self, entry: &ListEntry, pattern: Pattern) {
        let (action, next) = (entry.action, self.rules.len());
        let index = *self.places.entry((action, pattern.clone())).or_insert(next);
        if index == next {
            self.rules.push(Rule { action, pattern, purposes: BTreeSet::new(), ports: BTreeSet::new() });
        }
        let rule = &mut self.rules[index];
        rule.purposes.extend(Some(on_one_line(entry.purpose.trim())).filter(|purpose| !purpose.is_empty()));
        rule.ports.extend(&entry.ports);
    }

    /// Notes that something at `place` is not imported.
    fn leave_out(&mut self, place: &str, message: impl Into<String>) {
        self.complete = false;
        self.remark(place, message);
    }

    /// Adds a remark about the allowlist.
    fn remark(&mut self, place: &str, message: impl Into<String>) {
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
