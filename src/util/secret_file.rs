//! Reading files that hold a secret: small, and closed to everyone but their user and group.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

/// Largest file in bytes.
const MAX_BYTES: u64 = 4096;

/// Why a file is no place for a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It is a directory, a pipe or the like.
    #[error("it is no file")]
    NoFile,
    /// Others may read it or write to it.
    #[error("everyone on this machine may read it, or write to it")]
    Open,
    /// It is larger than any secret.
    #[error("it is larger than {MAX_BYTES} bytes")]
    Large,
}

/// Reads the lines of a secret file, without their ends.
pub(crate) fn read(path: &Path) -> Result<Vec<Vec<u8>>, SecretFileError> {
    let metadata = fs::metadata(path).map_err(SecretFileError::Unreadable)?;
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err(SecretFileError::NoFile);
    }
    if is_open_to_all(&metadata) {
        return Err(SecretFileError::Open);
    }
    if metadata.len() > MAX_BYTES {
        return Err(SecretFileError::Large);
    }
    let text = fs::read(path).map_err(SecretFileError::Unreadable)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    Ok(text.split(|byte| *byte == b'\n').map(line).collect())
}

#[cfg(unix)]
fn is_open_to_all(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o006 != 0
}

#[cfg(not(unix))]
fn is_open_to_all(_: &Metadata) -> bool {
    false
}
