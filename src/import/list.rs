//! Plain lists, as [`crate::zones`] reads them, turned into a zone file whose rules can be described.

use std::io::Read;

use super::draft::{Candidate, Draft};
use super::{Imported, Options};
use crate::config::{Report, Source};
use crate::zones::read_list;

pub(super) fn import(source: &Source, options: Options) -> Result<Imported, Report> {
    let mut draft = Draft::new(options);
    // What is pasted may end without a line ending.
    read_list(source.file(), source.text().as_bytes().chain(&b"\n"[..]), |action, pattern, line| {
        draft.add(Candidate {
            action,
            pattern: pattern.clone(),
            place: format!("{}:{line}", source.file()),
            purpose: String::new(),
            ports: Vec::new(),
        });
    })?;
    draft.finish("Imported list", source.file(), source.file())
}
