//! Response policy zones (draft-vixie-dnsop-dns-rpz-00): the triggers and actions that are about names.

use std::str::FromStr;

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::draft::{Candidate, Draft};
use super::{Imported, Options, master_file};
use crate::config::{Diagnostic, Report, Source};
use crate::escape::on_one_line;
use crate::policy::rule::{Action, Pattern};

/// Where relative names are taken to be where the file names no origin.
const UNNAMED: &str = "rpz.invalid.";
/// Labels that end a trigger about something else than the name asked.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"];

pub(super) fn import(source: &Source, options: Options) -> Result<Imported, Report> {
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
    let labels: Vec<String> = record
        .name
        .iter()
        .take(own)
        .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
        .collect();
    let host = labels.join(".");
    if labels.iter().any(|label| label.contains('.')) {
        let host = on_one_line(&host);
        return Trigger::Unsaid(format!("`{host}`: a label holds a dot, and no rule can say so"));
    }
    if let Some(trigger) = labels.last().filter(|last| OTHER_TRIGGERS.contains(&last.as_str())) {
        let host = on_one_line(&host);
        return Trigger::Unsaid(format!(
            "`{host}`: rules match the name asked; `{trigger}` has no counterpart"
        ));
    }
    let Some(action) = action(record, &host) else {
        let message =
            format!("`{}`: only passing and denying can be carried over, not answers", on_one_line(&host));
        return Trigger::Unsaid(message);
    };
    match (host.as_str(), action) {
        ("*", Action::Deny) => Trigger::Everything,
        ("*", Action::Allow) => {
            Trigger::Unsaid("`*` lets every name pass; that is never carried over".to_owned())
        }
        (host, action) => match Pattern::parse(host) {
            Ok(pattern) => Trigger::Names(action, Box::new(pattern)),
            Err(error) => Trigger::Unsaid(format!("`{}`: {error}", on_one_line(host))),
        },
    }
}

/// What the policy does with the name, which the target of a CNAME says; none for data to answer with.
fn action(record: &Record, host: &str) -> Option<Action> {
    let RData::CNAME(target) = &record.data else { return None };
    let target = target.0.to_ascii().to_ascii_lowercase();
    match target.as_str() {
        "." | "*." | "rpz-drop." => Some(Action::Deny),
        "rpz-passthru." => Some(Action::Allow),
        // Before there was `rpz-passthru.`, a name that was an alias of itself passed.
        other if other.trim_end_matches('.') == host => Some(Action::Allow),
        _ => None,
    }
}
