//! [`read`]: the zones that the settings name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::{Diagnostic, Report, Source, is_zone_name, suggest};
use crate::zones::embedded::{embedded, embedded_names};
use crate::zones::file;
use crate::zones::zone::Zone;

/// The zones read, and what is probably not meant in them.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// In the order they were named.
    pub list: Vec<Zone>,
    /// Such as hosts written twice.
    pub warnings: Report,
    /// Parameters that have values and stand in none of the zones: probably misspelt.
    pub unused_parameters: Vec<String>,
}

/// Reads the named zones. A name is looked for in `directory` first, then among the shipped ones; what ends in `.toml`
/// is a path. A name given twice is read once.
///
/// Errors: a zone is not known or cannot be read, or something in one is wrong; the report then has all of it.
pub fn read(
    names: &[String],
    directory: Option<&Path>,
    parameters: &BTreeMap<String, Vec<String>>,
) -> Result<Zones, Report> {
    let mut zones = Zones::default();
    let mut used = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for text in names.iter().filter(|text| seen.insert(text.as_str())) {
        let name = zone_name(text);
        if let Some(other) = zones.list.iter().find(|zone| zone.name == name) {
            let message = format!("`{text}` and {} are both zone `{name}`", other.file);
            let error = Diagnostic::error("", message)
                .with_help("rename one of the files, or name one zone".to_owned());
            zones.warnings.push(error);
            continue;
        }
        match find(text, directory) {
            Ok(source) => {
                let (zone, diagnostics) = file::zone(&name, &source, parameters, &mut used);
                zones.list.push(zone);
                zones.warnings.append(Report::new(source, diagnostics));
            }
            Err(report) => zones.warnings.append(report),
        }
    }
    if zones.warnings.has_errors() {
        return Err(zones.warnings);
    }
    zones.unused_parameters = parameters.keys().filter(|name| !used.contains(*name)).cloned().collect();
    Ok(zones)
}

/// The zone's name: the file's, without directory and `.toml`.
fn zone_name(text: &str) -> String {
    let stem = text
        .strip_suffix(".toml")
        .map(|path| Path::new(path).file_name().unwrap_or_default().to_string_lossy());
    stem.map_or_else(|| text.to_owned(), |stem| stem.into_owned())
}

fn find(text: &str, directory: Option<&Path>) -> Result<Source, Report> {
    if text.ends_with(".toml") {
        return Source::read(Path::new(text));
    }
    let in_directory =
        directory.filter(|_| is_zone_name(text)).map(|directory| directory.join(format!("{text}.toml")));
    // A file whose existence cannot be told, say for lack of permission, is read and so reported.
    if let Some(path) = in_directory.filter(|path| path.try_exists().unwrap_or(true)) {
        return Source::read(&path);
    }
    let unknown = || {
        let Unknown { message, help } = Unknown::new(text, directory);
        Report::from(Diagnostic::error("", message).with_help(help))
    };
    embedded(text).map(|zone| Source::new(format!("zones/{text}.toml"), zone)).ok_or_else(unknown)
}

/// What to say of a zone that is nowhere.
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Unknown {
    fn new(name: &str, directory: Option<&Path>) -> Self {
        let own = directory.map(names_in).unwrap_or_default();
        let mut known: Vec<&str> = embedded_names().collect();
        known.extend(own.iter().map(String::as_str));
        let suggestion = suggest(name, &known);
        Self {
            message: format!("no zone is named `{}`", name.escape_debug()),
            help: format!("{suggestion} (a file of your own is named by its path, ending in `.toml`)"),
        }
    }
}

/// Says that a zone is neither shipped nor in `directory`, so that the settings can be told where they name it.
pub(crate) fn unknown(name: &str, directory: Option<&Path>) -> Option<Unknown> {
    let is_path = name.ends_with(".toml");
    let is_file = directory
        .is_some_and(|directory| directory.join(format!("{name}.toml")).try_exists().unwrap_or(true));
    (!is_path && !is_file && embedded(name).is_none()).then(|| Unknown::new(name, directory))
}

/// Names of the zones in a directory, for suggestions.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| is_zone_name(name))
        .collect();
    names.sort_unstable();
    names
}
