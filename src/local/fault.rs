//! [`Fault`]: one fault in a master file.

use crate::diagnostics::{Diagnostic, Report, Source};

/// A fault without its file name.
#[derive(Debug)]
pub(super) struct Fault {
    /// Line number from 1, if the fault has a location. For an entry over several lines, the first.
    pub(super) line: Option<usize>,
    pub(super) message: String,
    remedy: String,
}

impl Fault {
    pub(super) fn at(line: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn whole(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line: None, message: message.into(), remedy: remedy.into() }
    }

    /// The report on faults in `source`.
    pub(super) fn report(faults: Vec<Self>, source: Source) -> Report {
        let diagnostic = |fault: Self| {
            let diagnostic = Diagnostic::error(source.file(), fault.message).with_help(fault.remedy);
            match fault.line {
                Some(line) => diagnostic.at(source.line_range(line)),
                None => diagnostic,
            }
        };
        let diagnostics = faults.into_iter().map(diagnostic).collect();
        Report::new(source, diagnostics)
    }
}
