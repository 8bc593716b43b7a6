//! Reads master files, using [`crate::local`].

use hickory_proto::rr::{Name, Record};

use crate::diagnostics::{Report, Source};
use crate::local::read_records;

/// The records of a master file with their line numbers. Relative names are completed with `origin`.
pub(super) fn records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source, origin, false)
}

/// The same for an Azure export: its targets are absolute without a final dot, and its TXT strings may be long.
pub(crate) fn azure_records(source: &Source, origin: &Name) -> Result<Vec<(usize, Record)>, Report> {
    read_records(source, origin, true)
}
