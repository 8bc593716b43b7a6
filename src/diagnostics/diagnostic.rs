//! [`Diagnostic`]: one thing wrong with a file, where it stands and what to do about it.

use std::ops::Range;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; something in it is probably not meant.
    Warning,
}

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file is refused.
    pub severity: Severity,
    /// The file as it is shown to people; empty where no file is to blame.
    pub file: String,
    /// Bytes within the file's text; none where the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write or do instead, where that can be known.
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

    /// An error about `file`, which the system does not let be read.
    pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        let help = "check the path and that this user may read the file".to_owned();
        Self::error(file, format!("cannot be read: {error}")).with_help(help)
    }

    /// An error about `file`, which has nothing in it: one that is being written is so for a moment, and what is left out of a
    /// file has its default.
    pub(crate) fn empty(file: &str) -> Self {
        let help = "if nothing is meant to stand in it, say so in a comment".to_owned();
        Self::error(file, "the file is empty").with_help(help)
    }

    /// The same diagnostic with a remedy.
    #[must_use]
    pub fn with_help(self, help: impl Into<Option<String>>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// The same diagnostic pointing at `span`.
    #[must_use]
    pub fn at(self, span: Range<usize>) -> Self {
        Self { span: Some(span), ..self }
    }
}
