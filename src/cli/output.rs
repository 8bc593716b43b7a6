//! Output of commands (standard output, standard error, or the file of `--output`) and exit statuses.

use std::io::IsTerminal;
use std::path::Path;
use std::time::SystemTime;

use toml::value::{Date, Datetime};

use super::http::NoAnswer;
use crate::diagnostics::Report;

/// Success; for `explain`: the name is allowed.
pub(in crate::cli) const OK: u8 = 0;

/// Failure; for `explain`: the name is blocked.
pub(in crate::cli) const FAILED: u8 = 1;

/// The command line or the input cannot be used.
pub(in crate::cli) const USAGE: u8 = 2;

/// The running resolver gives no usable answer. The same for every command that queries it, so that it cannot be taken
/// for a result. Except `healthcheck`: container runtimes know only 0 and 1.
pub(in crate::cli) const NO_ANSWER: u8 = 2;

/// Writes why a command failed to standard error; returns its exit status.
pub(in crate::cli) fn fail(error: &(dyn std::error::Error + 'static)) -> u8 {
    warn(&marked(error));
    exit_status(error)
}

/// The exit status of a command that failed.
pub(in crate::cli) fn exit_status(error: &(dyn std::error::Error + 'static)) -> u8 {
    if error.is::<NoAnswer>() { NO_ANSWER } else { FAILED }
}

pub(in crate::cli) fn complain(faults: &Report) {
    warn(&faults.render(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()));
}

/// Who gives a command: `given`, else the name of the person at the terminal. Under `sudo`, USER is root.
pub(in crate::cli) fn author(given: Option<&String>) -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login = || {
        let user = variable("USER");
        variable("SUDO_USER").filter(|_| user.as_deref() == Some("root")).or(user)
    };
    given.cloned().or_else(login).filter(|author| !author.trim().is_empty())
}

/// Today's date (UTC).
pub(in crate::cli) fn today() -> Date {
    let now = crate::util::rfc3339::seconds(SystemTime::now()).to_string();
    let date = now.parse::<Datetime>().ok().and_then(|now| now.date);
    // With year 0 no allowlist looks outdated.
    date.unwrap_or(Date { year: 0, month: 1, day: 1 })
}

/// An error with its `error: ` mark.
pub(in crate::cli) fn marked(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    // A report on settings marks each fault itself.
    if text.starts_with("error: ") { text } else { format!("error: {text}") }
}

/// Writes to standard output and returns the exit status, because output that is cut off must not look complete.
#[must_use]
pub(in crate::cli) fn print(text: &str) -> u8 {
    try_print(text).map_or_else(
        |error| {
            warn(&error);
            USAGE
        },
        |()| OK,
    )
}

/// The same, with an error in place of an exit status.
pub(in crate::cli) fn try_print(text: &str) -> Result<(), String> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    match written.and_then(|()| out.flush()) {
        // A reader that has closed the pipe (`| head`) has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("error: cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// `1 name`, `2 names`.
pub(in crate::cli) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Writes to standard error.
pub(in crate::cli) fn warn(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes `text`; a file is written whole or not at all.
pub(super) fn deliver(text: &str, output: Option<&Path>) -> u8 {
    let Some(path) = output else {
        return print(text);
    };
    match write_whole(path, text.as_bytes()) {
        Ok(()) => OK,
        Err(error) => {
            warn(&format!("error: {}: cannot write: {error}", path.display()));
            FAILED
        }
    }
}

/// Writes a file, whole or not at all.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> std::io::Result<()> {
    // Only a regular file can be replaced, not /dev/stdout.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, text);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
