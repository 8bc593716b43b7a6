//! [`AuditedList`]: a file to audit, and [`CompiledLists`]: the rules of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use clap::ValueEnum;

use crate::allowlist::{self, Allowlist, Port};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::foreign::{self, EntryFault, ListFormat, Listing};
use crate::policy::rule::Action;
use crate::policy::{Compile, Mode, NewRule, Policy, PolicyBuilder, RuleText};
use crate::tools::advise::{AdviceFinding, JudgedRules, JudgedSource};

/// The format of a file to audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum AuditFormat {
    /// Workspace dependencies, or outbound rules of a managed network: JSON
    AzureMl,
    /// Azure Firewall rules: JSON of the Azure CLI, or an ARM template
    AzureFirewall,
    /// Response policy zone (RPZ), as a zone file
    Rpz,
    /// Names, domain lists, filter lists, hosts files, or `allowed-endpoints`
    List,
    /// namegate's own allowlist, in TOML
    Allowlist,
    /// namegate's settings, with all allowlists that they name
    Settings,
}

/// A file to audit, read.
pub struct AuditedList {
    /// Its name in messages.
    pub file: String,
    /// What it is, for people.
    pub shape: &'static str,
    content: Content,
}

enum Content {
    Listing(Listing),
    Zone(Box<Allowlist>),
}

/// True for settings: `format` says so, or the text is TOML with settings and without rules.
pub fn is_settings(source: &Source, format: Option<AuditFormat>) -> bool {
    match format {
        Some(format) => format == AuditFormat::Settings,
        None => is_toml(source) && !is_allowlist(source),
    }
}

fn is_toml(source: &Source) -> bool {
    source.file().ends_with(".toml") || is_allowlist(source)
}

fn is_allowlist(source: &Source) -> bool {
    let headers = ["[[allow]]", "[[deny]]", "[[edition]]", "[[alias]]"];
    source.text().lines().any(|line| headers.iter().any(|header| line.trim_start().starts_with(header)))
}

/// Reads a list or an allowlist. Without `format` its shape decides.
///
/// Errors: it has no known shape, or any fault in its structure.
pub fn read(source: &Source, format: Option<AuditFormat>) -> Result<AuditedList, Report> {
    let file = source.file().to_owned();
    let format = match format {
        None if is_toml(source) => return read_zone(source, file),
        Some(AuditFormat::Allowlist) => return read_zone(source, file),
        Some(AuditFormat::Settings) => {
            let help = "pass the settings file alone".to_owned();
            return Err(Diagnostic::error(file, "settings cannot be audited together with lists")
                .with_help(help)
                .into());
        }
        Some(AuditFormat::AzureMl) => Some(ListFormat::AzureMl),
        Some(AuditFormat::AzureFirewall) => Some(ListFormat::AzureFirewall),
        Some(AuditFormat::Rpz) => Some(ListFormat::Rpz),
        Some(AuditFormat::List) => Some(ListFormat::List),
        None => None,
    };
    let listing = foreign::read(source, format)?;
    if listing.entries.is_empty() && listing.skipped.is_empty() {
        let help = "check the format, and that the file holds the whole output of the command".to_owned();
        return Err(Diagnostic::error(file, "no host names in this file").with_help(help).into());
    }
    Ok(AuditedList { file, shape: listing.shape, content: Content::Listing(listing) })
}

fn read_zone(source: &Source, file: String) -> Result<AuditedList, Report> {
    let (zone, found) = allowlist::zone(&file, source, &BTreeMap::new(), &mut BTreeSet::new());
    let report = Report::new(source.clone(), found);
    match report.has_errors() {
        true => Err(report),
        false => {
            Ok(AuditedList { file, shape: "allowlist of namegate", content: Content::Zone(Box::new(zone)) })
        }
    }
}

impl AuditedList {
    /// Number of entries.
    pub fn entries(&self) -> usize {
        match &self.content {
            Content::Listing(listing) => listing.entries.len(),
            Content::Zone(zone) => zone.rules.len(),
        }
    }

    /// Remarks about what the list has besides entries.
    pub fn remarks(&self) -> Vec<String> {
        let Content::Listing(listing) = &self.content else { return Vec::new() };
        let skipped = listing.skipped.iter();
        let skipped =
            skipped.map(|one| format!("{}: not audited: {}", one.place.within(&self.file), one.message));
        let notes = listing.notes.iter().map(|note| format!("{}: {note}", self.file));
        skipped.chain(notes).collect()
    }

    /// The allowlist of namegate, if it is one.
    pub fn zone(&self) -> Option<&Allowlist> {
        match &self.content {
            Content::Zone(zone) => Some(zone),
            Content::Listing(_) => None,
        }
    }

    /// Entries that are no rules.
    pub fn invalid(&self) -> impl Iterator<Item = AdviceFinding> {
        let entries = match &self.content {
            Content::Listing(listing) => listing.entries.as_slice(),
            Content::Zone(_) => &[],
        };
        entries.iter().filter_map(|entry| {
            let why = match &entry.pattern {
                Ok(_) => return None,
                // A list may end with a rule that denies the rest.
                Err(EntryFault::Everything) if entry.action == Action::Deny => return None,
                Err(EntryFault::Everything) => "covers every name, so the list blocks nothing".to_owned(),
                Err(EntryFault::Invalid(error)) => error.to_string(),
            };
            let place = entry.place.within(&self.file);
            Some(AdviceFinding { place, text: format!("`{}`: {why}", entry.text.escape_debug()) })
        })
    }
}

/// The rules of several lists, compiled as one policy.
pub struct CompiledLists {
    policy: Policy,
    /// By list: the place of each rule. Rules of allowlists have lines.
    places: Vec<Option<Vec<String>>>,
    /// The ports of each rule, in the same way.
    ports: Vec<Option<Vec<Vec<Port>>>>,
}

impl CompiledLists {
    /// Compiles the lists.
    pub fn new(lists: &[AuditedList]) -> Self {
        let mut rules = PolicyBuilder::new();
        let mut places = Vec::new();
        let mut ports = Vec::new();
        for list in lists {
            let source = rules.source(&list.file, &list.file);
            match &list.content {
                Content::Zone(zone) => {
                    rules.cname(source, zone.cname.unwrap_or_default());
                    for rule in &zone.rules {
                        for pattern in &rule.patterns {
                            let new = NewRule::new(rule.action, pattern, source, rule.line);
                            rules.rule(NewRule {
                                expect: rule.expect,
                                until: rule.until,
                                text: rule.text(),
                                ..new
                            });
                        }
                    }
                    places.push(None);
                    ports.push(None);
                }
                Content::Listing(listing) => {
                    let mut of_list = Vec::new();
                    let mut opened = Vec::new();
                    for entry in &listing.entries {
                        let Ok(pattern) = &entry.pattern else { continue };
                        of_list.push(entry.place.within(&list.file));
                        opened.push(entry.ports.clone());
                        let index = u32::try_from(of_list.len()).unwrap_or(u32::MAX);
                        let text = RuleText { purpose: &entry.purpose, ..RuleText::default() };
                        rules.rule(NewRule { text, ..NewRule::new(entry.action, pattern, source, index) });
                    }
                    places.push(Some(of_list));
                    ports.push(Some(opened));
                }
            }
        }
        let now = SystemTime::now();
        Self { policy: rules.build(Compile { now, ..Compile::new(Mode::Enforce) }), places, ports }
    }

    /// The compiled rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rules to judge; `known` has the aliases.
    pub fn subject<'a>(
        &'a self,
        lists: &'a [AuditedList],
        known: impl IntoIterator<Item = &'a Allowlist>,
    ) -> JudgedRules<'a> {
        let sources =
            lists.iter().zip(&self.places).zip(&self.ports).map(|((list, places), ports)| JudgedSource {
                zone: list.zone(),
                places: places.as_deref(),
                ports: ports.as_deref(),
                is_warned: false,
            });
        JudgedRules::new(&self.policy, sources.collect(), known)
    }
}
