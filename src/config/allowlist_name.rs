//! How settings refer to an allowlist: by path, or by a name that is looked up in `zones_directory` and then among the
//! shipped allowlists.

use std::path::{Path, PathBuf};

use crate::config::embedded::{embedded, embedded_names};
use crate::diagnostics::{ValueError, suggest};

/// The two forms of an allowlist file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// TOML: one table per rule.
    Tables,
    /// Plain list: one pattern per line.
    List,
}

impl Form {
    pub(crate) const ALL: [Self; 2] = [Self::Tables, Self::List];

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Tables => ".toml",
            Self::List => ".list",
        }
    }

    /// The form that a path's extension stands for, and the path without the extension.
    pub(crate) fn split(path: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|form| Some((form, path.strip_suffix(form.extension())?)))
    }
}

/// True for the path of an allowlist, false for a name.
pub(crate) fn is_path(text: &str) -> bool {
    Form::split(text).is_some()
}

/// Reads a reference to an allowlist: the name of a shipped one or of one in `zones_directory`, or a path ending in
/// `.toml` or `.list`.
pub(super) fn allowlist_name(text: &str) -> Result<String, ValueError> {
    if is_path(text) || is_zone_name(text) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("`{text}` is neither an allowlist name nor a path"),
        "write a name such as `azure-ml`, or a path ending in `.toml` or `.list`",
    ))
}

/// True for a valid allowlist name.
pub(crate) fn is_zone_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The name of an allowlist: its file name without directory and extension.
pub(crate) fn zone_name(text: &str) -> String {
    let stem =
        Form::split(text).map(|(_, path)| Path::new(path).file_name().unwrap_or_default().to_string_lossy());
    stem.map_or_else(|| text.to_owned(), |stem| stem.into_owned())
}

/// The files of the allowlist `name` in a directory.
pub(crate) fn files_in(directory: Option<&Path>, name: &str) -> Vec<(Form, PathBuf)> {
    let Some(directory) = directory.filter(|_| is_zone_name(name)) else { return Vec::new() };
    let mut files: Vec<_> = Form::ALL.into_iter().zip(files_of(directory, name)).collect();
    // A file whose existence cannot be checked, such as for lack of permission, counts: reading it reports the error.
    if let Some(unreadable) =
        files.iter().find(|(_, path)| path.symlink_metadata().is_err_and(|error| is_unreadable(&error)))
    {
        return vec![unreadable.clone()];
    }
    files.retain(|(_, path)| path.symlink_metadata().is_ok());
    files
}

fn is_unreadable(error: &std::io::Error) -> bool {
    error.kind() != std::io::ErrorKind::NotFound
}

/// The possible paths of the allowlist `name` in `directory`, whether they exist or not.
pub(crate) fn files_of(directory: &Path, name: &str) -> [PathBuf; 2] {
    Form::ALL.map(|form| directory.join(format!("{name}{}", form.extension())))
}

/// Error texts for an allowlist that does not exist.
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Unknown {
    pub(crate) fn new(name: &str, directory: Option<&Path>) -> Self {
        let own = directory.map(names_in).unwrap_or_default();
        let mut known: Vec<&str> = embedded_names().collect();
        known.extend(own.iter().map(String::as_str));
        let suggestion = suggest(name, &known);
        Self {
            message: format!("unknown allowlist `{}`", name.escape_debug()),
            help: format!("{suggestion} (for your own file, write its path, ending in `.toml` or `.list`)"),
        }
    }
}

/// The error for an allowlist that is neither shipped nor in `directory`; none if it exists.
pub(crate) fn unknown(name: &str, directory: Option<&Path>) -> Option<Unknown> {
    let is_known = is_path(name) || embedded(name).is_some() || !files_in(directory, name).is_empty();
    (!is_known).then(|| Unknown::new(name, directory))
}

/// Names of the allowlists in a directory, for suggestions.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Form::split(entry.file_name().to_str()?).map(|(_, name)| name.to_owned()))
        .filter(|name| is_zone_name(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
