//! The audit log in the state directory: one JSON line for each event.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::util::own_file::{self, UntrustedFileError};

/// The file in the state directory.
pub(super) const FILE: &str = "audit.log";

#[derive(Serialize)]
struct AuditLine<'a, E, T> {
    time: String,
    event: E,
    #[serde(flatten)]
    about: &'a T,
}

/// Adds an event to `audit.log` in `directory`, if one is set.
///
/// Errors: it cannot be written; with path and hint.
pub(super) fn append(
    directory: Option<&Path>,
    event: impl Serialize,
    about: &impl Serialize,
) -> Result<(), String> {
    let Some(path) = directory.map(|directory| directory.join(FILE)) else { return Ok(()) };
    let time = crate::util::rfc3339::millis(SystemTime::now()).to_string();
    let line = serde_json::to_string(&AuditLine { time, event, about }).unwrap_or_default();
    add_line(&path, &line).map_err(|error| {
        format!(
            "cannot write {}: {error}\n  help: free disk space, and make the file writable for the user namegate \
             runs as",
            path.display()
        )
    })
}

/// Appends a line, and first ends the last one if a full disk cut it off.
fn add_line(path: &Path, line: &str) -> Result<(), UntrustedFileError> {
    let mut file = own_file::append(path)?;
    // If the file is writable but not readable, the check is skipped.
    let end = if is_cut_off(path).unwrap_or(false) { "\n" } else { "" };
    file.write_all(format!("{end}{line}\n").as_bytes())?;
    Ok(file.sync_data()?)
}

/// True if the file's last line has no line end; false if it is not a regular file.
fn is_cut_off(path: &Path) -> io::Result<bool> {
    if !path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0) {
        return Ok(false);
    }
    let mut last = [0];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
