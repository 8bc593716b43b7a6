//! Reads and writes master files, using [`crate::local`].

use hickory_proto::rr::{Name, Record};

use super::{File, Imported};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::local::{LocalZoneError, LocalZones, read_records};
use crate::wire::name as wire;

/// The records of a master file with their line numbers. Relative names are completed with `origin`.
pub(super) fn records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source.file(), source.text(), origin, false).map_err(|faults| report(source, faults))
}

/// The same for an Azure export: its targets are absolute without a final dot, and its TXT strings may be long.
pub(super) fn azure_records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source.file(), source.text(), origin, true).map_err(|faults| report(source, faults))
}

/// A name in master-file form, with the final dot.
pub(super) fn written<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> String {
    match wire::Name::from_labels(labels) {
        Ok(name) if !name.is_root() => format!("{name}."),
        _ => ".".to_owned(),
    }
}

/// Converts the errors of a master file to a report.
fn report(source: &Source, faults: Vec<LocalZoneError>) -> Report {
    let diagnostic = |fault: LocalZoneError| {
        let diagnostic = Diagnostic::error(source.file(), fault.message).with_help(fault.remedy);
        match fault.line {
            Some(line) => diagnostic.at(source.line_range(line)),
            None => diagnostic,
        }
    };
    Report::new(source.clone(), faults.into_iter().map(diagnostic).collect())
}

/// The file of a local zone.
///
/// Errors: namegate could not load the zone.
pub(super) fn file(source: &Source, origin: &Name, text: String) -> Result<File, Report> {
    if origin.is_root() {
        let help = "begin the file with the zone, such as `$ORIGIN privatelink.api.azureml.ms.`".to_owned();
        return Err(Diagnostic::error(source.file(), "the root is not a private zone")
            .with_help(help)
            .into());
    }
    let zone = origin.to_ascii();
    let zone = zone.trim_end_matches('.');
    match LocalZones::from_texts(&[(zone, &text)]) {
        Ok(_) => Ok(File { name: format!("{}.zone", zone.replace(['/', '\\'], "_")), text }),
        Err(faults) => {
            let lost_place = |fault: LocalZoneError| LocalZoneError { line: None, ..fault };
            Err(report(source, faults.into_iter().map(lost_place).collect()))
        }
    }
}

/// The `[[local]]` tables for the files.
pub(super) fn snippet(files: &[File]) -> String {
    let table = |file: &File| {
        let origin = file.name.strip_suffix(".zone").unwrap_or(&file.name);
        format!(
            "[[local]]\norigin = {}\nfile = {}\n",
            toml::Value::from(origin),
            toml::Value::from(file.name.as_str())
        )
    };
    files.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// The files, with a remark that shows the settings they need.
pub(super) fn imported(files: Vec<File>, mut remarks: Vec<String>, complete: bool) -> Imported {
    remarks.push(format!("to serve the imported zones, add to the settings:\n\n{}", snippet(&files)));
    Imported { files, remarks, complete }
}

/// The SOA record that every zone needs. Negative answers live for 10 seconds, as in Azure's private zones.
pub(super) const SOA: &str = "@ 3600 IN SOA namegate.invalid. hostmaster.invalid. 1 3600 300 2419200 10\n";
