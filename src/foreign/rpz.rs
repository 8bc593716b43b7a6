//! Response policy zones (draft-vixie-dnsop-dns-rpz-00): triggers and actions for query names.

use std::str::FromStr;

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{EntryFault, ListEntry, ListPlace, Listing, zone_file};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::wire::name as wire;

/// Origin of relative names if the file names none.
const UNNAMED: &str = "rpz.invalid.";
/// Final labels of triggers that do not match the query name.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"];

/// True for a zone file: it sets an origin or a TTL, or has an SOA record.
pub(super) fn is_shape(source: &Source) -> bool {
    let text = source.text().trim_start_matches('\u{feff}');
    let mut lines = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    lines.any(|line| {
        line.starts_with("$ORIGIN")
            || line.starts_with("$TTL")
            || line.split_ascii_whitespace().any(|word| word == "SOA")
    })
}

pub(super) fn read(source: &Source) -> Result<Listing, Report> {
    let unnamed =
        Name::from_str(UNNAMED).map_err(|error| Diagnostic::error(source.file(), error.to_string()))?;
    let records = zone_file::records(source, &unnamed)?;
    let Some((_, soa)) = records.iter().find(|(_, record)| record.record_type() == RecordType::SOA) else {
        let help = "add the SOA record of the response policy zone: its owner is the zone's name".to_owned();
        return Err(Diagnostic::error(source.file(), "the zone has no SOA record").with_help(help).into());
    };
    let mut listing = Listing::new("response policy zone");
    let mut denies_the_rest = false;
    for (line, record) in &records {
        let place = ListPlace::Line(*line);
        match rule(record, &soa.name) {
            Trigger::Apex => {}
            Trigger::Everything(Action::Deny) => denies_the_rest = true,
            Trigger::Everything(Action::Allow) => {
                listing
                    .entries
                    .push(ListEntry { pattern: Err(EntryFault::Everything), ..ListEntry::new("*", place) });
            }
            Trigger::Names(action, pattern) => {
                let entry = ListEntry::new(&pattern.to_string(), place);
                listing.entries.push(ListEntry { action, pattern: Ok(*pattern), ..entry });
            }
            Trigger::Unsaid(message) => listing.skip(place, message),
        }
    }
    if !denies_the_rest {
        listing
            .notes
            .push("namegate blocks names that are not in the zone; the zone lets them pass".to_owned());
    }
    Ok(listing)
}

/// The trigger of a record.
enum Trigger {
    /// The apex.
    Apex,
    /// Every name.
    Everything(Action),
    /// A pattern.
    Names(Action, Box<Pattern>),
    /// A trigger that no rule can express, with the reason.
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
        return Trigger::Unsaid(format!("`{host}`: rules match query names, not `{trigger}` triggers"));
    }
    let Some(action) = action(record, &labels) else {
        return Trigger::Unsaid(format!("`{host}`: rules can allow or deny, not answer with data"));
    };
    match (host.name().is_root(), action) {
        (true, action) => Trigger::Everything(action),
        (false, action) => Trigger::Names(action, Box::new(host)),
    }
}

/// The action that the CNAME target stands for. `None` for data to answer with.
fn action(record: &Record, labels: &[&[u8]]) -> Option<Action> {
    let RData::CNAME(target) = &record.data else { return None };
    let target = target.0.to_ascii().to_ascii_lowercase();
    match target.as_str() {
        "." | "*." | "rpz-drop." => Some(Action::Deny),
        "rpz-passthru." => Some(Action::Allow),
        // Older form of `rpz-passthru.`: a CNAME to the name itself.
        _ => {
            let is_itself = |(one, other): (&[u8], &&[u8])| one.eq_ignore_ascii_case(other);
            let target = || record_target(record).into_iter().flatten();
            (target().count() == labels.len() && target().zip(labels).all(is_itself)).then_some(Action::Allow)
        }
    }
}

/// The labels of the CNAME target.
fn record_target(record: &Record) -> Option<impl Iterator<Item = &[u8]>> {
    match &record.data {
        RData::CNAME(target) => Some(target.0.iter()),
        _ => None,
    }
}
