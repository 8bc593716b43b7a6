//! `SecretFile`: reads small files that hold a secret and that only their owner and group can access.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Largest file in bytes.
const MAX_BYTES: u64 = 4096;

/// A kind of secret file.
#[derive(Debug)]
pub(crate) struct SecretFile {
    /// What the file is; errors begin with it, before the path.
    pub what: &'static str,
    /// The setting that names the file.
    pub setting: &'static str,
    /// The command that creates a new secret.
    pub make: &'static str,
}

/// Why a secret file cannot be used.
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
    #[error("not a regular file")]
    NoFile,
    #[error("other users can read or write it")]
    Open,
    #[error("larger than {MAX_BYTES} bytes")]
    Large,
    #[error("{0}")]
    Content(String),
}

impl SecretFile {
    /// Reads the file at `path` and parses its lines, without line ends, with `parse`.
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
            Fault::Open => "run `chmod o= FILE`; for a Kubernetes secret, set `defaultMode: 0440`".to_owned(),
            Fault::Unreadable(_) | Fault::NoFile => {
                format!("set {setting} to a file that the user namegate runs as can read")
            }
            Fault::Large | Fault::Content(_) => format!("create a new one: `(umask 077; {make} > FILE)`"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let metadata = fs::metadata(path).map_err(Fault::Unreadable)?;
    // Opening a pipe would block.
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
