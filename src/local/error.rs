//! [`LocalZoneError`]: why a local zone cannot be served.

use std::fmt;
use std::path::PathBuf;

/// One fault in one master file. Displayed as `FILE:LINE: what is wrong; what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZoneError {
    /// The file as named in the settings, or `zone ORIGIN` for built-in text.
    pub file: PathBuf,
    /// Line number from 1, if the fault has a location. For an entry over several lines, the first.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for LocalZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}; {}", self.message, self.remedy)
    }
}

impl std::error::Error for LocalZoneError {}

/// A fault without its file name.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: Option<usize>,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn at(line: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn whole(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line: None, message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn in_file(self, file: impl Into<PathBuf>) -> LocalZoneError {
        LocalZoneError { file: file.into(), line: self.line, message: self.message, remedy: self.remedy }
    }
}
