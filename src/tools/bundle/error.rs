//! [`PullError`]: why a bundle was not installed.

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// Trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// The server may answer later.
    #[error("{0}")]
    NoAnswer(String),
}

impl From<std::io::Error> for PullError {
    fn from(error: std::io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}
