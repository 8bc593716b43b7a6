//! Reading files that hold a secret: small, and closed to everyone but their user and group.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Largest file in bytes.
const MAX_BYTES: u64 = 4096;

/// A kind of secret that has a file of its own.
#[derive(Debug)]
pub(crate) struct SecretFile {
    /// What an error begins with, before the path.
    pub what: &'static str,
    /// The setting that names it.
    pub setting: &'static str,
    /// How a new one is written.
    pub make: &'static str,
}

/// Why there is no secret in a file.
#[derive(Debug, thiserror::Error)]
#[error("{} {}: {fault}\n  help: {}", file.what, path.display(), self.remedy())]
pub struct SecretFileError {
    file: &'static SecretFile,
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("everyone on this machine may read it, or write to it")]
    Open,
    #[error("it is larger than {MAX_BYTES} bytes")]
    Large,
    #[error("{0}")]
    Content(String),
}

impl SecretFile {
    /// What `parse` makes of the lines of the file at `path`, without their ends.
    pub(crate) fn read<T>(
        &'static self,
        path: &Path,
        parse: impl FnOnce(&[&[u8]]) -> Result<T, String>,
    ) -> Result<T, SecretFileError> {
        let parse = |text: Vec<u8>| {
            let text = text.strip_suffix(b"\n").unwrap_or(&text);
            let lines = text.split(|byte| *byte == b'\n');
            let lines: Vec<&[u8]> = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
            parse(&lines).map_err(Fault::Content)
        };
        let error = |fault| SecretFileError { file: self, path: path.to_owned(), fault };
        read(path).and_then(parse).map_err(error)
    }
}

impl SecretFileError {
    fn remedy(&self) -> String {
        let SecretFile { setting, make, .. } = self.file;
        match self.fault {
            Fault::Open => "`chmod o= FILE`, and for a Kubernetes secret `defaultMode: 0440`".to_owned(),
            Fault::Unreadable(_) | Fault::NoFile => {
                format!("{setting} names a file that the user namegate runs as can read")
            }
            Fault::Large | Fault::Content(_) => format!("write a new one: `(umask 077; {make} > FILE)`"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let metadata = fs::metadata(path).map_err(Fault::Unreadable)?;
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err(Fault::NoFile);
    }
    if is_open_to_all(&metadata) {
        return Err(Fault::Open);
    }
    if metadata.len() > MAX_BYTES {
        return Err(Fault::Large);
    }
    fs::read(path).map_err(Fault::Unreadable)
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
