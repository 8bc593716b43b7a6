//! [`read`]: the zones that the settings name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::zone::Allowlist;
use crate::allowlist::{file, list};
use crate::config;
use crate::config::allowlist_name::{Form, Unknown, files_in, zone_name};
use crate::config::embedded::embedded;
use crate::diagnostics::{Diagnostic, Report, Source, read_source};
use crate::policy::PolicyBuilder;
use crate::policy::rule::Action;

/// The zones read, and what is probably not meant in them.
#[derive(Clone, Debug, Default)]
pub struct Allowlists {
    /// In the order they were named.
    pub list: Vec<Allowlist>,
    /// Such as hosts written twice.
    pub warnings: Report,
    /// Parameters that have values and stand in none of the zones: probably misspelt.
    pub unused_parameters: Vec<String>,
}

/// Reads the zones that the settings name and gives their rules to `policy`, and to `routes` the servers that some have of
/// their own; `strict` leaves out the broad rules. A name
/// is looked for in the settings' directory first, then among the shipped ones. One given twice is read once.
///
/// Errors: a zone is not known or cannot be read, or something in one is wrong; the report then has all of it, and
/// `policy` is of no use.
pub fn read(
    settings: &config::PolicySettings,
    parameters: &BTreeMap<String, Vec<String>>,
    policy: &mut PolicyBuilder,
    routes: &mut ServerLists,
) -> Result<Allowlists, Report> {
    if let Some(directory) = &settings.zones_directory {
        refuse_no_directory(directory)?;
    }
    let mut zones = Allowlists::default();
    let mut used = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for text in settings.zones.iter().filter(|text| seen.insert(text.as_str())) {
        let name = zone_name(text);
        if let Some(other) = zones.list.iter().find(|zone| zone.name == name) {
            let message = format!("`{text}` and {} are both zone `{name}`", other.file);
            let error = Diagnostic::error("", message)
                .with_help("rename one of the files, or name one zone".to_owned());
            zones.warnings.push(error);
            continue;
        }
        match find(text, settings.zones_directory.as_deref()) {
            Ok(Found::Tables { source, shipped }) => {
                let (zone, diagnostics) = file::zone(&name, &source, parameters, &mut used);
                let zone = Allowlist { shipped, ..zone };
                give(&zone, settings, policy, routes);
                zones.list.push(zone);
                zones.warnings.append(Report::new(source, diagnostics));
            }
            Ok(Found::List(path)) => {
                let file = path.display().to_string();
                let source = policy.source(&name, &file);
                policy.cname(source, settings.cname);
                match list::read(&path, |action, pattern, line| policy.rule(action, pattern, source, line)) {
                    Ok(count) => zones.list.push(Allowlist::plain(name, file, count)),
                    Err(report) => zones.warnings.append(report),
                }
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

/// Without the directory, shipped zones would stand in for the files of the same names, and may be wider.
fn refuse_no_directory(directory: &Path) -> Result<(), Report> {
    let fault = match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "it is no directory".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("zones_directory {} cannot be read: {fault}", directory.display());
    Err(Diagnostic::error("", message).with_help("correct `zones_directory` in [policy]".to_owned()).into())
}

fn give(
    zone: &Allowlist,
    settings: &config::PolicySettings,
    policy: &mut PolicyBuilder,
    routes: &mut ServerLists,
) {
    let source = policy.source(&zone.name, &zone.file);
    policy.cname(source, zone.cname.unwrap_or(settings.cname));
    if let Some(route) = routes.route(&zone.servers) {
        policy.route(source, route);
        let allows = zone.rules.iter().filter(|rule| rule.action == Action::Allow);
        allows.flat_map(|rule| &rule.patterns).for_each(|pattern| routes.note(pattern, route));
    }
    for rule in zone.rules.iter().filter(|rule| !(settings.strict && rule.broad)) {
        for pattern in &rule.patterns {
            policy.rule_expecting(rule.action, pattern, source, rule.line, rule.expect);
        }
    }
}

/// What a zone is read from.
enum Found {
    Tables { source: Source, shipped: bool },
    List(PathBuf),
}

fn find(text: &str, directory: Option<&Path>) -> Result<Found, Report> {
    if let Some((form, _)) = Form::split(text) {
        return open(form, PathBuf::from(text));
    }
    match &*files_in(directory, text) {
        [] => {
            let unknown = || {
                let Unknown { message, help } = Unknown::new(text, directory);
                Report::from(Diagnostic::error("", message).with_help(help))
            };
            let zone = embedded(text).ok_or_else(unknown)?;
            Ok(Found::Tables { source: Source::new(format!("zones/{text}.toml"), zone), shipped: true })
        }
        [(form, path)] => open(*form, path.clone()),
        [(_, path), (_, other), ..] => {
            let message = format!("zone `{text}` is both {} and {}", path.display(), other.display());
            let help = "rename one of the files, or name the one that is meant by its path".to_owned();
            Err(Diagnostic::error("", message).with_help(help).into())
        }
    }
}

fn open(form: Form, path: PathBuf) -> Result<Found, Report> {
    // Reading a pipe would wait for who writes into it, for good.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let file = path.display().to_string();
        let help = "name an allowlist file".to_owned();
        return Err(Diagnostic::error(&file, "is no regular file").with_help(help).into());
    }
    match form {
        Form::Tables => match read_source(&path)? {
            source if source.is_blank() => Err(Diagnostic::empty(source.file()).into()),
            source => Ok(Found::Tables { source, shipped: false }),
        },
        Form::List => Ok(Found::List(path)),
    }
}
