//! Response policy zones (draft-vixie-dnsop-dns-rpz-00): the triggers and actions that are about names.

use std::str::FromStr;

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::draft::{Candidate, Draft};
use super::{ImportOptions, Imported, master_file};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::wire::name as wire;

/// Where relative names are taken to be where the file names no origin.
const UNNAMED: &str = "rpz.invalid.";
/// Labels that end a trigger about something else than the name asked.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"];

pub(super) fn import(source: &Source, options: ImportOptions) -> Result<Imported, Report> {
    let unnamed =
        Name::from_str(UNNAMED).map_err(|error| Diagnostic::error(source.file(), error.to_string()))?;
    let records = master_file::records(source, &unnamed)?;
    let Some((_, soa)) = records.iter().find(|(_, record)| record.record_type() == RecordType::SOA) else {
        let help =
            "a response policy zone begins with an SOA record, which says what its names end in".to_owned();
        return Err(Diagnostic::error(source.file(), "the zone has no SOA record").with_help(help).into());
    };
    let mut draft = Draft::new(options);
    let mut denies_the_rest = false;
    for (line, record) in &records {
        let place = format!("{}:{line}", source.file());
        match rule(record, &soa.name) {
            Trigger::Apex => {}
            Trigger::Everything => denies_the_rest = true,
            Trigger::Names(action, pattern) => {
                let (purpose, ports) = (String::new(), Vec::new());
                draft.add(Candidate { action, pattern: *pattern, place, purpose, ports });
            }
            Trigger::Unsaid(message) => draft.leave_out(&place, message),
        }
    }
    if !denies_the_rest {
        let message = "the zone lets every name pass that it does not mention; here they are blocked";
        draft.remark(source.file(), message);
    }
    draft.finish("Imported response policy zone", source.file(), source.file())
}

/// What a record is about.
enum Trigger {
    /// The zone itself.
    Apex,
    /// Every name, denied: what holds here anyway.
    Everything,
    /// Names.
    Names(Action, Box<Pattern>),
    /// What no rule can say.
    Unsaid(String),
}

fn rule(record: &Record, apex: &Name) -> Trigger {
    if record.name == *apex {
        return Trigger::Apex;
    }
    if !apex.zone_of(&record.name) {
        return Trigger::Unsaid(format!("`{}` is outside the zone `{apex}`", record.name));
    }
    let own = record.name.iter().count().saturating_sub(apex.iter().count());
    let labels: Vec<&[u8]> = record.name.iter().take(own).collect();
    let (scope, name) = match labels.split_first() {
        Some((&[b'*'], rest)) => (Scope::Below, rest),
        _ => (Scope::Exact, &labels[..]),
    };
    let host = match wire::Name::from_labels(name.iter().copied()) {
        Ok(name) => Pattern::new(scope, name),
        Err(error) => return Trigger::Unsaid(format!("`{}`: {error}", record.name)),
    };
    let last = labels.last().map(|last| last.to_ascii_lowercase()).unwrap_or_default();
    if let Some(trigger) = OTHER_TRIGGERS.iter().find(|trigger| trigger.as_bytes() == last) {
        return Trigger::Unsaid(format!(
            "`{host}`: rules match the name asked; `{trigger}` has no counterpart"
        ));
    }
    let Some(action) = action(record, &labels) else {
        return Trigger::Unsaid(format!(
            "`{host}`: only passing and denying can be carried over, not answers"
        ));
    };
    match (host.name().is_root(), action) {
        (true, Action::Deny) => Trigger::Everything,
        (true, Action::Allow) => {
            Trigger::Unsaid("`*` lets every name pass; that is never carried over".to_owned())
        }
        (false, action) => Trigger::Names(action, Box::new(host)),
    }
}

/// What the policy does with the name, which the target of a CNAME says; none for data to answer with.
fn action(record: &Record, labels: &[&[u8]]) -> Option<Action> {
    let RData::CNAME(target) = &record.data else { return None };
    let target = target.0.to_ascii().to_ascii_lowercase();
    match target.as_str() {
        "." | "*." | "rpz-drop." => Some(Action::Deny),
        "rpz-passthru." => Some(Action::Allow),
        // Before there was `rpz-passthru.`, a name that was an alias of itself passed.
        _ => {
            let is_itself = |(one, other): (&[u8], &&[u8])| one.eq_ignore_ascii_case(other);
            let target = || record_target(record).into_iter().flatten();
            (target().count() == labels.len() && target().zip(labels).all(is_itself)).then_some(Action::Allow)
        }
    }
}

/// The labels that an alias leads to.
fn record_target(record: &Record) -> Option<impl Iterator<Item = &[u8]>> {
    match &record.data {
        RData::CNAME(target) => Some(target.0.iter()),
        _ => None,
    }
}
