//! [`ValueError`]: a text is no value of its kind.

use std::fmt;
use std::ops::Range;

/// Why a text is no value of its kind: where in it, what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ValueError {
    /// Bytes within the text; the whole of it where absent.
    pub span: Option<Range<usize>>,
    /// What is wrong, for people.
    pub message: String,
    /// What to write instead, where that can be known.
    pub help: Option<String>,
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}
