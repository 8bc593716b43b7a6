//! Reads master files, using [`crate::local`].

use hickory_proto::rr::{Name, Record};

use crate::diagnostics::{Diagnostic, Report, Source};
use crate::local::{LocalZoneError, read_records};

/// The records of a master file with their line numbers. Relative names are completed with `origin`.
pub(super) fn records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source.file(), source.text(), origin, false).map_err(|faults| report(source, faults))
}

/// The same for an Azure export: its targets are absolute without a final dot, and its TXT strings may be long.
pub(crate) fn azure_records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source.file(), source.text(), origin, true).map_err(|faults| report(source, faults))
}

/// Converts the errors of a master file to a report.
pub(crate) fn report(source: &Source, faults: Vec<LocalZoneError>) -> Report {
    let diagnostic = |fault: LocalZoneError| {
        let diagnostic = Diagnostic::error(source.file(), fault.message).with_help(fault.remedy);
        match fault.line {
            Some(line) => diagnostic.at(source.line_range(line)),
            None => diagnostic,
        }
    };
    Report::new(source.clone(), faults.into_iter().map(diagnostic).collect())
}
