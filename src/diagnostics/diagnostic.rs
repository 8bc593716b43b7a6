//! [`Diagnostic`]: one error or warning about a file, with its location and a hint.

use std::ops::Range;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but something in it is probably a mistake.
    Warning,
}

/// One error or warning about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file is refused.
    pub severity: Severity,
    /// The file name for messages; empty if no file is at fault.
    pub file: String,
    /// Bytes within the file's text; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write or do instead, if known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error about `file` as a whole.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), span: None, message: message.into(), help: None }
    }

    /// A warning about `file` as a whole.
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// The error for a `file` that cannot be read.
    pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Self::error(file, "file not found").with_help("check the path".to_owned())
            }
            _ => Self::error(file, format!("cannot read the file: {error}"))
                .with_help("check that this user may read it".to_owned()),
        }
    }

    /// The error for an empty `file`. An empty file is not read as "all defaults", because a file that is being written
    /// is empty for a moment.
    pub(crate) fn empty(file: &str) -> Self {
        let help = "if the file is meant to be empty, write a comment into it".to_owned();
        Self::error(file, "the file is empty").with_help(help)
    }

    /// This diagnostic with a hint.
    #[must_use]
    pub fn with_help(self, help: impl Into<Option<String>>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// This diagnostic, pointing at `span`.
    #[must_use]
    pub fn at(self, span: Range<usize>) -> Self {
        Self { span: Some(span), ..self }
    }
}
