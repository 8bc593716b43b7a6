//! [`read`]: the allowlists that the settings name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::allowlist::list::ListRule;
use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::zone::{Allowlist, AllowlistRule};
use crate::allowlist::{file, list};
use crate::config;
use crate::config::allowlist_name::{Form, Unknown, files_in, zone_name};
use crate::config::embedded::embedded;
use crate::diagnostics::{Diagnostic, Report, Source, read_source};
use crate::policy::rule::Action;
use crate::policy::{NewRule, PolicyBuilder};

/// The allowlists read, and probable mistakes in them.
#[derive(Clone, Debug, Default)]
pub struct Allowlists {
    /// In the order of the settings.
    pub list: Vec<Allowlist>,
    /// Probable mistakes, such as duplicate hosts.
    pub warnings: Report,
    /// Parameters that have values but occur in none of the allowlists: probably misspelt.
    pub unused_parameters: Vec<String>,
}

/// Reads the allowlists that the settings name. Their rules go to `policy`; the servers that some have go to `routes`.
///
/// `strict` leaves out broad rules. A name is looked up in `zones_directory` first, then among the shipped allowlists.
/// An allowlist that is listed twice is read once.
///
/// Errors: an allowlist is unknown, cannot be read or has errors. The report has all of them, and `policy` must not be
/// used.
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
            let message = format!("`{text}` and `{}` have the same allowlist name `{name}`", other.file);
            let error = Diagnostic::error("", message)
                .with_help("rename one of the files, or list only one of them".to_owned());
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
                let add = |rule: ListRule<'_>| {
                    let ListRule { action, pattern, line, until, text } = rule;
                    policy.rule(NewRule { until, text, ..NewRule::new(action, pattern, source, line) });
                };
                match list::read(&path, add) {
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

/// Without the directory, shipped allowlists would replace files of the same names, and may allow more.
fn refuse_no_directory(directory: &Path) -> Result<(), Report> {
    let fault = match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("cannot read zones_directory {}: {fault}", directory.display());
    Err(Diagnostic::error("", message).with_help("correct `policy.zones_directory`".to_owned()).into())
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
            let AllowlistRule { action, line, expect, until, .. } = *rule;
            policy.rule(NewRule {
                expect,
                until,
                text: rule.text(),
                ..NewRule::new(action, pattern, source, line)
            });
        }
    }
}

/// Where an allowlist is read from.
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
            let message =
                format!("allowlist `{text}` has two files: {} and {}", path.display(), other.display());
            let help = "rename one of the files, or write the path of the one to use".to_owned();
            Err(Diagnostic::error("", message).with_help(help).into())
        }
    }
}

fn open(form: Form, path: PathBuf) -> Result<Found, Report> {
    // Reading a pipe could block forever.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let file = path.display().to_string();
        let help = "write the path of an allowlist".to_owned();
        return Err(Diagnostic::error(&file, "not a regular file").with_help(help).into());
    }
    match form {
        Form::Tables => match read_source(&path)? {
            source if source.is_blank() => Err(Diagnostic::empty(source.file()).into()),
            source => Ok(Found::Tables { source, shipped: false }),
        },
        Form::List => Ok(Found::List(path)),
    }
}
